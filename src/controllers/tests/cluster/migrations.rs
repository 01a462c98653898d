//! StorageVersionMigrations: what is stored in an old version is stored anew.

use serde_json::{Value, json};

use super::support::start;

fn migration(name: &str, resource: &str) -> Value {
    json!({"apiVersion": "storagemigration.k8s.io/v1", "kind": "StorageVersionMigration", "metadata": {"name": name},
        "spec": {"resource": {"group": "moved.example.com", "resource": resource}}})
}

fn definition(stored: &str) -> Value {
    let version = |name: &str| {
        json!({"name": name, "served": true, "storage": name == stored, "schema": {"openAPIV3Schema":
            {"type": "object", "properties": {"data": {"type": "string"}}}}})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "movers.moved.example.com"},
        "spec": {"group": "moved.example.com", "scope": "Namespaced",
            "names": {"plural": "movers", "singular": "mover", "kind": "Mover"},
            "versions": [version("v1"), version("v2")]}})
}

/// `Running=False Succeeded=True` of a migration.
fn conditions(name: &str) -> String {
    format!(
        "get storageversionmigration {name} -o jsonpath={{range.status.conditions[*]}}{{.type}}={{.status}};{{end}}"
    )
}

// conformance: storagemigration.k8s.io/v1 create/update/list/patch/delete
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_stored_in_the_version_of_now() {
    let cluster = start().await;
    cluster.apply(definition("v1")).await;
    cluster.kubectl("wait --for=condition=Established crd/movers.moved.example.com --timeout=20s").await;
    for name in ["a", "b"] {
        let object = json!({"apiVersion": "moved.example.com/v1", "kind": "Mover", "metadata": {"name": name},
            "data": "x"});
        cluster.apply(object).await;
    }
    let revisions = "get movers -o jsonpath={.items[*].metadata.resourceVersion}";
    let before = cluster.kubectl(revisions).await;
    cluster.apply(definition("v2")).await;
    let stored = "get crd movers.moved.example.com -o jsonpath={.status.storedVersions}";
    cluster.until(stored, |out| out == r#"["v1","v2"]"#).await;
    cluster.apply(migration("move", "movers")).await;
    cluster.until(&conditions("move"), |out| out == "Running=False;Succeeded=True;").await;
    let after = cluster.kubectl(revisions).await;
    for (old, new) in before.split(' ').zip(after.split(' ')) {
        assert_ne!(old, new, "it is written anew: {before}, then {after}");
    }
    assert_eq!(cluster.kubectl(stored).await, r#"["v2"]"#);
    assert_eq!(cluster.kubectl("get movers -o jsonpath={.items[*].metadata.generation}").await, "1 1");
    // Once more there is nothing to do.
    cluster.apply(migration("again", "movers")).await;
    cluster.until(&conditions("again"), |out| out == "Running=False;Succeeded=True;").await;
    assert_eq!(cluster.kubectl(revisions).await, after);
    // They are objects as others are.
    cluster.kubectl("label storageversionmigration move again kind=test").await;
    assert_eq!(
        cluster.kubectl("get storageversionmigrations -l kind=test -o name").await.lines().collect::<Vec<_>>(),
        [
            "storageversionmigration.storagemigration.k8s.io/again",
            "storageversionmigration.storagemigration.k8s.io/move"
        ]
    );
    cluster
        .kubectl("patch storageversionmigration move --type=merge -p {\"metadata\":{\"labels\":{\"a\":\"b\"}}}")
        .await;
    cluster.kubectl("delete storageversionmigration move").await;
    cluster.kubectl("delete storageversionmigrations -l kind=test").await;
    assert_eq!(cluster.kubectl("get storageversionmigrations -o name").await, "");
}
