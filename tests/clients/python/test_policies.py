"""Admission policies: their own verbs, and what they refuse."""

import unittest

from support import NAMESPACE, ask, create, every_verb, here, pod, until, word

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
    # conformance: validating policies and their status have all their verbs
    def test_validating_policies_and_their_status_have_all_their_verbs(self):
        every_verb(POLICIES, policy(word(8), [{"expression": "object.spec.replicas <= 100"}]), has_status=True)

    # conformance: bindings of validating policies have all their verbs
    def test_bindings_of_validating_policies_have_all_their_verbs(self):
        every_verb(BINDINGS, binding(word(8)))

    # conformance: MutatingAdmissionPolicies and their bindings: discovery and every verb
    def test_mutating_policies_and_their_bindings_have_all_their_verbs(self):
        change = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{paused: true}}"}}
        made = policy(word(8), [])
        del made["spec"]["validations"]
        made["spec"].update(mutations=[change], reinvocationPolicy="Never")
        every_verb(f"{GROUP}/mutatingadmissionpolicies", made)
        made = binding(word(8))
        del made["spec"]["validationActions"]
        every_verb(f"{GROUP}/mutatingadmissionpolicybindings", made)

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
