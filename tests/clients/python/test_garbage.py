"""What becomes of dependents when their owners go."""

import time
import unittest

from support import MERGE, ask, create, get, gone, here, pod, until, word

KINDS = {
    "Deployment": here("deployments", "apps/v1"),
    "ReplicaSet": here("replicasets", "apps/v1"),
    "ReplicationController": here("replicationcontrollers"),
}
PODS = here("pods")
STILL_S = 3
"""For so long nothing happens where nothing should."""


def workload(kind, name, replicas=2):
    """A workload whose pods fit on no node, so that nothing runs."""
    template = pod("x", {"app": name}, nodeSelector={"no": "node"})
    template = {"metadata": template["metadata"] | {"name": None}, "spec": template["spec"]}
    selector = {"app": name} if kind == "ReplicationController" else {"matchLabels": {"app": name}}
    create(KINDS[kind], {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": selector, "template": template}})
    until("its pods are there", lambda: len(labelled(PODS, name)) == replicas)
    return f"{KINDS[kind]}/{name}"


def labelled(path, name):
    """The objects of a workload."""
    return get(f"{path}?labelSelector=app%3D{name}")["items"]


def delete(path, policy):
    """Deletes with a policy."""
    return ask("DELETE", path, {"propagationPolicy": policy}).ok()


def owner(made, **more):
    """A reference to a pod."""
    return {"apiVersion": "v1", "kind": "Pod", "name": made["metadata"]["name"], "uid": made["metadata"]["uid"], **more}


class Garbage(unittest.TestCase):
    # conformance: in the background replica sets and pods of a deployment go after it
    def test_in_the_background_replica_sets_and_pods_of_a_deployment_go_after_it(self):
        name = word()
        delete(workload("Deployment", name), "Background")
        for path in (KINDS["Deployment"], KINDS["ReplicaSet"], PODS):
            until(f"nothing is left of {path}", lambda: not labelled(path, name))

    # conformance: in the background pods of a replication controller go after it
    def test_in_the_background_pods_of_a_replication_controller_go_after_it(self):
        name = word()
        path = workload("ReplicationController", name)
        delete(path, "Background")
        gone(path)
        until("the pods are gone", lambda: not labelled(PODS, name))

    # conformance: in the foreground a controller stays until its pods are gone
    def test_in_the_foreground_a_controller_stays_until_its_pods_are_gone(self):
        name = word()
        path = workload("ReplicationController", name)
        held = labelled(PODS, name)[0]["metadata"]["name"]
        ask("PATCH", f"{PODS}/{held}", {"metadata": {"finalizers": ["example.com/hold"]}}, MERGE).ok()
        waiting = delete(path, "Foreground")
        self.assertIn("foregroundDeletion", waiting["metadata"]["finalizers"])
        until("only what is held is left", lambda: [found["metadata"]["name"] for found in labelled(PODS, name)] == [held])
        self.assertEqual(ask("GET", path).code, 200)
        ask("PATCH", f"{PODS}/{held}", {"metadata": {"finalizers": None}}, MERGE).ok()
        gone(path)
        self.assertEqual(labelled(PODS, name), [])

    # conformance: an orphaned replica set outlives its deployment
    def test_an_orphaned_replica_set_outlives_its_deployment(self):
        name = word()
        path = workload("Deployment", name)
        delete(path, "Orphan")
        gone(path)
        time.sleep(STILL_S)
        (left,) = labelled(KINDS["ReplicaSet"], name)
        self.assertNotIn("ownerReferences", left["metadata"])
        delete(f"{KINDS['ReplicaSet']}/{left['metadata']['name']}", "Background")

    # conformance: orphaned pods outlive their replication controller
    def test_orphaned_pods_outlive_their_replication_controller(self):
        name = word()
        path = workload("ReplicationController", name)
        delete(path, "Orphan")
        gone(path)
        time.sleep(STILL_S)
        left = labelled(PODS, name)
        self.assertEqual(len(left), 2)
        self.assertFalse([found for found in left if "ownerReferences" in found["metadata"]])
        ask("DELETE", f"{PODS}?labelSelector=app%3D{name}").ok()

    # conformance: a pod with a second owner outlives the first
    def test_a_pod_with_a_second_owner_outlives_the_first(self):
        first, second = word(), word()
        path = workload("ReplicationController", first, replicas=3)
        other = workload("ReplicationController", second, replicas=0)
        uid = get(other)["metadata"]["uid"]
        shared = [found["metadata"] for found in labelled(PODS, first)][:2]
        for found in shared:
            reference = {"apiVersion": "v1", "kind": "ReplicationController", "name": second, "uid": uid}
            patch = {"metadata": {"ownerReferences": found["ownerReferences"] + [reference]}}
            ask("PATCH", f"{PODS}/{found['name']}", patch, MERGE).ok()
        delete(path, "Foreground")
        gone(path)
        left = labelled(PODS, first)
        self.assertEqual({found["metadata"]["name"] for found in left}, {found["name"] for found in shared})
        for found in left:
            self.assertNotIn("deletionTimestamp", found["metadata"])
            until("the first owner is let go", lambda: len(get(f"{PODS}/{found['metadata']['name']}")["metadata"]["ownerReferences"]) == 1)
        delete(other, "Background")

    # conformance: owners in a circle do not block deletion
    def test_owners_in_a_circle_do_not_block_deletion(self):
        label = word()
        made = [create(PODS, pod(f"{label}{at}", {"app": label}, nodeSelector={"no": "node"})) for at in range(1, 4)]
        for of, by in ((0, 2), (1, 0), (2, 1)):
            patch = {"metadata": {"ownerReferences": [owner(made[by], controller=True, blockOwnerDeletion=True)]}}
            ask("PATCH", f"{PODS}/{label}{of + 1}", patch, MERGE).ok()
        delete(f"{PODS}/{label}1", "Foreground")
        until("all of them are gone", lambda: not labelled(PODS, label))


if __name__ == "__main__":
    unittest.main()
