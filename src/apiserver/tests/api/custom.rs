//! CustomResourceDefinitions: their objects with kubectl and kube-rs, as those of any other kind.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::support::{TestServer, eventually, start};

const CRONTABS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, listKind: CronTabList, shortNames: [ct], categories: [all, fleet]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    selectableFields: [{jsonPath: .spec.image}]
    additionalPrinterColumns:
    - {name: Spec, type: string, description: When it runs., jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: CronTab runs something now and then.
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^(\S+\s*){5}$', description: When it runs.}
              image: {type: string}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, port: {x-kubernetes-int-or-string: true}}
          status:
            type: object
            properties: {replicas: {type: integer}, selector: {type: string}}
"#;

const TAB: &str = "
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: one}
spec: {cronSpec: '* * * * */5', image: a}
";

async fn define(server: &TestServer, text: &str, name: &str) {
    let file = server.file(&format!("{name}.yaml"), text);
    server.kubectl(&["create", "-f", &file]).await;
    server.kubectl(&["wait", "--for=condition=Established", &format!("crd/{name}"), "--timeout=20s"]).await;
}

async fn start_with_crontabs() -> TestServer {
    let server = start().await;
    define(&server, CRONTABS, "crontabs.stable.example.com").await;
    server
}

fn crontabs(server: &TestServer) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("stable.example.com", "v1", "CronTab");
    Api::namespaced_with(server.client.clone(), "default", &ApiResource::from_gvk_with_plural(&kind, "crontabs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_made_listed_changed_and_deleted() {
    let server = start_with_crontabs().await;
    let file = server.file("tab.yaml", TAB);
    assert!(server.kubectl(&["apply", "-f", &file]).await.contains("crontab.stable.example.com/one created"));
    assert!(server.kubectl(&["apply", "-f", &file]).await.contains("unchanged"));
    let table = server.kubectl(&["get", "ct"]).await;
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(lines.next(), Some(vec!["NAME", "SPEC", "REPLICAS", "AGE"]), "{table}");
    let row = lines.next().expect("a row");
    assert_eq!(row[..7], ["one", "*", "*", "*", "*", "*/5", "1"], "{table}");
    assert!(server.kubectl(&["get", "ct", "-o", "wide"]).await.contains("IMAGE"));
    assert!(server.kubectl(&["get", "fleet"]).await.contains("one"));
    assert_eq!(
        server.kubectl(&["get", "ct", "--field-selector", "spec.image=a", "-o", "name"]).await.lines().count(),
        1
    );
    assert_eq!(server.kubectl(&["get", "ct", "--field-selector", "spec.image=b", "-o", "name"]).await, "");
    server.kubectl(&["patch", "ct", "one", "--type=merge", "-p", r#"{"spec":{"image":"b"}}"#]).await;
    let shown = "jsonpath={.spec.image} {.spec.replicas} {.metadata.generation}";
    assert_eq!(server.kubectl(&["get", "ct", "one", "-o", shown]).await, "b 1 2");
    // Items of lists keep their kind, which those of built-in kinds leave to the list.
    let (_, list) = server.get("/apis/stable.example.com/v1/namespaces/default/crontabs").await;
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&json!("CronTabList"), &json!("CronTab")));
    server.kubectl(&["label", "crontab", "one", "a=b"]).await;
    assert_eq!(server.kubectl(&["get", "ct", "one", "-o", shown]).await, "b 1 2");
    assert!(server.kubectl(&["describe", "ct", "one"]).await.contains("Cron Spec"));
    server.kubectl(&["delete", "ct", "one"]).await;
    assert!(
        server.kubectl_fails(&["get", "ct", "one"]).await.contains("crontabs.stable.example.com \"one\" not found")
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_objects_are_refused_in_kubernetes_words() {
    let server = start_with_crontabs().await;
    let refused = |text: String| {
        let file = server.file("wrong.yaml", &text);
        let server = &server;
        async move { server.kubectl_fails(&["create", "-f", &file]).await }
    };
    let pattern = refused(TAB.replace("* * * * */5", "a")).await;
    assert!(
        pattern.contains(
            "The CronTab \"one\" is invalid: spec.cronSpec: Invalid value: \"a\": spec.cronSpec in body should match"
        ),
        "{pattern}"
    );
    let most = refused(TAB.replace("image: a", "replicas: 11")).await;
    assert!(
        most.contains("spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10"),
        "{most}"
    );
    let missing = refused(TAB.replace("cronSpec: '* * * * */5', ", "")).await;
    assert!(missing.contains("spec.cronSpec: Required value"), "{missing}");
    let type_ = refused(TAB.replace("image: a", "image: 3")).await;
    assert!(type_.contains("spec.image in body must be of type string: \"integer\""), "{type_}");
    let unknown = refused(TAB.replace("image: a", "imagee: a")).await;
    assert!(unknown.contains("unknown field \"spec.imagee\""), "{unknown}");
    server.kubectl(&["create", "-f", &server.file("tab.yaml", TAB)]).await;
    let strategic = server.kubectl_fails(&["patch", "ct", "one", "--type=strategic", "-p", "{}"]).await;
    assert!(
        strategic.contains("strategic") || strategic.contains("unsupported") || strategic.contains("media types"),
        "{strategic}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_and_discovery_tell_of_them() {
    let server = start_with_crontabs().await;
    let explained = server.kubectl(&["explain", "crontab.spec"]).await;
    assert!(explained.contains("What is wanted.") && explained.contains("cronSpec"), "{explained}");
    let resources = server.kubectl(&["api-resources", "--api-group=stable.example.com"]).await;
    assert!(resources.contains("crontabs") && resources.contains("ct") && resources.contains("CronTab"), "{resources}");
    assert!(server.kubectl(&["api-versions"]).await.contains("stable.example.com/v1"));
    for path in ["/openapi/v2", "/openapi/v3/apis/stable.example.com/v1", "/apis/stable.example.com", "/apis"] {
        let text = server.kubectl(&["get", "--raw", path]).await;
        assert!(text.contains("stable.example.com"), "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_and_the_scale_are_written_apart() {
    let server = start_with_crontabs().await;
    let api = crontabs(&server);
    let tab: DynamicObject = serde_json::from_value(json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": "one"}, "spec": {"cronSpec": "* * * * *"}, "status": {"replicas": 9}}))
    .expect("an object");
    let made = api.create(&PostParams::default(), &tab).await.expect("created");
    assert_eq!((made.data.get("status"), &made.data["spec"]["replicas"]), (None, &json!(1)));
    let status = json!({"metadata": {"labels": {"not": "taken"}}, "spec": {"replicas": 5}, "status": {"replicas": 2, "selector": "a=b"}});
    let patched = api.patch_status("one", &PatchParams::default(), &Patch::Merge(status)).await.expect("patched");
    assert_eq!((&patched.data["status"]["replicas"], &patched.data["spec"]["replicas"]), (&json!(2), &json!(1)));
    assert_eq!((patched.metadata.generation, patched.metadata.labels), (Some(1), None));
    server.kubectl(&["scale", "ct", "one", "--replicas=3"]).await;
    let scale =
        server.kubectl(&["get", "--raw", "/apis/stable.example.com/v1/namespaces/default/crontabs/one/scale"]).await;
    let scale: Value = serde_json::from_str(&scale).expect("JSON");
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]), (&json!(3), &json!({"replicas": 2, "selector": "a=b"})));
    let current = api.get("one").await.expect("there");
    assert_eq!((&current.data["spec"]["replicas"], current.metadata.generation), (&json!(3), Some(2)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_applied_by_their_owners() {
    let server = start_with_crontabs().await;
    let apply = |text: String, manager: &'static str| {
        let file = server.file(&format!("{manager}.yaml"), &text);
        vec!["apply".into(), "--server-side".into(), format!("--field-manager={manager}"), "-f".into(), file]
    };
    let ports = "image: a, ports: [{name: x, port: 80}]";
    let one = apply(TAB.replace("image: a", ports), "one");
    let arguments: Vec<&str> = one.iter().map(String::as_str).collect();
    assert!(server.kubectl(&arguments).await.contains("serverside-applied"));
    let two = apply(TAB.replace("image: a", "image: b"), "two");
    let arguments: Vec<&str> = two.iter().map(String::as_str).collect();
    let conflict = server.kubectl_fails(&arguments).await;
    assert!(conflict.contains("conflict with \"one\"") && conflict.contains(".spec.image"), "{conflict}");
    let three = apply(TAB.replace("image: a", "ports: [{name: web, port: http}]"), "three");
    let arguments: Vec<&str> = three.iter().map(String::as_str).collect();
    server.kubectl(&arguments).await;
    let names =
        server.kubectl(&["get", "ct", "one", "-o", "jsonpath={.spec.ports[*].name} {.spec.ports[*].port}"]).await;
    assert_eq!(names, "x web 80 http");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_definition_takes_its_objects_and_watches_with_it() {
    use futures::TryStreamExt;
    let server = start_with_crontabs().await;
    let file = server.file("tab.yaml", TAB);
    server.kubectl(&["create", "-f", &file]).await;
    let api = crontabs(&server);
    let mut events = Box::pin(api.watch(&WatchParams::default(), "0").await.expect("a watch"));
    assert!(matches!(events.try_next().await, Ok(Some(WatchEvent::Added(_)))));
    server.kubectl(&["delete", "crd", "crontabs.stable.example.com", "--timeout=20s"]).await;
    // A client that asked for bookmarks hears first that these were all.
    let marked = tokio::time::timeout(crate::support::PATIENCE, events.try_next()).await.expect("in time");
    assert!(matches!(marked, Ok(Some(WatchEvent::Bookmark(_)))), "{marked:?}");
    let deleted = tokio::time::timeout(crate::support::PATIENCE, events.try_next()).await.expect("in time");
    assert!(matches!(deleted, Ok(Some(WatchEvent::Deleted(_)))), "{deleted:?}");
    // A client that asked for bookmarks hears how far it got.
    let ends = async { while let Ok(Some(WatchEvent::Bookmark(_))) = events.try_next().await {} };
    tokio::time::timeout(crate::support::PATIENCE, ends).await.expect("the watch ends");
    eventually("the endpoints are gone", || async { api.list(&Default::default()).await.is_err().then_some(()) }).await;
    define(&server, CRONTABS, "crontabs.stable.example.com").await;
    assert_eq!(api.list(&Default::default()).await.expect("a list").items.len(), 0);
    server.kubectl(&["create", "-f", &file]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_share_their_objects() {
    let server = start().await;
    let two = CRONTABS.replace("  - name: v1\n    served: true\n    storage: true\n", "  - name: v1beta1\n    served: true\n    storage: false\n    deprecated: true\n    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n  - name: v1\n    served: true\n    storage: true\n");
    define(&server, &two, "crontabs.stable.example.com").await;
    let old = server.file("old.yaml", &TAB.replace("example.com/v1", "example.com/v1beta1"));
    server.kubectl(&["create", "-f", &old]).await;
    let version = "jsonpath={.apiVersion} {.spec.cronSpec}";
    assert_eq!(server.kubectl(&["get", "ct", "one", "-o", version]).await, "stable.example.com/v1 * * * * */5");
    let as_old = server.kubectl(&["get", "crontabs.v1beta1.stable.example.com", "one", "-o", version]).await;
    assert!(as_old.starts_with("stable.example.com/v1beta1 * * * * */5"), "{as_old}");
    assert!(as_old.contains("Warning: stable.example.com/v1beta1 CronTab is deprecated"), "{as_old}");
    let status = "jsonpath={.status.storedVersions} {.status.acceptedNames.kind}";
    assert_eq!(server.kubectl(&["get", "crd", "crontabs.stable.example.com", "-o", status]).await, "[\"v1\"] CronTab");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_never_got_its_names_takes_nothing_with_it() {
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let server = start().await;
    server.create(LEASES, json!({"metadata": {"name": "kept"}, "spec": {}})).await;
    let text = CRONTABS
        .replace(
            "{name: crontabs.stable.example.com}",
            "{name: leases.coordination.k8s.io, annotations: {api-approved.kubernetes.io: unapproved}}",
        )
        .replace("stable.example.com", "coordination.k8s.io")
        .replace("plural: crontabs", "plural: leases");
    let file = server.file("leases.yaml", &text);
    server.kubectl(&["create", "-f", &file]).await;
    let waits = ["wait", "--for=condition=NamesAccepted=false", "crd/leases.coordination.k8s.io", "--timeout=20s"];
    server.kubectl(&waits).await;
    server.kubectl(&["delete", "crd", "leases.coordination.k8s.io", "--timeout=20s"]).await;
    assert_eq!(server.get(&format!("{LEASES}/kept")).await.0, 200);
    server.stop().await;
}
