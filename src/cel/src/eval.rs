//! Walking a program: values, errors that operators absorb, and what everything costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cost;
use crate::error::EvalError;
use crate::library::{self, text_of};
use crate::plan::{Call, Fold, Node};
use crate::program::Activation;
use crate::value::{Key, List, Map, Struct, Value};

/// Bytes that one evaluation may take for what it makes, whether it keeps them or not. Costs bound most of it; lists
/// that are joined and texts that are replaced cost less than they take.
const MAX_ALLOCATED_BYTES: u64 = 256 << 20;
/// Elementary steps for each unit of cost that may be spent: comparing deep values costs less than it takes.
const WORK_PER_COST: u64 = 20;
/// Bytes of a text that are looked at in the time of an elementary step.
const BYTES_PER_STEP: u64 = 256;

/// What an evaluation has used and may use.
#[derive(Debug)]
pub struct Meter {
    cost: u64,
    limit: u64,
    work: u64,
    allocated_bytes: u64,
}

impl Meter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { cost: 0, limit, work: 0, allocated_bytes: 0 }
    }

    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::cost_limit()) } else { Ok(()) }
    }

    /// Steps that no cost is counted for.
    pub(crate) fn work(&mut self, steps: u64) -> Result<(), EvalError> {
        self.work = self.work.saturating_add(steps);
        if self.work > self.limit.saturating_mul(WORK_PER_COST) { Err(EvalError::cost_limit()) } else { Ok(()) }
    }

    /// A text is looked at, which few functions cost: `size`, `in`, comparing it with a short one.
    pub(crate) fn look(&mut self, value: &Value<'_>) -> Result<(), EvalError> {
        match value {
            Value::String(text) => self.work(text.len() as u64 / BYTES_PER_STEP),
            Value::Bytes(bytes) => self.work(bytes.len() as u64 / BYTES_PER_STEP),
            _ => Ok(()),
        }
    }

    /// Bytes about to be taken.
    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<(), EvalError> {
        self.allocated_bytes = self.allocated_bytes.saturating_add(bytes);
        if self.allocated_bytes > MAX_ALLOCATED_BYTES { Err(EvalError::cost_limit()) } else { self.work(bytes / 64) }
    }

    /// Elements of a list about to be made.
    pub(crate) fn allocate_values(&mut self, count: usize) -> Result<(), EvalError> {
        self.allocate((count * std::mem::size_of::<Value<'_>>()) as u64)
    }
}

type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// Where variables are found.
pub(crate) struct Scope<'s, 'a> {
    activation: Option<&'s dyn Activation<'a>>,
}

impl<'s, 'a> Scope<'s, 'a> {
    pub(crate) fn new(activation: &'s dyn Activation<'a>) -> Self {
        Self { activation: Some(activation) }
    }

    pub(crate) fn empty() -> Self {
        Self { activation: None }
    }
}

/// The value of a program.
pub(crate) fn evaluate<'a>(root: &Node, scope: &Scope<'_, 'a>, meter: &mut Meter) -> Evaluated<'a> {
    Evaluator { scope, meter, stack: Vec::new() }.node(root)
}

struct Evaluator<'e, 's, 'a> {
    scope: &'e Scope<'s, 'a>,
    meter: &'e mut Meter,
    /// Variables of comprehensions. An accumulator may be an error that a later step absorbs.
    stack: Vec<Evaluated<'a>>,
}

impl<'a> Evaluator<'_, '_, 'a> {
    fn node(&mut self, node: &Node) -> Evaluated<'a> {
        match node {
            Node::Const(value) => Ok(value.clone()),
            Node::Global(name, cost) => {
                self.meter.charge(*cost)?;
                let value = self.scope.activation.and_then(|activation| activation.resolve(name));
                value.unwrap_or_else(|| Err(EvalError::new(format!("no such attribute(s): {name}"))))
            }
            Node::Local(slot) => {
                self.meter.charge(1)?;
                self.stack.get(*slot).cloned().unwrap_or_else(|| Err(EvalError::new("no such attribute")))
            }
            Node::Select(operand, field, cost) => {
                let operand = self.node(operand)?;
                self.meter.charge(*cost)?;
                select(&operand, field)
            }
            Node::Has(operand, field) => {
                let operand = self.node(operand)?;
                has(&operand, field)
            }
            Node::OptSelect(operand, field, cost) => {
                let operand = self.node(operand)?;
                self.meter.charge(*cost)?;
                optional_select(&operand, field)
            }
            Node::Index(parts, optional, cost) => {
                let operand = self.node(&parts.0)?;
                let index = self.node(&parts.1)?;
                self.meter.charge(*cost)?;
                self.meter.look(&index)?;
                if *optional { optional_index(&operand, &index) } else { index_of(&operand, &index) }
            }
            Node::And(terms) => self.logical(terms, false),
            Node::Or(terms) => self.logical(terms, true),
            Node::Conditional(parts) => match self.node(&parts.0)? {
                Value::Bool(true) => self.node(&parts.1),
                Value::Bool(false) => self.node(&parts.2),
                _ => Err(EvalError::no_such_overload()),
            },
            Node::NotStrictlyFalse(operand) => {
                let value = self.node(operand);
                self.meter.charge(1)?;
                Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
            }
            Node::OptOr(parts, is_value) => self.optional_or(parts, *is_value),
            Node::InSet(operand, set) => {
                let operand = self.node(operand)?;
                self.meter.look(&operand)?;
                Ok(Value::Bool(Key::to_find(&operand).is_some_and(|key| set.contains(&key))))
            }
            Node::Call(call) => self.call(call),
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Struct(name, fields) => self.structure(name, fields),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    /// `&&` and `||`: one operand that decides is enough, whatever became of the other.
    fn logical(&mut self, terms: &(Node, Node), deciding: bool) -> Evaluated<'a> {
        let left = self.node(&terms.0);
        match &left {
            Ok(Value::Bool(value)) if *value == deciding => return left,
            Err(error) if error.exceeds_cost() => return left,
            _ => {}
        }
        let right = self.node(&terms.1);
        match (&left, &right) {
            (_, Ok(Value::Bool(value))) if *value == deciding => right,
            (_, Err(error)) if error.exceeds_cost() => right,
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => right,
            (Err(_), _) => left,
            (_, Err(_)) => right,
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn optional_or(&mut self, parts: &(Node, Node), is_value: bool) -> Evaluated<'a> {
        let value = self.node(&parts.0)?;
        self.meter.charge(1)?;
        match value {
            Value::Optional(None) => self.node(&parts.1),
            Value::Optional(Some(inner)) if is_value => Ok((*inner).clone()),
            Value::Optional(_) => Ok(value),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn call(&mut self, call: &Call) -> Evaluated<'a> {
        if let Some(appended) = self.append(call) {
            return appended;
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            let arg = self.node(arg)?;
            self.meter.look(&arg)?;
            args.push(arg);
        }
        let cost = cost::call(self.meter, &call.name, &args)?;
        self.meter.charge(cost)?;
        match &call.regex {
            Some(regex) => library::strings::with_regex(&call.name, regex, &args, self.meter),
            None => (call.function)(self.meter, &args),
        }
    }

    /// `accumulator + [element]` without copying the accumulator, which nobody else holds.
    fn append(&mut self, call: &Call) -> Option<Evaluated<'a>> {
        let [Node::Local(slot), Node::List(elements)] = call.args.as_slice() else { return None };
        let [(element, false)] = elements.as_slice() else { return None };
        if call.name != crate::ast::op::ADD || !matches!(self.stack.get(*slot), Some(Ok(Value::List(List::Owned(_))))) {
            return None;
        }
        Some(self.append_to(*slot, element))
    }

    fn append_to(&mut self, slot: usize, element: &Node) -> Evaluated<'a> {
        self.meter.charge(1)?;
        let element = self.node(element)?;
        self.meter.charge(cost::LIST_CREATE + 1)?;
        self.meter.allocate_values(1)?;
        let Some(Ok(Value::List(List::Owned(mut items)))) =
            self.stack.get_mut(slot).map(|held| std::mem::replace(held, Ok(Value::Null)))
        else {
            return Err(EvalError::no_such_overload());
        };
        if Arc::get_mut(&mut items).is_none() {
            self.meter.allocate_values(items.len())?;
        }
        Arc::make_mut(&mut items).push(element);
        Ok(Value::List(List::Owned(items)))
    }

    fn list(&mut self, elements: &[(Node, bool)]) -> Evaluated<'a> {
        self.meter.allocate_values(elements.len())?;
        let mut items = Vec::with_capacity(elements.len());
        for (element, optional) in elements {
            match (self.node(element)?, optional) {
                (value, false) => items.push(value),
                (Value::Optional(Some(value)), true) => items.push((*value).clone()),
                (Value::Optional(None), true) => {}
                (_, true) => return Err(EvalError::no_such_overload()),
            }
        }
        self.meter.charge(cost::LIST_CREATE)?;
        Ok(Value::from(items))
    }

    fn map(&mut self, entries: &[(Node, Node, bool)]) -> Evaluated<'a> {
        self.meter.allocate_values(2 * entries.len())?;
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.node(key)?;
            self.meter.look(&key)?;
            let key =
                Key::of(&key).ok_or_else(|| EvalError::new(format!("unsupported key type: {}", key.type_name())))?;
            let value = match (self.node(value)?, optional) {
                (value, false) => value,
                (Value::Optional(Some(value)), true) => (*value).clone(),
                (Value::Optional(None), true) => continue,
                (_, true) => return Err(EvalError::no_such_overload()),
            };
            if map.contains_key(&key) {
                return Err(EvalError::new(format!("Failed with repeated key {}", text_or_type(&key.to_value()))));
            }
            map.insert(key, value);
        }
        self.meter.charge(cost::MAP_CREATE)?;
        Ok(Value::Map(Map::Owned(Arc::new(map))))
    }

    fn structure(&mut self, name: &Arc<str>, nodes: &[(String, Node, bool)]) -> Evaluated<'a> {
        let mut fields = BTreeMap::new();
        for (field, node, optional) in nodes {
            let value = match (self.node(node)?, optional) {
                (value, false) => value,
                (Value::Optional(Some(value)), true) => (*value).clone(),
                (Value::Optional(None), true) => continue,
                (_, true) => return Err(EvalError::no_such_overload()),
            };
            check_path(name, field, &value)?;
            fields.insert(field.clone(), value);
        }
        self.meter.charge(cost::STRUCT_CREATE)?;
        Ok(Value::Struct(Arc::new(Struct { name: name.clone(), fields })))
    }

    fn fold(&mut self, fold: &Fold) -> Evaluated<'a> {
        let range = self.node(&fold.range)?;
        let init = self.node(&fold.init);
        if let Err(error) = &init
            && error.exceeds_cost()
        {
            return init;
        }
        self.stack.truncate(fold.slot);
        self.stack.push(init);
        let looped = self.steps(fold, &range);
        self.stack.truncate(fold.slot + 1);
        let result = looped.and_then(|()| self.node(&fold.result));
        self.stack.truncate(fold.slot);
        result
    }

    fn steps(&mut self, fold: &Fold, range: &Value<'a>) -> Result<(), EvalError> {
        match range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let element = list.get(index).unwrap_or(Ok(Value::Null));
                    let first = if fold.has_second { Ok(Value::Int(index as i64)) } else { element.clone() };
                    if !self.step(fold, first, element)? {
                        break;
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                let keys = map.keys();
                self.meter.allocate_values(keys.len())?;
                for key in keys {
                    let value = match Key::of(&key).filter(|_| fold.has_second) {
                        Some(key) => map.get(&key).unwrap_or(Ok(Value::Null)),
                        None => Ok(Value::Null),
                    };
                    if !self.step(fold, Ok(key), value)? {
                        break;
                    }
                }
                Ok(())
            }
            other => Err(EvalError::new(format!("got '{}', expected iterable type", other.type_name()))),
        }
    }

    /// One element; false where the rest need not be looked at.
    fn step(&mut self, fold: &Fold, first: Evaluated<'a>, second: Evaluated<'a>) -> Result<bool, EvalError> {
        self.meter.work(1)?;
        self.stack.truncate(fold.slot + 1);
        self.stack.push(first);
        if fold.has_second {
            self.stack.push(second);
        }
        match self.node(&fold.condition) {
            Ok(Value::Bool(false)) => return Ok(false),
            Err(error) if error.exceeds_cost() => return Err(error),
            _ => {}
        }
        let accumulated = self.node(&fold.step);
        if let Err(error) = &accumulated {
            // Where nothing can absorb an error, nothing after it matters.
            if error.exceeds_cost() || matches!(fold.condition, Node::Const(_)) {
                return Err(error.clone());
            }
        }
        self.stack.truncate(fold.slot);
        self.stack.push(accumulated);
        Ok(true)
    }
}

fn text_or_type(value: &Value<'_>) -> String {
    text_of(value).unwrap_or_else(|_| value.type_name().to_string())
}

fn no_such_key(key: &Value<'_>) -> EvalError {
    EvalError::new(format!("no such key: {}", text_or_type(key)))
}

/// `Object.spec{...}` belongs under `spec` of `Object{...}`.
fn check_path(name: &str, field: &str, value: &Value<'_>) -> Result<(), EvalError> {
    let Value::Struct(inner) = value else { return Ok(()) };
    let expected = format!("{name}.{field}");
    if name == "JSONPatch" || *inner.name == *expected {
        return Ok(());
    }
    let message = format!(
        "unexpected type name {:?}, expected {expected:?}, which matches field name path from root Object type",
        inner.name
    );
    Err(EvalError::new(message))
}

fn select<'a>(operand: &Value<'a>, field: &str) -> Evaluated<'a> {
    match operand {
        Value::Map(map) => map.field(field).unwrap_or_else(|| Err(EvalError::new(format!("no such key: {field}")))),
        Value::Struct(object) => {
            object.fields.get(field).cloned().ok_or_else(|| EvalError::new(format!("no such key: {field}")))
        }
        Value::Optional(_) => optional_select(operand, field),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn has<'a>(operand: &Value<'a>, field: &str) -> Evaluated<'a> {
    match operand {
        Value::Map(map) => map.field(field).map_or(Ok(Value::Bool(false)), |value| value.map(|_| Value::Bool(true))),
        Value::Struct(object) => Ok(Value::Bool(object.fields.contains_key(field))),
        Value::Optional(Some(inner)) => has(inner, field),
        Value::Optional(None) => Ok(Value::Bool(false)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn optional_select<'a>(operand: &Value<'a>, field: &str) -> Evaluated<'a> {
    let operand = match operand {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => inner,
        other => other,
    };
    match operand {
        Value::Map(map) => match map.field(field) {
            Some(value) => value.map(Value::some),
            None => Ok(Value::Optional(None)),
        },
        Value::Struct(object) => Ok(Value::Optional(object.fields.get(field).cloned().map(Arc::new))),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// A number of a list's element.
fn position(index: &Value<'_>) -> Option<i64> {
    match index {
        Value::Int(index) => Some(*index),
        Value::Uint(index) => i64::try_from(*index).ok(),
        Value::Double(index) if index.fract() == 0.0 && index.abs() < 9.2e18 => Some(*index as i64),
        _ => None,
    }
}

fn index_of<'a>(operand: &Value<'a>, index: &Value<'a>) -> Evaluated<'a> {
    match operand {
        Value::List(list) => {
            let at = position(index)
                .ok_or_else(|| EvalError::new(format!("unsupported index type '{}' in list", index.type_name())))?;
            let value = usize::try_from(at).ok().and_then(|at| list.get(at));
            value.unwrap_or_else(|| Err(EvalError::new(format!("index out of bounds: {at}"))))
        }
        Value::Map(map) => {
            let key = Key::to_find(index);
            key.and_then(|key| map.get(&key)).unwrap_or_else(|| Err(no_such_key(index)))
        }
        Value::Optional(_) => optional_index(operand, index),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn optional_index<'a>(operand: &Value<'a>, index: &Value<'a>) -> Evaluated<'a> {
    let operand = match operand {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => inner,
        other => other,
    };
    let found = match operand {
        Value::List(list) => position(index).and_then(|at| usize::try_from(at).ok()).and_then(|at| list.get(at)),
        Value::Map(map) => Key::to_find(index).and_then(|key| map.get(&key)),
        _ => return Err(EvalError::no_such_overload()),
    };
    match found {
        Some(value) => value.map(Value::some),
        None => Ok(Value::Optional(None)),
    }
}
