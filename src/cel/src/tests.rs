//! What expressions mean, as users see it: tables by subject.

mod conformance;
mod costs;
mod errors;
mod libraries;
mod syntax;
mod typed;

use crate::{Env, Outcome, PER_CALL_COST_LIMIT, Type, Value, Variables};

/// The value of an expression over `x` (JSON) as text of CEL's literals, or its error after `error: `.
fn eval_with(expression: &str, x: &serde_json::Value) -> String {
    let env = Env::new().with_variable("x", Type::Dyn).with_mutations();
    let program = match env.compile(expression) {
        Ok(program) => program,
        Err(error) => return format!("issue: {}", error.to_string().lines().next().unwrap_or_default()),
    };
    let variables = Variables::new().with("x", Value::from_json(x));
    let Outcome { result, .. } = program.eval(&variables, PER_CALL_COST_LIMIT);
    match result {
        Ok(value) => show(&value),
        Err(error) => format!("error: {error}"),
    }
}

fn eval(expression: &str) -> String {
    eval_with(expression, &serde_json::Value::Null)
}

fn show(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Uint(number) => format!("{number}u"),
        Value::Double(number) => format!("{number:?}"),
        Value::String(text) => format!("{:?}", &**text),
        Value::Bytes(bytes) => crate::literal::quote_bytes(bytes),
        Value::List(list) => {
            let parts: Vec<String> =
                list.iter().map(|value| value.map_or_else(|error| error.to_string(), |value| show(&value))).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::Map(map) => {
            let parts: Vec<String> = map
                .keys()
                .iter()
                .filter_map(|key| {
                    let value = map.get(&crate::Key::of(key)?)?.ok()?;
                    Some(format!("{}: {}", show(key), show(&value)))
                })
                .collect();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Optional(None) => "none".to_string(),
        Value::Optional(Some(value)) => format!("some({})", show(value)),
        Value::Type(name) => format!("type({name})"),
        Value::Struct(_) => value.to_json().map_or_else(|error| error.to_string(), |json| json.to_string()),
        Value::Quantity(quantity) => format!("quantity({quantity})"),
        value => crate::library::text_of(value).unwrap_or_else(|_| format!("<{}>", value.type_name())),
    }
}

/// Every expression has the value that stands beside it; tells all that have not.
fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(expression, expected)| {
            let found = eval(expression);
            (found != *expected).then(|| format!("{expression}\n    expected {expected}\n    found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
