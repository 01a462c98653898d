//! Parsing and printing: nothing makes the parser panic, and what is printed reads as the same.

use proptest::prelude::*;

use crate::ast::{Expr, Kind, Literal, op};
use crate::parser::parse;
use crate::print::print;
use crate::{Env, Type, Value, Variables};

fn node(kind: Kind) -> Expr {
    Expr { id: 0, offset: 0, kind }
}

fn literal() -> impl Strategy<Value = Expr> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(Literal::Int),
        any::<u64>().prop_map(Literal::Uint),
        any::<f64>().prop_filter("no literal says it", |number| number.is_finite()).prop_map(Literal::Double),
        any::<String>().prop_map(Literal::String),
        any::<Vec<u8>>().prop_map(Literal::Bytes),
    ]
    .prop_map(|literal| node(Kind::Literal(literal)))
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9_]{0,4}x"
}

/// Trees as the parser makes them.
fn tree() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![literal(), name().prop_map(|name| node(Kind::Ident(name)))];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            (boxed.clone(), name()).prop_map(|(operand, field)| node(Kind::Select {
                operand,
                field,
                test_only: false
            })),
            (proptest::option::of(boxed), name(), proptest::collection::vec(inner.clone(), 0..3))
                .prop_map(|(target, function, args)| node(Kind::Call { target, function, args })),
            (0..op::BINARY.len(), inner.clone(), inner.clone())
                .prop_map(|(index, left, right)| node(Kind::call(op::BINARY[index].1, vec![left, right]))),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(condition, left, right)| node(Kind::call(op::CONDITIONAL, vec![condition, left, right]))),
            inner.clone().prop_map(|operand| node(Kind::call(op::NOT, vec![operand]))),
            inner.clone().prop_map(|operand| node(Kind::call(op::NEGATE, vec![operand]))),
            (inner.clone(), inner.clone()).prop_map(|(list, index)| node(Kind::call(op::INDEX, vec![list, index]))),
            proptest::collection::vec((inner.clone(), any::<bool>()), 0..3)
                .prop_map(|elements| node(Kind::List(elements))),
            proptest::collection::vec((inner.clone(), inner.clone(), any::<bool>()), 0..3).prop_map(|entries| {
                let entry = |(key, value, optional)| crate::ast::Entry { key, value, optional };
                node(Kind::Map(entries.into_iter().map(entry).collect()))
            }),
        ]
    })
}

/// A tree as the parser shapes it: signs that cancel each other are gone, chains of `&&` balanced.
fn normal(expr: &Expr) -> Option<Expr> {
    parse(&print(expr)).ok()
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(source in any::<String>()) {
        let _ = Env::new().with_variable("x", Type::Dyn).compile(&source);
    }

    #[test]
    fn pieces_of_expressions_are_evaluated_or_refused(pieces in proptest::collection::vec(
        prop::sample::select(vec![
            "x", ".", "a", "(", ")", "[", "]", "{", "}", ",", "?", ":", "+", "-", "*", "/", "%", "!", "&&", "||", "==", "<",
            "in", "1", "2u", "1.5", "'s'", "b'b'", "null", "true", "has", "all", "map", "filter", "size", "matches", "cel",
            "bind", "dyn", "optMap", "format", "'%s'", "-1", "timestamp", "duration", "'1h'", " ", "\n",
        ]), 0..25,
    )) {
        let env = Env::new().with_variable("x", Type::Dyn).with_variable("a", Type::Dyn);
        if let Ok(program) = env.compile(&pieces.concat()) {
            let json = serde_json::json!({"a": [1, "s", {"a": null}]});
            let variables = Variables::new().with("x", Value::from_json(&json)).with("a", Value::from_json(&json["a"]));
            let outcome = program.eval(&variables, 10_000);
            prop_assert!(outcome.cost <= 20_000);
        }
    }

    #[test]
    fn what_is_printed_reads_as_the_same(expr in tree()) {
        let printed = print(&expr);
        let read = parse(&printed);
        prop_assert!(read.is_ok(), "{printed}: {read:?}");
        // Once shaped by the parser, printing and parsing change nothing.
        let shaped = normal(&expr);
        let again = shaped.as_ref().and_then(normal);
        prop_assert_eq!(&shaped, &again, "{}", printed);
        // And but for signs nothing was shaped at all.
        if !printed.contains("--") && !printed.contains("!!") {
            prop_assert_eq!(Some(&expr), shaped.as_ref(), "{}", printed);
        }
    }
}

#[test]
fn precedence_and_association_are_those_of_the_grammar() {
    for (source, shape) in [
        ("1 + 2 * 3 - 4", "(1 + (2 * 3)) - 4"),
        ("a || b && c", "a || (b && c)"),
        ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
        ("a == b < c", "(a == b) < c"),
        ("!a.b", "!(a.b)"),
        ("-a * b", "(-a) * b"),
        ("a.b[c].d(e)", "((a.b)[c]).d(e)"),
        ("a in b == c", "(a in b) == c"),
        ("a && b && c && d", "(a && b) && (c && d)"),
        ("a - b - c", "(a - b) - c"),
        ("-1.a", "(-1).a"),
    ] {
        assert_eq!(parse(source).ok(), parse(shape).ok(), "{source}");
        assert!(parse(source).is_ok(), "{source}");
    }
}

#[test]
fn deep_and_long_expressions_are_refused_and_not_fatal() {
    let env = Env::new();
    for source in [
        format!("{}1{}", "(".repeat(100_000 / 2 - 1), ")".repeat(100_000 / 2 - 1)),
        "[".repeat(99_999),
        "{1:".repeat(30_000),
        "!-".repeat(40_000),
        format!("1{}", " + 1".repeat(24_000)),
        format!("dyn(1){}", ".a".repeat(49_000)),
        format!("dyn(1){}", "[0]".repeat(30_000)),
        format!("{}1", "true ? 1 : ".repeat(9_000)),
        format!("[1]{}", ".map(x, x)".repeat(9_000)),
        format!("optional.of(1){}", ".optMap(x, x)".repeat(100)),
        "a".repeat(200_000),
        format!("{}1{}", "[1].map(x, ".repeat(5_000), ")".repeat(5_000)),
    ] {
        assert!(env.compile(&source).is_err(), "{}", &source[..20]);
    }
    // Long chains of logic are not deep.
    assert!(env.compile(&format!("true{}", " && true".repeat(9_000))).is_ok());
    let nested = format!("{}1{}", "[1].map(x, ".repeat(40), ")".repeat(40));
    let program = env.compile(&nested).expect("40 macros within each other are not too deep");
    assert!(program.eval(&Variables::new(), 1_000_000).result.is_ok());
    let brackets = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let program = env.compile(&brackets).expect("60 lists within each other are not too deep");
    assert!(program.eval(&Variables::new(), 1_000_000).result.is_ok());
}
