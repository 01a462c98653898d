"""What the server says it has."""

import unittest

from kubernetes import client, dynamic

from support import API, DEFINITIONS, OPEN, ask, define, definition, get, until, word

AGGREGATED = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList,application/json"
BUILT_IN = [
    ("", "v1", "pods"),
    ("", "v1", "configmaps"),
    ("apps", "v1", "deployments"),
    ("batch", "v1", "cronjobs"),
    ("networking.k8s.io", "v1", "ingresses"),
    ("rbac.authorization.k8s.io", "v1", "clusterroles"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
]


def aggregated(path):
    """Everything an aggregated document lists, as group, version and resource."""
    answer = ask("GET", path, accept=AGGREGATED)
    assert "as=APIGroupDiscoveryList" in answer.headers["content-type"], answer.headers
    body = answer.ok()
    assert (body["kind"], body["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"), body
    return {
        (group["metadata"].get("name", ""), version["version"], resource["resource"])
        for group in body["items"]
        for version in group["versions"]
        for resource in version["resources"]
    }


class Discovery(unittest.TestCase):
    # conformance: every group prefers a version that it has
    def test_every_group_prefers_a_version_that_it_has(self):
        groups = client.ApisApi(API).get_api_versions().groups
        self.assertGreater(len(groups), 15)
        for group in groups:
            alone = get(f"/apis/{group.name}")
            versions = {(version.group_version, version.version) for version in group.versions}
            preferred = group.preferred_version
            self.assertIn((preferred.group_version, preferred.version), versions)
            self.assertEqual(preferred.group_version, f"{group.name}/{preferred.version}")
            self.assertEqual(alone["preferredVersion"]["version"], preferred.version)

    # conformance: every group and version lists its resources
    def test_every_group_and_version_lists_its_resources(self):
        groups = client.ApisApi(API).get_api_versions().groups
        versions = [version.group_version for group in groups for version in group.versions]
        for version in ["v1", *versions]:
            listed = get(f"/api/{version}" if version == "v1" else f"/apis/{version}")
            self.assertEqual((listed["kind"], listed["groupVersion"]), ("APIResourceList", version))
            self.assertTrue(listed["resources"], version)
            for resource in listed["resources"]:
                self.assertTrue(resource["kind"] and resource["verbs"], resource)

    # conformance: aggregated discovery lists all that is built in
    def test_aggregated_discovery_lists_all_that_is_built_in(self):
        found = aggregated("/api") | aggregated("/apis")
        for wanted in BUILT_IN:
            self.assertIn(wanted, found)
        # The same as one document after the other.
        for version in ("v1", "apps/v1", "batch/v1"):
            group, _, name = version.rpartition("/")
            listed = get(f"/apis/{version}" if group else f"/api/{name}")["resources"]
            plain = {resource["name"] for resource in listed if "/" not in resource["name"]}
            self.assertEqual(plain, {resource for of, v, resource in found if (of, v) == (group, name)})

    # conformance: a new definition appears in aggregated discovery
    def test_a_new_definition_appears_in_aggregated_discovery(self):
        group = f"{word()}.example.com"
        define(self, definition(group, {"v1": OPEN}))
        until("it is listed", lambda: (group, "v1", "things") in aggregated("/apis"))
        # The client of a language finds it as it finds everything else.
        resource = dynamic.DynamicClient(API).resources.get(api_version=f"{group}/v1", kind="Thing")
        self.assertEqual((resource.name, resource.namespaced), ("things", True))

    # conformance: the version's numbers are numbers
    def test_the_versions_numbers_are_numbers(self):
        version = client.VersionApi(API).get_code()
        self.assertEqual((int(version.major), int(version.minor.rstrip("+"))), (1, 37))
        self.assertTrue(version.git_version.startswith("v1.37."))

    # conformance: definitions are in every discovery document
    def test_definitions_are_in_every_discovery_document(self):
        groups = {group["name"]: group for group in get("/apis")["groups"]}
        listed = groups["apiextensions.k8s.io"]["versions"]
        self.assertIn({"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"}, listed)
        alone = get("/apis/apiextensions.k8s.io")["versions"]
        self.assertIn({"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"}, alone)
        resources = {resource["name"] for resource in get("/apis/apiextensions.k8s.io/v1")["resources"]}
        self.assertLessEqual({"customresourcedefinitions", "customresourcedefinitions/status"}, resources)
        self.assertEqual(get(DEFINITIONS)["kind"], "CustomResourceDefinitionList")


if __name__ == "__main__":
    unittest.main()
