"""Quotas: what is charged, given back and refused."""

import unittest

from support import CORE, MERGE, STRATEGIC, ask, create, get, gone, here, pod, until, word

QUOTAS = here("resourcequotas")
PODS = here("pods")


def resources(requests, limits=None):
    """A pod that fits on no node and asks for that much."""
    made = pod(word(8), nodeSelector={"no": "node"})
    made["spec"]["containers"][0]["resources"] = {"requests": requests, "limits": limits or {}}
    return made


class Quotas(unittest.TestCase):
    def quota(self, hard, **spec):
        """A quota whose status is counted; answers its name."""
        name = word(8)
        create(QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
        self.addCleanup(ask, "DELETE", f"{QUOTAS}/{name}")
        self.used(name, {what: None for what in hard})
        return name

    def used(self, name, wanted):
        """Waits until that much is used; `None` is anything."""

        def look():
            status = get(f"{QUOTAS}/{name}").get("status", {})
            used = status.get("used", {})
            fits = all(what in used and amount in (None, used[what]) for what, amount in wanted.items())
            return fits and status.get("hard") is not None

        until(f"of {name} {wanted} is used", look)

    def passes(self, path, made, name, charged, given_back, what=None):
        """What is made is charged, and given back when it goes."""
        created = create(path, made)
        self.used(name, charged)
        one = f"{path}/{created['metadata']['name']}"
        ask("DELETE", one, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}).ok()
        gone(one)
        self.used(name, given_back)

    def refused(self, path, made, name):
        """It is too much for the quota."""
        status = ask("POST", path, made).refused(403, "Forbidden")
        self.assertIn(f"exceeded quota: {name}, requested: ", status["message"])

    # conformance: a quota is counted promptly
    def test_a_quota_is_counted_promptly(self):
        name = self.quota({"pods": "5", "services": "10", "secrets": "10"})
        self.used(name, {"pods": "0", "services": "0", "secrets": "0"})
        self.assertEqual(CORE.read_namespaced_resource_quota(name, here("").split("/")[4]).status.hard["services"], "10")

    # conformance: configmaps are charged and given back
    def test_configmaps_are_charged_and_given_back(self):
        before = len(get(here("configmaps"))["items"])
        name = self.quota({"configmaps": str(before + 1)})
        self.used(name, {"configmaps": str(before)})
        made = {"metadata": {"name": word(8)}, "data": {"a": "b"}}
        self.passes(here("configmaps"), made, name, {"configmaps": str(before + 1)}, {"configmaps": str(before)})

    # conformance: secrets are charged and given back
    def test_secrets_are_charged_and_given_back(self):
        name = self.quota({"secrets": "3"})
        self.used(name, {"secrets": "0"})
        self.passes(here("secrets"), {"metadata": {"name": word(8)}, "stringData": {"a": "b"}}, name, {"secrets": "1"}, {"secrets": "0"})

    # conformance: services are charged by their type and given back
    def test_services_are_charged_by_their_type_and_given_back(self):
        name = self.quota({"services": "2", "services.nodeports": "1", "services.loadbalancers": "1"})
        service = lambda kind: {"metadata": {"name": word(8)}, "spec": {"type": kind, "ports": [{"port": 80}], "selector": {"a": "b"}}}
        path = here("services")
        plain, port = create(path, service("ClusterIP")), create(path, service("NodePort"))
        self.used(name, {"services": "2", "services.nodeports": "1", "services.loadbalancers": "0"})
        self.refused(path, service("LoadBalancer"), name)
        self.refused(path, service("ClusterIP"), name)
        for made in (plain, port):
            ask("DELETE", f"{path}/{made['metadata']['name']}").ok()
        self.used(name, {"services": "0", "services.nodeports": "0", "services.loadbalancers": "0"})

    # conformance: replica sets are charged and given back
    def test_replica_sets_are_charged_and_given_back(self):
        name = self.quota({"count/replicasets.apps": "1"})
        template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
        made = {"metadata": {"name": word(8)}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}}
        what = "count/replicasets.apps"
        self.passes(here("replicasets", "apps/v1"), made, name, {what: "1"}, {what: "0"})

    # conformance: replication controllers are charged and given back
    def test_replication_controllers_are_charged_and_given_back(self):
        name = self.quota({"replicationcontrollers": "1"})
        template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
        made = {"metadata": {"name": word(8)}, "spec": {"replicas": 0, "selector": {"a": "b"}, "template": template}}
        what = "replicationcontrollers"
        self.passes(here(what), made, name, {what: "1"}, {what: "0"})

    # conformance: pods are charged for all they ask, held to it and given back
    def test_pods_are_charged_for_all_they_ask_held_to_it_and_given_back(self):
        extended = "requests.example.com/dongle"
        hard = {"pods": "5", "cpu": "1", "memory": "500Mi", "requests.ephemeral-storage": "50Gi", extended: "3"}
        name = self.quota(hard)
        requests = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "example.com/dongle": "2"}
        made = create(PODS, resources(requests, {"example.com/dongle": "2"}))
        charged = {"pods": "1", "cpu": "500m", "memory": "252Mi", "requests.ephemeral-storage": "30Gi", extended: "2"}
        self.used(name, charged)
        self.refused(PODS, resources({**requests, "cpu": "600m", "memory": "100Mi"}, {"example.com/dongle": "2"}), name)
        less = {"cpu": "100m", "memory": "100Mi", "ephemeral-storage": "10Gi", "example.com/dongle": "2"}
        self.refused(PODS, resources(less, {"example.com/dongle": "2"}), name)
        one = f"{PODS}/{made['metadata']['name']}"
        current = get(one)
        current["spec"]["containers"][0]["resources"]["requests"].update({"cpu": "100m", "memory": "100Mi"})
        ask("PUT", one, current).refused(422, "Invalid")
        self.used(name, charged)
        ask("DELETE", one, {"gracePeriodSeconds": 0}).ok()
        self.used(name, {"pods": "0", "cpu": "0", "memory": "0", "requests.ephemeral-storage": "0", extended: "0"})

    # conformance: quotas of best-effort pods and of others count their own
    def test_quotas_of_best_effort_pods_and_of_others_count_their_own(self):
        best = self.quota({"pods": "5"}, scopes=["BestEffort"])
        other = self.quota({"pods": "5"}, scopes=["NotBestEffort"])
        for made, mine, theirs in ((resources({}), best, other), (resources({"cpu": "1"}, {"cpu": "1"}), other, best)):
            created = create(PODS, made)
            self.used(mine, {"pods": "1"})
            self.used(theirs, {"pods": "0"})
            ask("DELETE", f"{PODS}/{created['metadata']['name']}", {"gracePeriodSeconds": 0}).ok()
            self.used(mine, {"pods": "0"})

    # conformance: quotas of terminating pods and of others count their own
    def test_quotas_of_terminating_pods_and_of_others_count_their_own(self):
        hard = {"pods": "5", "requests.cpu": "1", "limits.cpu": "2"}
        ending = self.quota(hard, scopes=["Terminating"])
        running = self.quota(hard, scopes=["NotTerminating"])
        long, short = resources({"cpu": "500m"}, {"cpu": "1"}), resources({"cpu": "500m"}, {"cpu": "1"})
        short["spec"]["activeDeadlineSeconds"] = 3600
        charged, nothing = {"pods": "1", "requests.cpu": "500m", "limits.cpu": "1"}, {"pods": "0", "requests.cpu": "0", "limits.cpu": "0"}
        for made, mine, theirs in ((long, running, ending), (short, ending, running)):
            created = create(PODS, made)
            self.used(mine, charged)
            self.used(theirs, nothing)
            ask("DELETE", f"{PODS}/{created['metadata']['name']}", {"gracePeriodSeconds": 0}).ok()
            self.used(mine, nothing)

    # conformance: a quota is updated and deleted
    def test_a_quota_is_updated_and_deleted(self):
        name = self.quota({"cpu": "1", "memory": "500Mi"})
        current = get(f"{QUOTAS}/{name}")
        self.assertEqual(current["spec"]["hard"], {"cpu": "1", "memory": "500Mi"})
        current["spec"]["hard"] = {"cpu": "2", "memory": "1Gi"}
        self.assertEqual(ask("PUT", f"{QUOTAS}/{name}", current).ok()["spec"]["hard"], {"cpu": "2", "memory": "1Gi"})
        until("the status follows", lambda: get(f"{QUOTAS}/{name}")["status"]["hard"] == {"cpu": "2", "memory": "1Gi"})
        ask("DELETE", f"{QUOTAS}/{name}").ok()
        ask("GET", f"{QUOTAS}/{name}").refused(404, "NotFound")

    # conformance: quotas are listed everywhere by label, patched and deleted together
    def test_quotas_are_listed_everywhere_by_label_patched_and_deleted_together(self):
        label, name = word(8), word(8)
        create(QUOTAS, {"metadata": {"name": name, "labels": {"test": label}}, "spec": {"hard": {"pods": "5"}}})
        listed = CORE.list_resource_quota_for_all_namespaces(label_selector=f"test={label}").items
        self.assertEqual([found.metadata.name for found in listed], [name])
        patch = {"metadata": {"labels": {name: "patched"}}, "spec": {"hard": {"memory": "750Mi"}}}
        patched = ask("PATCH", f"{QUOTAS}/{name}", patch, STRATEGIC).ok()
        self.assertEqual((patched["metadata"]["labels"][name], patched["spec"]["hard"]), ("patched", {"pods": "5", "memory": "750Mi"}))
        ask("DELETE", f"{QUOTAS}?labelSelector={name}%3Dpatched").ok()
        gone(f"{QUOTAS}/{name}")

    # conformance: the status of a quota is written apart from its spec
    def test_the_status_of_a_quota_is_written_apart_from_its_spec(self):
        name = self.quota({"cpu": "500m", "memory": "500Mi"})
        path = f"{QUOTAS}/{name}/status"

        def written(change):
            def look():
                current = get(path)
                change(current)
                answer = ask("PUT", path, current)
                return answer.json if answer.code == 200 else None

            return until("the status is written", look)

        def more(current):
            current["status"]["hard"].update({"cpu": "1", "memory": "1Gi"})
            current["spec"]["hard"]["cpu"] = "9"

        updated = written(more)
        self.assertEqual((updated["status"]["hard"], updated["spec"]["hard"]["cpu"]), ({"cpu": "1", "memory": "1Gi"}, "500m"))
        # The controller puts it right again.
        until("the status is counted again", lambda: get(path)["status"]["hard"] == {"cpu": "500m", "memory": "500Mi"})
        patched = ask("PATCH", path, {"spec": {"hard": {"cpu": "9"}}, "status": {"hard": {"cpu": "2"}}}, MERGE).ok()
        self.assertEqual((patched["status"]["hard"]["cpu"], patched["spec"]["hard"]["cpu"]), ("2", "500m"))
        until("the status is counted again", lambda: get(path)["status"]["hard"]["cpu"] == "500m")


if __name__ == "__main__":
    unittest.main()
