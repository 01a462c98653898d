//! CEL: any text is compiled or refused with its places, and an evaluation ends within its cost, which is within what
//! was estimated where sizes are known.
#![no_main]

use std::sync::LazyLock;

use cel::{Env, Type, Value, Variables};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value as Json, json};

/// Evaluations stop a little above their limit: one call's cost may be charged whole.
const ABOVE_LIMIT: u64 = 10_000_000;

static ENV: LazyLock<Env> = LazyLock::new(|| {
    Env::new()
        .with_variable("object", Type::Dyn)
        .with_variable("n", Type::Int)
        .with_variable("s", Type::String)
        .with_variable("l", Type::list(Type::Int))
        .with_variable("m", Type::map(Type::String, Type::Dyn))
        .with_mutations()
});

static OBJECT: LazyLock<Json> = LazyLock::new(|| {
    json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"replicas": 3, "list": [1, 2, 3], "text": "1Gi",
        "containers": [{"name": "a", "image": "b:1"}, {"name": "c"}], "ratio": 0.5, "none": null}})
});

fuzz_target!(|data: &[u8]| {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let program = match ENV.compile(source) {
        Ok(program) => program,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let estimated = program.estimated_cost();
    assert!(estimated.min <= estimated.max, "{estimated:?}");
    let list = json!([3, 1, 2]);
    let variables = Variables::new()
        .with("object", Value::from_json(&OBJECT))
        .with("n", Value::Int(7))
        .with("s", Value::from("some text"))
        .with("l", Value::from_json(&list))
        .with("m", Value::from_json(&OBJECT["spec"]));
    for limit in [100, cel::PER_CALL_COST_LIMIT] {
        let outcome = program.eval(&variables, limit);
        assert!(outcome.cost <= limit + ABOVE_LIMIT, "{}", outcome.cost);
        let again = program.eval(&variables, limit);
        assert_eq!(again.cost, outcome.cost);
        assert_eq!(again.result.is_ok(), outcome.result.is_ok());
        if let Ok(value) = outcome.result {
            let _ = value.to_json();
        }
    }
});
