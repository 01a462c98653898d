//! Values and types as schemas tell them.

use serde_json::{Value as Json, json};

use crate::{Decl, Env, PER_CALL_COST_LIMIT, Value, Variables};

fn schema() -> Json {
    json!({"type": "object", "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "flag": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": true},
        "when": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "span": {"type": "string", "format": "duration"},
        "blob": {"type": "string", "format": "byte"},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "byName": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "integer"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "anything": {"x-kubernetes-preserve-unknown-fields": true},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "x-dash.dot/slash__under": {"type": "integer"},
        "namespace": {"type": "string"},
        "nullable": {"type": "string", "nullable": true},
        "embedded": {"type": "object", "x-kubernetes-embedded-resource": true},
    }})
}

/// The value of an expression over `self` and `oldSelf`, or what is wrong.
fn eval(expression: &str, value: &Json, old: &Json) -> String {
    let decl = Decl::from_openapi(&schema(), false).expect("it is an object");
    let env = Env::new().with_declared("self", decl.clone()).with_declared("oldSelf", decl.clone());
    let program = match env.compile(expression) {
        Ok(program) => program,
        Err(error) => return error.to_string().lines().next().unwrap_or_default().to_string(),
    };
    let (Ok(own), Ok(old)) = (Value::typed(value, &decl), Value::typed(old, &decl)) else {
        return "no object".to_string();
    };
    let variables = Variables::new().with("self", own).with("oldSelf", old);
    match program.eval(&variables, PER_CALL_COST_LIMIT).result {
        Ok(value) => super::show(&value),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn values_have_the_types_of_their_schemas() {
    let value = json!({
        "text": "a", "count": 3, "ratio": 2, "flag": true, "port": "http", "when": "2020-01-02T03:04:05Z",
        "day": "2020-01-02", "span": "90s", "blob": "aGk=", "set": ["a", "b"],
        "byName": [{"name": "a", "value": 1}, {"name": "b", "value": 2}], "labels": {"k": "v"},
        "anything": {"deep": 1}, "open": {"x": 1}, "x-dash.dot/slash__under": 7, "namespace": "ns", "nullable": null,
        "embedded": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}},
    });
    let old = json!({
        "set": ["b", "a"], "byName": [{"name": "b", "value": 2}, {"name": "a", "value": 1}], "port": 80, "count": 2,
    });
    let cases = [
        ("self.text + 'b'", "\"ab\""),
        ("self.count + 1", "4"),
        ("self.ratio", "2.0"),
        ("self.ratio > 1.5 && self.flag", "true"),
        ("type(self.port) == string && type(oldSelf.port) == int", "true"),
        ("self.port == 80 || self.port == 'http'", "true"),
        ("self.when.getFullYear()", "2020"),
        ("self.day.getDate()", "2"),
        ("self.span == duration('1m30s')", "true"),
        ("self.blob == b'hi'", "true"),
        ("self.set == oldSelf.set", "true"),
        ("self.set + ['b', 'c']", "[\"a\", \"b\", \"c\"]"),
        ("self.byName == oldSelf.byName", "true"),
        (
            "(self.byName + [{'name': 'a', 'value': 5}])[0]",
            "ERROR: <input>:1:14: found no matching overload for '_+_' applied to '(list(object.byName.@idx), list(map(string, !error!)))'",
        ),
        ("self.byName.exists(e, e.name == 'b' && e.value == 2)", "true"),
        ("self.labels.k", "\"v\""),
        ("self.labels.all(k, self.labels[k] == 'v')", "true"),
        ("has(self.labels.z)", "false"),
        ("self.anything", "ERROR: <input>:1:5: undefined field 'anything'"),
        ("self.open.x", "ERROR: <input>:1:10: undefined field 'x'"),
        ("self.open == self.open", "true"),
        ("self.x__dash__dash__dot__dot__slash__slash__underscores__under", "7"),
        ("self.__namespace__", "\"ns\""),
        (
            "self.nullable == null",
            "ERROR: <input>:1:15: found no matching overload for '_==_' applied to '(string, null)'",
        ),
        ("dyn(self.nullable) == null", "true"),
        ("has(self.nullable)", "true"),
        ("self.embedded.metadata.name + self.embedded.kind", "\"nX\""),
        ("self.embedded.metadata.labels", "ERROR: <input>:1:23: undefined field 'labels'"),
        ("oldSelf.text", "error: no such key: text"),
        ("self == self", "true"),
        ("self == oldSelf", "false"),
        ("self.count in [1, 2, 3]", "true"),
        ("self.text == 1", "ERROR: <input>:1:11: found no matching overload for '_==_' applied to '(string, int)'"),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(expression, expected)| {
            let found = eval(expression, &value, &old);
            (found != *expected).then(|| format!("{expression}\n    expected {expected}\n    found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn values_that_do_not_fit_their_schema_are_errors_and_not_fatal() {
    let value = json!({"text": 1, "when": "yesterday", "blob": "%", "span": "long", "count": 1.5, "set": {}});
    for (expression, expected) in [
        ("self.text", "error: invalid data, expected string, got number"),
        ("self.when", "error: invalid data, date-time string is malformed: \"yesterday\""),
        ("self.blob", "error: invalid data, byte string is malformed: \"%\""),
        ("self.span", "error: invalid data, duration string is malformed: \"long\""),
        ("self.count", "error: invalid data, expected int, got 1.5"),
        ("self.set", "error: invalid data, expected list, got map"),
    ] {
        assert_eq!(eval(expression, &value, &json!({})), expected);
    }
}
