//! Macros: calls that are rewritten before anything is checked. What they become is what cel-go makes of them, since
//! costs are counted by it.

use crate::ast::{ACCUMULATOR, Comprehension, Entry, Expr, Kind, Literal, op};
use crate::parser::MAX_DEPTH;
use crate::source::Issue;

/// The variable of a comprehension over nothing, which `cel.bind` is.
const UNUSED: &str = "#unused";
const SORT_INPUT: &str = "@__sortBy_input__";
/// Nodes of an expression with its macros expanded; nested `optMap`s double what they are called on.
const MAX_NODES: usize = 200_000;

/// How large an expression is with its macros expanded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub nodes: usize,
    /// Nodes within each other.
    pub height: usize,
}

/// Expands every macro, innermost first, and gives each node its identity.
pub(crate) fn expand(source: &str, expr: &mut Expr) -> Result<Size, Vec<Issue>> {
    let mut expander = Expander { source, issues: Vec::new(), nodes: 0 };
    expander.walk(expr);
    if !expander.issues.is_empty() {
        return Err(expander.issues);
    }
    let mut size = Size::default();
    if !number(expr, &mut size, 0) {
        return Err(vec![Issue::new(source, 0, format!("expression too large: more than {MAX_NODES} nodes"))]);
    }
    Ok(size)
}

/// False where the tree is too large or too deep.
fn number(expr: &mut Expr, size: &mut Size, depth: usize) -> bool {
    expr.id = size.nodes;
    size.nodes += 1;
    size.height = size.height.max(depth + 1);
    // A macro puts three nodes above what it is given, or a few more.
    size.nodes <= MAX_NODES
        && depth < 2 * MAX_DEPTH
        && expr.children_mut().into_iter().all(|part| number(part, size, depth + 1))
}

struct Expander<'s> {
    source: &'s str,
    issues: Vec<Issue>,
    nodes: usize,
}

type Expanded = Result<Kind, (usize, &'static str)>;

impl Expander<'_> {
    fn walk(&mut self, expr: &mut Expr) {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return;
        }
        for part in expr.children_mut() {
            self.walk(part);
        }
        let Kind::Call { target, function, args } = &mut expr.kind else { return };
        let macro_ = Macro { offset: expr.offset };
        let namespace = target.as_ref().and_then(|target| target.qualified_name());
        let expanded = match (target.take(), namespace.as_deref()) {
            (None, _) if function == "has" && args.len() == 1 => Some(macro_.has(std::mem::take(args))),
            (Some(_), Some("cel")) if function == "bind" && args.len() == 3 => Some(macro_.bind(std::mem::take(args))),
            (Some(_), Some("math")) if matches!(function.as_str(), "greatest" | "least") => {
                let name = if function == "greatest" { "math.@max" } else { "math.@min" };
                Some(Ok(macro_.extreme(name, std::mem::take(args))))
            }
            (Some(receiver), _) => match macro_.receiver(function, receiver, args) {
                Ok(expanded) => Some(expanded),
                Err(receiver) => {
                    *target = Some(receiver);
                    None
                }
            },
            (None, _) => None,
        };
        match expanded {
            Some(Ok(kind)) => {
                expr.kind = kind;
                if self.nodes.saturating_add(count(expr)) > MAX_NODES {
                    self.nodes = MAX_NODES;
                    self.issues.push(Issue::new(self.source, expr.offset, "expression too large"));
                    expr.kind = Kind::Literal(Literal::Null);
                }
            }
            Some(Err((offset, message))) => {
                self.issues.push(Issue::new(self.source, offset, message));
                expr.kind = Kind::Literal(Literal::Null);
            }
            None => {}
        }
    }
}

fn count(expr: &mut Expr) -> usize {
    // Only macros that copy can grow without bound, and they copy their target.
    1 + expr.children_mut().into_iter().map(count).sum::<usize>()
}

/// Makes nodes at the place of a macro.
struct Macro {
    offset: usize,
}

impl Macro {
    fn node(&self, kind: Kind) -> Expr {
        Expr { id: 0, offset: self.offset, kind }
    }

    fn literal(&self, literal: Literal) -> Expr {
        self.node(Kind::Literal(literal))
    }

    fn ident(&self, name: &str) -> Expr {
        self.node(Kind::Ident(name.to_string()))
    }

    fn accumulator(&self) -> Expr {
        self.ident(ACCUMULATOR)
    }

    fn call(&self, function: &str, args: Vec<Expr>) -> Expr {
        self.node(Kind::call(function, args))
    }

    fn member(&self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.node(Kind::Call { target: Some(Box::new(target)), function: function.to_string(), args })
    }

    fn one(&self, element: Expr) -> Expr {
        self.node(Kind::List(vec![(element, false)]))
    }

    /// `has(a.b)`
    fn has(&self, args: Vec<Expr>) -> Expanded {
        let offset = args.first().map_or(self.offset, |arg| arg.offset);
        match args.into_iter().next().map(|arg| arg.kind) {
            Some(Kind::Select { operand, field, test_only: false }) => {
                Ok(Kind::Select { operand, field, test_only: true })
            }
            _ => Err((offset, "invalid argument to has() macro")),
        }
    }

    /// `cel.bind(name, value, result)`
    fn bind(&self, args: Vec<Expr>) -> Expanded {
        let [name, value, result] =
            <[Expr; 3]>::try_from(args).map_err(|_| (self.offset, "cel.bind() takes three arguments"))?;
        let Kind::Ident(variable) = &name.kind else {
            return Err((name.offset, "cel.bind() variable names must be simple identifiers"));
        };
        Ok(self.binding(variable, value, result))
    }

    fn binding(&self, variable: &str, value: Expr, result: Expr) -> Kind {
        Kind::Comprehension(Box::new(Comprehension {
            range: self.node(Kind::List(Vec::new())),
            var: UNUSED.to_string(),
            var2: None,
            accu: variable.to_string(),
            init: value,
            condition: self.literal(Literal::Bool(false)),
            step: self.ident(variable),
            result,
        }))
    }

    /// `math.greatest(...)` and `math.least(...)` of any number of arguments.
    fn extreme(&self, name: &str, args: Vec<Expr>) -> Kind {
        match args.len() {
            0..=2 => Kind::call(name, args),
            _ => {
                // Numbers of all types may be compared, while elements of one list are of one type.
                let elements = args.into_iter().map(|arg| (self.call("dyn", vec![arg]), false)).collect();
                Kind::call(name, vec![self.node(Kind::List(elements))])
            }
        }
    }

    /// A macro that is written as a method; the receiver back where it is none.
    fn receiver(&self, function: &str, receiver: Box<Expr>, args: &mut Vec<Expr>) -> Result<Expanded, Box<Expr>> {
        let shape = match (function, args.len()) {
            ("all" | "exists" | "exists_one" | "existsOne" | "filter" | "optMap" | "optFlatMap" | "sortBy", 2)
            | ("map", 2 | 3) => 1,
            ("all" | "exists" | "exists_one" | "existsOne", 3)
            | ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => 2,
            _ => return Err(receiver),
        };
        let args = std::mem::take(args);
        let mut names = Vec::new();
        for arg in &args[..shape] {
            match &arg.kind {
                Kind::Ident(name) if name.starts_with('.') || name == "__result__" => {
                    return Ok(Err((arg.offset, "iteration variable overwrites accumulator variable")));
                }
                Kind::Ident(name) => names.push(name.clone()),
                _ if matches!(function, "map" | "filter") => {
                    return Ok(Err((arg.offset, "argument is not an identifier")));
                }
                _ if function.starts_with("opt") => {
                    let message = "optMap() variable name must be a simple identifier";
                    return Ok(Err((arg.offset, message)));
                }
                _ => return Ok(Err((arg.offset, "argument must be a simple name"))),
            }
        }
        if names.len() == 2 && names[0] == names[1] {
            return Ok(Err((args[1].offset, "duplicate iteration variable")));
        }
        let body: Vec<Expr> = args.into_iter().skip(shape).collect();
        Ok(self.expand(function, *receiver, names, body).ok_or((self.offset, "wrong number of arguments to macro")))
    }

    fn expand(&self, function: &str, target: Expr, names: Vec<String>, body: Vec<Expr>) -> Option<Kind> {
        let has_filter = body.len() == 2;
        let mut body = body.into_iter();
        let first = body.next()?;
        let second = body.next();
        let value = || names.first().map(|name| self.ident(name));
        match function {
            "all" => Some(self.quantifier(target, names, (true, op::AND, false), first)),
            "exists" => Some(self.quantifier(target, names, (false, op::OR, true), first)),
            "exists_one" | "existsOne" => Some(self.exactly_one(target, names, first)),
            "filter" => {
                let element = value()?;
                Some(self.collect(target, names, Some(first), element))
            }
            "map" | "transformList" if has_filter => Some(self.collect(target, names, Some(first), second?)),
            "map" | "transformList" => Some(self.collect(target, names, None, first)),
            "transformMap" => {
                let key = value()?;
                let (filter, value) = if has_filter { (Some(first), second?) } else { (None, first) };
                Some(self.insert(target, names, filter, vec![key, value]))
            }
            "transformMapEntry" => {
                let (filter, entry) = if has_filter { (Some(first), second?) } else { (None, first) };
                Some(self.insert(target, names, filter, vec![entry]))
            }
            "optMap" | "optFlatMap" => {
                let bound = self.binding(names.first()?, self.member("value", target.clone(), Vec::new()), first);
                let bound = self.node(bound);
                let present = if function == "optMap" { self.call("optional.of", vec![bound]) } else { bound };
                let has_value = self.member("hasValue", target, Vec::new());
                Some(Kind::call(op::CONDITIONAL, vec![has_value, present, self.call("optional.none", Vec::new())]))
            }
            "sortBy" => {
                let keys = self.collect(self.ident(SORT_INPUT), names, None, first);
                let sorted = self.member("@sortByAssociatedKeys", self.ident(SORT_INPUT), vec![self.node(keys)]);
                Some(self.binding(SORT_INPUT, target, sorted))
            }
            _ => None,
        }
    }

    fn fold(&self, range: Expr, names: Vec<String>, init: Expr, parts: [Expr; 3]) -> Kind {
        let [condition, step, result] = parts;
        let mut names = names.into_iter();
        Kind::Comprehension(Box::new(Comprehension {
            range,
            var: names.next().unwrap_or_default(),
            var2: names.next(),
            accu: ACCUMULATOR.to_string(),
            init,
            condition,
            step,
            result,
        }))
    }

    /// `all` and `exists`: (what holds of nothing, how results join, whether the condition is negated).
    fn quantifier(&self, range: Expr, names: Vec<String>, how: (bool, &str, bool), predicate: Expr) -> Kind {
        let (of_nothing, join, negated) = how;
        let accumulator = self.accumulator();
        let tested = if negated { self.call(op::NOT, vec![accumulator]) } else { accumulator };
        let condition = self.call(op::NOT_STRICTLY_FALSE, vec![tested]);
        let step = self.call(join, vec![self.accumulator(), predicate]);
        self.fold(range, names, self.literal(Literal::Bool(of_nothing)), [condition, step, self.accumulator()])
    }

    fn exactly_one(&self, range: Expr, names: Vec<String>, predicate: Expr) -> Kind {
        let one = || self.literal(Literal::Int(1));
        let more = self.call(op::ADD, vec![self.accumulator(), one()]);
        let step = self.call(op::CONDITIONAL, vec![predicate, more, self.accumulator()]);
        let result = self.call(op::EQUALS, vec![self.accumulator(), one()]);
        self.fold(range, names, self.literal(Literal::Int(0)), [self.literal(Literal::Bool(true)), step, result])
    }

    fn filtered(&self, filter: Option<Expr>, step: Expr) -> Expr {
        match filter {
            Some(filter) => self.call(op::CONDITIONAL, vec![filter, step, self.accumulator()]),
            None => step,
        }
    }

    /// A list of `element`s.
    fn collect(&self, range: Expr, names: Vec<String>, filter: Option<Expr>, element: Expr) -> Kind {
        let step = self.call(op::ADD, vec![self.accumulator(), self.one(element)]);
        let step = self.filtered(filter, step);
        let always = self.literal(Literal::Bool(true));
        self.fold(range, names, self.node(Kind::List(Vec::new())), [always, step, self.accumulator()])
    }

    /// A map of what `insert` says: a key and a value, or a map of entries.
    fn insert(&self, range: Expr, names: Vec<String>, filter: Option<Expr>, insert: Vec<Expr>) -> Kind {
        let args = std::iter::once(self.accumulator()).chain(insert).collect();
        let step = self.filtered(filter, self.call(op::MAP_INSERT, args));
        let always = self.literal(Literal::Bool(true));
        let empty: Vec<Entry> = Vec::new();
        self.fold(range, names, self.node(Kind::Map(empty)), [always, step, self.accumulator()])
    }
}
