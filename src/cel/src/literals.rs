//! Literals that can be seen to be wrong before anything is evaluated: patterns, durations, timestamps.

use crate::ast::{Expr, Kind, Literal};
use crate::checker::Checked;
use crate::source::Issue;
use crate::{regexes, time};

/// Refuses `duration('x')`, `timestamp('x')` and `matches('(')` with texts that are none.
pub(crate) fn validate(source: &str, mut checked: Checked) -> Result<Checked, Vec<Issue>> {
    let mut issues = Vec::new();
    walk(source, &mut checked.expr, &mut issues);
    if issues.is_empty() { Ok(checked) } else { Err(issues) }
}

fn walk(source: &str, expr: &mut Expr, issues: &mut Vec<Issue>) {
    if let Kind::Call { target, function, args } = &expr.kind {
        let literal = match (function.as_str(), target.is_some(), args.as_slice()) {
            ("matches", true, [pattern]) | ("matches", false, [_, pattern]) => Some(pattern),
            ("duration" | "timestamp", false, [text]) => Some(text),
            _ => None,
        };
        if let Some(Expr { kind: Kind::Literal(Literal::String(text)), offset, .. }) = literal {
            let is_valid = match function.as_str() {
                "matches" => regexes::is_pattern(text),
                "duration" => time::Duration::parse(text).is_ok(),
                _ => time::parse_timestamp(text).is_ok(),
            };
            if !is_valid {
                issues.push(Issue::new(source, *offset, format!("invalid {function} argument")));
            }
        }
    }
    for part in expr.children_mut() {
        walk(source, part, issues);
    }
}
