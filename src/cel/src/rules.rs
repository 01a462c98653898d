//! `x-kubernetes-validations`: the rules of a CRD's schema, checked when the CRD comes in and evaluated on its objects.
//!
//! [`check_schema`] refuses what cannot be compiled or may cost too much. A [`Validator`] holds the compiled rules of
//! a schema and walks objects: each node's rules see the node as `self` and, where it can be told which node of the
//! old object it was, that as `oldSelf`.

mod check;
mod path;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::decl::Decl;
use crate::{Allowance, CompileError, Env, Program, Type};

pub use check::check_schema;

/// The extension of a schema's node.
pub const FIELD: &str = "x-kubernetes-validations";
/// Schemas within schemas.
const MAX_DEPTH: usize = 128;

/// A rule as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// The expression that must be true.
    pub rule: String,
    /// Told where it is not.
    pub message: String,
    /// Makes the message.
    pub message_expression: String,
    /// The reason of the cause: `FieldValueInvalid` and so on.
    pub reason: Option<String>,
    /// The field that is told, from the rule's node on.
    pub field_path: String,
    /// `oldSelf` is an optional, and the rule applies to new nodes too.
    pub optional_old_self: Option<bool>,
}

impl Rule {
    fn from_json(json: &Json) -> Self {
        let text = |name: &str| json.get(name).and_then(Json::as_str).unwrap_or_default().to_string();
        Self {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: json.get("reason").and_then(Json::as_str).map(str::to_string),
            field_path: text("fieldPath"),
            optional_old_self: json.get("optionalOldSelf").and_then(Json::as_bool),
        }
    }

    /// The rules of a node of a schema.
    pub fn of(schema: &Json) -> Vec<Self> {
        schema.get(FIELD).and_then(Json::as_array).into_iter().flatten().map(Self::from_json).collect()
    }

    /// What is told where nothing makes a message.
    fn shown(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { self.message.trim() }
    }
}

/// A compiled rule.
#[derive(Debug)]
struct Compiled {
    rule: Rule,
    program: Result<Program, String>,
    message: Option<Program>,
    /// The field path as errors show it.
    field_path: Option<String>,
    uses_old_self: bool,
}

/// The compiled rules of a schema; to be shared between threads.
#[derive(Debug)]
pub struct Validator {
    root: Node,
}

/// The rules of a node of the schema and of what is below it.
#[derive(Debug)]
struct Node {
    decl: Arc<Decl>,
    type_name: String,
    rules: Vec<Compiled>,
    properties: BTreeMap<String, Node>,
    values: Option<Box<Node>>,
    items: Option<Box<Node>>,
    /// Rules that stand under `allOf`.
    all_of: Vec<Node>,
    /// The keys of a list that is a map: its elements are known by them in the old object.
    list_keys: Option<Vec<String>>,
    /// Defaults of those keys.
    key_defaults: BTreeMap<String, Json>,
}

impl Validator {
    /// The validator of a CRD's `openAPIV3Schema`, compiled on what all of the CRD's versions may take; none where there
    /// are no rules.
    pub fn of_resource(schema: &Json, allowance: &Allowance) -> Option<Self> {
        let decl = Decl::from_openapi(schema, true)?;
        node(schema, schema, &decl, (0, allowance)).map(|root| Self { root })
    }
}

fn is_embedded(schema: &Json) -> bool {
    schema.get("x-kubernetes-embedded-resource").and_then(Json::as_bool) == Some(true)
}

/// The node of a schema, with the rules that `rules_schema` has for it; how deep it is and what compiling may take.
fn node(rules_schema: &Json, schema: &Json, decl: &Arc<Decl>, within: (usize, &Allowance)) -> Option<Node> {
    let (depth, allowance) = within;
    let below = (depth + 1, allowance);
    if depth > MAX_DEPTH {
        return None;
    }
    let mut built = Node {
        decl: decl.clone(),
        type_name: schema.get("type").and_then(Json::as_str).unwrap_or_default().to_string(),
        rules: Rule::of(rules_schema).into_iter().map(|rule| compile(rule, decl, schema, allowance)).collect(),
        properties: BTreeMap::new(),
        values: None,
        items: None,
        all_of: Vec::new(),
        list_keys: None,
        key_defaults: BTreeMap::new(),
    };
    if let (Some(rules), Some(items)) = (rules_schema.get("items"), schema.get("items"))
        && let Some(decl) = item_decl(decl)
    {
        built.items = node(rules, items, decl, below).map(Box::new);
        list_facts(schema, items, &mut built);
    }
    if let (Some(rules), Some(values)) = (rules_schema.get("additionalProperties"), schema.get("additionalProperties"))
        && let Some(decl) = decl.child("")
    {
        built.values = node(rules, values, decl, below).map(Box::new);
    }
    for (name, rules) in rules_schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let Some(property) = schema.get("properties").and_then(|properties| properties.get(name)) else { continue };
        // What no expression can name has rules of its own nevertheless.
        let own = match crate::escape(name) {
            Some(_) => decl.child(name).cloned(),
            None => Decl::from_openapi(property, is_embedded(property)),
        };
        if let Some(property) = own.and_then(|decl| node(rules, property, &decl, below)) {
            built.properties.insert(name.clone(), property);
        }
    }
    for part in rules_schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
        built.all_of.extend(node(part, schema, decl, below));
    }
    let has_rules = !built.rules.is_empty()
        || !built.properties.is_empty()
        || built.values.is_some()
        || built.items.is_some()
        || !built.all_of.is_empty();
    has_rules.then_some(built)
}

fn item_decl(decl: &Decl) -> Option<&Arc<Decl>> {
    match &decl.shape {
        crate::decl::Shape::List { items, .. } => Some(items),
        _ => None,
    }
}

fn list_facts(schema: &Json, items: &Json, built: &mut Node) {
    if schema.get("x-kubernetes-list-type").and_then(Json::as_str) != Some("map") {
        return;
    }
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Json::as_array).into_iter().flatten();
    let keys: Vec<String> = keys.filter_map(Json::as_str).map(str::to_string).collect();
    for key in &keys {
        if let Some(default) =
            items.pointer(&format!("/properties/{}/default", key.replace('~', "~0").replace('/', "~1")))
        {
            built.key_defaults.insert(key.clone(), default.clone());
        }
    }
    built.list_keys = Some(keys);
}

/// What the rules of a node may refer to.
fn env(decl: &Arc<Decl>, optional_old_self: bool, allowance: &Allowance) -> Env {
    let env = Env::new().with_allowance(allowance.clone()).with_declared("self", decl.clone());
    if optional_old_self {
        env.with_optional_declared("oldSelf", decl)
    } else {
        env.with_declared("oldSelf", decl.clone())
    }
}

fn compile_rule(rule: &Rule, decl: &Arc<Decl>, allowance: &Allowance) -> Result<Program, String> {
    let env = env(decl, rule.optional_old_self == Some(true), allowance);
    let program = env.compile(&rule.rule).map_err(|error| format!("compilation failed: {error}"))?;
    // A rule of type `dyn` is refused too.
    if *program.result_type() == Type::Bool {
        Ok(program)
    } else {
        Err("cel expression must evaluate to a bool".to_string())
    }
}

fn compile_message(rule: &Rule, decl: &Arc<Decl>, allowance: &Allowance) -> Result<Program, String> {
    let env = env(decl, rule.optional_old_self == Some(true), allowance);
    let compiled = env.compile(&rule.message_expression);
    let program = compiled.map_err(|error: CompileError| format!("messageExpression compilation failed: {error}"))?;
    if *program.result_type() == Type::String {
        Ok(program)
    } else {
        Err("messageExpression must evaluate to a string".to_string())
    }
}

fn compile(rule: Rule, decl: &Arc<Decl>, schema: &Json, allowance: &Allowance) -> Compiled {
    let program = compile_rule(&rule, decl, allowance);
    let message = if rule.message_expression.is_empty() { None } else { compile_message(&rule, decl, allowance).ok() };
    let field_path = path::resolve(&rule.field_path, schema).ok().filter(|path| !path.is_empty());
    let uses_old_self = program.as_ref().is_ok_and(|program| program.uses("oldSelf"));
    Compiled { rule, program, message, field_path, uses_old_self }
}

#[cfg(test)]
mod tests;
