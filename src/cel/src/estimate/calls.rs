//! What each function may cost, and how large its result may be.

use super::*;

/// The longest pattern of the formats that names have.
const MAX_FORMAT_PATTERN: f64 = 128.0;
const MAX_FORMAT_LENGTH: u64 = 64;

/// A cost without its arguments', and the size of the result.
type Estimate = (Range, Option<Range>);

impl<'c> Estimator<'c> {
    /// The cost of one overload with its arguments', and the size of its result.
    pub(super) fn overload(
        &mut self,
        expr: &Expr,
        (function, overload): (&str, &str),
        target: Option<&Expr>,
        args: &[Expr],
        costs: &[Range],
    ) -> Estimate {
        let arguments = costs.iter().fold(Range::fixed(0), |sum, cost| sum.plus(*cost));
        if let Some((cost, size)) = self.operator(expr, overload, args, costs) {
            return (cost, size);
        }
        let target = target.map(|target| self.arg_of(target));
        let args: Vec<Arg<'_>> = args.iter().map(|arg| self.arg_of(arg)).collect();
        let (cost, size) = self
            .of_library(function, overload, target.as_ref(), &args)
            .or_else(|| self.standard(overload, target.as_ref(), &args))
            .unwrap_or((Range::fixed(1), None));
        (cost.plus(arguments), size)
    }

    fn arg_of<'e>(&self, expr: &'e Expr) -> Arg<'e>
    where
        'c: 'e,
    {
        let mut path = self.path(expr);
        if path.first().is_some_and(|root| root == ACCUMULATOR) {
            path.clear();
        }
        let literal = match &expr.kind {
            Kind::Literal(literal) => Some(literal),
            _ => None,
        };
        Arg { type_: self.type_of(expr), path, size: self.size(expr), literal }
    }

    fn of(&self, arg: &Arg<'_>) -> Range {
        arg.size.or_else(|| self.declared_size(&arg.path)).unwrap_or(UNKNOWN)
    }

    /// The size of the elements of a list, where it is a list whose elements are known.
    fn element(&self, list: &Arg<'_>) -> Option<(Type, Range)> {
        let element = match list.type_ {
            Type::List(element) => element.as_ref().clone(),
            Type::Map(parts) => parts.0.clone(),
            Type::Optional(inner) => inner.as_ref().clone(),
            _ => return None,
        };
        let size = if list.path.is_empty() {
            None
        } else {
            let mut path = list.path.clone();
            path.push("@items".to_string());
            self.declared_size(&path)
        };
        Some((element, size.unwrap_or(UNKNOWN)))
    }

    /// Operators, which need their arguments' costs one by one.
    fn operator(&mut self, expr: &Expr, overload: &str, args: &[Expr], costs: &[Range]) -> Option<Estimate> {
        match (overload, args, costs) {
            ("logical_and" | "logical_or", [_, _], [left, right]) => {
                Some((Range { min: left.min, max: left.plus(*right).max }, None))
            }
            ("conditional", [_, truthy, falsy], [condition, if_true, if_false]) => {
                let size = self.size_or_unknown(truthy).union(self.size_or_unknown(falsy));
                let entries = match (self.entries_of(truthy), self.entries_of(falsy)) {
                    (Some(truthy), Some(falsy)) => Some(truthy.union(falsy)),
                    _ => None,
                };
                self.set_entries(expr, entries);
                Some((condition.plus(if_true.union(*if_false)), Some(size)))
            }
            ("add_string" | "add_bytes" | "add_list", [left, right], [left_cost, right_cost]) => {
                let size = self.size_or_unknown(left).plus(self.size_or_unknown(right));
                if let (Some(left), Some(right)) = (self.entries_of(left), self.entries_of(right)) {
                    self.set_entries(expr, Some(left.union(right)));
                }
                let own = if overload == "add_list" { Range::fixed(1) } else { size.scaled(TRAVERSAL) };
                Some((own.plus(*left_cost).plus(*right_cost), Some(size)))
            }
            _ => None,
        }
    }

    /// Kubernetes' libraries and the extensions of CEL.
    fn of_library(
        &self,
        function: &str,
        overload: &str,
        target: Option<&Arg<'_>>,
        args: &[Arg<'_>],
    ) -> Option<Estimate> {
        let one = Some((Range::fixed(1), None));
        match (function, target, args) {
            ("check", ..) => Some((Range::fixed(AUTHORIZATION), None)),
            ("fieldSelector" | "labelSelector", _, [text]) => {
                let size = self.of(text);
                let requirements = size.scaled(PER_SELECTOR_CHARACTER).scaled(PER_REQUIREMENT);
                Some((Range::fixed(LIST_CREATE).plus(size.scaled(TRAVERSAL)).plus(requirements), None))
            }
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes", Some(target), _) => {
                Some((self.search(function, target), None))
            }
            ("url" | "jsonpatch.escapeKey", _, [text]) => {
                let size = self.of(text);
                Some((size.scaled(TRAVERSAL), Some(size)))
            }
            ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(target), _) => {
                let size = self.of(target);
                Some((size.scaled(TRAVERSAL), Some(size)))
            }
            ("replace", Some(target), [from, to, ..]) => {
                let size = self.of(target);
                Some((size.scaled(2.0 * TRAVERSAL), Some(replaced(size, self.of(from), self.of(to)))))
            }
            ("split", Some(target), args) => {
                let size = self.of(target);
                let max = match args.get(1).and_then(|limit| limit.literal) {
                    // A negative limit is none, and reads as one that is beyond all.
                    Some(Literal::Int(limit)) => *limit as u64,
                    _ => size.max,
                };
                Some((size.scaled(2.0 * TRAVERSAL), Some(Range { min: 0, max })))
            }
            ("join", Some(target), args) => {
                let count = self.of(target);
                let texts = self.element(target).map_or(Range::fixed(0), |(_, size)| count.times(size));
                let between = Range { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
                let by = args.first().map_or(Range::fixed(0), |by| self.of(by).times(between));
                let size = texts.plus(by);
                Some((size.scaled(TRAVERSAL), Some(size)))
            }
            ("find" | "findAll", Some(target), [pattern, ..]) => {
                let size = self.of(target);
                let text = size.plus(Range::fixed(1)).scaled(TRAVERSAL);
                let cost = text.times(self.of(pattern).scaled(PATTERN));
                Some((cost, Some(Range { min: 0, max: size.max })))
            }
            ("ip", ..) if overload == "cidr_ip" => one,
            ("cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver", _, [text, ..]) => {
                Some((self.of(text).scaled(TRAVERSAL), None))
            }
            ("ip.isCanonical", _, [text]) => Some((self.of(text).scaled(2.0 * TRAVERSAL), None)),
            ("containsIP" | "containsCIDR", _, [other]) => {
                let bytes = Range { min: 4, max: 16 };
                let mut cost = bytes.plus(bytes).scaled(TRAVERSAL);
                if function == "containsCIDR" {
                    cost = cost.plus(bytes.scaled(TRAVERSAL)).plus(Range::fixed(1));
                }
                if overload.ends_with("_string") {
                    cost = cost.plus(self.of(other).scaled(TRAVERSAL));
                }
                Some((cost, None))
            }
            ("validate", _, [text]) => {
                Some((self.of(text).scaled(TRAVERSAL).scaled(MAX_FORMAT_PATTERN * PATTERN), None))
            }
            _ => self.lists(function, target, args),
        }
    }

    fn search(&self, function: &str, target: &Arg<'_>) -> Range {
        let size = self.of(target);
        match self.element(target) {
            Some((Type::String | Type::Bytes, element)) => size.times(Range::fixed(1).plus(element.scaled(TRAVERSAL))),
            Some(_) => size,
            None if function == "includes" => size,
            None => size.scaled(TRAVERSAL),
        }
    }

    fn lists(&self, function: &str, target: Option<&Arg<'_>>, args: &[Arg<'_>]) -> Option<Estimate> {
        let base = Range::fixed(LIST_CREATE + 1);
        let sized = |size: Range| Some((size.plus(base), Some(size)));
        let int = |arg: Option<&Arg<'_>>| match arg.and_then(|arg| arg.literal) {
            Some(Literal::Int(number)) => Some(u64::try_from(*number).unwrap_or(0)),
            _ => None,
        };
        match (function, target) {
            ("slice", Some(target)) => {
                let size = self.of(target);
                let end = int(args.get(1)).unwrap_or(size.max);
                sized(Range::fixed(end.saturating_sub(int(args.first()).unwrap_or(0))))
            }
            ("lists.range", None) => sized(Range::fixed(int(args.first()).unwrap_or(u64::MAX))),
            ("reverse", Some(target)) => sized(self.of(target)),
            ("flatten", Some(target)) => {
                let depth = if args.is_empty() { 1 } else { int(args.first()).unwrap_or(u64::MAX) };
                let size = self.of(target);
                Some((size.times(Range::fixed(depth)).plus(base), Some(size)))
            }
            ("distinct" | "sort", Some(target)) => Some(self.self_compare(target, target)),
            ("@sortByAssociatedKeys", Some(target)) => Some(self.self_compare(args.first()?, target)),
            ("sets.contains" | "sets.intersects" | "sets.equivalent", None) => {
                let pairs = self.of(args.first()?).times(self.of(args.get(1)?));
                let factor = if function == "sets.equivalent" { 2.0 } else { 1.0 };
                Some((pairs.scaled(factor).plus(Range::fixed(1)), None))
            }
            _ => None,
        }
    }

    fn self_compare(&self, keys: &Arg<'_>, list: &Arg<'_>) -> Estimate {
        let factor = match self.element(keys) {
            Some((Type::String | Type::Bytes, _)) => 2.0 + TRAVERSAL,
            _ => 2.0,
        };
        let size = self.of(keys);
        (size.times(size).scaled(factor).plus(Range::fixed(LIST_CREATE + 1)), Some(self.of(list)))
    }

    /// The standard functions of CEL.
    fn standard(&self, overload: &str, target: Option<&Arg<'_>>, args: &[Arg<'_>]) -> Option<Estimate> {
        match (overload, target, args) {
            ("string_format", Some(target), _) => Some((self.of(target).scaled(TRAVERSAL), None)),
            ("string_to_bytes", _, [text]) => {
                let size = self.of(text);
                Some((size.scaled(TRAVERSAL), Some(Range { min: size.min, max: size.max.saturating_mul(4) })))
            }
            ("bytes_to_string", _, [bytes]) => {
                let size = self.of(bytes);
                Some((size.scaled(TRAVERSAL), Some(Range { min: size.min / 4, max: size.max })))
            }
            ("strings_quote", _, [text]) => {
                let size = self.of(text);
                let quoted =
                    Range { min: size.min.saturating_add(2), max: size.max.saturating_mul(2).saturating_add(2) };
                Some((size.scaled(TRAVERSAL), Some(quoted)))
            }
            ("starts_with_string" | "ends_with_string", _, [part]) => Some((self.of(part).scaled(TRAVERSAL), None)),
            ("in_list", _, [_, list]) => Some((self.of(list), None)),
            ("matches_string", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
                let text = self.of(text).plus(Range::fixed(1)).scaled(TRAVERSAL);
                Some((text.times(self.of(pattern).scaled(PATTERN)), None))
            }
            ("contains_string", Some(text), [part]) => {
                Some((self.of(text).scaled(TRAVERSAL).times(self.of(part).scaled(TRAVERSAL)), None))
            }
            ("equals" | "not_equals", _, [left, right]) => {
                if overload == "equals"
                    && left.type_ == right.type_
                    && let Type::Opaque(name) = left.type_
                {
                    return Some((opaque_equality(name, self.of(right)), None));
                }
                Some((self.smaller(left, right), None))
            }
            (
                "less_string"
                | "less_bytes"
                | "less_equals_string"
                | "less_equals_bytes"
                | "greater_string"
                | "greater_bytes"
                | "greater_equals_string"
                | "greater_equals_bytes",
                _,
                [left, right],
            ) => Some((self.smaller(left, right), None)),
            _ => None,
        }
    }

    /// Comparing ends where the smaller of two ends.
    fn smaller(&self, left: &Arg<'_>, right: &Arg<'_>) -> Range {
        let max = self.of(left).max.min(self.of(right).max);
        Range { min: u64::from(max > 0), max }.scaled(TRAVERSAL)
    }
}

fn opaque_equality(name: &str, size: Range) -> Range {
    match name {
        "kubernetes.NamedFormat" => Range { min: 1, max: MAX_FORMAT_LENGTH }.scaled(TRAVERSAL),
        "kubernetes.URL" => Range { min: 1, max: size.max }.scaled(TRAVERSAL),
        _ => Range::fixed(1),
    }
}

/// How long a text can get when parts of it are replaced.
fn replaced(size: Range, from: Range, to: Range) -> Range {
    let parts = |length: u64, part: u64| (length as f64 / part as f64).ceil() as u64;
    let (mut count, mut kept) = (Range::fixed(0), Range::fixed(0));
    if from.min == 0 {
        // Nothing is found around every character.
        count.max = size.max.saturating_add(1);
        kept.max = size.max;
    } else if to.max <= from.min {
        kept.max = size.max;
    } else {
        count.max = parts(size.max, from.min);
    }
    if from.max == 0 {
        count.min = size.min.saturating_add(1);
        kept.min = size.min;
    } else if from.max <= to.min {
        kept.min = size.min;
    } else {
        count.min = parts(size.min, from.max);
    }
    count.times(to).plus(kept)
}
