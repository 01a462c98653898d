//! Trees back to source text that parses to the same tree. Macros are calls here and not yet expanded.

use crate::ast::{Expr, Kind, Literal, op};
use crate::literal::{quote, quote_bytes};

/// How strongly the outermost operator binds; 1 is `?:`, 8 what needs no brackets anywhere.
const CONDITIONAL: u8 = 1;
const UNARY: u8 = 7;
const MEMBER: u8 = 8;

/// The source of a tree.
pub(crate) fn print(expr: &Expr) -> String {
    let mut text = String::new();
    write(expr, 0, &mut text);
    text
}

fn strength(expr: &Expr) -> u8 {
    match &expr.kind {
        Kind::Literal(Literal::Int(number)) if *number < 0 => UNARY,
        Kind::Literal(Literal::Double(number)) if number.is_sign_negative() => UNARY,
        Kind::Call { target: None, function, args } => match (function.as_str(), args.len()) {
            (op::CONDITIONAL, 3) => CONDITIONAL,
            (op::NOT | op::NEGATE, 1) => UNARY,
            _ => op::BINARY.iter().find(|(_, name, _)| name == function).map_or(MEMBER, |(_, _, binds)| *binds),
        },
        _ => MEMBER,
    }
}

/// Writes with brackets where the place asks for something that binds more strongly.
fn write(expr: &Expr, at_least: u8, text: &mut String) {
    let brackets = strength(expr) < at_least;
    if brackets {
        text.push('(');
    }
    write_plain(expr, text);
    if brackets {
        text.push(')');
    }
}

fn write_plain(expr: &Expr, text: &mut String) {
    match &expr.kind {
        Kind::Literal(literal) => text.push_str(&literal_text(literal)),
        Kind::Ident(name) => text.push_str(name),
        Kind::Select { operand, field, .. } => {
            write(operand, MEMBER, text);
            text.push('.');
            write_field(field, text);
        }
        Kind::Call { target: None, function, args } => write_call(function, args, text),
        Kind::Call { target: Some(target), function, args } => {
            write(target, MEMBER, text);
            text.push('.');
            write_arguments(function, args, text);
        }
        Kind::List(elements) => {
            text.push('[');
            for (index, (element, optional)) in elements.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                text.push_str(if *optional { "?" } else { "" });
                write(element, 0, text);
            }
            text.push(']');
        }
        Kind::Map(entries) => {
            text.push('{');
            for (index, entry) in entries.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                text.push_str(if entry.optional { "?" } else { "" });
                write(&entry.key, 0, text);
                text.push_str(": ");
                write(&entry.value, 0, text);
            }
            text.push('}');
        }
        Kind::Struct { name, fields } => {
            text.push_str(name);
            text.push('{');
            for (index, field) in fields.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                text.push_str(if field.optional { "?" } else { "" });
                write_field(&field.name, text);
                text.push_str(": ");
                write(&field.value, 0, text);
            }
            text.push('}');
        }
        Kind::Comprehension(_) => text.push_str("<comprehension>"),
    }
}

fn write_call(function: &str, args: &[Expr], text: &mut String) {
    match (function, args) {
        (op::CONDITIONAL, [condition, truthy, falsy]) => {
            write(condition, CONDITIONAL + 1, text);
            text.push_str(" ? ");
            write(truthy, CONDITIONAL + 1, text);
            text.push_str(" : ");
            write(falsy, CONDITIONAL, text);
        }
        (op::NOT | op::NEGATE, [operand]) => {
            text.push_str(if function == op::NOT { "!" } else { "-" });
            // A number after a minus would become one literal, and a second sign would cancel the first.
            let mut inner = String::new();
            write(operand, MEMBER, &mut inner);
            let is_number = inner.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            text.push_str(&if is_number { format!("({inner})") } else { inner });
        }
        (op::INDEX | op::OPT_INDEX, [operand, index]) => {
            write(operand, MEMBER, text);
            text.push_str(if function == op::INDEX { "[" } else { "[?" });
            write(index, 0, text);
            text.push(']');
        }
        (op::OPT_SELECT, [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }]) => {
            write(operand, MEMBER, text);
            text.push_str(".?");
            write_field(field, text);
        }
        (_, [left, right]) => match op::BINARY.iter().find(|(_, name, _)| *name == function) {
            Some((symbol, _, binds)) => write_binary(symbol, *binds, left, right, text),
            None => write_arguments(function, args, text),
        },
        _ => write_arguments(function, args, text),
    }
}

fn write_binary(symbol: &str, binds: u8, left: &Expr, right: &Expr, text: &mut String) {
    // Chains of `&&` and `||` are balanced by the parser: only brackets keep another shape.
    let is_logical = binds < 4;
    write(left, if is_logical { binds + 1 } else { binds }, text);
    text.push(' ');
    text.push_str(symbol);
    text.push(' ');
    write(right, binds + 1, text);
}

fn write_arguments(function: &str, args: &[Expr], text: &mut String) {
    text.push_str(function);
    text.push('(');
    for (index, arg) in args.iter().enumerate() {
        text.push_str(if index > 0 { ", " } else { "" });
        write(arg, 0, text);
    }
    text.push(')');
}

fn write_field(field: &str, text: &mut String) {
    let is_plain = field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !field.starts_with(|c: char| c.is_ascii_digit())
        && !matches!(field, "in" | "true" | "false" | "null");
    if is_plain {
        text.push_str(field);
    } else {
        text.extend(["`", field, "`"]);
    }
}

fn literal_text(literal: &Literal) -> String {
    match literal {
        Literal::Null => "null".to_string(),
        Literal::Bool(value) => value.to_string(),
        Literal::Int(number) => number.to_string(),
        Literal::Uint(number) => format!("{number}u"),
        Literal::Double(number) => format!("{number:?}"),
        Literal::String(text) => quote(text),
        Literal::Bytes(bytes) => quote_bytes(bytes),
    }
}
