"""CustomResourceDefinitions: their own verbs, defaults, versions, and fields that select."""

import unittest

from kubernetes import client, watch

from support import (
    API, DEFINITIONS, EXTENSIONS, JSON_PATCH, MERGE, OPEN, ask, create, custom, define, definition, events, get, gone,
    schema, until, word,
)


def thing(wanted, name, version=None, **fields):
    """An object of a definition."""
    version = version or wanted["spec"]["versions"][0]["name"]
    api_version = f"{wanted['spec']['group']}/{version}"
    return {"apiVersion": api_version, "kind": "Thing", "metadata": {"name": name}, **fields}


class Definitions(unittest.TestCase):
    # conformance: a definition is created and deleted
    def test_a_definition_is_created_and_deleted(self):
        wanted = definition(f"{word()}.example.com", {"v1": OPEN})
        made = define(self, wanted)
        name = made["metadata"]["name"]
        self.assertEqual(EXTENSIONS.read_custom_resource_definition(name).spec.names.kind, "Thing")
        path = custom(wanted)
        create(path, thing(wanted, "one", spec={"a": 1}))
        EXTENSIONS.delete_custom_resource_definition(name)
        gone(f"{DEFINITIONS}/{name}")
        until("its objects are served no more", lambda: ask("GET", path).code == 404)

    # conformance: definitions are listed and deleted by label
    def test_definitions_are_listed_and_deleted_by_label(self):
        label = f"e2e-list-{word()}"
        for number in range(3):
            labels = {"list": label} if number < 2 else {"list": label + "-not"}
            define(self, definition(f"{word()}.example.com", {"v1": OPEN}, labels=labels))
        selected = EXTENSIONS.list_custom_resource_definition(label_selector=f"list={label}")
        self.assertEqual(len(selected.items), 2)
        EXTENSIONS.delete_collection_custom_resource_definition(label_selector=f"list={label}")
        look = lambda: not EXTENSIONS.list_custom_resource_definition(label_selector=f"list={label}").items
        until("the labelled ones are gone", look)
        self.assertEqual(len(EXTENSIONS.list_custom_resource_definition(label_selector=f"list={label}-not").items), 1)

    # conformance: the status of a definition is read, updated and patched
    def test_the_status_of_a_definition_is_read_updated_and_patched(self):
        made = define(self, definition(f"{word()}.example.com", {"v1": OPEN}))
        path = f"{DEFINITIONS}/{made['metadata']['name']}/status"
        condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "updated by a test"}

        def updated():
            current = get(path)
            current["status"]["conditions"].append(condition)
            return ask("PUT", path, current).code == 200

        until("the status is updated", updated)
        self.assertIn("StatusUpdate", [found["type"] for found in get(path)["status"]["conditions"]])
        patch = {"metadata": {"annotations": {"ignored": "yes"}}, "status": {"conditions": [{**condition, "type": "StatusPatched"}]}}
        patched = ask("PATCH", path, patch, MERGE).ok()
        self.assertIn("StatusPatched", [found["type"] for found in patched["status"]["conditions"]])
        self.assertEqual(patched["spec"], made["spec"])

    # conformance: a watch of custom objects sees them come, change and go
    def test_a_watch_of_custom_objects_sees_them_come_change_and_go(self):
        wanted = define(self, definition(f"{word()}.example.com", {"v1": OPEN}, scope="Cluster"))
        group = wanted["spec"]["group"]
        objects = client.CustomObjectsApi(API)
        for name in ("name1", "name2"):
            objects.create_cluster_custom_object(group, "v1", "things", thing(wanted, name))
        for name in ("name1", "name2"):
            objects.patch_cluster_custom_object(group, "v1", "things", name, {"num": 2})
        for name in ("name1", "name2"):
            objects.delete_cluster_custom_object(group, "v1", "things", name)
        found = []
        stream = watch.Watch()
        # From before there was any of them.
        version = wanted["metadata"]["resourceVersion"]
        for event in stream.stream(objects.list_cluster_custom_object, group, "v1", "things", resource_version=version, timeout_seconds=20):
            found.append((event["type"], event["object"]["metadata"]["name"]))
            if len(found) == 6:
                stream.stop()
        kinds = ["ADDED"] * 2 + ["MODIFIED"] * 2 + ["DELETED"] * 2
        self.assertEqual(found, list(zip(kinds, ["name1", "name2"] * 3)))

    # conformance: defaults of a schema come on request and from storage
    def test_defaults_of_a_schema_come_on_request_and_from_storage(self):
        fields = {"a": {"type": "string", "default": "A"}, "b": {"type": "string"}, "c": {"type": "string"}}
        wanted = define(self, definition(f"{word()}.example.com", {"v1": schema(fields)}))
        path, named = custom(wanted), f"{DEFINITIONS}/{wanted['metadata']['name']}"
        made = create(path, thing(wanted, "one"))
        self.assertEqual((made["a"], "b" in made), ("A", False))

        def give(name, value):
            at = f"/spec/versions/0/schema/openAPIV3Schema/properties/{name}/default"
            step = {"op": "add", "path": at, "value": value} if value else {"op": "remove", "path": at}
            ask("PATCH", named, [step], JSON_PATCH).ok()

        give("b", "B")
        until("the new default is read", lambda: get(f"{path}/one").get("b") == "B")
        give("a", None)
        # What was stored with a default stays without it; what was only read with one is not stored before a write.
        until("the old one is not given any more", lambda: "a" not in create(path + "?dryRun=All", thing(wanted, "two")))
        self.assertEqual(get(f"{path}/one")["a"], "A")
        ask("PATCH", f"{path}/one", {"c": "C"}, MERGE).ok()
        give("b", None)
        until("the default is gone", lambda: "b" not in create(path + "?dryRun=All", thing(wanted, "two")))
        read = get(f"{path}/one")
        self.assertEqual((read["a"], read["b"], read["c"]), ("A", "B", "C"))

    # conformance: fields that a definition names select in lists, watches and every version
    def test_fields_that_a_definition_names_select_in_lists_watches_and_every_version(self):
        version = {
            **schema({"host": {"type": "string"}, "port": {"type": "string"}}),
            "selectableFields": [{"jsonPath": ".host"}, {"jsonPath": ".port"}],
        }
        wanted = define(self, definition(f"{word()}.example.com", {"v1": version, "v2": version}))
        path = custom(wanted)
        first = create(path, thing(wanted, "a", host="host1", port="80"))
        create(path, thing(wanted, "b", host="host1", port="8080"))
        create(path, thing(wanted, "c", host="host2", port="80"))

        def names(query, version):
            found = get(f"{custom(wanted, version)}?fieldSelector={query}")["items"]
            self.assertTrue(all(item["apiVersion"].endswith(f"/{version}") for item in found), found)
            return [item["metadata"]["name"] for item in found]

        for version in ("v1", "v2"):
            self.assertEqual(names("host=host1", version), ["a", "b"])
            self.assertEqual(names("host=host1,port=80", version), ["a"])
            self.assertEqual(names("host!=host1", version), ["c"])
        ask("GET", path + "?fieldSelector=other%3Dx").refused(400, "BadRequest")
        ask("DELETE", f"{path}/a").ok()
        ask("PATCH", f"{path}/b", {"host": "host3"}, MERGE).ok()
        since = int(first["metadata"]["resourceVersion"]) - 1
        for version in ("v1", "v2"):
            query = f"watch=true&fieldSelector=host%3Dhost1&resourceVersion={since}"
            seen = [(kind, found["metadata"]["name"]) for kind, found in events(f"{custom(wanted, version)}?{query}", 4)]
            self.assertEqual(seen, [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("DELETED", "b")])


if __name__ == "__main__":
    unittest.main()
