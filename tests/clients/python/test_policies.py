"""Validating admission policies: their own verbs, and what they refuse."""

import unittest

from support import MERGE, NAMESPACE, ask, create, events, get, gone, here, pod, until, word

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/validatingadmissionpolicies"
BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"


def policy(name, validations, **spec):
    """A policy for Deployments."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": validations, **spec}
    return {"metadata": {"name": name, "labels": {"of": name}}, "spec": spec}


def binding(name):
    """A binding of the policy of that name to the namespace of this run."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    spec = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}}
    return {"metadata": {"name": name, "labels": {"of": name}}, "spec": spec}


def deployment(replicas):
    """A Deployment whose pods fit on no node."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x", nodeSelector={"no": "node"})["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"metadata": {"generateName": "policy-"}, "spec": spec}


class Policies(unittest.TestCase):
    def verbs(self, path, made, has_status):
        """Every verb on objects of a kind."""
        name = made["metadata"]["name"]
        resources = [found["name"] for found in get(GROUP)["resources"]]
        self.assertIn(path.rsplit("/", 1)[1], resources)
        since = get(path)["metadata"]["resourceVersion"]
        create(path, made)
        query = f"?labelSelector=of%3D{name}"
        self.assertEqual([found["metadata"]["name"] for found in get(path + query)["items"]], [name])
        patched = ask("PATCH", f"{path}/{name}", {"metadata": {"annotations": {"patched": "true"}}}, MERGE).ok()
        self.assertEqual(patched["metadata"]["annotations"]["patched"], "true")

        def updated():
            current = get(f"{path}/{name}")
            current["metadata"]["annotations"]["updated"] = "true"
            return ask("PUT", f"{path}/{name}", current).code == 200

        until("it is updated", updated)
        if has_status:
            self.assertIn(f"{path.rsplit('/', 1)[1]}/status", resources)
            condition = {"type": "Tested", "status": "True", "reason": "E2E", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}
            ask("PATCH", f"{path}/{name}/status", {"status": {"conditions": [condition]}}, MERGE).ok()
            self.assertEqual(get(f"{path}/{name}/status")["status"]["conditions"][0]["type"], "Tested")
        ask("DELETE", f"{path}/{name}").ok()
        gone(f"{path}/{name}")
        seen = [kind for kind, _ in events(f"{path}{query}&watch=true&resourceVersion={since}", 3)]
        self.assertEqual(seen[:2], ["ADDED", "MODIFIED"])
        create(path, made)
        ask("DELETE", path + query).ok()
        self.assertEqual(get(path + query)["items"], [])

    # conformance: validating policies and their status have all their verbs
    def test_validating_policies_and_their_status_have_all_their_verbs(self):
        self.verbs(POLICIES, policy(word(8), [{"expression": "object.spec.replicas <= 100"}]), True)

    # conformance: bindings of validating policies have all their verbs
    def test_bindings_of_validating_policies_have_all_their_verbs(self):
        self.verbs(BINDINGS, binding(word(8)), False)

    def refuses_one_replica(self, made):
        """The policy refuses Deployments of one replica here, and no others."""
        name = made["metadata"]["name"]
        create(POLICIES, made)
        self.addCleanup(ask, "DELETE", f"{POLICIES}/{name}")
        create(BINDINGS, binding(name))
        self.addCleanup(ask, "DELETE", f"{BINDINGS}/{name}")
        path = here("deployments", "apps/v1") + "?dryRun=All"
        until("the policy is asked", lambda: ask("POST", path, deployment(1)).code != 201)
        status = ask("POST", path, deployment(1)).refused(422, "Invalid")
        self.assertIn(f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request", status["message"])
        create(path, deployment(2))

    # conformance: a validating policy refuses a deployment
    def test_a_validating_policy_refuses_a_deployment(self):
        self.refuses_one_replica(policy(word(8), [{"expression": "object.spec.replicas > 1", "messageExpression": "'more than one'"}]))

    # conformance: a validating policy uses variables
    def test_a_validating_policy_uses_variables(self):
        variables = [{"name": "replicas", "expression": "object.spec.replicas"}, {"name": "many", "expression": "variables.replicas > 1"}]
        self.refuses_one_replica(policy(word(8), [{"expression": "variables.many", "message": "more than one"}], variables=variables))


if __name__ == "__main__":
    unittest.main()
