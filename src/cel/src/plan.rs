//! Checked expressions to trees that are walked: variables are slots, functions are pointers, constants are values.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::Regex;

use crate::allowance::Allowance;
use crate::ast::{Expr, Kind, Literal, op};
use crate::checker::Checked;
use crate::env::Env;
use crate::eval::{Meter, Scope, evaluate};
use crate::library::{self, Function};
use crate::program::Program;
use crate::regexes;
use crate::source::Issue;
use crate::types::Type;
use crate::value::{Key, Value};

/// A step of evaluation.
#[derive(Debug)]
pub(crate) enum Node {
    Const(Value<'static>),
    /// A variable of the caller, and the cost of its name.
    Global(Arc<str>, u64),
    /// A variable of a comprehension.
    Local(usize),
    /// `.field`; the cost besides the operand's.
    Select(Box<Node>, Arc<str>, u64),
    Has(Box<Node>, Arc<str>),
    OptSelect(Box<Node>, Arc<str>, u64),
    /// `[index]`, or `[?index]` where optional; the cost besides the operands'.
    Index(Box<(Node, Node)>, bool, u64),
    And(Box<(Node, Node)>),
    Or(Box<(Node, Node)>),
    Conditional(Box<(Node, Node, Node)>),
    NotStrictlyFalse(Box<Node>),
    /// `or` and `orValue`, which look at their argument only where there is no value.
    OptOr(Box<(Node, Node)>, bool),
    /// `in` a list of constants.
    InSet(Box<Node>, BTreeSet<Key>),
    Call(Box<Call>),
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Struct(Arc<str>, Vec<(String, Node, bool)>),
    Fold(Box<Fold>),
}

#[derive(Debug)]
pub(crate) struct Call {
    pub name: String,
    pub function: Function,
    pub args: Vec<Node>,
    /// Compiled before, where the pattern is a constant.
    pub regex: Option<Regex>,
}

/// A comprehension. Its accumulator is at `slot` of the stack, its variables after it.
#[derive(Debug)]
pub(crate) struct Fold {
    pub range: Node,
    pub slot: usize,
    pub has_second: bool,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}

/// The program of a checked expression; its estimated cost is not known here.
pub(crate) fn plan(env: &Env, source: &str, checked: Checked) -> Result<Program, Issue> {
    let result_type = checked.types.get(checked.expr.id).cloned().unwrap_or(Type::Dyn);
    let allowance = env.allowance().cloned().unwrap_or_default();
    let mut planner = Planner { env, source, scopes: Vec::new(), globals: BTreeSet::new(), allowance };
    let root = planner.node(&checked.expr)?;
    let variables = planner.globals;
    Ok(Program { root, result_type, variables, estimated_cost: crate::estimate::Range::default(), height: 0 })
}

struct Planner<'e> {
    env: &'e Env,
    source: &'e str,
    /// Variables of comprehensions by slot.
    scopes: Vec<String>,
    globals: BTreeSet<String>,
    /// What patterns are compiled on.
    allowance: Allowance,
}

type Planned = Result<Node, Issue>;

impl Planner<'_> {
    fn boxed(&mut self, expr: &Expr) -> Result<Box<Node>, Issue> {
        self.node(expr).map(Box::new)
    }

    fn pair(&mut self, args: &[Expr]) -> Result<Option<Box<(Node, Node)>>, Issue> {
        match args {
            [left, right] => Ok(Some(Box::new((self.node(left)?, self.node(right)?)))),
            _ => Ok(None),
        }
    }

    fn node(&mut self, expr: &Expr) -> Planned {
        match &expr.kind {
            Kind::Literal(literal) => Ok(Node::Const(constant(literal))),
            Kind::Ident(name) => Ok(self.ident(name)),
            Kind::Select { operand, field, test_only } => {
                let operand = self.boxed(operand)?;
                let field = field.as_str().into();
                let cost = operand_cost(&operand);
                Ok(if *test_only { Node::Has(operand, field) } else { Node::Select(operand, field, cost) })
            }
            Kind::Call { target, function, args } => self.call(expr, target.as_deref(), function, args),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => {
                let entries: Result<Vec<_>, Issue> = entries
                    .iter()
                    .map(|entry| Ok((self.node(&entry.key)?, self.node(&entry.value)?, entry.optional)))
                    .collect();
                Ok(fold_constant(Node::Map(entries?), |node| match node {
                    Node::Map(entries) => entries.iter().all(|(key, value, _)| is_const(key) && is_const(value)),
                    _ => false,
                }))
            }
            Kind::Struct { name, fields } => {
                let fields: Result<Vec<_>, Issue> = fields
                    .iter()
                    .map(|field| Ok((field.name.clone(), self.node(&field.value)?, field.optional)))
                    .collect();
                Ok(Node::Struct(name.as_str().into(), fields?))
            }
            Kind::Comprehension(fold) => {
                let range = self.node(&fold.range)?;
                let init = self.node(&fold.init)?;
                let slot = self.scopes.len();
                self.scopes.push(fold.accu.clone());
                self.scopes.push(fold.var.clone());
                self.scopes.extend(fold.var2.clone());
                let condition = self.node(&fold.condition)?;
                let step = self.node(&fold.step)?;
                self.scopes.truncate(slot + 1);
                let result = self.node(&fold.result)?;
                self.scopes.truncate(slot);
                let has_second = fold.var2.is_some();
                Ok(Node::Fold(Box::new(Fold { range, slot, has_second, init, condition, step, result })))
            }
        }
    }

    fn ident(&mut self, name: &str) -> Node {
        if let Some(slot) = self.scopes.iter().rposition(|known| known == name) {
            return Node::Local(slot);
        }
        if self.env.is_variable(name) {
            self.globals.insert(name.to_string());
            // A dotted variable costs what its selections would.
            return Node::Global(name.into(), 1 + name.matches('.').count() as u64);
        }
        match self.env.variable_type(name) {
            Some(Type::Type(Some(type_))) => Node::Const(Value::Type(type_.runtime_name().into())),
            _ => Node::Global(name.into(), 1),
        }
    }

    fn list(&mut self, elements: &[(Expr, bool)]) -> Planned {
        let elements: Result<Vec<_>, Issue> =
            elements.iter().map(|(element, optional)| Ok((self.node(element)?, *optional))).collect();
        Ok(fold_constant(Node::List(elements?), |node| match node {
            Node::List(elements) => elements.iter().all(|(element, optional)| is_const(element) && !optional),
            _ => false,
        }))
    }

    fn call(&mut self, expr: &Expr, target: Option<&Expr>, function: &str, args: &[Expr]) -> Planned {
        if let Some(node) = self.special(target, function, args)? {
            return Ok(node);
        }
        let nodes: Result<Vec<Node>, Issue> = target.into_iter().chain(args).map(|arg| self.node(arg)).collect();
        let mut nodes = nodes?;
        if function == op::IN
            && nodes.len() == 2
            && let Some(Node::Const(list)) = nodes.get(1)
            && let Some(set) = key_set(list)
        {
            return Ok(Node::InSet(Box::new(nodes.swap_remove(0)), set));
        }
        let Some(pointer) = library::find(function) else {
            return Err(Issue::new(self.source, expr.offset, format!("no implementation of '{function}'")));
        };
        let regex = match (function, nodes.get(1)) {
            ("matches" | "find" | "findAll", Some(Node::Const(Value::String(pattern)))) => Some(
                regexes::compile(pattern, &self.allowance)
                    .map_err(|error| Issue::new(self.source, expr.offset, error))?,
            ),
            _ => None,
        };
        let is_conversion = matches!(
            function,
            "bool" | "bytes" | "double" | "duration" | "dyn" | "int" | "string" | "timestamp" | "uint"
        );
        let call = Node::Call(Box::new(Call { name: function.to_string(), function: pointer, args: nodes, regex }));
        if !is_conversion {
            return Ok(call);
        }
        Ok(fold_constant(
            call,
            |node| matches!(node, Node::Call(call) if call.args.len() == 1 && is_const(&call.args[0])),
        ))
    }

    /// Operators that do not look at all their operands, or that are no functions.
    fn special(&mut self, target: Option<&Expr>, function: &str, args: &[Expr]) -> Result<Option<Node>, Issue> {
        if let Some(target) = target {
            let is_value = function == "orValue";
            return match args {
                [other] if is_value || function == "or" => {
                    Ok(Some(Node::OptOr(Box::new((self.node(target)?, self.node(other)?)), is_value)))
                }
                _ => Ok(None),
            };
        }
        match (function, args) {
            (op::AND, args) => Ok(self.pair(args)?.map(Node::And)),
            (op::OR, args) => Ok(self.pair(args)?.map(Node::Or)),
            (op::CONDITIONAL, [condition, truthy, falsy]) => {
                let parts = (self.node(condition)?, self.node(truthy)?, self.node(falsy)?);
                Ok(Some(Node::Conditional(Box::new(parts))))
            }
            (op::NOT_STRICTLY_FALSE, [operand]) => Ok(Some(Node::NotStrictlyFalse(self.boxed(operand)?))),
            (op::INDEX | op::OPT_INDEX, args) => Ok(self.pair(args)?.map(|pair| {
                let cost = operand_cost(&pair.0);
                Node::Index(pair, function == op::OPT_INDEX, cost)
            })),
            (op::OPT_SELECT, [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }]) => {
                let operand = self.boxed(operand)?;
                let cost = operand_cost(&operand);
                Ok(Some(Node::OptSelect(operand, field.as_str().into(), cost)))
            }
            _ => Ok(None),
        }
    }
}

/// What a selection costs: one, and one more where it begins with a value that is no variable or selection.
fn operand_cost(operand: &Node) -> u64 {
    let is_attribute = matches!(
        operand,
        Node::Global(..)
            | Node::Local(_)
            | Node::Select(..)
            | Node::OptSelect(..)
            | Node::Index(..)
            | Node::Conditional(_)
    );
    if is_attribute { 1 } else { 2 }
}

fn is_const(node: &Node) -> bool {
    matches!(node, Node::Const(_))
}

/// The value of a node that needs no variables; the node itself where it has none.
fn fold_constant(node: Node, is_foldable: impl Fn(&Node) -> bool) -> Node {
    if !is_foldable(&node) {
        return node;
    }
    // What a constant costs to make is paid once, here, and bounded by the length of the expression.
    let mut meter = Meter::new(u64::MAX);
    match evaluate(&node, &Scope::empty(), &mut meter) {
        Ok(value) => Node::Const(value),
        Err(_) => node,
    }
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(number) => Value::Int(*number),
        Literal::Uint(number) => Value::Uint(*number),
        Literal::Double(number) => Value::Double(*number),
        Literal::String(text) => Value::shared(text),
        Literal::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
    }
}

/// The elements of a list of constants as keys; none where one cannot be a key.
fn key_set(list: &Value<'static>) -> Option<BTreeSet<Key>> {
    let Value::List(list) = list else { return None };
    list.iter().map(|value| value.ok().as_ref().and_then(Key::to_find)).collect()
}
