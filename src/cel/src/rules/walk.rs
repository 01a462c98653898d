//! The rules of a schema on an object, node by node, within one budget.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use machinery::field::{FieldError, FieldErrors, Path, Reason};
use serde_json::{Map as JsonMap, Value as Json};

use super::{Compiled, Node, Validator};
use crate::{EvalError, PER_CALL_COST_LIMIT, Value, Variables};

/// A message that an expression makes is no longer.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;
/// So many errors are enough to mend; an object of the largest size has room for a hundred thousand.
const MAX_ERRORS: usize = 100;
/// Objects within objects; JSON here is not deeper.
const MAX_DEPTH: usize = 128;

impl Validator {
    /// Everything that the rules have against an object. `old` is the object before an update. What is evaluated is
    /// taken off the budget, [`crate::OBJECT_COST_LIMIT`] for a whole object; where it is used up the rest of the rules
    /// is not run, which is an error too. What fails on a part that the update leaves as it was is passed over, unless
    /// the rule speaks of the old object (KEP-4008).
    pub fn validate(&self, path: &Path, object: &Json, old: Option<&Json>, budget: &mut u64) -> FieldErrors {
        let mut walk = Walk { errors: Vec::new(), budget, is_over: false };
        walk.node(&self.root, path, &At::new(object, old, None), 0);
        walk.errors
    }
}

struct Walk<'b> {
    errors: FieldErrors,
    budget: &'b mut u64,
    /// No further rules are run.
    is_over: bool,
}

/// A node of the object.
struct At<'p, 'a> {
    value: &'a Json,
    /// The same node of the old object, where it can be told.
    old: Option<&'a Json>,
    above: Option<&'p At<'p, 'a>>,
    /// Whether the update leaves it as it was, where that has been asked: many rules and many nodes below ask.
    is_unchanged: OnceCell<bool>,
}

impl<'p, 'a> At<'p, 'a> {
    fn new(value: &'a Json, old: Option<&'a Json>, above: Option<&'p At<'p, 'a>>) -> Self {
        Self { value, old: old.filter(|old| !old.is_null()), above, is_unchanged: OnceCell::new() }
    }

    /// The update leaves it as it was. What cannot be found in the old object is as it was where the nearest node above
    /// is that can.
    fn is_unchanged(&self) -> bool {
        *self.is_unchanged.get_or_init(|| match (self.old, self.above) {
            // What is within something that is as it was need not be compared.
            (Some(old), above) => {
                above.is_some_and(|above| above.is_unchanged.get() == Some(&true)) || self.value == old
            }
            (None, Some(above)) => above.is_unchanged(),
            (None, None) => false,
        })
    }
}

impl Walk<'_> {
    fn push(&mut self, path: &Path, value: Json, detail: impl Into<String>) {
        self.errors.push(FieldError { path: path.clone(), reason: Reason::Invalid, value, detail: detail.into() });
    }

    fn node(&mut self, node: &Node, path: &Path, at: &At<'_, '_>, depth: usize) {
        if self.is_over || at.value.is_null() || depth > MAX_DEPTH {
            return;
        }
        self.rules(node, path, at);
        for part in &node.all_of {
            self.node(part, path, at, depth + 1);
        }
        match at.value {
            Json::Array(items) => self.items(node, path, items, at, depth),
            Json::Object(fields) => self.fields(node, path, fields, at, depth),
            _ => {}
        }
    }

    fn fields(&mut self, node: &Node, path: &Path, fields: &JsonMap<String, Json>, at: &At<'_, '_>, depth: usize) {
        for (name, value) in fields {
            let child = At::new(value, at.old.and_then(|old| old.get(name)), Some(at));
            if let Some(values) = &node.values {
                self.node(values, &path.key(name), &child, depth + 1);
            }
            if let Some(property) = node.properties.get(name) {
                self.node(property, &path.child(name), &child, depth + 1);
            }
        }
    }

    fn items(&mut self, node: &Node, path: &Path, items: &[Json], at: &At<'_, '_>, depth: usize) {
        let Some(rules) = &node.items else { return };
        let old = at.old.and_then(Json::as_array).filter(|_| node.list_keys.is_some());
        let known: BTreeMap<String, &Json> =
            old.into_iter().flatten().filter_map(|item| Some((identity(node, item)?, item))).collect();
        for (index, item) in items.iter().enumerate() {
            let old = identity(node, item).and_then(|identity| known.get(&identity).copied());
            self.node(rules, &path.index(index), &At::new(item, old, Some(at)), depth + 1);
        }
    }

    /// Takes a cost off the budget; false where there is not so much left.
    fn spend(&mut self, cost: u64) -> bool {
        match self.budget.checked_sub(cost) {
            Some(left) => {
                *self.budget = left;
                true
            }
            None => {
                *self.budget = 0;
                self.is_over = true;
                false
            }
        }
    }

    fn rules(&mut self, node: &Node, path: &Path, at: &At<'_, '_>) {
        if node.rules.is_empty() {
            return;
        }
        let type_name = || Json::String(node.type_name.clone());
        if *self.budget == 0 {
            self.is_over = true;
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.push(path, type_name(), detail);
            return;
        }
        let own = match Value::typed(at.value, &node.decl) {
            Ok(own) => own,
            // The definition has changed since, and the update need not mend what it does not touch.
            Err(_) if at.is_unchanged() => return,
            Err(error) => return self.push(path, type_name(), format!("{error} evaluating rules")),
        };
        let old = at.old.and_then(|old| Value::typed(old, &node.decl).ok());
        for compiled in &node.rules {
            if self.is_over {
                return;
            }
            let before = self.errors.len();
            self.rule(node, path, compiled, at.value, (&own, old.as_ref()));
            // What ends the rules is told in any case.
            if self.errors.len() > before && !self.is_over && !compiled.uses_old_self && at.is_unchanged() {
                self.errors.truncate(before);
            }
            if self.errors.len() >= MAX_ERRORS {
                self.is_over = true;
                let detail = format!("more than {MAX_ERRORS} rules fail, no further validation rules will be run");
                self.push(path, type_name(), detail);
            }
        }
    }

    fn rule<'a>(
        &mut self,
        node: &Node,
        path: &Path,
        compiled: &Compiled,
        value: &Json,
        (own, old): (&Value<'a>, Option<&Value<'a>>),
    ) {
        let type_name = Json::String(node.type_name.clone());
        let program = match &compiled.program {
            Ok(program) => program,
            Err(error) => return self.push(path, type_name, format!("rule compile error: {error}")),
        };
        let is_optional = compiled.rule.optional_old_self == Some(true);
        // A transition rule says nothing about what was not there before.
        if compiled.uses_old_self && old.is_none() && !is_optional {
            return;
        }
        let mut variables = Variables::new().with("self", own.clone());
        if is_optional {
            variables = variables.with("oldSelf", Value::Optional(old.cloned().map(std::sync::Arc::new)));
        } else if let Some(old) = old {
            variables = variables.with("oldSelf", old.clone());
        }
        let outcome = program.eval(&variables, PER_CALL_COST_LIMIT);
        if !self.spend(outcome.cost) {
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            return self.push(path, type_name, detail);
        }
        match outcome.result {
            Ok(Value::Bool(true)) => {}
            Ok(_) => self.failed(node, path, compiled, value, &variables),
            Err(error) => self.broken(path, type_name, compiled.rule.shown(), &error),
        }
    }

    fn broken(&mut self, path: &Path, type_name: Json, shown: &str, error: &EvalError) {
        if error.exceeds_cost() {
            self.is_over = true;
            let detail = format!(
                "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
            );
            return self.push(path, type_name, detail);
        }
        let text = error.to_string();
        let detail = if text.starts_with("no such overload") {
            format!(
                "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
            )
        } else {
            format!("{text} evaluating rule: {shown}")
        };
        self.push(path, type_name, detail);
    }

    fn failed(&mut self, node: &Node, path: &Path, compiled: &Compiled, value: &Json, variables: &Variables<'_>) {
        let path = match &compiled.field_path {
            Some(field) => path.child(field),
            None => path.clone(),
        };
        let made = match self.message(compiled, variables) {
            Ok(made) => made,
            Err(detail) => {
                self.is_over = true;
                return self.push(&path, Json::String(node.type_name.clone()), detail);
            }
        };
        let detail = made.unwrap_or_else(|| match compiled.rule.message.is_empty() {
            true => format!("failed rule: {}", compiled.rule.shown()),
            false => compiled.rule.message.trim().to_string(),
        });
        let reason = match compiled.rule.reason.as_deref() {
            Some("FieldValueForbidden") => Reason::Forbidden,
            Some("FieldValueRequired") => Reason::Required,
            Some("FieldValueDuplicate") => Reason::Duplicate,
            _ => Reason::Invalid,
        };
        // Objects and lists are told by their type.
        let value =
            if value.is_object() || value.is_array() { Json::String(node.type_name.clone()) } else { value.clone() };
        self.errors.push(FieldError { path, reason, value, detail });
    }

    /// What the message expression makes; none where it makes nothing of use.
    fn message(&mut self, compiled: &Compiled, variables: &Variables<'_>) -> Result<Option<String>, String> {
        let Some(program) = &compiled.message else { return Ok(None) };
        let outcome = program.eval(variables, PER_CALL_COST_LIMIT);
        if !self.spend(outcome.cost) {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_string());
        }
        match outcome.result {
            Ok(Value::String(text)) => {
                let text = text.trim();
                let is_of_use = !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n');
                Ok(is_of_use.then(|| text.to_string()))
            }
            Err(error) if error.exceeds_cost() => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                compiled.rule.message_expression
            )),
            _ => Ok(None),
        }
    }
}

/// What tells an element of a list that is a map from the others.
fn identity(node: &Node, item: &Json) -> Option<String> {
    let keys = node.list_keys.as_ref()?;
    let item = item.as_object()?;
    let values: Vec<Json> = keys
        .iter()
        .map(|key| item.get(key).or_else(|| node.key_defaults.get(key)).cloned().unwrap_or(Json::Null))
        .collect();
    Some(Json::Array(values).to_string())
}
