use super::*;

fn patched(patches: &str) -> Vec<Value> {
    let kustomization = format!("resources: [web.yaml, thing.yaml]\n{patches}");
    built(
        "",
        &[
            ("kustomization.yaml", &kustomization),
            ("web.yaml", WEB),
            (
                "thing.yaml",
                "{apiVersion: example.com/v1, kind: Thing, metadata: {name: t, labels: {l: x}}, spec: {list: [{name: a}], keep: 1}}",
            ),
            (
                "env.yaml",
                "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: side, env: [{name: B, value: b}]}]}}}}",
            ),
            (
                "ops.yaml",
                "- {op: replace, path: /spec/ports/0/port, value: 8080}\n- {op: add, path: /metadata/labels, value: {a: b}}\n",
            ),
        ],
    )
}

#[test]
fn strategic_patches_merge_lists_by_key_and_put_what_they_name_first() {
    for patches in ["patches: [{path: env.yaml}]", "patchesStrategicMerge: [env.yaml]"] {
        let objects = patched(patches);
        let containers = find(&objects, "Deployment")["spec"]["template"]["spec"]["containers"].clone();
        let names: Vec<&str> = containers.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["side", "main"]);
        assert_eq!(containers[0]["image"], "side:2");
        assert_eq!(containers[0]["env"], json!([{"name": "B", "value": "b"}]));
    }
}

#[test]
fn unknown_kinds_merge_as_json() {
    let objects = patched(
        "patches: [{patch: '{apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {list: [{name: b}], keep: null}}'}]",
    );
    assert_eq!(find(&objects, "Thing")["spec"], json!({"list": [{"name": "b"}]}));
}

#[test]
fn json_patches_go_to_their_target() {
    for patches in [
        "patches: [{path: ops.yaml, target: {kind: Service, version: v1}}]",
        "patchesJson6902: [{path: ops.yaml, target: {version: v1, kind: Service, name: web}}]",
        "patches: [{target: {kind: Serv.*}, patch: '[{\"op\": \"replace\", \"path\": \"/spec/ports/0/port\", \"value\": 8080}]'}]",
    ] {
        let objects = patched(patches);
        assert_eq!(find(&objects, "Service")["spec"]["ports"][0]["port"], 8080, "{patches}");
    }
}

#[test]
fn targets_select_by_expression_and_label() {
    let with = |target: &str| {
        let objects = patched(&format!(
            "commonAnnotations: {{team: a}}\npatches: [{{target: {target}, patch: '{{metadata: {{name: ignored, labels: {{hit: here}}}}}}'}}]"
        ));
        let hit = objects.iter().filter(|object| object["metadata"]["labels"]["hit"] == "here");
        hit.map(|object| object["kind"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(with("{name: w.b}"), ["Deployment", "Service"]);
    assert_eq!(with("{name: we}"), Vec::<String>::new());
    assert_eq!(with("{group: apps}"), ["Deployment"]);
    assert_eq!(with("{labelSelector: 'l in (x,y)'}"), ["Thing"]);
    assert_eq!(with("{namespace: default, kind: Service|Thing}"), ["Service", "Thing"]);
    assert_eq!(with("{annotationSelector: team=a}"), Vec::<String>::new());
}

#[test]
fn objects_are_deleted_and_renamed_by_patches() {
    let deleted =
        patched("patches: [{patch: '{$patch: delete, apiVersion: v1, kind: Service, metadata: {name: web}}'}]");
    assert_eq!(names(&deleted), ["Deployment.apps web", "Thing.example.com t"]);
    let renamed = patched(
        "patches: [{target: {kind: Service}, options: {allowNameChange: true}, patch: '{metadata: {name: api}}'}]",
    );
    assert_eq!(find(&renamed, "Service")["metadata"]["name"], "api");
}

#[test]
fn overlays_patch_by_the_name_in_the_base() {
    let objects = built(
        "overlay",
        &[
            ("base/kustomization.yaml", "namePrefix: b-\nresources: [web.yaml]"),
            ("base/web.yaml", WEB),
            ("overlay/kustomization.yaml", "namePrefix: o-\nresources: [../base]\npatches: [{path: p.yaml}]"),
            ("overlay/p.yaml", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 7}}"),
        ],
    );
    assert_eq!(names(&objects)[0], "Deployment.apps o-b-web");
    assert_eq!(objects[0]["spec"]["replicas"], 7);
}
