//! What expressions cost: the numbers are those of Kubernetes, which accepts and refuses CRDs by them.

use serde_json::{Value as Json, json};

use crate::{Decl, Env, PER_CALL_COST_LIMIT, Range, Type, Value, Variables};

/// `input` of a schema and what an expression over it is estimated to cost.
fn estimate(schema: &Json, expression: &str) -> Range {
    let decl = Decl::from_openapi(schema, false).expect("the schema tells a type");
    let env = Env::new()
        .with_declared("input", decl)
        .with_variable("a", Type::Bool)
        .with_variable("b", Type::Bool)
        .with_variable("t", Type::Timestamp)
        .with_variable("authorizer", Type::Opaque("kubernetes.authorization.Authorizer"));
    env.compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}")).estimated_cost()
}

#[test]
fn estimates_follow_the_bounds_of_schemas() {
    let text = json!({"type": "string", "maxLength": 125});
    let bools = json!({"type": "array", "maxItems": 100, "items": {"type": "boolean"}});
    let nested = json!({"type": "array", "maxItems": 50, "items": {"type": "array", "maxItems": 10, "items": {"type": "boolean"}}});
    let texts = json!({"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 1}});
    let object =
        json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}});
    let cases: [(&Json, &str, u64, u64); 44] = [
        (&text, "'Hello World!'", 0, 0),
        (&text, "input", 1, 1),
        (&object, "input.a", 2, 2),
        (&object, "has(input.a)", 1, 1),
        (&object, "has(input.a.b)", 2, 2),
        (&text, "[1, 2, 3]", 10, 10),
        (&text, "{'a': 1, 'b': 2}", 30, 30),
        (&bools, "input.all(x, true)", 2, 302),
        (&nested, "input.all(x, x.all(y, true))", 2, 1752),
        (&text, "[1, 2, 3].all(x, true)", 20, 20),
        (&text, "input.matches('[0-9]')", 3, 103),
        (&text, "'123'.matches('[0-9]')", 2, 2),
        (&text, "true || false", 0, 0),
        (&text, "a || b || a || b", 1, 4),
        (&text, "a && b && a && b", 1, 4),
        (&text, "1 < 2", 1, 1),
        (&text, "1 == 2", 1, 1),
        (&text, "2 in [1, 2, 3]", 13, 13),
        (&text, "true ? 1 : 2", 0, 0),
        (&text, "bytes(input)", 1, 51),
        (&text, "bytes(input) == bytes(input)", 3, 302),
        (&text, "input.contains(input)", 2, 2502),
        (&text, "input.startsWith(input)", 2, 52),
        (&text, "input.size()", 2, 2),
        (&text, "[1,2,3,4,5].filter(x, x % 2 == 0)", 41, 101),
        (&text, "[1,2,3,4,5].map(x, x)", 86, 86),
        (&text, "[1,2,3,4,5].map(x, x).filter(x, x % 2 == 0)", 117, 177),
        (&text, "[1,2,3,4,5].map(x, x).exists(x, x == 5) == true", 108, 118),
        (&text, "[1,2,3,4,5].map(x, x).map(x, x)", 162, 162),
        (&text, "[1,2,3,4,5].map(x, x)[4]", 87, 87),
        (&text, "[[1,2],[1,2],[1,2],[1,2],[1,2]][4]", 61, 61),
        (&text, "{'a': [1,2], 'b': [1,2], 'c': [1,2], 'd': [1,2], 'e': [1,2]}.b", 81, 81),
        (&text, "[[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]].all(y, y.all(y, y == 1))", 76, 136),
        (&text, "[1,2,3,4,5].map(x, [x, x]).all(y, y.all(y, y == 1))", 157, 217),
        (&text, "[1,2,3].all(i, i in [1,2,3].map(j, j + j))", 20, 230),
        (&text, "dyn([1,2,3]).all(i, i in dyn([1,2,3]).map(j, j + j))", 21, 234),
        (&text, "t == t", 3, 3),
        (&text, "((5 != 6) == (1 == 2)) == ((3 <= 4) == (9 != 9))", 7, 7),
        (&text, "'ABCDEFGHIJ abcdefghij'.lowerAscii()", 3, 3),
        (&text, "authorizer.path('/healthz').check('get').allowed()", 350_003, 350_003),
        (&text, "authorizer.group('apps').resource('deployments').name('backend')", 4, 4),
        (&texts, "input.isSorted()", 1, 21),
        (&texts, "input.map(x, [x, x]).all(y, y.all(y, y.startsWith('a')))", 13, 403),
        (&text, "isQuantity('20M')", 1, 1),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(schema, expression, min, max)| {
            let found = estimate(schema, expression);
            (found != Range { min: *min, max: *max }).then(|| format!("{expression}: {found:?}, not {min} to {max}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_no_schema_bounds_is_bounded_by_the_largest_request() {
    let unbounded = json!({"type": "array", "items": {"type": "string"}});
    // 3 MiB of `"",`.
    let items = (3 * 1024 * 1024 - 2) / 3;
    assert_eq!(estimate(&unbounded, "input.all(x, true)").max, 2 + 3 * items);
    assert!(estimate(&unbounded, "input.all(x, input.all(y, x == y))").max > 1_000_000_000_000_000);
    let names = json!({"type": "string", "enum": ["a", "bcd"]});
    assert_eq!(estimate(&names, "input.contains(input)").max, 3);
}

#[test]
fn evaluations_cost_what_kubernetes_counts() {
    let x = json!({"list": [1, 2, 3], "text": "abcdefghijklmnopqrst", "map": {"a": {"b": 1}}, "empty": []});
    let cases = [
        ("x", 1),
        ("x.text", 2),
        ("x['text']", 2),
        ("x['te' + 'xt']", 3),
        ("x.list[0]", 3),
        ("x.list[3 - 3]", 4),
        ("has(x.map)", 1),
        ("has(x.map.a)", 2),
        ("x.?map.?a", 3),
        // Lists of constants are made once, when the expression is compiled.
        ("[1, 2, 3]", 0),
        ("[x, 1]", 11),
        ("{'a': x}", 31),
        ("2 in [1, 2, 3]", 0),
        ("x.list[0] in [1, 2, 3]", 3),
        ("1 in x.list", 5),
        ("x.list.all(e, true)", 2 + 3 * 3 + 1),
        ("x.list.all(e, e > 0)", 2 + 3 * (2 + 1 + 2) + 1),
        ("x.list.exists(e, e == 1)", 2 + (3 + 1 + 2) + 3 + 1),
        ("x.empty.all(e, true)", 3),
        ("x.list.map(e, e)", 2 + 10 + 3 * (1 + 1 + 10 + 1) + 1 - 10),
        ("x.text == x.text", 4 + 2),
        ("x.text + x.text", 4 + 4),
        ("x.text.startsWith('a')", 2 + 2),
        ("x.text.contains('abcdefghijkl')", 2 + 2 * 2),
        ("x.text.matches('[a-z]')", 2 + 3 * 2),
        ("x.text.size()", 3),
        ("true ? 1 : 2", 0),
        ("x.list.isSorted()", 2 + 3),
        ("x.text.upperAscii()", 2 + 2),
        ("x.text.replace('a', 'b')", 2 + 4),
        ("[x.text, x.text].join('')", 4 + 10 + 8),
        ("quantity('1') == quantity('1')", 3),
        ("timestamp('2020-01-01T00:00:00Z')", 0),
        ("cel.bind(v, x.text, v + v)", 2 + 2 + 4),
        ("lists.range(10)", 21),
        ("x.list.reverse()", 2 + 14),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(expression, expected)| {
            let env = Env::new().with_variable("x", Type::Dyn);
            let program = env.compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
            let outcome = program.eval(&Variables::new().with("x", Value::from_json(&x)), PER_CALL_COST_LIMIT);
            (outcome.cost != *expected).then(|| format!("{expression}: {}, not {expected}", outcome.cost))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An evaluation that must be ended by its cost, in little time and memory.
fn is_ended(expression: &str, x: &Json) {
    let env = Env::new().with_variable("x", Type::Dyn);
    let program = env.compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let outcome = program.eval(&Variables::new().with("x", Value::from_json(x)), PER_CALL_COST_LIMIT);
    match outcome.result {
        Err(error) => {
            assert!(error.exceeds_cost() || error.to_string() == "string is too long", "{expression}: {error}")
        }
        Ok(value) => panic!("{expression} ended by itself with {}", value.type_name()),
    }
}

#[test]
fn nothing_runs_longer_than_its_limit() {
    let many: Vec<i64> = (0..3000).collect();
    let text = "a".repeat(20_000);
    let x = json!({"many": many, "text": text});
    is_ended("x.many.all(a, x.many.all(b, x.many.all(c, true)))", &x);
    is_ended("x.many.all(a, x.many == x.many)", &json!({"many": (0..60_000).collect::<Vec<i64>>()}));
    is_ended("lists.range(2000000).size() > 0", &x);
    is_ended("x.text.replace('', x.text).size() > 0", &x);
    is_ended("x.many.map(a, x.text + x.text).size() > 0", &x);
    // Doubling a list costs one for each time.
    let doubled = (0..40).fold("x.many".to_string(), |list, _| format!("cel.bind(l, {list}, l + l)"));
    is_ended(&format!("{doubled}.size() > 0"), &x);
    // What holds another twice, sixty times over, is small, and looking through it would never end.
    let shared = (0..60).fold("[[0, 0]]".to_string(), |list, _| format!("{list}.map(a, [a, a])"));
    is_ended(&format!("dyn({shared}).indexOf(x) >= 0"), &x);
    is_ended("x.many.all(n, 'a'.matches('(a{50}){' + string(n % 50) + '}') || true)", &x);
    is_ended("x.many.all(n, x.text.matches('(a|b)*' + string(n)) || true)", &x);
}

#[test]
fn no_operator_absorbs_the_end_of_the_budget() {
    let env = Env::new().with_variable("x", Type::Dyn);
    let program = env.compile("x.all(a, x.all(b, x.all(c, a == b || true))) || true").expect("it compiles");
    let many = json!((0..300).collect::<Vec<i64>>());
    let outcome = program.eval(&Variables::new().with("x", Value::from_json(&many)), 1000);
    assert!(outcome.result.is_err_and(|error| error.exceeds_cost()));
    assert!((1000..1100).contains(&outcome.cost), "{}", outcome.cost);
}

#[test]
fn looking_at_a_long_text_again_and_again_ends() {
    let long = serde_json::json!({"text": "a".repeat(1 << 20), "list": vec![0; 30_000]});
    for looks in
        ["size(x.text) >= 0", "x.text != 'b'", "!(x.text in ['b', 'c'])", "!(x.text in x)", "{x.text: 1}.size() == 1"]
    {
        let began = std::time::Instant::now();
        let told = super::eval_with(&format!("x.list.all(e, {looks})"), &long);
        assert_eq!(told, "error: operation cancelled: actual cost limit exceeded", "{looks}");
        assert!(began.elapsed().as_secs() < 20, "{looks}: {:?}", began.elapsed());
        // A few looks are nobody's loss.
        assert_eq!(super::eval_with(&format!("x.list.slice(0, 100).all(e, {looks})"), &long), "true", "{looks}");
    }
}
