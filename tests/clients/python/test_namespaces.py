"""Namespaces: what they take with them, in which order, and their own subresources."""

import unittest

from kubernetes import client

from support import CORE, MERGE, ask, create, get, gone, pod, until, word

ALL = "/api/v1/namespaces"


class Namespaces(unittest.TestCase):
    def make(self, **metadata):
        """A namespace that is ready for pods, and goes after the test."""
        name = f"nsdeletetest-{word()}"
        create(ALL, {"metadata": {"name": name, **metadata}})
        self.addCleanup(ask, "DELETE", f"{ALL}/{name}")
        until("its account is there", lambda: ask("GET", f"{ALL}/{name}/serviceaccounts/default").code == 200)
        return name

    # conformance: a namespace takes its pods with it
    def test_a_namespace_takes_its_pods_with_it(self):
        name = self.make()
        create(f"{ALL}/{name}/pods", pod("test-pod"))
        CORE.delete_namespace(name)
        gone(f"{ALL}/{name}")
        create(ALL, {"metadata": {"name": name}})
        self.assertEqual(get(f"{ALL}/{name}/pods")["items"], [])

    # conformance: a namespace takes its services with it
    def test_a_namespace_takes_its_services_with_it(self):
        name = self.make()
        create(f"{ALL}/{name}/services", {"metadata": {"name": "test"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}})
        CORE.delete_namespace(name)
        gone(f"{ALL}/{name}")
        create(ALL, {"metadata": {"name": name}})
        self.assertEqual(get(f"{ALL}/{name}/services")["items"], [])

    # conformance: pods of a namespace go before everything else
    def test_pods_of_a_namespace_go_before_everything_else(self):
        name = self.make()
        held = pod("held", nodeSelector={"no": "node"})
        held["metadata"]["finalizers"] = ["e2e.example.com/finalizer"]
        create(f"{ALL}/{name}/pods", held)
        create(f"{ALL}/{name}/configmaps", {"metadata": {"name": "kept"}, "data": {"key": "value"}})
        CORE.delete_namespace(name)

        def waits():
            conditions = get(f"{ALL}/{name}")["status"].get("conditions", [])
            return {found["type"]: found["status"] for found in conditions}.get("NamespaceContentRemaining") == "True"

        until("the namespace waits for the pod", waits)
        self.assertIn("deletionTimestamp", get(f"{ALL}/{name}/pods/held")["metadata"])
        kept = get(f"{ALL}/{name}/configmaps/kept")
        self.assertNotIn("deletionTimestamp", kept["metadata"])
        ask("PATCH", f"{ALL}/{name}/pods/held", {"metadata": {"finalizers": None}}, MERGE).ok()
        gone(f"{ALL}/{name}")

    # conformance: the labels of a namespace are patched
    def test_the_labels_of_a_namespace_are_patched(self):
        name = self.make()
        CORE.patch_namespace(name, {"metadata": {"labels": {"testLabel": "testValue"}}})
        self.assertEqual(CORE.read_namespace(name).metadata.labels["testLabel"], "testValue")

    # conformance: a namespace is updated
    def test_a_namespace_is_updated(self):
        name = self.make()
        current = CORE.read_namespace(name)
        current.metadata.labels[name] = "updated"
        self.assertEqual(CORE.replace_namespace(name, current).metadata.labels[name], "updated")
        with self.assertRaises(client.ApiException) as refused:
            CORE.replace_namespace(name, current)
        self.assertEqual(refused.exception.status, 409)

    # conformance: a finalizer of a namespace is added and removed
    def test_a_finalizer_of_a_namespace_is_added_and_removed(self):
        name = self.make()
        current = CORE.read_namespace(name)
        current.spec.finalizers.append("e2e.example.com/fakeFinalizer")
        self.assertIn("e2e.example.com/fakeFinalizer", CORE.replace_namespace_finalize(name, current).spec.finalizers)
        current = CORE.read_namespace(name)
        current.spec.finalizers.remove("e2e.example.com/fakeFinalizer")
        self.assertEqual(CORE.replace_namespace_finalize(name, current).spec.finalizers, ["kubernetes"])

    # conformance: the status of a namespace is read, patched and updated
    def test_the_status_of_a_namespace_is_read_patched_and_updated(self):
        name = self.make()
        path = f"{ALL}/{name}/status"
        self.assertEqual(get(path)["status"]["phase"], "Active")
        condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "patched by a test"}
        patch = {"metadata": {"annotations": {"e2e-patched-ns-status": name}}, "status": {"conditions": [condition]}}
        patched = ask("PATCH", path, patch, MERGE).ok()
        self.assertEqual(patched["metadata"]["annotations"]["e2e-patched-ns-status"], name)
        self.assertEqual(patched["status"]["conditions"][0]["reason"], "E2E")

        def updated():
            current = get(path)
            current["status"].setdefault("conditions", []).append({**condition, "type": "StatusUpdate"})
            return ask("PUT", path, current).code == 200

        until("the status is updated", updated)
        self.assertEqual([found["type"] for found in get(path)["status"]["conditions"]], ["StatusPatch", "StatusUpdate"])


if __name__ == "__main__":
    unittest.main()
