use super::*;

#[test]
fn names_end_with_kustomizes_hashes() {
    let objects = built(
        "",
        &[
            (
                "kustomization.yaml",
                "
namePrefix: blah-
configMapGenerator:
- name: bob
  literals: [fruit=apple, vegetable=broccoli]
  envs: [foo.env]
  env: bar.env
  files: [passphrase=phrase.dat, forces.txt]
- name: json
  literals:
  - 'v2=[{\"path\": \"var/druid/segment-cache\"}]'
  - >-
    druid_segmentCache_locations=[{\"path\":
    \"var/druid/segment-cache\",
    \"maxSize\": 32000000000,
    \"freeSpacePercent\": 1.0}]
secretGenerator:
- name: bob
  literals: [fruit=apple, vegetable=broccoli]
  envs: [foo.env]
  files: [passphrase=phrase.dat, forces.txt]
  env: bar.env
",
            ),
            ("foo.env", "\nMOUNTAIN=everest\n# a comment\nOCEAN=pacific\n"),
            ("bar.env", "\nBIRD=falcon\n"),
            ("phrase.dat", "\nLife is short.\nBut the years are long.\nNot while the evil days come not.\n"),
            ("forces.txt", "\ngravitational\nelectromagnetic\nstrong nuclear\nweak nuclear\n"),
        ],
    );
    assert_eq!(
        names(&objects),
        ["ConfigMap blah-bob-g9df72cd5b", "ConfigMap blah-json-m8529t979f", "Secret blah-bob-58g62h555c"]
    );
    assert_eq!(objects[0]["data"]["OCEAN"], "pacific");
    assert_eq!(objects[2]["data"]["fruit"], "YXBwbGU=");
    assert_eq!(objects[2]["type"], "Opaque");
}

#[test]
fn overlays_merge_and_replace_what_bases_generate() {
    let files = |overlay: &str| {
        built(
            "overlay",
            &[
                (
                    "base/kustomization.yaml",
                    "configMapGenerator: [{name: bob, literals: [fruit=Indian Gooseberry, year=2020, crisis=true]}]",
                ),
                ("overlay/kustomization.yaml", &format!("resources: [../base]\n{overlay}")),
            ],
        )
    };
    assert_eq!(names(&files("")), ["ConfigMap bob-79t79mt227"]);
    let merged = files("configMapGenerator: [{name: bob, behavior: merge, literals: [month=12]}]");
    assert_eq!(names(&merged), ["ConfigMap bob-bk46gm59c6"]);
    assert_eq!(merged[0]["data"].as_object().unwrap().len(), 4);
    let replaced = files("configMapGenerator: [{name: bob, behavior: replace, literals: [month=12]}]");
    assert_eq!(replaced[0]["data"], json!({"month": "12"}));
}

#[test]
fn a_merge_into_what_was_written_by_hand_keeps_its_name() {
    let objects = built(
        "",
        &[
            (
                "kustomization.yaml",
                "resources: [cm.yaml]\nconfigMapGenerator: [{name: project, behavior: merge, literals: ['B=\"bar\"']}]",
            ),
            ("cm.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: project}, data: {A: foo}}"),
        ],
    );
    assert_eq!(names(&objects), ["ConfigMap project"]);
    assert_eq!(objects[0]["data"], json!({"A": "foo", "B": "bar"}));
}

#[test]
fn references_follow_the_hash() {
    let objects = built(
        "",
        &[
            (
                "kustomization.yaml",
                "resources: [web.yaml]\nconfigMapGenerator: [{name: settings, literals: [a=b]}]\nsecretGenerator: [{name: tls, type: kubernetes.io/tls, files: [tls.key]}]",
            ),
            ("web.yaml", WEB),
            ("tls.key", "k"),
        ],
    );
    let pod = &find(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["envFrom"][0]["configMapRef"]["name"],
        find(&objects, "ConfigMap")["metadata"]["name"]
    );
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], find(&objects, "Secret")["metadata"]["name"]);
    assert_eq!(find(&objects, "Secret")["type"], "kubernetes.io/tls");
}

#[test]
fn options_of_generators() {
    let objects = built(
        "",
        &[(
            "kustomization.yaml",
            "
generatorOptions: {labels: {a: common, b: common}, immutable: true}
configMapGenerator:
- name: plain
  namespace: there
  literals: [k=v]
  options: {disableNameSuffixHash: true, labels: {b: own}, annotations: {c: d}}
",
        )],
    );
    assert_eq!(
        objects[0],
        json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": {"k": "v"},
            "metadata": {"name": "plain", "namespace": "there", "labels": {"a": "common", "b": "own"}, "annotations": {"c": "d"}}})
    );
}

#[test]
fn what_is_not_text_becomes_binary_data() {
    let mut files = tree(&[("kustomization.yaml", "configMapGenerator: [{name: a, files: [b.bin, t.txt]}]")]);
    files.insert("b.bin".to_string(), vec![0xff, 0xfe]);
    files.insert("t.txt".to_string(), b"text".to_vec());
    let objects = build(&files, "").unwrap();
    assert_eq!(objects[0]["binaryData"], json!({"b.bin": "//4="}));
    assert_eq!(objects[0]["data"], json!({"t.txt": "text"}));
}
