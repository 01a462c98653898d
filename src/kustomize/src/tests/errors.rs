use super::*;

fn error(files: &[(&str, &str)]) -> String {
    build(&tree(files), "").unwrap_err().to_string()
}

fn of(kustomization: &str) -> String {
    error(&[("kustomization.yaml", kustomization), ("web.yaml", WEB)])
}

#[test]
fn what_is_unknown_or_unsupported_is_refused_with_file_and_field() {
    let cases = [
        ("resourcess: []", "kustomization.yaml: resourcess: unknown field"),
        ("helmCharts: []", "kustomization.yaml: helmCharts: not supported: render the chart and commit the result"),
        ("vars: []", "kustomization.yaml: vars: not supported: use replacements"),
        ("kind: Deployment", "kustomization.yaml: kind: \"Deployment\" is neither Kustomization nor Component"),
        ("images: [{name: a, tag: b}]", "kustomization.yaml: images[0]: unknown field `tag`"),
        ("images: [{name: a}, {name: '['}]\nresources: [web.yaml]", "kustomization.yaml: images[1].name: "),
        ("resources: 1", "kustomization.yaml: resources: invalid type"),
        ("resources: [https://example.com/a.yaml]", "is remote, which is not supported: commit a copy of it"),
        ("resources: [../../etc]", "\"../../etc\" is outside of the repository"),
        ("resources: [nothing]", "resources[0]: \"nothing\" is neither a file nor a folder with a kustomization.yaml"),
        ("resources: [web.yaml, web.yaml]", "may not add resource with an already registered id: Deployment.apps web"),
        ("resources: [a]\nresources: [b]", "kustomization.yaml: duplicate field \"resources\""),
        ("replicas: [{name: db, count: 1}]", "replicas[0]: no Deployment"),
        ("patches: [{}]", "patches[0]: one of patch and path is required"),
        ("patches: [{path: missing.yaml}]", "patches[0]: there is no file \"missing.yaml\""),
        ("patches: [{patch: '[{op: remove, path: /a}]'}]", "patches[0]: a JSON 6902 patch needs a target"),
        (
            "patches: [{patch: '{apiVersion: v1, kind: Secret, metadata: {name: x}}'}]",
            "patches[0]: no resource matches strategic merge patch Secret x",
        ),
        ("configMapGenerator: [{literals: [a=b]}]", "configMapGenerator[0]: a name is required"),
        ("configMapGenerator: [{name: a, literals: [b]}]", "invalid literal source \"b\", expected key=value"),
        ("configMapGenerator: [{name: a, literals: [k=1, k=2]}]", "a illegally repeats the key \"k\""),
        ("secretGenerator: [{name: a, behavior: merge}]", "id Secret a does not exist; cannot merge or replace"),
        ("sortOptions: {order: legacy}", "sortOptions: only order: fifo is supported"),
        (
            "resources: [web.yaml]\nreplacements: [{source: {kind: Secret}, targets: []}]",
            "replacements[0]: source selects 0 objects instead of one",
        ),
    ];
    for (text, message) in cases {
        let error = of(text);
        assert!(error.contains(message), "{text}\n{error}");
    }
}

#[test]
fn loops_and_missing_files_are_named() {
    assert_eq!(error(&[]), ".: no kustomization.yaml, kustomization.yml or Kustomization");
    let cycle = error(&[("kustomization.yaml", "resources: [a]"), ("a/kustomization.yaml", "resources: [..]")]);
    assert!(cycle.contains("cycle detected"), "{cycle}");
    let both = error(&[("kustomization.yaml", ""), ("Kustomization", "")]);
    assert!(both.contains("Kustomization is there too"), "{both}");
    let component = error(&[("kustomization.yaml", "resources: [a]"), ("a/kustomization.yaml", "kind: Component")]);
    assert!(component.contains("list it under components instead"), "{component}");
    let broken = error(&[("kustomization.yaml", "resources: [a.yaml]"), ("a.yaml", "a: [")]);
    assert!(broken.starts_with("a.yaml: yaml parse error"), "{broken}");
    let nameless = error(&[("kustomization.yaml", "resources: [a.yaml]"), ("a.yaml", "kind: Pod")]);
    assert_eq!(nameless, "a.yaml: an object of kind Pod has no metadata.name");
}
