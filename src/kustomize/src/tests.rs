use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod errors;
mod generators;
mod patching;

/// Files from `path: text` pairs.
fn tree(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec())).collect()
}

fn built(folder: &str, files: &[(&str, &str)]) -> Vec<Value> {
    build(&tree(files), folder).unwrap_or_else(|error| panic!("{error}"))
}

fn names(objects: &[Value]) -> Vec<String> {
    objects.iter().map(|object| Id::of(object).to_string()).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - name: main
        image: registry.local/web:1.0
        envFrom: [{configMapRef: {name: settings}}]
        env: [{name: A, value: a}]
      - {name: side, image: 'side:2'}
      volumes:
      - {name: tls, secret: {secretName: tls}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const ACCESS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects:
- {kind: ServiceAccount, name: web, namespace: old}
- {kind: ServiceAccount, name: default, namespace: old}
- {kind: User, name: web, apiGroup: rbac.authorization.k8s.io}
";

#[test]
fn files_and_folders_keep_their_order() {
    let objects = built(
        "overlay",
        &[
            ("overlay/kustomization.yaml", "resources: [../base, more.yaml]"),
            ("overlay/more.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: more}}"),
            (
                "base/kustomization.yml",
                "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nresources: [web.yaml, list.yaml]",
            ),
            ("base/web.yaml", WEB),
            (
                "base/list.yaml",
                "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, metadata: {name: listed}}]}",
            ),
        ],
    );
    assert_eq!(names(&objects), ["Deployment.apps web", "Service web", "Secret listed", "ConfigMap more"]);
}

#[test]
fn a_namespace_goes_to_namespaced_objects_and_to_subjects() {
    let objects = built(
        "",
        &[
            ("kustomization.yaml", "namespace: new\nresources: [ns.yaml, access.yaml, web.yaml, custom.yaml]"),
            ("ns.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: old}}"),
            (
                "access.yaml",
                &ACCESS.replace(
                    "kind: ServiceAccount\nmetadata: {name: web}",
                    "kind: ServiceAccount\nmetadata: {name: web, namespace: old}",
                ),
            ),
            ("web.yaml", WEB),
            ("custom.yaml", "{apiVersion: example.com/v1, kind: Thing, metadata: {name: a}}"),
        ],
    );
    assert_eq!(
        names(&objects),
        [
            "Namespace new",
            "ServiceAccount new/web",
            "ClusterRole.rbac.authorization.k8s.io reader",
            "ClusterRoleBinding.rbac.authorization.k8s.io reader",
            "Deployment.apps new/web",
            "Service new/web",
            "Thing.example.com new/a",
        ]
    );
    let subjects = &find(&objects, "ClusterRoleBinding")["subjects"];
    assert_eq!(
        *subjects,
        json!([{"kind": "ServiceAccount", "name": "web", "namespace": "new"},
            {"kind": "ServiceAccount", "name": "default", "namespace": "new"},
            {"kind": "User", "name": "web", "apiGroup": "rbac.authorization.k8s.io"}])
    );
}

#[test]
fn prefixes_and_suffixes_take_references_along() {
    let objects = built(
        "overlay",
        &[
            ("overlay/kustomization.yaml", "namePrefix: o-\nresources: [../base]"),
            (
                "base/kustomization.yaml",
                "namePrefix: b-\nnameSuffix: '-1'\nresources: [web.yaml, access.yaml, other.yaml]",
            ),
            ("base/web.yaml", WEB),
            ("base/access.yaml", ACCESS),
            (
                "base/other.yaml",
                "
apiVersion: v1
kind: Secret
metadata: {name: tls}
---
apiVersion: v1
kind: Namespace
metadata: {name: here}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls: [{secretName: tls}]
  rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
",
            ),
        ],
    );
    assert!(names(&objects).contains(&"Namespace here".to_string()));
    let pod = &find(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "o-b-web-1");
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "o-b-tls-1");
    // What is not part of the build keeps its name.
    assert_eq!(pod["containers"][0]["envFrom"][0]["configMapRef"]["name"], "settings");
    let ingress = &find(&objects, "Ingress")["spec"];
    assert_eq!(ingress["tls"][0]["secretName"], "o-b-tls-1");
    assert_eq!(ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"], "o-b-web-1");
    assert_eq!(find(&objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"], "o-b-web-1");
    let binding = find(&objects, "ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], "o-b-reader-1");
    assert_eq!(binding["subjects"][2]["name"], "web");
}

#[test]
fn one_base_twice_refers_to_its_own() {
    let base = "resources: [web.yaml]\nconfigMapGenerator: [{name: settings, literals: [a=b]}]";
    let objects = built(
        "",
        &[
            ("kustomization.yaml", "resources: [a, b]"),
            ("a/kustomization.yaml", "namePrefix: a-\nresources: [../base]"),
            ("b/kustomization.yaml", "namePrefix: b-\nresources: [../base]"),
            ("base/kustomization.yaml", base),
            ("base/web.yaml", WEB),
        ],
    );
    let deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    for (deployment, prefix) in deployments.zip(["a-settings-", "b-settings-"]) {
        let reference = &deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"];
        assert!(reference.as_str().unwrap().starts_with(prefix), "{reference}");
    }
}

#[test]
fn labels_and_annotations_go_where_they_belong() {
    let with =
        |text: &str| built("", &[("kustomization.yaml", &format!("resources: [web.yaml]\n{text}")), ("web.yaml", WEB)]);
    let common = with("commonLabels: {team: a}\ncommonAnnotations: {note: b}");
    let deployment = find(&common, "Deployment");
    assert_eq!(deployment["metadata"]["labels"], json!({"team": "a"}));
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], json!({"app": "web", "team": "a"}));
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], json!({"app": "web", "team": "a"}));
    assert_eq!(deployment["spec"]["template"]["metadata"]["annotations"], json!({"note": "b"}));
    assert_eq!(find(&common, "Service")["spec"]["selector"], json!({"app": "web", "team": "a"}));

    let plain = with("labels: [{pairs: {team: a}}]");
    let deployment = find(&plain, "Deployment");
    assert_eq!(deployment["metadata"]["labels"], json!({"team": "a"}));
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], json!({"app": "web"}));

    let templates = with(
        "labels: [{pairs: {team: a}, includeTemplates: true, fields: [{kind: Service, path: spec/x, create: true}]}]",
    );
    let deployment = find(&templates, "Deployment");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], json!({"app": "web", "team": "a"}));
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], json!({"app": "web"}));
    assert_eq!(find(&templates, "Service")["spec"]["x"], json!({"team": "a"}));
}

#[test]
fn images_and_replicas() {
    let objects = built(
        "",
        &[
            (
                "kustomization.yaml",
                "resources: [web.yaml]
namePrefix: x-
images: [{name: registry.local/web, newTag: '2.0'}, {name: side, newName: other, digest: 'sha256:aa'}]
replicas: [{name: web, count: 4}]",
            ),
            ("web.yaml", WEB),
        ],
    );
    let deployment = find(&objects, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 4);
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["image"], "registry.local/web:2.0");
    assert_eq!(containers[1]["image"], "other@sha256:aa");
}

#[test]
fn components_work_on_what_their_parent_has() {
    let objects = built(
        "",
        &[
            ("kustomization.yaml", "resources: [web.yaml]\ncomponents: [tls]\nnamePrefix: x-"),
            ("web.yaml", WEB),
            (
                "tls/kustomization.yaml",
                "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [s.yaml]\nreplicas: [{name: web, count: 3}]",
            ),
            ("tls/s.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: tls}}"),
        ],
    );
    assert_eq!(names(&objects), ["Deployment.apps x-web", "Service x-web", "Secret x-tls"]);
    assert_eq!(find(&objects, "Deployment")["spec"]["replicas"], 3);
    assert_eq!(find(&objects, "Deployment")["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"], "x-tls");
}

#[test]
fn replacements_copy_fields() {
    let objects = built(
        "",
        &[
            (
                "kustomization.yaml",
                "
resources: [web.yaml]
replacements:
- source: {kind: Service, name: web, fieldPath: 'spec.ports.0.port'}
  targets:
  - select: {kind: Deployment}
    fieldPaths: ['spec.template.spec.containers.[name=main].env.[name=A].value']
- source: {kind: Service, fieldPath: metadata.name}
  targets:
  - select: {kind: Deployment, name: w.*}
    fieldPaths: ['spec.template.spec.containers.*.image']
    options: {delimiter: ':', index: 1}
- sourceValue: given
  targets:
  - select: {kind: Service}
    reject: [{name: other}]
    fieldPaths: ['metadata.annotations.[a.b/c]']
    options: {create: true}
",
            ),
            ("web.yaml", WEB),
        ],
    );
    let containers = &find(&objects, "Deployment")["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["env"][0]["value"], "80");
    assert_eq!(containers[0]["image"], "registry.local/web:web");
    assert_eq!(containers[1]["image"], "side:web");
    assert_eq!(find(&objects, "Service")["metadata"]["annotations"], json!({"a.b/c": "given"}));
}

#[test]
fn local_configuration_stays_local() {
    let objects = built(
        "",
        &[
            ("kustomization.yaml", "resources: [a.yaml]"),
            (
                "a.yaml",
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, annotations: {config.kubernetes.io/local-config: 'true'}}}",
            ),
        ],
    );
    assert!(objects.is_empty());
}

#[test]
fn a_tree_may_be_a_function() {
    let read = |path: &str| match path {
        "app/kustomization.yaml" => Some(b"resources: [a.yaml]".to_vec()),
        "app/a.yaml" => Some(b"{apiVersion: v1, kind: Secret, metadata: {name: a}}".to_vec()),
        _ => None,
    };
    assert!(is_kustomization(&read, "app") && !is_kustomization(&read, ""));
    assert_eq!(names(&build(&read, "./app/").unwrap()), ["Secret a"]);
}

proptest! {
    #[test]
    fn any_kustomization_is_rendered_or_refused(text in "(resources|patches|images|labels|replicas|namePrefix|x): [\\[\\]{}a-z:, -]{0,20}") {
        let _ = build(&tree(&[("kustomization.yaml", &text), ("a", WEB)]), "");
    }

    #[test]
    fn a_build_is_the_same_every_time(prefix in "[a-z]{0,3}", value in "[ -~]{0,12}") {
        let kustomization = json!({"namePrefix": prefix, "resources": ["web.yaml"],
            "configMapGenerator": [{"name": "settings", "literals": [format!("k={value}")]}]}).to_string();
        let files = tree(&[("kustomization.yaml", &kustomization), ("web.yaml", WEB)]);
        let objects = build(&files, "").unwrap();
        prop_assert_eq!(&objects, &build(&files, "").unwrap());
        let reference = &find(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"];
        prop_assert_eq!(reference, &find(&objects, "ConfigMap")["metadata"]["name"]);
    }
}

#[test]
fn unquoted_words_of_yaml_1_1_stay_words() {
    let objects = built(
        "",
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {n: off}}'}]",
            ),
            ("a.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {y: yes}}"),
        ],
    );
    assert_eq!(objects[0]["data"], json!({"y": "yes", "n": "off"}));
}
