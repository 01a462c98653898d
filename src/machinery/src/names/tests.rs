use super::*;

type Rule = fn(&str) -> Vec<String>;

#[test]
fn what_each_rule_takes_and_refuses() {
    let long_label = "a".repeat(64);
    let long_name = format!("{}.a", "a".repeat(252));
    let cases: &[(&str, Rule, &[&str], &[&str])] = &[
        ("label", dns1123_label, &["a", "0a-b", "a--b"], &["", "A", "-a", "a-", "a.b", "a_b", &long_label, "ä"]),
        ("subdomain", dns1123_subdomain, &["a", "a.b", "0.1"], &["", "a..b", ".a", "a.", "a.B", &long_name]),
        ("wildcard", wildcard_dns1123_subdomain, &["*.a.b"], &["*", "*.", "a.b", "*.*.a", "*a"]),
        ("dns1035", dns1035_label, &["a1"], &["1a", "a.b", ""]),
        ("qualified", qualified_name, &["a", "A.b_c", "x.io/A"], &["", "/a", "x.io/", "a/b/c", "X.io/a", "-a", "a "]),
        ("value", label_value, &["", "A", "a.b"], &["-a", "a ", &long_label]),
        ("env", env_var_name, &["A", "my.env", "1 a"], &["", "a=b", "a\tb", "ä"]),
        ("strict env", strict_env_var_name, &["A", "a.b-c"], &["", "1a", "a b", ".."]),
        ("identifier", c_identifier, &["_a1"], &["", "1a", "a-b"]),
        ("config key", config_map_key, &["a.b", ".a", "A_-"], &["", ".", "..", "..a", "a/b"]),
        ("port name", port_name, &["http", "a-1"], &["", "1", "a--b", "-a", "HTTP", "abcdefghijklmnop"]),
        ("percent", percent, &["0%", "150%"], &["", "%", "1", "-1%"]),
        ("header", http_header_name, &["X-A"], &["", "X_A"]),
        ("segment", path_segment, &["system:node", "a.b"], &[".", "..", "a/b", "a%b"]),
    ];
    for (rule, check, good, bad) in cases {
        for name in *good {
            assert_eq!(check(name), Vec::<String>::new(), "{rule} refuses {name:?}");
        }
        for name in *bad {
            assert!(!check(name).is_empty(), "{rule} takes {name:?}");
        }
    }
}

#[test]
fn messages_read_as_kubernetes_writes_them() {
    assert_eq!(
        dns1123_subdomain("A"),
        [
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
          and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
          '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        ]
    );
    assert_eq!(
        label_value("-"),
        [
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
          and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
          validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ]
    );
    assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
    assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
}

#[test]
fn generated_names_stay_labels() {
    let mut next = 0;
    let mut random = || {
        next += 1;
        next
    };
    assert_eq!(generate("web-", &mut random), "web-cdfgh");
    let name = generate(&"a".repeat(100), random);
    assert_eq!(name.len(), LABEL_MAX_BYTES);
    assert!(dns1123_label(&name).is_empty());
}
