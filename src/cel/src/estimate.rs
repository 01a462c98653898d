//! What an expression may cost at worst, from the sizes that schemas allow. CRDs whose rules may cost too much are
//! refused, so these estimates are part of the API, as costs are.

use std::collections::BTreeMap;

use crate::ast::{ACCUMULATOR, Comprehension, Expr, Kind, Literal};
use crate::checker::Checked;
use crate::cost::{
    AUTHORIZATION, LIST_CREATE, MAP_CREATE, PATTERN, PER_REQUIREMENT, PER_SELECTOR_CHARACTER, STRUCT_CREATE, TRAVERSAL,
};
use crate::decl::{Decl, Shape};
use crate::env::Env;
use crate::types::Type;

mod calls;

/// The least and the most of a cost or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// The least.
    pub min: u64,
    /// The most; `u64::MAX` where nothing bounds it.
    pub max: u64,
}

pub(crate) const UNKNOWN: Range = Range { min: 0, max: u64::MAX };

impl Range {
    pub(crate) const fn fixed(value: u64) -> Self {
        Self { min: value, max: value }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    fn scaled(self, factor: f64) -> Self {
        // Conversion from floating point saturates.
        let scale = |value: u64| (value as f64 * factor).ceil() as u64;
        Self { min: scale(self.min), max: scale(self.max) }
    }

    fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// What a checked expression costs.
pub(crate) fn estimate(env: &Env, checked: &Checked) -> Range {
    let mut estimator = Estimator {
        env,
        checked,
        paths: BTreeMap::new(),
        sizes: BTreeMap::new(),
        entries: BTreeMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(&checked.expr)
}

/// Sizes of keys and values of what an expression makes.
#[derive(Debug, Clone, Copy)]
struct Entries {
    is_list: bool,
    keys: Range,
    values: Range,
}

impl Entries {
    fn union(self, other: Self) -> Self {
        Self { is_list: self.is_list, keys: self.keys.union(other.keys), values: self.values.union(other.values) }
    }
}

/// The way from a variable to a value: names of fields, `@items`, `@values`, `@keys`.
type Path = Vec<String>;

struct Local {
    name: String,
    path: Path,
    size: Option<Range>,
    entries: Option<Entries>,
}

/// An argument of a call.
struct Arg<'c> {
    type_: &'c Type,
    path: Path,
    size: Option<Range>,
    literal: Option<&'c Literal>,
}

struct Estimator<'c> {
    env: &'c Env,
    checked: &'c Checked,
    paths: BTreeMap<usize, Path>,
    sizes: BTreeMap<usize, Range>,
    entries: BTreeMap<usize, Entries>,
    locals: Vec<Local>,
}

impl<'c> Estimator<'c> {
    fn type_of(&self, expr: &Expr) -> &'c Type {
        self.checked.types.get(expr.id).unwrap_or(&Type::Dyn)
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn subpath(&self, expr: &Expr, name: &str) -> Path {
        let mut path = self.path(expr);
        path.push(name.to_string());
        path
    }

    /// The largest size that the declaration at a path allows.
    fn declared_size(&self, path: &[String]) -> Option<Range> {
        let (root, rest) = path.split_first()?;
        let mut decl: &Decl = self.env.variable(root)?.decl.as_deref()?;
        for name in rest {
            decl = match (name.as_str(), &decl.shape) {
                ("@items", Shape::List { items, .. }) => items,
                ("@values", Shape::Map { values }) => values,
                // Entries may be written as fields: `device.attributes["example.com"].model`.
                (name, Shape::Map { values }) if !name.starts_with('@') => values,
                // Schemas do not bound the names of a map's entries, and Kubernetes counts them as nothing.
                ("@keys", Shape::Map { .. }) => return Some(Range::fixed(0)),
                (name, Shape::Object { fields, .. }) => &fields.get(name)?.decl,
                _ => return None,
            };
        }
        Some(Range { min: 0, max: decl.max_elements })
    }

    fn size(&self, expr: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        match &expr.kind {
            Kind::Literal(literal) => {
                return Some(Range::fixed(match literal {
                    Literal::String(text) => text.chars().count() as u64,
                    Literal::Bytes(bytes) => bytes.len() as u64,
                    _ => 1,
                }));
            }
            Kind::List(elements) => return Some(Range::fixed(elements.len() as u64)),
            Kind::Map(entries) => return Some(Range::fixed(entries.len() as u64)),
            _ => {}
        }
        if let Some(size) = self.declared_size(&self.path(expr)) {
            return Some(size);
        }
        if is_scalar(self.type_of(expr)) {
            return Some(Range::fixed(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn size_or_unknown(&self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(UNKNOWN)
    }

    fn entries_of(&self, expr: &Expr) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }

    fn set_size(&mut self, expr: &Expr, size: Option<Range>) {
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
    }

    fn set_entries(&mut self, expr: &Expr, entries: Option<Entries>) {
        if let Some(entries) = entries {
            self.entries.insert(expr.id, entries);
        }
    }

    fn cost(&mut self, expr: &Expr) -> Range {
        match &expr.kind {
            Kind::Literal(_) => Range::fixed(0),
            Kind::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(expr.id, path);
                Range::fixed(1)
            }
            Kind::Select { operand, test_only: true, .. } => self.cost(operand),
            Kind::Select { operand, field, .. } => {
                let cost = self.cost(operand);
                let path = self.subpath(operand, field);
                self.paths.insert(expr.id, path);
                let counts = matches!(self.type_of(operand), Type::Map(_) | Type::Object(_) | Type::Var(_));
                cost.plus(Range::fixed(u64::from(counts)))
            }
            Kind::Call { target, function, args } => self.call(expr, target.as_deref(), function, args),
            Kind::List(elements) => {
                let mut cost = Range::fixed(LIST_CREATE);
                let mut size: Option<Range> = None;
                for (element, _) in elements {
                    cost = cost.plus(self.cost(element));
                    size = Some(joined(size, self.size_or_unknown(element)));
                }
                let values = size.unwrap_or(Range::fixed(0));
                self.entries.insert(expr.id, Entries { is_list: true, keys: Range::fixed(1), values });
                cost
            }
            Kind::Map(entries) => {
                let mut cost = Range::fixed(MAP_CREATE);
                let (mut keys, mut values): (Option<Range>, Option<Range>) = (None, None);
                for entry in entries {
                    cost = cost.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    keys = Some(joined(keys, self.size_or_unknown(&entry.key)));
                    values = Some(joined(values, self.size_or_unknown(&entry.value)));
                }
                let (keys, values) = (keys.unwrap_or_default(), values.unwrap_or_default());
                self.entries.insert(expr.id, Entries { is_list: false, keys, values });
                cost
            }
            Kind::Struct { fields, .. } => {
                fields.iter().fold(Range::fixed(STRUCT_CREATE), |cost, field| cost.plus(self.cost(&field.value)))
            }
            Kind::Comprehension(fold) if is_binding(fold) => self.binding(expr, fold),
            Kind::Comprehension(fold) => self.comprehension(expr, fold),
        }
    }

    fn push_local(&mut self, name: &str, value: &Expr) {
        let (path, size, entries) = (self.path(value), self.size(value), self.entries_of(value));
        self.locals.push(Local { name: name.to_string(), path, size, entries });
    }

    fn binding(&mut self, expr: &Expr, fold: &Comprehension) -> Range {
        let cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_local(&fold.accu, &fold.init);
        let cost = cost.plus(self.cost(&fold.result));
        let (size, entries) = (self.size(&fold.result), self.entries_of(&fold.result));
        self.locals.pop();
        self.set_size(expr, size);
        self.set_entries(expr, entries);
        cost
    }

    /// The variables of a comprehension: elements or keys, and where there are two, keys and values.
    fn push_variables(&mut self, fold: &Comprehension) {
        let entries = self.entries_of(&fold.range);
        let is_list = entries.map_or(matches!(self.type_of(&fold.range), Type::List(_)), |entries| entries.is_list);
        let push = |this: &mut Self, name: &str, step: &str, size| {
            let path = this.subpath(&fold.range, step);
            // A path that begins nowhere leads nowhere.
            this.locals.push(Local { name: name.to_string(), path, size, entries: None });
        };
        let (keys, values) = (entries.map(|entries| entries.keys), entries.map(|entries| entries.values));
        match &fold.var2 {
            Some(second) => {
                push(self, &fold.var, if is_list { "@indices" } else { "@keys" }, keys);
                push(self, second, if is_list { "@items" } else { "@values" }, values);
            }
            None if is_list => push(self, &fold.var, "@items", values),
            None => push(self, &fold.var, "@keys", keys),
        }
    }

    fn comprehension(&mut self, expr: &Expr, fold: &Comprehension) -> Range {
        let cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        let depth = self.locals.len();
        self.push_local(&fold.accu, &fold.init);
        self.push_variables(fold);
        let condition = self.cost(&fold.condition);
        let step = self.cost(&fold.step);
        self.locals.truncate(depth + 1);
        let cost = cost.plus(self.cost(&fold.result));
        let step_entries = self.entries_of(&fold.step);
        self.locals.truncate(depth);
        let count = self.size_or_unknown(&fold.range);
        match &fold.init.kind {
            Kind::Literal(_) => {
                let size = self.size(&fold.init);
                self.set_size(expr, size);
            }
            Kind::List(_) | Kind::Map(_) => {
                self.set_size(expr, Some(count));
                self.set_entries(expr, step_entries);
            }
            _ => {}
        }
        cost.plus(count.times(step.plus(condition)))
    }

    fn call(&mut self, expr: &Expr, target: Option<&Expr>, function: &str, args: &[Expr]) -> Range {
        if function == "dyn"
            && let [inner] = args
        {
            let cost = self.cost(inner);
            let (size, entries) = (self.size(inner), self.entries_of(inner));
            self.set_size(expr, size);
            self.set_entries(expr, entries);
            return cost.plus(Range::fixed(1));
        }
        let costs: Vec<Range> = args.iter().map(|arg| self.cost(arg)).collect();
        let target_cost = target.map_or(Range::fixed(0), |target| self.cost(target));
        let Some(overloads) = self.checked.overloads.get(&expr.id) else { return Range::fixed(0) };
        let mut total: Option<Range> = None;
        let mut result_size: Option<Range> = None;
        for overload in overloads {
            let (cost, size) = self.overload(expr, (function, overload), target, args, &costs);
            total = Some(total.map_or(cost, |total| total.union(cost)));
            result_size = match (result_size, size) {
                (Some(before), Some(size)) => Some(before.union(size)),
                (before, size) => before.or(size),
            };
            let step = match *overload {
                "index_list" => "@items",
                "index_map" => "@values",
                _ => "",
            };
            if let Some(container) = args.first().filter(|_| !step.is_empty()) {
                result_size = self.entries_of(container).map(|entries| entries.values);
                let path = self.subpath(container, step);
                self.paths.insert(expr.id, path);
            }
            result_size = result_size.or_else(|| self.size(expr));
        }
        self.set_size(expr, result_size);
        target_cost.plus(total.unwrap_or_default())
    }
}

fn joined(before: Option<Range>, size: Range) -> Range {
    before.map_or(size, |before| before.union(size))
}

fn is_binding(fold: &Comprehension) -> bool {
    matches!(&fold.range.kind, Kind::List(elements) if elements.is_empty())
        && fold.condition.kind == Kind::Literal(Literal::Bool(false))
        && fold.accu != ACCUMULATOR
}

fn is_scalar(type_: &Type) -> bool {
    match type_ {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}
