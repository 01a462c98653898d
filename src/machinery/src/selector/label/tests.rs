use proptest::prelude::*;
use serde_json::json;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[test]
fn which_labels_a_selector_takes() {
    let web = labels(&[("app", "web"), ("tier", "2"), ("empty", "")]);
    let cases = [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web , tier=2", true),
        ("app=db", false),
        ("app!=db", true),
        ("app!=web", false),
        ("missing!=web", true),
        ("app in (db,web)", true),
        ("app in (db)", false),
        ("app notin (db, cache)", true),
        ("missing notin (db)", true),
        ("app", true),
        ("missing", false),
        ("!app", false),
        ("!missing", true),
        ("empty=", true),
        ("empty=,app=web", true),
        ("empty in ()", true),
        ("empty in (,a)", true),
        ("empty in (a,)", true),
        ("tier>1", true),
        ("tier>2", false),
        ("tier<10", true),
        ("app>1", false),
        ("in=in", false),
        ("in notin (in,notin)", true),
    ];
    for (text, expected) in cases {
        let selector = LabelSelector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.matches(&web), expected, "{text}");
        let printed = selector.to_string();
        assert_eq!(LabelSelector::parse(&printed).as_ref().map(ToString::to_string), Ok(printed), "{text}");
    }
}

#[test]
fn messages_read_as_kubernetes_writes_them() {
    let name_rule = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let cases = [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt".to_string()),
        ("a,", "found '', expected: identifier after ','".to_string()),
        (",a", "found ',', expected: !, identifier, or 'end of string'".to_string()),
        ("a in b", "unable to parse requirement: found 'b' expected: '('".to_string()),
        ("a=b c", "found 'c', expected: ',' or 'end of string'".to_string()),
        ("a=(", "unable to parse requirement: found '(', expected: identifier".to_string()),
        ("-a", format!("unable to parse requirement: <nil>: Invalid value: \"-a\": {name_rule}")),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be \
             an integer"
                .to_string(),
        ),
    ];
    for (text, message) in cases {
        assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn selectors_of_objects() {
    let web = labels(&[("app", "web")]);
    let matches = |selector: Value| LabelSelector::from_json(Some(&selector)).unwrap().matches(&web);
    assert!(!matches(json!(null)));
    assert!(matches(json!({})));
    assert!(matches(json!({"matchLabels": {"app": "web"}})));
    assert!(!matches(json!({"matchLabels": {"app": "web", "tier": "1"}})));
    assert!(matches(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]})));
    assert!(!matches(json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})));
    assert!(!LabelSelector::from_json(None).unwrap().matches(&web));

    let error = |selector: Value| LabelSelector::from_json(Some(&selector)).unwrap_err().to_string();
    assert_eq!(
        error(json!({"matchExpressions": [{"key": "a", "operator": "Like"}]})),
        "\"Like\" is not a valid label selector operator"
    );
    assert_eq!(
        error(json!({"matchExpressions": [{"key": "a", "operator": "In"}]})),
        "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
    );
}

#[test]
fn validation_names_the_field() {
    let selector = json!({"matchLabels": {"a": "-"}, "matchExpressions": [
        {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "a", "operator": "X"}]});
    let found: Vec<String> = validate(&selector, &Path::new("spec").child("selector"))
        .into_iter()
        .map(|error| format!("{} {}", error.path, error.reason.cause()))
        .collect();
    assert_eq!(
        found,
        [
            "spec.selector.matchLabels FieldValueInvalid",
            "spec.selector.matchExpressions[0].values FieldValueRequired",
            "spec.selector.matchExpressions[1].values FieldValueForbidden",
            "spec.selector.matchExpressions[2].operator FieldValueInvalid",
        ]
    );
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "[a-c=!(), <>in\\-]{0,24}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            let printed = selector.to_string();
            prop_assert_eq!(LabelSelector::parse(&printed).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn in_and_notin_are_opposites(value in "[a-c]", values in prop::collection::vec("[a-c]", 1..4)) {
        let labels = labels(&[("k", &value)]);
        let within = LabelSelector::parse(&format!("k in ({})", values.join(","))).unwrap();
        let without = LabelSelector::parse(&format!("k notin ({})", values.join(","))).unwrap();
        prop_assert_ne!(within.matches(&labels), without.matches(&labels));
        prop_assert_eq!(within.matches(&labels), values.contains(&value));
    }
}
