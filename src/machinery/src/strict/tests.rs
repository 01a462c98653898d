use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn duplicates_are_found_wherever_they_are_and_the_last_counts() {
    let decoded = decode_json(
        br#"{"kind":"A","spec":{"replicas":1,"list":[{"a":1},{"a":1,"a":2,"a":3}],"replicas":2},"kind":"B"}"#,
        MAX_BYTES,
    )
    .unwrap();
    assert_eq!(decoded.value, json!({"kind": "B", "spec": {"replicas": 2, "list": [{"a": 1}, {"a": 3}]}}));
    assert_eq!(
        decoded.messages().collect::<Vec<_>>(),
        ["duplicate field \"spec.list[1].a\"", "duplicate field \"spec.replicas\"", "duplicate field \"kind\"",]
    );
    let decoded = decode_yaml(b"a: 1\nb:\n- c: 1\n  c: 2\na: 2\n", MAX_BYTES).unwrap();
    assert_eq!(decoded.value, json!({"a": 2, "b": [{"c": 2}]}));
    assert_eq!(decoded.duplicates, ["b[0].c", "a"]);
}

#[test]
fn yaml_has_the_types_that_kubectl_gives_it() {
    let cases = [
        ("1", json!(1)),
        ("-1", json!(-1)),
        ("1.5", json!(1.5)),
        ("0644", json!(420)),
        ("0x10", json!(16)),
        ("yes", json!(true)),
        ("off", json!(false)),
        ("'yes'", json!("yes")),
        ("~", json!(null)),
        ("", json!(null)),
        ("text", json!("text")),
        ("'1'", json!("1")),
        ("100m", json!("100m")),
        ("2026-01-02", json!("2026-01-02")),
        ("1.2.3", json!("1.2.3")),
        ("|\n  a\n  b\n", json!("a\nb\n")),
        ("[a, {b: 1}]", json!(["a", {"b": 1}])),
    ];
    for (yaml, expected) in cases {
        let text = format!("k: {yaml}\n");
        let decoded = decode_yaml(text.as_bytes(), MAX_BYTES).unwrap_or_else(|error| panic!("{yaml}: {error}"));
        assert_eq!(decoded.value, json!({"k": expected}), "{yaml}");
    }
    let keys = decode_yaml(b"1: a\ntrue: b\n'x': c\n", MAX_BYTES).unwrap();
    assert_eq!(keys.value, json!({"1": "a", "true": "b", "x": "c"}));
}

#[test]
fn size_and_depth_are_bounded() {
    assert!(matches!(decode_json(b"[1,2]", 4), Err(Error::TooLarge { size_bytes: 5, limit_bytes: 4 })));
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(decode_json(deep(MAX_DEPTH).as_bytes(), MAX_BYTES).is_ok());
    let error = decode_json(deep(MAX_DEPTH + 1).as_bytes(), MAX_BYTES).unwrap_err().to_string();
    assert!(error.contains("exceeded max depth of 100"), "{error}");
    assert!(decode_yaml(deep(MAX_DEPTH + 1).as_bytes(), MAX_BYTES).is_err());
    assert!(decode_json(deep(1_000_000).as_bytes(), MAX_BYTES).is_err());
}

#[test]
fn what_follows_the_value_is_an_error() {
    for text in ["", "{} {}", "{", "nul"] {
        assert!(decode_json(text.as_bytes(), MAX_BYTES).is_err(), "{text:?}");
    }
    assert!(decode_yaml(b"a: 1\n---\nb: 2\n", MAX_BYTES).is_err());
}

#[test]
fn a_file_may_hold_several_documents() {
    let documents =
        decode_yaml_documents(b"# first\n---\na: 1\na: 2\n---\n---\n- 1: x\n", MAX_BYTES, Booleans::Yaml11).unwrap();
    let values: Vec<_> = documents.iter().map(|document| document.value.clone()).collect();
    assert_eq!(values, [json!({"a": 2}), json!([{"1": "x"}])]);
    assert_eq!(documents[0].duplicates, ["a"]);
    let read = |booleans| decode_yaml_documents(b"[yes, n, 'on', true]", MAX_BYTES, booleans).unwrap()[0].value.clone();
    assert_eq!(read(Booleans::Yaml11), json!([true, false, "on", true]));
    assert_eq!(read(Booleans::Yaml12), json!(["yes", "n", "on", true]));
    assert!(decode_yaml_documents(b"", MAX_BYTES, Booleans::Yaml11).unwrap().is_empty());
    assert!(decode_yaml_documents(b"a: [", MAX_BYTES, Booleans::Yaml11).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode_json(&bytes, MAX_BYTES);
        let _ = decode_yaml(&bytes, MAX_BYTES);
    }

    #[test]
    fn json_without_duplicates_reads_as_it_is(keys in prop::collection::btree_map("[a-z]{1,4}", any::<i64>(), 0..6)) {
        let value = json!({"spec": keys});
        let decoded = decode_json(value.to_string().as_bytes(), MAX_BYTES).unwrap();
        prop_assert_eq!(decoded, Decoded { value, duplicates: Vec::new() });
    }
}

#[test]
fn the_first_duplicate_is_told_with_its_line() {
    let yaml = b"a: 1\nb:\n- c: 1\n  d: 2\n  c: 3\na: 2\n";
    assert_eq!(first_duplicate(yaml), Some((5, "c".to_string())));
    assert_eq!(first_duplicate(b"{\"a\": 1,\n\"a\": 2}"), Some((2, "a".to_string())));
    assert_eq!(first_duplicate(b"a: 1\nb: {a: 1}\n"), None);
}

#[test]
fn a_fraction_is_the_same_one_however_often_it_is_read() {
    let mut bits = 0x3ff0_0000_0000_0001_u64;
    for _ in 0..2_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = f64::from_bits(bits);
        if !number.is_finite() {
            continue;
        }
        let written = serde_json::to_vec(&json!({ "ratio": number })).expect("a number is JSON");
        let read = decode_json(&written, MAX_BYTES).expect("what was written can be read");
        assert_eq!(read.value["ratio"].as_f64().map(f64::to_bits), Some(bits), "{number:e}");
    }
}
