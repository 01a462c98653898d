//! What the expressions of policies may refer to.

use std::sync::{Arc, LazyLock};

use cel::{Decl, Env, Program, Type};
use serde_json::json;

const AUTHORIZER: Type = Type::Opaque("kubernetes.authorization.Authorizer");
const RESOURCE_CHECK: Type = Type::Opaque("kubernetes.authorization.ResourceCheck");

/// The namespace as expressions see it: metadata, and little of the rest.
pub(super) static NAMESPACE: LazyLock<Arc<Decl>> = LazyLock::new(|| {
    let (text, time, number) =
        (json!({"type": "string"}), json!({"type": "string", "format": "date-time"}), json!({"type": "integer"}));
    let texts = json!({"type": "array", "items": text});
    let map = json!({"type": "object", "additionalProperties": text});
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": text, "generateName": text, "namespace": text, "labels": map, "annotations": map, "UID": text,
            "uid": text, "creationTimestamp": time, "deletionGracePeriodSeconds": number, "deletionTimestamp": time,
            "generation": number, "resourceVersion": text, "finalizers": texts,
        }},
        "spec": {"type": "object", "properties": {"finalizers": texts}},
        "status": {"type": "object", "properties": {"phase": text}},
    }});
    Decl::from_openapi(&schema, false).expect("the schema has a type")
});

/// The AdmissionRequest, without its objects.
fn request() -> Type {
    let kind =
        |name, last| Type::object(name, [("group", Type::String), ("version", Type::String), (last, Type::String)]);
    let (kind, resource) =
        (kind("kubernetes.GroupVersionKind", "kind"), kind("kubernetes.GroupVersionResource", "resource"));
    let user = Type::object(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    );
    let texts =
        ["subResource", "requestSubResource", "name", "namespace", "operation"].map(|name| (name, Type::String));
    let others = [
        ("kind", kind.clone()),
        ("resource", resource.clone()),
        ("requestKind", kind),
        ("requestResource", resource),
        ("userInfo", user),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ];
    Type::object("kubernetes.AdmissionRequest", texts.into_iter().chain(others))
}

/// What conditions and variables may refer to.
pub(super) fn base(has_params: bool, has_authorizer: bool) -> Env {
    let mut env = Env::new()
        .with_variable("object", Type::Dyn)
        .with_variable("oldObject", Type::Dyn)
        .with_variable("request", request())
        .with_declared("namespaceObject", NAMESPACE.clone());
    if has_params {
        env = env.with_variable("params", Type::Dyn);
    }
    if has_authorizer {
        env = env.with_variable("authorizer", AUTHORIZER).with_variable("authorizer.requestResource", RESOURCE_CHECK);
    }
    env
}

/// With a variable of the policy. One that does not compile may be anything: its failure is told for itself.
pub(super) fn with_variable(env: Env, name: &str, program: Option<&Program>) -> Env {
    let type_ = program.map_or(Type::Dyn, |program| program.result_type().clone());
    env.with_variable(&format!("variables.{name}"), type_)
}

/// What a messageExpression may refer to: all but the authorizer.
pub(super) fn message(env: &Env) -> Env {
    env.clone().without_variable("authorizer").without_variable("authorizer.requestResource")
}

/// Compiles an expression whose value has one of `types`, of any type where there are none.
///
/// # Errors
/// What is wrong, as Kubernetes words it.
pub(super) fn compile(env: &Env, text: &str, types: &[Type]) -> Result<Program, String> {
    let program = env.compile(text).map_err(|error| format!("compilation failed: {error}"))?;
    // A value whose type is not known before it is there is refused too.
    if types.is_empty() || types.contains(program.result_type()) {
        return Ok(program);
    }
    let names: Vec<String> = types.iter().map(ToString::to_string).collect();
    Err(match names.as_slice() {
        [one] => format!("must evaluate to {one}"),
        several => format!("must evaluate to one of [{}]", several.join(" ")),
    })
}
