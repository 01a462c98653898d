"""What the server says of fields that it does not know or that come twice."""

import json
import unittest

from support import APPLY, OPEN, ask, custom, define, definition, here, schema, word

STRICT = "?fieldManager=tests&fieldValidation=Strict"
SPEC = {
    "foo": {"type": "string"},
    "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
    "ports": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "items": {
            "type": "object",
            "required": ["containerPort", "protocol"],
            "properties": {"containerPort": {"type": "integer"}, "protocol": {"type": "string"}, "name": {"type": "string"}},
        },
    },
}
KNOWN = "foo: foo1\n  cronSpec: '* * * * */5'\n  ports: [{name: x, containerPort: 80, protocol: TCP}]\n"


def deployment(metadata, spec):
    """The text of a Deployment with something that should not be there."""
    pods = '{"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}'
    selector = '{"matchLabels": {"app": "a"}}'
    return (
        f'{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "d"{metadata}}},'
        f' "spec": {{{spec}"selector": {selector}, "template": {pods}}}}}'
    )


class Validation(unittest.TestCase):
    def custom(self, version, text, metadata="", root="", query=STRICT):
        """Applies an object of a definition of its own, made of `text`, and answers with the answer."""
        wanted = define(self, definition(f"{word()}.example.com", {"v1": version}))
        path = custom(wanted, name="mine")
        kind = f"apiVersion: {wanted['spec']['group']}/v1\nkind: Thing\n"
        self.addCleanup(ask, "DELETE", path)
        return ask("PATCH", path + query, f"{kind}metadata:\n  name: mine\n{metadata}{root}spec:\n  {text}", APPLY)

    # conformance: unknown and duplicate fields of a typed object
    def test_unknown_and_duplicate_fields_of_a_typed_object(self):
        body = deployment("", '"unknownField": "foo", "replicas": 2, "replicas": 3, ')
        status = ask("POST", here("deployments", "apps/v1") + STRICT, body).refused(400, "BadRequest")
        words = 'strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"'
        self.assertIn(words, status["message"])

    # conformance: unknown fields in the metadata of a typed object
    def test_unknown_fields_in_the_metadata_of_a_typed_object(self):
        body = deployment(', "unknownMeta": "foo"', "")
        status = ask("POST", here("deployments", "apps/v1") + STRICT, body).refused(400, "BadRequest")
        self.assertIn('strict decoding error: unknown field "metadata.unknownMeta"', status["message"])

    # conformance: a valid custom object passes
    def test_a_valid_custom_object_passes(self):
        version = schema({"spec": {"type": "object", "properties": SPEC}})
        made = self.custom(version, KNOWN).ok(201)
        self.assertEqual(made["spec"]["ports"][0]["containerPort"], 80)

    # conformance: an extra field of a custom object is refused
    def test_an_extra_field_of_a_custom_object_is_refused(self):
        version = schema({"spec": {"type": "object", "properties": SPEC}})
        answer = self.custom(version, KNOWN, root="unknownField: unknown\n")
        self.assertIn(".unknownField: field not declared in schema", json.dumps(answer.json))
        self.assertGreaterEqual(answer.code, 400)

    # conformance: a definition without a schema takes unknown fields
    def test_a_definition_without_a_schema_takes_unknown_fields(self):
        made = self.custom(OPEN, "unknown: uk1\n  " + KNOWN).ok(201)
        self.assertEqual(made["spec"]["unknown"], "uk1")

    # conformance: duplicate fields of a custom object that keeps unknown ones
    def test_duplicate_fields_of_a_custom_object_that_keeps_unknown_ones(self):
        version = schema({"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": SPEC}})
        answer = self.custom(version, "unknown: uk1\n  foo: foo0\n  " + KNOWN)
        status = answer.refused(400, "BadRequest")
        self.assertIn('key "foo" already set in map', status["message"])

    # conformance: unknown fields in the metadata of a custom object and of what is embedded in it
    def test_unknown_fields_in_the_metadata_of_a_custom_object_and_of_what_is_embedded_in_it(self):
        template = {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": {
                "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
                "spec": {"type": "object"},
            },
        }
        properties = {**SPEC, "template": template}
        version = schema({"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": properties}})
        embedded = "template:\n    apiversion: foo/v1\n    kind: Sub\n    metadata: {unknownSubMeta: unknown, name: sub}\n  "
        answer = self.custom(version, embedded + KNOWN, metadata="  unknownMeta: unknown\n")
        self.assertGreaterEqual(answer.code, 400)
        said = json.dumps(answer.json)
        self.assertIn(".metadata.unknownMeta: field not declared in schema", said)
        self.assertIn(".spec.template.metadata.unknownSubMeta: field not declared in schema", said)


if __name__ == "__main__":
    unittest.main()
