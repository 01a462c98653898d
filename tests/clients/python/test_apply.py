"""Server-side apply: whose a field is."""

import unittest

from support import APPLY, MERGE, ask, create, get, here, word

DEPLOYMENTS = here("deployments", "apps/v1")
MAPS = here("configmaps")


def applied(path, manager, body, force=False, more=""):
    """Applies as some manager."""
    query = f"?fieldManager={manager}&force={'true' if force else 'false'}{more}"
    return ask("PATCH", path + query, body, APPLY)


def map_of(name, **data):
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name, image="a:1", replicas=None, **container):
    """A Deployment."""
    containers = [{"name": "c", "image": image, **container}]
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def managers(made):
    """Who manages something, and by which operation."""
    return [(entry["manager"], entry["operation"]) for entry in made["metadata"]["managedFields"]]


class Apply(unittest.TestCase):
    def test_an_object_is_created_by_its_configuration_and_by_no_other_type(self):
        name = word()
        path = f"{MAPS}/{name}"
        applied(path, "one", map_of(name, key="value")).ok(201)
        applied(path, "one", map_of(name, key="value", key1="value1")).ok(200)
        self.assertEqual(get(path)["data"], {"key": "value", "key1": "value1"})
        applied(path, "one", map_of(name, key1="value1")).ok(200)
        self.assertEqual(get(path)["data"], {"key1": "value1"})
        status = ask("PATCH", path, map_of(name), APPLY).refused(422, "Invalid")
        self.assertIn("fieldManager: Required value", status["message"])

    def test_two_managers_share_what_they_agree_on_and_conflict_on_the_rest(self):
        name = word()
        path = f"{DEPLOYMENTS}/{name}"
        applied(path, "one", deployment(name, replicas=3)).ok(201)
        applied(path, "two", deployment(name, replicas=3)).ok(200)
        status = applied(path, "two", deployment(name, replicas=5)).refused(409, "Conflict")
        self.assertEqual(status["details"]["causes"][0]["field"], ".spec.replicas")
        self.assertIn('conflict with "one"', status["message"])
        applied(path, "two", deployment(name, replicas=5), force=True).ok(200)
        self.assertEqual(get(path)["spec"]["replicas"], 5)
        # The first gives it up by not saying it.
        applied(path, "one", deployment(name)).ok(200)
        self.assertEqual(get(path)["spec"]["replicas"], 5)
        # The last who said it takes it along, and the default comes back.
        self.assertEqual(applied(path, "two", deployment(name)).ok(200)["spec"]["replicas"], 1)

    def test_an_update_takes_fields_and_the_applier_hears_of_it(self):
        name = word()
        path = f"{MAPS}/{name}"
        applied(path, "applier", map_of(name, key="a")).ok(201)
        ask("PATCH", path + "?fieldManager=updater", {"data": {"key": "b"}}, MERGE).ok()
        self.assertIn(("updater", "Update"), managers(get(path)))
        status = applied(path, "applier", map_of(name, key="a")).refused(409, "Conflict")
        self.assertIn('conflict with "updater" using v1: .data.key', status["message"])

    def test_the_status_is_applied_apart(self):
        name = word()
        path = f"{DEPLOYMENTS}/{name}"
        applied(path, "one", deployment(name)).ok(201)
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": 9},
                "status": {"conditions": [{"type": "MyStatus", "status": "True"}]}}
        made = applied(f"{path}/status", "state", body, force=True).ok(200)
        self.assertEqual(made["spec"]["replicas"], 1)
        entry = next(entry for entry in made["metadata"]["managedFields"] if entry["manager"] == "state")
        self.assertEqual((entry["subresource"], list(entry["fieldsV1"])), ("status", ["f:status"]))

    def test_elements_of_lists_are_told_apart_by_their_keys(self):
        name = word()
        path = f"{DEPLOYMENTS}/{name}"
        ports = [{"containerPort": 80, "name": "web"}, {"containerPort": 80, "protocol": "UDP"}]
        applied(path, "one", deployment(name, ports=ports)).ok(201)
        body = deployment(name, ports=[{"containerPort": 443}])
        body["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "s"})
        made = applied(path, "two", body).ok(200)
        containers = made["spec"]["template"]["spec"]["containers"]
        self.assertEqual([found["name"] for found in containers], ["c", "side"])
        found = {(port["containerPort"], port["protocol"]) for port in containers[0]["ports"]}
        self.assertEqual(found, {(80, "TCP"), (80, "UDP"), (443, "TCP")})

    def test_fields_that_no_schema_declares_are_refused_with_their_place(self):
        name = word()
        body = deployment(name, imagee="a:2")
        for validation in ("Strict", "Warn", "Ignore"):
            answer = applied(f"{DEPLOYMENTS}/{name}", "one", body, more=f"&fieldValidation={validation}")
            words = f'; apps/v1, Kind=Deployment): .spec.template.spec.containers[name="c"].imagee: field not declared in schema'
            self.assertIn(words, answer.refused(500)["message"])
        ask("GET", f"{DEPLOYMENTS}/{name}").refused(404, "NotFound")

    def test_fields_that_come_twice_are_refused_or_warned_of_with_their_lines(self):
        name = word()
        text = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: b\n  a: c\n"
        status = applied(f"{MAPS}/{name}", "one", text, more="&fieldValidation=Strict").refused(400, "BadRequest")
        self.assertIn('error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key "a" already set in map', status["message"])
        answer = applied(f"{MAPS}/{name}", "one", text, more="&fieldValidation=Warn")
        self.assertEqual(answer.ok(201)["data"], {"a": "c"})
        self.assertIn('line 7: key \\"a\\" already set in map', answer.headers["warning"])

    def test_managed_fields_are_cleared_and_grow_no_more_than_they_should(self):
        name = word()
        path = f"{MAPS}/{name}"
        create(MAPS, map_of(name, a="b"))
        cleared = ask("PATCH", path, {"metadata": {"managedFields": [{}]}}, MERGE).ok()
        self.assertNotIn("managedFields", cleared["metadata"])
        before = applied(path, "one", map_of(name, c="d")).ok(200)["metadata"]
        again = applied(path, "one", map_of(name, c="d")).ok(200)["metadata"]
        self.assertEqual(before["resourceVersion"], again["resourceVersion"], "what changes nothing is not written")


if __name__ == "__main__":
    unittest.main()
