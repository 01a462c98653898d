//! What type each part of an expression has, which variables and functions its names mean, and what does not fit.

use std::collections::BTreeMap;

use crate::ast::{Comprehension, Expr, Kind, Literal, op};
use crate::env::Env;
use crate::functions::{FUNCTIONS, Overload};
use crate::source::Issue;
use crate::types::{Bindings, Type, is_less_specific};

/// More issues than this are not told.
const MAX_ISSUES: usize = 100;

/// An expression whose names and types are known.
#[derive(Debug)]
pub(crate) struct Checked {
    pub expr: Expr,
    /// By the identity of a node.
    pub types: Vec<Type>,
    /// Which overloads a call may mean, by the identity of the call.
    pub overloads: BTreeMap<usize, Vec<&'static str>>,
}

/// Checks an expression with its macros expanded.
pub(crate) fn check(env: &Env, source: &str, mut expr: Expr, nodes: usize) -> Result<Checked, Vec<Issue>> {
    let mut checker = Checker {
        env,
        source,
        types: vec![Type::Error; nodes],
        overloads: BTreeMap::new(),
        bindings: Bindings::default(),
        scopes: Vec::new(),
        issues: Vec::new(),
    };
    checker.check(&mut expr);
    if !checker.issues.is_empty() {
        checker.issues.sort_by_key(|(offset, _)| *offset);
        checker.issues.truncate(MAX_ISSUES);
        return Err(checker.issues.into_iter().map(|(offset, message)| Issue::new(source, offset, message)).collect());
    }
    let types = checker.types.iter().map(|type_| checker.bindings.substitute(type_, true)).collect();
    Ok(Checked { expr, types, overloads: checker.overloads })
}

struct Checker<'e> {
    env: &'e Env,
    source: &'e str,
    types: Vec<Type>,
    overloads: BTreeMap<usize, Vec<&'static str>>,
    bindings: Bindings,
    /// Variables of comprehensions, innermost last.
    scopes: Vec<(String, Type)>,
    issues: Vec<(usize, String)>,
}

impl Checker<'_> {
    fn issue(&mut self, offset: usize, message: impl Into<String>) {
        let message = message.into();
        debug_assert!(offset <= self.source.chars().count());
        if self.issues.len() < MAX_ISSUES {
            self.issues.push((offset, message));
        }
    }

    fn undeclared(&mut self, offset: usize, name: &str) {
        self.issue(offset, format!("undeclared reference to '{name}' (in container '')"));
    }

    fn mismatch(&mut self, offset: usize, expected: &Type, found: &Type) {
        self.issue(offset, format!("expected type '{expected}' but found '{found}'"));
    }

    fn check(&mut self, expr: &mut Expr) -> Type {
        let offset = expr.offset;
        let type_ = match &mut expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => self.ident(name, offset),
            Kind::Select { .. } => self.select(expr),
            Kind::Call { .. } => self.call(expr),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { .. } => self.structure(expr),
            Kind::Comprehension(fold) => self.comprehension(fold),
        };
        if let Some(slot) = self.types.get_mut(expr.id) {
            *slot = type_.clone();
        }
        type_
    }

    fn lookup(&self, name: &str) -> Option<Type> {
        let global = name.strip_prefix('.');
        if global.is_none()
            && let Some((_, type_)) = self.scopes.iter().rev().find(|(known, _)| known == name)
        {
            return Some(type_.clone());
        }
        self.env.variable_type(global.unwrap_or(name))
    }

    fn ident(&mut self, name: &mut String, offset: usize) -> Type {
        match self.lookup(name) {
            Some(type_) => {
                *name = name.trim_start_matches('.').to_string();
                type_
            }
            None => {
                self.undeclared(offset, &name.clone());
                Type::Error
            }
        }
    }

    fn select(&mut self, expr: &mut Expr) -> Type {
        // `a.b` may be one name: of a type, or of a variable that is called so.
        if let Some(name) = expr.qualified_name() {
            let root = name.split('.').next().unwrap_or_default();
            let is_local = self.scopes.iter().any(|(known, _)| known == root);
            if !is_local && let Some(type_) = self.env.variable_type(&name) {
                expr.kind = Kind::Ident(name);
                return type_;
            }
        }
        let offset = expr.offset;
        let Kind::Select { operand, field, test_only } = &mut expr.kind else { return Type::Error };
        let (field, test_only) = (field.clone(), *test_only);
        // A variable that is called so is there.
        if test_only && let Some(name) = operand.qualified_name() {
            let root = name.split('.').next().unwrap_or_default();
            let is_local = self.scopes.iter().any(|(known, _)| known == root);
            if !is_local && self.env.is_variable(&format!("{name}.{field}")) {
                expr.kind = Kind::Literal(Literal::Bool(true));
                return Type::Bool;
            }
        }
        let type_ = self.field(offset, operand, &field, false);
        if test_only { Type::Bool } else { self.bindings.substitute(&type_, false) }
    }

    fn field(&mut self, offset: usize, operand: &mut Expr, field: &str, optional: bool) -> Type {
        let operand = self.check(operand);
        let operand = self.bindings.substitute(&operand, false);
        let (target, is_optional) = operand.unwrap_optional();
        let result = match target {
            Type::Map(parts) => parts.1.clone(),
            Type::Object(object) if object.is_open => Type::Dyn,
            Type::Object(object) => match object.fields.get(field) {
                Some(type_) => type_.clone(),
                None => {
                    self.issue(offset, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Opaque(_) => {
                self.issue(offset, format!("undefined field '{field}'"));
                Type::Error
            }
            Type::Var(_) => {
                self.bindings.assignable(&Type::Dyn, target);
                Type::Dyn
            }
            target if target.is_dyn_or_error() => Type::Dyn,
            target => {
                self.issue(offset, format!("type '{target}' does not support field selection"));
                Type::Dyn
            }
        };
        if is_optional || optional { Type::optional(result) } else { result }
    }

    fn call(&mut self, expr: &mut Expr) -> Type {
        let (id, offset) = (expr.id, expr.offset);
        let Kind::Call { target, function, args } = &mut expr.kind else { return Type::Error };
        if function == op::OPT_SELECT && target.is_none() {
            return self.optional_select(id, offset, args);
        }
        let mut arg_types: Vec<Type> = args.iter_mut().map(|arg| self.check(arg)).collect();
        let Some(receiver) = target else {
            let name = function.trim_start_matches('.').to_string();
            if !self.env.has_function(&name) {
                self.undeclared(offset, function);
                return Type::Error;
            }
            *function = name;
            let places: Vec<usize> = args.iter().map(|arg| arg.offset).collect();
            return self.resolve(id, offset, function, arg_types, (false, &places));
        };
        // `math.ceil(x)`: a function with a dotted name.
        if let Some(namespace) = receiver.qualified_name() {
            let name = format!("{}.{function}", namespace.trim_start_matches('.'));
            if self.env.has_function(&name) {
                *function = name.clone();
                *target = None;
                return self.resolve(id, offset, &name, arg_types, (false, &[]));
            }
        }
        let receiver = self.check(receiver);
        if !self.env.has_function(function) {
            self.undeclared(offset, &function.clone());
            return Type::Error;
        }
        arg_types.insert(0, receiver);
        self.resolve(id, offset, function, arg_types, (true, &[]))
    }

    fn optional_select(&mut self, id: usize, offset: usize, args: &mut [Expr]) -> Type {
        let [operand, field] = args else { return Type::Error };
        let Kind::Literal(Literal::String(name)) = &field.kind else {
            self.issue(field.offset, "unsupported optional field selection");
            return Type::Error;
        };
        let name = name.clone();
        self.check(field);
        let type_ = self.field(offset, operand, &name, true);
        self.overloads.insert(id, vec!["select_optional_field"]);
        self.bindings.substitute(&type_, false)
    }

    /// The type of a call; `(is a method, where the arguments are)`.
    fn resolve(&mut self, id: usize, offset: usize, function: &str, args: Vec<Type>, how: (bool, &[usize])) -> Type {
        let (is_member, places) = how;
        if matches!(function, op::AND | op::OR) {
            return self.logical(id, function, &args, places);
        }
        let mut result: Option<Type> = None;
        let mut found = Vec::new();
        let overloads = FUNCTIONS.get(function).map(Vec::as_slice).unwrap_or_default();
        for overload in overloads.iter().filter(|overload| overload.is_member == is_member) {
            let (candidates, candidate_result) = self.instantiate(overload);
            if !self.bindings.all_assignable(&args, &candidates) {
                continue;
            }
            found.push(overload.id);
            let this = self.bindings.substitute(&candidate_result, false);
            result = Some(match result {
                None => this,
                Some(Type::Dyn) => Type::Dyn,
                Some(before) if before == this => before,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            let mut shown: Vec<String> =
                args.iter().map(|arg| self.bindings.substitute(arg, true).to_string()).collect();
            let receiver = if is_member { format!("{}.", shown.remove(0)) } else { String::new() };
            let signature = format!("{receiver}({})", shown.join(", "));
            self.issue(offset, format!("found no matching overload for '{function}' applied to '{signature}'"));
            return Type::Error;
        };
        self.overloads.insert(id, found);
        result
    }

    fn instantiate(&mut self, overload: &Overload) -> (Vec<Type>, Type) {
        if overload.parameters == 0 {
            return (overload.args.clone(), overload.result.clone());
        }
        let fresh: Vec<Type> = (0..overload.parameters).map(|_| self.bindings.fresh()).collect();
        let args = overload.args.iter().map(|arg| with_parameters(arg, &fresh)).collect();
        (args, with_parameters(&overload.result, &fresh))
    }

    fn logical(&mut self, id: usize, function: &str, args: &[Type], places: &[usize]) -> Type {
        let mut fits = true;
        for (arg, offset) in args.iter().zip(places) {
            if !self.bindings.assignable(arg, &Type::Bool) {
                let arg = self.bindings.substitute(arg, true);
                self.mismatch(*offset, &Type::Bool, &arg);
                fits = false;
            }
        }
        self.overloads.insert(id, vec![if function == op::AND { "logical_and" } else { "logical_or" }]);
        if fits { Type::Bool } else { Type::Error }
    }

    /// The value of `?element`.
    fn optional_part(&mut self, offset: usize, type_: Type, optional: bool) -> Type {
        if !optional {
            return type_;
        }
        let type_ = self.bindings.substitute(&type_, false);
        let (inner, is_optional) = type_.unwrap_optional();
        if !is_optional && !inner.is_dyn_or_error() {
            self.mismatch(offset, &Type::optional(inner.clone()), inner);
        }
        inner.clone()
    }

    /// Elements of one literal have one type.
    fn join(&mut self, offset: usize, before: Option<Type>, this: Type) -> Type {
        let Some(before) = before else { return this };
        if self.bindings.assignable(&before, &this) {
            return if is_less_specific(&before, &this) { before } else { this };
        }
        let (expected, found) = (self.bindings.substitute(&before, true), self.bindings.substitute(&this, true));
        self.mismatch(offset, &expected, &found);
        Type::Error
    }

    fn list(&mut self, elements: &mut [(Expr, bool)]) -> Type {
        let mut joined = None;
        for (element, optional) in elements {
            let type_ = self.check(element);
            let type_ = self.optional_part(element.offset, type_, *optional);
            joined = Some(self.join(element.offset, joined, type_));
        }
        let element = joined.unwrap_or_else(|| self.bindings.fresh());
        Type::list(element)
    }

    fn map(&mut self, entries: &mut [crate::ast::Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let key = match self.check(&mut entry.key) {
                // No key at all; a type of such keys could double with every nesting.
                Type::List(_) | Type::Map(_) | Type::Optional(_) => Type::Dyn,
                key => key,
            };
            keys = Some(self.join(entry.key.offset, keys, key));
            let value = self.check(&mut entry.value);
            let value = self.optional_part(entry.value.offset, value, entry.optional);
            values = Some(self.join(entry.value.offset, values, value));
        }
        let key = keys.unwrap_or_else(|| self.bindings.fresh());
        let value = values.unwrap_or_else(|| self.bindings.fresh());
        Type::map(key, value)
    }

    fn structure(&mut self, expr: &mut Expr) -> Type {
        let offset = expr.offset;
        let Kind::Struct { name, fields } = &mut expr.kind else { return Type::Error };
        *name = name.trim_start_matches('.').to_string();
        let type_ = self.env.struct_type(name);
        if type_.is_none() {
            self.undeclared(offset, &name.clone());
        }
        for field in fields {
            let value = self.check(&mut field.value);
            let value = self.optional_part(field.value.offset, value, field.optional);
            let expected = match &type_ {
                Some(Type::Object(object)) if object.is_open => Type::Dyn,
                Some(Type::Object(object)) => match object.fields.get(&field.name) {
                    Some(expected) => expected.clone(),
                    None => {
                        self.issue(field.offset, format!("undefined field '{}'", field.name));
                        Type::Error
                    }
                },
                _ => Type::Error,
            };
            if !self.bindings.assignable(&expected, &value) {
                let value = self.bindings.substitute(&value, true);
                let message =
                    format!("expected type of field '{}' is '{expected}' but provided type is '{value}'", field.name);
                self.issue(field.offset, message);
            }
        }
        type_.unwrap_or(Type::Error)
    }

    fn comprehension(&mut self, fold: &mut Comprehension) -> Type {
        let range = self.check(&mut fold.range);
        let accu = self.check(&mut fold.init);
        let range = self.bindings.substitute(&range, false);
        let outer = self.scopes.len();
        self.scopes.push((fold.accu.clone(), accu.clone()));
        let (first, second) = match &range {
            Type::List(element) if fold.var2.is_some() => (Type::Int, (**element).clone()),
            Type::List(element) => ((**element).clone(), Type::Error),
            Type::Map(parts) => parts.as_ref().clone(),
            Type::Dyn | Type::Error | Type::Var(_) => {
                self.bindings.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.issue(fold.range.offset, message);
                (Type::Error, Type::Error)
            }
        };
        self.scopes.push((fold.var.clone(), first));
        if let Some(name) = &fold.var2 {
            self.scopes.push((name.clone(), second));
        }
        self.expect(&mut fold.condition, &Type::Bool);
        self.expect(&mut fold.step, &accu);
        self.scopes.truncate(outer + 1);
        let result = self.check(&mut fold.result);
        self.scopes.truncate(outer);
        self.bindings.substitute(&result, false)
    }

    fn expect(&mut self, expr: &mut Expr, expected: &Type) {
        let found = self.check(expr);
        if !self.bindings.assignable(expected, &found) {
            let (expected, found) = (self.bindings.substitute(expected, true), self.bindings.substitute(&found, true));
            self.mismatch(expr.offset, &expected, &found);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// An overload's type with its parameters replaced.
fn with_parameters(type_: &Type, fresh: &[Type]) -> Type {
    let inner = |type_: &Type| with_parameters(type_, fresh);
    match type_ {
        Type::Var(index) => fresh.get(*index).cloned().unwrap_or(Type::Dyn),
        Type::List(element) => Type::list(inner(element)),
        Type::Map(parts) => Type::map(inner(&parts.0), inner(&parts.1)),
        Type::Optional(value) => Type::optional(inner(value)),
        Type::Type(Some(value)) => Type::Type(Some(std::sync::Arc::new(inner(value)))),
        other => other.clone(),
    }
}
