//! What the expressions of policies may refer to.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use cel::{Allowance, Decl, Env, Program, Type};
use serde_json::json;

const VARIABLES: &str = "variables";
/// Variables are evaluated when they are first asked for, within what asks: each operation takes of one stack.
const VARIABLES_HEIGHT_MAX: usize = 300;
/// Types are compared and shown by functions that call themselves.
const TYPE_HEIGHT_MAX: usize = 64;
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

/// The UserInfo of whoever asks.
pub fn user_info() -> Type {
    Type::object(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    )
}

/// The AdmissionRequest, without its objects.
fn request() -> Type {
    let kind =
        |name, last| Type::object(name, [("group", Type::String), ("version", Type::String), (last, Type::String)]);
    let (kind, resource) =
        (kind("kubernetes.GroupVersionKind", "kind"), kind("kubernetes.GroupVersionResource", "resource"));
    let user = user_info();
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

/// What conditions and variables may refer to. All expressions of a policy take of one budget.
pub(super) fn base(has_params: bool, has_authorizer: bool) -> Env {
    let mut env = Env::new()
        .with_allowance(Allowance::default())
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

/// What variables and validations may refer to, where the types of objects and parameters are known.
pub(super) fn typed(object: &Type, params: Option<&Type>) -> Env {
    let env = base(false, true).with_variable("object", object.clone()).with_variable("oldObject", object.clone());
    match params {
        Some(params) => env.with_variable("params", params.clone()),
        None => env,
    }
}

/// What all but conditions may refer to: variables too, each of which may refer to those before it.
pub(super) struct Composed {
    pub env: Env,
    /// How many nodes are within each other in a variable and those that it builds on, by `variables.NAME`.
    heights: BTreeMap<String, usize>,
}

impl Composed {
    /// Without variables.
    pub fn new(env: Env) -> Self {
        Self { env: env.with_variable(VARIABLES, Type::object("kubernetes.variables", [])), heights: BTreeMap::new() }
    }

    /// Compiles a variable and adds it. One that does not compile may be anything: its failure is told for itself.
    ///
    /// # Errors
    /// What is wrong, as Kubernetes words it; and chains of variables that are deeper than a thread's stack allows.
    pub fn add(&mut self, name: &str, text: &str) -> Result<Program, String> {
        let compiled = compile(&self.env, text, &[]).and_then(|program| self.bounded(program));
        let full_name = format!("{VARIABLES}.{name}");
        let (type_, height) = match &compiled {
            Ok(program) => (program.result_type().clone(), self.height(program)),
            Err(_) => (Type::Dyn, 0),
        };
        self.heights.insert(full_name.clone(), height);
        let env = std::mem::take(&mut self.env).with_variable(&full_name, type_);
        self.env = env;
        compiled
    }

    fn height(&self, program: &Program) -> usize {
        let below = program.variables().filter_map(|name| self.heights.get(name)).max();
        program.height() + below.unwrap_or(&0)
    }

    fn bounded(&self, program: Program) -> Result<Program, String> {
        if self.height(&program) > VARIABLES_HEIGHT_MAX {
            return Err(format!(
                "variables too deep: with those that it builds on it has more than {VARIABLES_HEIGHT_MAX} operations \
                 within each other; write what it needs without them"
            ));
        }
        if program.result_type().height() > TYPE_HEIGHT_MAX {
            return Err(format!("type too deep: it has more than {TYPE_HEIGHT_MAX} types within each other"));
        }
        Ok(program)
    }
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
