//! What is refused of what extends the server: webhooks, policies, definitions.

mod admission;
mod definitions;

use super::*;

/// What is wrong with an object, without what is wrong with making it.
fn wrong(plural: &str, body: Value) -> Vec<String> {
    let resource = resource(plural);
    let mut object = json!({"metadata": {"name": "x"}});
    for (key, value) in body.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    let object = complete(resource, object);
    resource.behaviour.validate(&object).iter().map(ToString::to_string).collect()
}

/// An object with a value put in at each pointer.
fn with(mut object: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
        match (parent, value) {
            (Value::Object(fields), Value::Null) => drop(fields.remove(field)),
            (Value::Array(list), value) => list[field.parse::<usize>().expect("an index")] = value.clone(),
            (parent, value) => parent[field] = value.clone(),
        }
    }
    object
}

type Case<'a> = (&'a [(&'a str, Value)], &'a [&'a str]);

fn table(plural: &str, sound: &Value, cases: &[Case<'_>]) {
    assert_eq!(wrong(plural, sound.clone()), Vec::<String>::new(), "{plural}");
    for (changes, expected) in cases {
        assert_eq!(&wrong(plural, with(sound.clone(), changes)), expected, "{plural} {changes:?}");
    }
}
