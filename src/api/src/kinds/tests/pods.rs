//! What is refused of a pod spec, rule by rule, in Kubernetes' words.

mod placement;
mod resources;
mod security;
mod volumes;

use super::*;

/// A pod of one container with these fields, and with these of the spec.
fn pod(container: Value, spec: Value) -> Value {
    let mut object = json!({"spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    for (key, value) in container.as_object().into_iter().flatten() {
        object["spec"]["containers"][0][key] = value.clone();
    }
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

fn refused(cases: &[(Value, Value, &[&str])]) {
    for (container, spec, expected) in cases {
        let errors = create("pods", pod(container.clone(), spec.clone())).1;
        assert_eq!(&errors, expected, "{container} {spec}");
    }
}
