"""Custom objects in what concerns objects of every kind: quotas, owners, namespaces, and an old kubectl."""

import json
import os
import subprocess
import tempfile
import unittest

from support import MERGE, NAMESPACE, ask, create, custom, define, definition, get, gone, here, schema, until, word

FIELDS = {"spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}}
VERSION = {
    **schema(FIELDS),
    "subresources": {"status": {}},
    "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
}


class Customs(unittest.TestCase):
    # One for all, since the garbage collector looks for new kinds twice a minute.
    @classmethod
    def setUpClass(cls):
        made = define(cls, definition(f"{word()}.example.com", {"v1": VERSION}))
        cls.group, cls.path = made["spec"]["group"], custom(made)

    def thing(self, name, **metadata):
        """An object of the definition."""
        return {"apiVersion": f"{self.group}/v1", "kind": "Thing", "metadata": {"name": name, **metadata}, "spec": {"size": 1}}

    def test_a_quota_counts_and_refuses_them(self):
        what, name = f"count/things.{self.group}", word(8)
        create(here("resourcequotas"), {"metadata": {"name": name}, "spec": {"hard": {what: "1"}}})
        path = here("resourcequotas", name=name)
        self.addCleanup(ask, "DELETE", path)
        used = lambda: get(path).get("status", {}).get("used", {}).get(what)
        until("nothing is counted", lambda: used() == "0")
        create(self.path, self.thing("one"))
        until("one is counted", lambda: used() == "1")
        status = ask("POST", self.path, self.thing("two")).refused(403, "Forbidden")
        self.assertIn(f"exceeded quota: {name}", status["message"])
        ask("DELETE", f"{self.path}/one").ok()
        until("it is given back", lambda: used() == "0")

    def test_they_own_and_are_owned(self):
        owner = create(self.path, self.thing("owner"))
        reference = {"apiVersion": f"{self.group}/v1", "kind": "Thing", "name": "owner", "uid": owner["metadata"]["uid"]}
        maps = here("configmaps")
        owned = create(maps, {"metadata": {"name": word(8), "ownerReferences": [reference]}})
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owned["metadata"]["name"], "uid": owned["metadata"]["uid"]}
        create(self.path, self.thing("last", ownerReferences=[reference]))
        ask("DELETE", f"{self.path}/owner", {"propagationPolicy": "Background"}).ok()
        gone(f"{maps}/{owned['metadata']['name']}")
        gone(f"{self.path}/last")

    def test_one_is_deleted_after_what_it_owns(self):
        owner = create(self.path, self.thing("owner"))
        reference = {"apiVersion": f"{self.group}/v1", "kind": "Thing", "name": "owner", "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}
        held = here("configmaps", name=word(8))
        metadata = {"name": held.rsplit("/", 1)[1], "ownerReferences": [reference], "finalizers": ["example.com/hold"]}
        create(here("configmaps"), {"metadata": metadata})
        waiting = ask("DELETE", f"{self.path}/owner", {"propagationPolicy": "Foreground"}).ok()
        self.assertIn("foregroundDeletion", waiting["metadata"]["finalizers"])
        until("what it owns is going", lambda: "deletionTimestamp" in get(held)["metadata"])
        self.assertEqual(ask("GET", f"{self.path}/owner").code, 200)
        ask("PATCH", held, {"metadata": {"finalizers": None}}, MERGE).ok()
        gone(f"{self.path}/owner")

    def test_a_namespace_takes_them_with_it(self):
        name = f"customs-{word()}"
        create("/api/v1/namespaces", {"metadata": {"name": name}})
        path = self.path.replace(f"/{NAMESPACE}/", f"/{name}/")
        create(path, self.thing("one"))
        create(path, self.thing("held", finalizers=["example.com/hold"]))
        ask("DELETE", f"/api/v1/namespaces/{name}").ok()
        until("one is gone", lambda: ask("GET", f"{path}/one").code == 404)
        says = lambda: "example.com/hold" in json.dumps(get(f"/api/v1/namespaces/{name}")["status"])
        until("the namespace tells what it waits for", says)
        ask("PATCH", f"{path}/held", {"metadata": {"finalizers": None}}, MERGE).ok()
        gone(f"/api/v1/namespaces/{name}")

    def test_an_old_kubectl_reads_and_writes_them(self):
        cache = tempfile.TemporaryDirectory()
        self.addCleanup(cache.cleanup)

        def old(*words, given=None, code=0):
            line = [os.environ["KUBECTL_OLD"], "--cache-dir", cache.name, "--namespace", NAMESPACE, *words]
            done = subprocess.run(line, input=given or "", capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            return done.stdout + done.stderr

        text = json.dumps(self.thing("one"))
        self.assertIn("created", old("apply", "-f", "-", given=text))
        self.assertIn("configured", old("apply", "-f", "-", given=text.replace('"size": 1', '"size": 2')))
        self.assertEqual(old("get", "things", "one").split()[:5], ["NAME", "SIZE", "one", "2"][:5])
        self.assertIn("unknown field", old("apply", "-f", "-", given=text.replace('"size"', '"sise"'), code=1))
        self.assertIn("greater than or equal to 1", old("apply", "-f", "-", given=text.replace('"size": 1', '"size": 0'), code=1))
        self.assertIn("size", old("explain", "things.spec"))
        self.assertIn("Size:", old("describe", "thing", "one"))
        old("delete", "thing", "one")


if __name__ == "__main__":
    unittest.main()
