"""Lists in pages, as tables, and with what they cannot give."""

import unittest

from kubernetes import client

from support import API, CORE, NAMESPACE, ask, create, get, here

TOTAL = 40
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class Lists(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for number in range(TOTAL):
            template = {"metadata": {"labels": {"foo": "bar"}}, "spec": {"containers": [{"name": "test", "image": "i"}]}}
            create(here("podtemplates"), {"metadata": {"name": f"template-{number:04}"}, "template": template})

    # conformance: a list in pages is of one version and tells what is left
    def test_a_list_in_pages_is_of_one_version_and_tells_what_is_left(self):
        for page_size in (1, 7, 17, TOTAL):
            found, version, token = 0, None, None
            while True:
                arguments = {"limit": page_size, **({"_continue": token} if token else {})}
                page = CORE.list_namespaced_pod_template(NAMESPACE, **arguments)
                self.assertLessEqual(len(page.items), page_size)
                for item in page.items:
                    self.assertEqual(item.metadata.name, f"template-{found:04}")
                    found += 1
                version = version or page.metadata.resource_version
                self.assertEqual(page.metadata.resource_version, version)
                token = page.metadata._continue
                left = page.metadata.remaining_item_count or 0
                self.assertEqual(left + found, TOTAL)
                if not token:
                    break
            self.assertEqual(found, TOTAL)

    # conformance: a list without a limit is whole
    def test_a_list_without_a_limit_is_whole(self):
        whole = CORE.list_namespaced_pod_template(NAMESPACE, limit=0)
        self.assertEqual((len(whole.items), whole.metadata._continue), (TOTAL, None))

    # conformance: what has no table is refused as not acceptable
    def test_what_has_no_table_is_refused_as_not_acceptable(self):
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        ask("POST", path, review, accept=TABLE).refused(406, "NotAcceptable")
        # With a second choice it is answered by that.
        self.assertTrue(ask("POST", path, review, accept=f"{TABLE},application/json").ok(201)["status"]["allowed"])

    def test_a_list_is_a_table_or_metadata_as_asked(self):
        path = here("podtemplates") + "?limit=3"
        table = get(path, accept=TABLE)
        self.assertEqual((table["kind"], table["apiVersion"], len(table["rows"])), ("Table", "meta.k8s.io/v1", 3))
        self.assertEqual(len(table["columnDefinitions"]), len(table["rows"][0]["cells"]))
        self.assertEqual(table["rows"][0]["object"]["kind"], "PartialObjectMetadata")
        found = get(path, accept=METADATA)
        self.assertEqual((found["kind"], len(found["items"])), ("PartialObjectMetadataList", 3))
        self.assertNotIn("template", found["items"][0])
        nodes = get("/api/v1/nodes", accept=TABLE)
        self.assertEqual([column["name"] for column in nodes["columnDefinitions"]][:3], ["Name", "Status", "Roles"])

    def test_a_client_of_a_language_reads_every_kind_it_knows(self):
        for api in (client.CoreV1Api, client.AppsV1Api, client.BatchV1Api, client.NetworkingV1Api, client.RbacAuthorizationV1Api):
            lists = [name for name in dir(api) if name.startswith("list_") and "namespaced" not in name and not name.endswith("info")]
            for name in lists:
                getattr(api(API), name)(limit=1)


if __name__ == "__main__":
    unittest.main()
