"""Schemas of definitions as kubectl finds them: what it checks objects by, and what it explains."""

import json
import re
import unittest

from support import DEFINITIONS, JSON_PATCH, OPEN, ask, define, definition, get, kubectl, schema, until, word

FOO = schema(
    {
        "spec": {
            "type": "object",
            "description": "Specification of Foo",
            "properties": {
                "bars": {
                    "type": "array",
                    "description": "List of Bars and their specs.",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string", "description": "Name of Bar."},
                            "age": {"type": "string", "description": "Age of Bar."},
                            "feeling": {"type": "string", "enum": ["Great", "Down"]},
                            "bazs": {"type": "array", "description": "List of Bazs.", "items": {"type": "string"}},
                        },
                    },
                }
            },
        },
        "status": {"type": "object", "description": "Status of Foo", "properties": {"ready": {"type": "boolean"}}},
    },
    description="Foo CRD for Testing",
)
WALDO = schema({"spec": {"type": "object", "description": "Specification of Waldo", "properties": {"dummy": {"type": "string"}}}}, description="Waldo CRD for Testing")


def published(made, version, path="/openapi/v2"):
    """The schema of a version of a definition, where it is published."""
    group, kind = made["spec"]["group"], made["spec"]["names"]["kind"]
    wanted = {"group": group, "version": version, "kind": kind}
    for found in get(path)["definitions"].values():
        if wanted in found.get("x-kubernetes-group-version-kind", []):
            return found
    return None


class OpenApi(unittest.TestCase):
    def kind(self, version, group=None, kind=None):
        """A definition of a kind of its own, which kubectl knows at once; answers it and its objects' plural."""
        made = define(self, definition(group or f"{word()}.example.com", {"v1": version}, kind=kind or "E" + word(8)))
        until("the schema is published", lambda: published(made, "v1") is not None)
        return made, made["spec"]["names"]["plural"]

    def text(self, made, **fields):
        """An object as a file."""
        spec = made["spec"]
        return json.dumps({"apiVersion": f"{spec['group']}/v1", "kind": spec["names"]["kind"], "metadata": {"name": "test"}, **fields})

    def taken(self, made, **fields):
        """kubectl takes an object by both its ways."""
        plural = made["spec"]["names"]["plural"]
        for verb in ("create", "apply"):
            kubectl(verb, "-f", "-", given=self.text(made, **fields))
            kubectl("delete", plural, "test")

    # conformance: kubectl checks and explains objects by their schema
    def test_kubectl_checks_and_explains_objects_by_their_schema(self):
        made, plural = self.kind(FOO)
        self.taken(made, spec={"bars": [{"name": "test-bar"}]})
        for verb in ("create", "apply"):
            said = kubectl(verb, "-f", "-", given=self.text(made, spec={"foo": True}), fails=True)
            self.assertIn('unknown field "spec.foo"', said)
            said = kubectl(verb, "-f", "-", given=self.text(made, spec={"bars": [{"age": "10"}]}), fails=True)
            self.assertIn("spec.bars[0].name: Required value", said)
            feels = {"bars": [{"name": "test-bar", "feeling": "NonExistentValue"}]}
            said = kubectl(verb, "-f", "-", given=self.text(made, spec=feels), fails=True)
            self.assertIn('Unsupported value: "NonExistentValue"', said)
        for path, wanted in (
            ("", r"(?s)DESCRIPTION:.*Foo CRD for Testing.*FIELDS:.*apiVersion.*<string>.*APIVersion defines.*spec.*<Object>.*Specification of Foo"),
            (".metadata", r"(?s)DESCRIPTION:.*Standard object's metadata.*FIELDS:.*creationTimestamp.*<string>.*CreationTimestamp is a timestamp"),
            (".spec", r"(?s)DESCRIPTION:.*Specification of Foo.*FIELDS:.*bars.*<\[\]Object>.*List of Bars and their specs"),
            (".spec.bars", r"(?s)(FIELD|RESOURCE):.*bars.*<\[\]Object>.*DESCRIPTION:.*List of Bars and their specs.*FIELDS:.*bazs.*<\[\]string>.*List of Bazs.*name.*<string>.*Name of Bar"),
        ):
            said = kubectl("explain", plural + path)
            self.assertTrue(re.search(wanted, said), said)
        self.assertIn('field "bars2" does not exist', kubectl("explain", f"{plural}.spec.bars2", fails=True))

    # conformance: objects without a schema hold anything
    def test_objects_without_a_schema_hold_anything(self):
        made, plural = self.kind(OPEN)
        self.taken(made, a={"b": [{"c": "d"}]})
        self.assertTrue(re.search(r"(?s)DESCRIPTION:.*<empty>", kubectl("explain", plural)))

    # conformance: objects that keep unknown fields at their root hold anything
    def test_objects_that_keep_unknown_fields_at_their_root_hold_anything(self):
        kept = {"x-kubernetes-preserve-unknown-fields": True}
        made, plural = self.kind(schema({"spec": {"type": "object", **kept}, "status": {"type": "object", **kept}}, **kept))
        self.taken(made, a={"b": [{"c": "d"}]})
        self.assertTrue(re.search(f"(?s)KIND:.*{made['spec']['names']['kind']}", kubectl("explain", plural)))

    # conformance: embedded objects that keep unknown fields hold anything
    def test_embedded_objects_that_keep_unknown_fields_hold_anything(self):
        kept = {"x-kubernetes-preserve-unknown-fields": True}
        inner = {"type": "object", "description": "Specification of Waldo", **kept}
        made, plural = self.kind(schema({"spec": inner, "status": inner}, description="preserve-unknown-properties in nested field for Testing"))
        self.taken(made, spec={"a": None, "b": [{"c": "d"}]})
        self.assertTrue(re.search("(?s)DESCRIPTION:.*preserve-unknown-properties in nested field for Testing", kubectl("explain", plural)))

    # conformance: definitions of several groups are published
    def test_definitions_of_several_groups_are_published(self):
        foo, _ = self.kind(FOO)
        waldo, _ = self.kind(WALDO)
        self.assertIn("bars", published(foo, "v1")["properties"]["spec"]["properties"])
        self.assertIn("dummy", published(waldo, "v1")["properties"]["spec"]["properties"])

    # conformance: several kinds of one group and version are published
    def test_several_kinds_of_one_group_and_version_are_published(self):
        group = f"{word()}.example.com"
        foo, _ = self.kind(FOO, group)
        waldo, _ = self.kind(WALDO, group)
        self.assertEqual(published(foo, "v1")["description"], "Foo CRD for Testing")
        self.assertEqual(published(waldo, "v1")["description"], "Waldo CRD for Testing")
        schemas = get(f"/openapi/v3/apis/{group}/v1")["components"]["schemas"]
        kinds = {foo["spec"]["names"]["kind"], waldo["spec"]["names"]["kind"]}
        self.assertLessEqual(kinds, {name.rsplit(".", 1)[1] for name in schemas})

    # conformance: several versions of one group are published
    def test_several_versions_of_one_group_are_published(self):
        made = define(self, definition(f"{word()}.example.com", {"v1": FOO, "v2": FOO}))
        for version in ("v1", "v2"):
            until(f"{version} is published", lambda: published(made, version))
        other = define(self, definition(made["spec"]["group"], {"v4": WALDO}, kind="Waldo"))
        until("the other is published", lambda: published(other, "v4"))

    # conformance: a version that is renamed is published by its new name
    def test_a_version_that_is_renamed_is_published_by_its_new_name(self):
        made = define(self, definition(f"{word()}.example.com", {"v2": FOO, "v3": FOO}))
        until("v3 is published", lambda: published(made, "v3"))
        path = f"{DEFINITIONS}/{made['metadata']['name']}"
        ask("PATCH", path, [{"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}], JSON_PATCH).ok()
        until("v4 is published", lambda: published(made, "v4"))
        until("v3 is not", lambda: published(made, "v3") is None)
        self.assertIn("bars", published(made, "v2")["properties"]["spec"]["properties"])

    # conformance: a version that is served no more is not published
    def test_a_version_that_is_served_no_more_is_not_published(self):
        made = define(self, definition(f"{word()}.example.com", {"v5": FOO, "v6alpha1": FOO}))
        until("it is published", lambda: published(made, "v6alpha1"))
        path = f"{DEFINITIONS}/{made['metadata']['name']}"
        ask("PATCH", path, [{"op": "replace", "path": "/spec/versions/1/served", "value": False}], JSON_PATCH).ok()
        until("it is published no more", lambda: published(made, "v6alpha1") is None)
        self.assertIn("bars", published(made, "v5")["properties"]["spec"]["properties"])


if __name__ == "__main__":
    unittest.main()
