//! What users are told, and where.

use crate::{Env, Type};

fn issue(expression: &str) -> String {
    let env = Env::new()
        .with_variable("self", Type::object("object", [("replicas", Type::Int), ("name", Type::String)]))
        .with_variable("any", Type::Dyn);
    match env.compile(expression) {
        Ok(_) => panic!("{expression} compiles"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn issues_read_as_those_of_cel_go() {
    for (expression, expected) in [
        ("true && x", "ERROR: <input>:1:9: undeclared reference to 'x' (in container '')\n | true && x\n | ........^"),
        (
            "self.replicas > 'a'",
            "ERROR: <input>:1:15: found no matching overload for '_>_' applied to '(int, string)'\n | self.replicas > 'a'\n | ..............^",
        ),
        ("self.nope", "ERROR: <input>:1:5: undefined field 'nope'\n | self.nope\n | ....^"),
        (
            "self.name.nope()",
            "ERROR: <input>:1:15: undeclared reference to 'nope' (in container '')\n | self.name.nope()\n | ..............^",
        ),
        (
            "self.name.startsWith(1)",
            "ERROR: <input>:1:21: found no matching overload for 'startsWith' applied to 'string.(int)'\n | self.name.startsWith(1)\n | ....................^",
        ),
        ("1 && true", "ERROR: <input>:1:1: expected type 'bool' but found 'int'\n | 1 && true\n | ^"),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        ("true &&\n  nope", "ERROR: <input>:2:3: undeclared reference to 'nope' (in container '')\n |   nope\n | ..^"),
        (
            "'ü' + nope",
            "ERROR: <input>:1:7: undeclared reference to 'nope' (in container '')\n | 'ü' + nope\n | .\u{ff0e}....^",
        ),
    ] {
        assert_eq!(issue(expression), expected, "{expression}");
    }
}

#[test]
fn several_issues_are_told_in_order() {
    let told = issue("a == b");
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("ERROR")).collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].contains(":1:1: undeclared reference to 'a'"), "{told}");
    assert!(lines[1].contains(":1:6: undeclared reference to 'b'"), "{told}");
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for (expression, place) in [
        ("", "1:1"),
        ("1 +", "1:4"),
        ("(1", "1:3"),
        ("[1, 2", "1:6"),
        ("a b", "1:3"),
        ("'abc", "1:1"),
        ("\"a\nb\"", "1:1"),
        ("1 = 2", "1:3"),
        ("a & b", "1:3"),
        ("for", "1:1"),
        ("self.namespace.while()", "1:5"),
        ("@result", "1:1"),
        ("'\\q'", "1:1"),
        ("1.2.3", "1:4"),
        ("{1: }", "1:5"),
        ("a.?b()", "1:5"),
    ] {
        let told = issue(expression);
        assert!(told.starts_with(&format!("ERROR: <input>:{place}: ")), "{expression}: {told}");
    }
}

#[test]
fn results_of_another_type_are_refused() {
    let env = Env::new().with_variable("any", Type::Dyn);
    let error = env.compile_to("1 + 1", &[Type::Bool]).expect_err("it is no bool");
    assert_eq!(error.to_string(), "must evaluate to bool");
    assert!(env.compile_to("any.a", &[Type::Bool]).is_ok());
    assert!(env.compile_to("true", &[Type::Bool]).is_ok());
}
