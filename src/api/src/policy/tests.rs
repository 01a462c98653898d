//! Policies as their authors write them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::matching::{Constraints, Place, Requested};
use super::*;

fn policy(spec: Value) -> ValidatingPolicy {
    ValidatingPolicy::read(&json!({"metadata": {"name": "p"}, "spec": spec}))
}

struct Case {
    object: Value,
    old: Value,
    params: Value,
    answers: Arc<Answers>,
}

impl Case {
    fn new(object: Value) -> Self {
        Self { object, old: Value::Null, params: Value::Null, answers: Arc::default() }
    }

    fn validate(&self, policy: &ValidatingPolicy) -> Verdict {
        let namespace = json!({"metadata": {"name": "n", "labels": {"env": "prod"}}});
        let request =
            json!({"operation": "CREATE", "namespace": "n", "userInfo": {"username": "ann"}, "dryRun": false});
        let own = cel::Attributes { resource: "pods".to_string(), ..cel::Attributes::default() };
        policy.validate(&Input {
            object: &self.object,
            old_object: &self.old,
            request: &request,
            namespace: &namespace,
            params: &self.params,
            request_resource: &own,
            answers: &self.answers,
        })
    }
}

fn messages(verdict: &Verdict) -> Vec<&str> {
    verdict.denials.iter().map(|denial| denial.message.as_str()).collect()
}

#[test]
fn messages_are_what_the_policy_says_of_a_request() {
    let case = Case::new(json!({"spec": {"replicas": 7}}));
    for (validation, expected) in [
        (json!({"expression": "object.spec.replicas <= 10"}), None),
        (json!({"expression": " object.spec.replicas <= 5"}), Some("failed expression: object.spec.replicas <= 5")),
        (json!({"expression": "object.spec.replicas <= 5", "message": " at most 5 "}), Some("at most 5")),
        (
            json!({"expression": "object.spec.replicas <= 5", "message": "m",
                "messageExpression": "'at most 5, not ' + string(object.spec.replicas)"}),
            Some("at most 5, not 7"),
        ),
        (
            json!({"expression": "object.spec.replicas <= 5", "message": "m", "messageExpression": "object.spec.name"}),
            Some("m"),
        ),
        (
            json!({"expression": "object.spec.cost < 5"}),
            Some("expression 'object.spec.cost < 5' resulted in error: no such key: cost"),
        ),
        (json!({"expression": "oldObject == null && request.operation == 'CREATE'"}), None),
        (json!({"expression": "request.userInfo.username == 'ann' && !request.dryRun"}), None),
        (json!({"expression": "namespaceObject.metadata.labels.env == 'prod'"}), None),
    ] {
        let verdict = case.validate(&policy(json!({"validations": [validation.clone()]})));
        assert_eq!(messages(&verdict), expected.into_iter().collect::<Vec<_>>(), "{validation}");
    }
}

#[test]
fn a_policy_that_ignores_failures_refuses_what_fails_and_not_what_is_broken() {
    let spec = json!({"failurePolicy": "Ignore", "validations": [
        {"expression": "object.nothing == 1"}, {"expression": "false", "reason": "Forbidden", "message": "no"}]});
    let verdict = Case::new(json!({})).validate(&policy(spec));
    assert_eq!(
        verdict.denials,
        [Denial { message: "no".to_string(), reason: "Forbidden".to_string(), index: Some(1) }]
    );
}

#[test]
fn conditions_say_whether_a_request_is_looked_at() {
    let with = |conditions: &[&str], failure: &str| {
        let conditions: Vec<Value> = conditions.iter().map(|text| json!({"name": "c", "expression": text})).collect();
        let spec = json!({"failurePolicy": failure, "matchConditions": conditions,
            "validations": [{"expression": "false", "message": "asked"}]});
        let verdict = Case::new(json!({})).validate(&policy(spec));
        messages(&verdict).join(";")
    };
    assert_eq!(with(&["true"], "Fail"), "asked");
    assert_eq!(with(&["true", "false"], "Fail"), "");
    // One that is false decides, whatever the others are.
    assert_eq!(with(&["object.x", "false"], "Fail"), "");
    assert_eq!(with(&["object.x == 1"], "Fail"), "expression 'object.x == 1' resulted in error: no such key: x");
    assert_eq!(with(&["object.x == 1"], "Ignore"), "");
}

#[test]
fn variables_are_evaluated_once_and_where_they_are_needed() {
    let spec = json!({
        "variables": [
            {"name": "containers", "expression": "object.spec.containers"},
            {"name": "names", "expression": "variables.containers.map(c, c.name)"},
            {"name": "broken", "expression": "object.nothing"},
        ],
        "validations": [
            {"expression": "variables.names.all(n, n != 'bad')", "messageExpression": "'has ' + variables.names.join(',')"},
            {"expression": "false || variables.names.size() == 2"},
            {"expression": "true || variables.broken == 1"},
        ],
    });
    let with_variables = policy(spec);
    let case = Case::new(json!({"spec": {"containers": [{"name": "good"}, {"name": "bad"}]}}));
    assert_eq!(messages(&case.validate(&with_variables)), ["has good,bad"]);
    let broken = policy(json!({"variables": [{"name": "v", "expression": "object.nothing"}],
        "validations": [{"expression": "variables.v == 1"}]}));
    assert_eq!(
        messages(&case.validate(&broken)),
        ["expression 'variables.v == 1' resulted in error: composited variable \"v\" fails to evaluate: no such key: \
             nothing"]
    );
}

#[test]
fn parameters_are_there_where_the_policy_has_a_kind_of_them() {
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let limited = policy(json!({"paramKind": kind, "validations": [
        {"expression": "params == null || object.spec.replicas <= int(params.data.max)"}]}));
    let mut case = Case::new(json!({"spec": {"replicas": 7}}));
    assert_eq!(messages(&case.validate(&limited)).len(), 0);
    case.params = json!({"data": {"max": "5"}});
    assert_eq!(messages(&case.validate(&limited)).len(), 1);
}

#[test]
fn the_authorizer_is_asked_between_two_evaluations() {
    let asking = policy(json!({"validations": [
        {"expression": "authorizer.group('apps').resource('deployments').namespace('n').check('delete').allowed()"},
        {"expression": "authorizer.requestResource.check('create').allowed()"},
    ]}));
    let case = Case::new(json!({}));
    assert_eq!(messages(&case.validate(&asking)).len(), 2);
    let open = case.answers.take_open();
    let asked: Vec<_> = open.iter().map(|one| (one.resource.as_str(), one.verb.as_str())).collect();
    assert_eq!(asked, [("deployments", "delete"), ("pods", "create")]);
    for question in open {
        case.answers.add(question, cel::Decision { allowed: true, ..cel::Decision::default() });
    }
    assert_eq!(messages(&case.validate(&asking)).len(), 0);
    assert!(case.answers.take_open().is_empty());
}

#[test]
fn annotations_are_values_of_their_expressions() {
    let of = |expression: &str| {
        let verdict = Case::new(json!({"spec": {"replicas": 7}}))
            .validate(&policy(json!({"auditAnnotations": [{"key": "replicas", "valueExpression": expression}]})));
        let told = |annotation: &Annotation| format!("{}={}", annotation.key, annotation.value);
        verdict
            .annotations
            .iter()
            .map(told)
            .chain(verdict.broken_annotations.into_iter().map(|one| one.message))
            .collect()
    };
    assert_eq!(of("string(object.spec.replicas)"), ["p/replicas=7".to_string()] as [String; 1]);
    assert_eq!(of("''"), Vec::<String>::new());
    assert_eq!(of("null"), Vec::<String>::new());
    let broken: Vec<String> = of("string(object.nothing)");
    assert_eq!(broken, ["expression 'string(object.nothing)' resulted in error: no such key: nothing"]);
}

#[test]
fn what_costs_too_much_refuses() {
    let list: Vec<u32> = (0..1000).collect();
    let dear = "object.list.all(a, object.list.all(b, a != b + 2000))";
    let many: Vec<Value> = (0..3).map(|_| json!({"expression": dear})).collect();
    let verdict = Case::new(json!({"list": list})).validate(&policy(json!({"validations": many})));
    assert!(messages(&verdict)[0].ends_with("resulted in error: operation cancelled: actual cost limit exceeded"));
    let list: Vec<u32> = (0..300).collect();
    let many: Vec<Value> = (0..40).map(|_| json!({"expression": dear})).collect();
    let verdict = Case::new(json!({"list": list})).validate(&policy(json!({"validations": many})));
    assert_eq!(
        messages(&verdict),
        ["validation failed due to running out of cost budget, no further validation rules will be run"]
    );
}

#[test]
fn expressions_have_to_compile_when_they_are_made() {
    let refused = |spec: Value| -> Vec<String> {
        let policy = json!({"metadata": {"name": "p"}, "spec": spec});
        check::validating(&policy).iter().map(|error| error.to_string().replace('\n', "|")).collect()
    };
    for (spec, expected) in [
        (json!({"validations": [{"expression": "object.spec.replicas < 5", "messageExpression": "'m'"}]}), None),
        (
            json!({"validations": [{"expression": "objekt"}]}),
            Some(
                "spec.validations[0].expression: Invalid value: \"objekt\": compilation failed: ERROR: <input>:1:1: \
                  undeclared reference to 'objekt' (in container '')| | objekt| | ^",
            ),
        ),
        (
            json!({"validations": [{"expression": "1 + 1"}]}),
            Some("spec.validations[0].expression: Invalid value: \"1 + 1\": must evaluate to bool"),
        ),
        (
            json!({"validations": [{"expression": "params.x == 1"}]}),
            Some(
                "spec.validations[0].expression: Invalid value: \"params.x == 1\": compilation failed: ERROR: \
                  <input>:1:1: undeclared reference to 'params' (in container '')| | params.x == 1| | ^",
            ),
        ),
        (
            json!({"paramKind": {"apiVersion": "v1", "kind": "A"}, "validations": [{"expression": "params.x == 1"}]}),
            None,
        ),
        (
            json!({"validations": [{"expression": "true", "messageExpression": "1"}]}),
            Some("spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string"),
        ),
        (
            json!({"variables": [{"name": "a", "expression": "1"}], "validations": [{"expression": "variables.a == 1"}]}),
            None,
        ),
        (
            json!({"variables": [{"name": "a", "expression": "1"}], "validations": [{"expression": "variables.a == 'x'"}]}),
            Some(
                "spec.validations[0].expression: Invalid value: \"variables.a == 'x'\": compilation failed: ERROR: \
                  <input>:1:13: found no matching overload for '_==_' applied to '(int, string)'| | variables.a == 'x'\
                  | | ............^",
            ),
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "'x'"}]}),
            Some("spec.matchConditions[0].expression: Invalid value: \"'x'\": must evaluate to bool"),
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "1"}]}),
            Some(
                "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null]",
            ),
        ),
        (
            json!({"validations": [{"expression": "authorizer.group('').resource('pods').check('get').allowed()"}]}),
            None,
        ),
        (
            json!({"validations": [{"expression": "true", "messageExpression": "authorizer.path('/').check('get').reason()"}]}),
            Some(
                "spec.validations[0].messageExpression: Invalid value: \"authorizer.path('/').check('get').reason()\": \
                  compilation failed: ERROR: <input>:1:1: undeclared reference to 'authorizer' (in container '')| | \
                  authorizer.path('/').check('get').reason()| | ^",
            ),
        ),
    ] {
        assert_eq!(refused(spec.clone()), expected.into_iter().collect::<Vec<_>>(), "{spec}");
    }
}

#[test]
fn constraints_tell_which_requests_are_meant() {
    let place = |version: &str, resource: &str| Place {
        group_version: GroupVersion::parse(version).expect("a version"),
        resource: resource.to_string(),
    };
    let places = [place("apps/v1", "deployments"), place("old.example.com/v1", "deployments")];
    let object = json!({"metadata": {"labels": {"a": "b"}}});
    let namespace = json!({"metadata": {"labels": {"env": "prod"}}});
    let requested = |subresource| Requested {
        operation: "CREATE",
        places: &places,
        subresource,
        namespace: "n",
        name: "x",
        object: &object,
        old_object: &Value::Null,
        namespace_object: &namespace,
    };
    let rule = |groups: &str, resource: &str| json!({"operations": ["CREATE"], "apiGroups": [groups], "apiVersions": ["v1"], "resources": [resource]});
    let with = |field: &str, value: Value| {
        let mut rule = rule("apps", "deployments");
        rule[field] = value;
        json!({"resourceRules": [rule]})
    };
    for (constraints, subresource, expected) in [
        (json!({"resourceRules": [rule("apps", "deployments")]}), "", Some(0)),
        (json!({"resourceRules": [rule("apps", "deployments")]}), "scale", None),
        (json!({"resourceRules": [rule("apps", "deployments/scale")]}), "scale", Some(0)),
        (json!({"resourceRules": [rule("*", "*")]}), "scale", None),
        (json!({"resourceRules": [rule("*", "*/*")]}), "scale", Some(0)),
        (json!({"resourceRules": [rule("*", "*/*")]}), "", Some(0)),
        (json!({"resourceRules": [rule("old.example.com", "deployments")]}), "", Some(1)),
        (json!({"resourceRules": [rule("old.example.com", "deployments")], "matchPolicy": "Exact"}), "", None),
        (json!({"resourceRules": [rule("*", "*")], "excludeResourceRules": [rule("apps", "deployments")]}), "", None),
        (with("operations", json!(["UPDATE", "DELETE"])), "", None),
        (with("operations", json!(["*"])), "", Some(0)),
        (with("scope", json!("Namespaced")), "", Some(0)),
        (with("scope", json!("Cluster")), "", None),
        (with("resourceNames", json!(["y"])), "", None),
        (with("resourceNames", json!(["x"])), "", Some(0)),
        (
            json!({"namespaceSelector": {"matchLabels": {"env": "prod"}}, "objectSelector": {"matchLabels": {"a": "b"}}}),
            "",
            Some(0),
        ),
        (json!({"namespaceSelector": {"matchLabels": {"env": "test"}}}), "", None),
        (json!({"objectSelector": {"matchExpressions": [{"key": "c", "operator": "Exists"}]}}), "", None),
    ] {
        assert_eq!(Constraints::read(&constraints).find(&requested(subresource)), expected, "{constraints}");
    }
    // What has no namespace is not told apart by it; a namespace is by its own labels.
    let selecting = Constraints::read(&json!({"namespaceSelector": {"matchLabels": {"env": "test"}}}));
    let cluster = Requested { namespace: "", namespace_object: &Value::Null, ..requested("") };
    assert_eq!(selecting.find(&cluster), Some(0));
    let own = [place("v1", "namespaces")];
    let itself = Requested { places: &own, namespace: "n", namespace_object: &object, ..requested("") };
    assert_eq!(selecting.find(&itself), None);
}

#[test]
fn variables_build_on_each_other_as_deep_as_a_stack_allows() {
    // Each adds one to the one before, within brackets that cannot be left out.
    let chained = |count: usize, nested: usize| {
        let variables: Vec<Value> = (0..count)
            .map(|number| {
                let before = if number == 0 { "1".to_string() } else { format!("variables.v{}", number - 1) };
                let text = format!("{}{before}{}", "(1 + ".repeat(nested), ")".repeat(nested));
                json!({"name": format!("v{number}"), "expression": text})
            })
            .collect();
        let last = format!("variables.v{} == {}", count - 1, count * nested + 1);
        json!({"variables": variables, "validations": [{"expression": last, "message": "differs"}]})
    };
    for (count, nested, is_refused) in [(1, 50, false), (60, 2, false), (8, 30, false), (12, 60, true), (500, 50, true)]
    {
        let spec = chained(count, nested);
        let wrong = check::validating(&json!({"spec": spec}));
        let too_deep = wrong.iter().filter(|error| error.detail.contains("variables too deep")).count();
        assert_eq!(too_deep > 0, is_refused, "{count} {nested}: {:?}", wrong.first());
        // What is in the store all the same is evaluated on the stack of a thread.
        let verdict = Case::new(json!({})).validate(&policy(spec));
        assert_eq!(!verdict.denials.is_empty(), is_refused, "{count} {nested}: {verdict:?}");
    }
}

#[test]
fn types_of_variables_do_not_grow_without_bound() {
    let variables: Vec<Value> = (0..200)
        .map(|number| {
            let before = if number == 0 { "1".to_string() } else { format!("variables.v{}", number - 1) };
            json!({"name": format!("v{number}"), "expression": format!("[{before}]")})
        })
        .collect();
    let wrong = check::validating(&json!({"spec": {"variables": variables}}));
    assert!(wrong.iter().any(|error| error.detail.contains("type too deep")), "{wrong:?}");
}

#[test]
fn all_expressions_of_a_policy_share_a_bound() {
    // What is called on is there twice in what an `optMap` becomes.
    let large = format!("[object]{}.size() >= 0", "[?0].optMap(x, [x]).orValue([object])".repeat(12));
    let with = |count: usize| {
        let validations: Vec<Value> = (0..count).map(|_| json!({"expression": large})).collect();
        json!({"validations": validations})
    };
    assert_eq!(check::validating(&json!({"spec": with(1)})), Vec::new());
    let wrong = check::validating(&json!({"spec": with(20)}));
    assert!(wrong.iter().any(|error| error.detail.contains("expressions too large")), "{:?}", wrong.first());
    let verdict = Case::new(json!({})).validate(&policy(with(20)));
    assert!(messages(&verdict).iter().any(|message| message.contains("expressions too large")));
}

#[test]
fn a_variable_that_is_declared_is_there() {
    for (expression, expected) in [
        ("has(variables.known) && variables.known", None),
        ("has(variables.unknown)", Some("undefined field 'unknown'")),
        ("variables.unknown == 1", Some("undefined field 'unknown'")),
    ] {
        let spec = json!({"variables": [{"name": "known", "expression": "true"}], "validations": [{"expression": expression}]});
        let wrong = check::validating(&json!({"spec": spec}));
        match expected {
            None => assert_eq!(wrong, Vec::new(), "{expression}"),
            Some(words) => assert!(wrong.len() == 1 && wrong[0].detail.contains(words), "{expression}: {wrong:?}"),
        }
    }
}
