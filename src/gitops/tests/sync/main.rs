//! GitOps as a user sees it: commits go into a repository, and the cluster follows. The API server is the real one,
//! in this process; Git is fetched by the real worker process.

mod lab;

use lab::Lab;
use serde_json::json;

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: web}}\ndata: {{key: '{value}'}}\n")
}

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: web}\n";
const MAPS: &str = "/api/v1/namespaces/web/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_applied_and_a_removed_file_is_pruned() {
    let lab = Lab::start().await;
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: web}\nspec: {ports: [{port: 80}]}\n";
    // The namespace comes last in the folder and first in the cluster.
    let files = [
        ("a.yaml", map("a", "1")),
        ("b.yaml", map("b", "1")),
        ("s.yaml", service.into()),
        ("z.yaml", NAMESPACE.into()),
    ];
    let id = lab.commit(&files.each_ref().map(|(name, text)| (*name, text.as_str())), "First");
    lab.follow();
    let status = lab.applied(&id).await;
    assert_eq!((status.objects, status.ready, status.error), (4, true, None));
    assert_eq!(lab.get(&format!("{MAPS}/a")).await.unwrap()["data"]["key"], "1");
    let uid = lab.get(&format!("{MAPS}/a")).await.unwrap()["metadata"]["uid"].clone();
    assert!(lab.inventory().await.contains(uid.as_str().unwrap()));

    lab.remove("b.yaml");
    let id = lab.commit(&[("a.yaml", &map("a", "2"))], "Second");
    lab.applied(&id).await;
    assert_eq!(lab.get(&format!("{MAPS}/a")).await.unwrap()["data"]["key"], "2");
    lab.gone(&format!("{MAPS}/b")).await;
    assert!(!lab.inventory().await.contains("\"b\""));
    lab.event("Applied").await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_put_right_and_nothing_is_written_without_it() {
    let lab = Lab::start().await;
    let id = lab.commit(&[("n.yaml", NAMESPACE), ("a.yaml", &map("a", "1")), ("b.yaml", &map("b", "1"))], "First");
    lab.follow();
    lab.applied(&id).await;
    lab.patch(&format!("{MAPS}/a"), json!({"data": {"key": "edited"}})).await;
    lab.delete(&format!("{MAPS}/b")).await;
    lab.becomes(&format!("{MAPS}/a"), |map| map["data"]["key"] == "1").await;
    lab.becomes(&format!("{MAPS}/b"), |map| map["data"]["key"] == "1").await;
    lab.event("DriftCorrected").await;
    let version = lab.get(&format!("{MAPS}/a")).await.unwrap()["metadata"]["resourceVersion"].clone();
    let inventory = "/api/v1/namespaces/kube-system/configmaps/rkctl-gitops-inventory";
    lab.sync().await;
    let stored = lab.get(inventory).await.unwrap()["metadata"]["resourceVersion"].clone();
    lab.sync().await;
    assert_eq!(lab.get(&format!("{MAPS}/a")).await.unwrap()["metadata"]["resourceVersion"], version);
    assert_eq!(lab.get(inventory).await.unwrap()["metadata"]["resourceVersion"], stored);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_state_no_field_are_applied_once() {
    let lab = Lab::start().await;
    let empty = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: q, namespace: web}\n";
    let id = lab.commit(&[("n.yaml", NAMESPACE), ("q.yaml", empty)], "First");
    lab.follow();
    let status = lab.applied(&id).await;
    lab.sync().await;
    lab.sync().await;
    let later = lab.applied(&id).await;
    assert_eq!((later.message, later.applied_at), (status.message, status.applied_at));
    lab.remove("q.yaml");
    let id = lab.commit(&[], "Second");
    lab.applied(&id).await;
    lab.gone(&format!("{MAPS}/q")).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_adds_is_taken_back_and_what_others_add_stays() {
    let lab = Lab::start().await;
    let id = lab.commit(&[("n.yaml", NAMESPACE), ("a.yaml", &map("a", "1"))], "First");
    lab.follow();
    lab.applied(&id).await;
    let path = format!("{MAPS}/a");
    lab.patch(&format!("{path}?fieldManager=controller"), json!({"data": {"theirs": "x"}})).await;
    lab.patch(&format!("{path}?fieldManager=kubectl-patch"), json!({"data": {"added": "y"}})).await;
    lab.patch(&format!("{path}?fieldManager=kubectl-label"), json!({"metadata": {"labels": {"foo": "bar"}}})).await;
    lab.becomes(&path, |map| map["data"] == json!({"key": "1", "theirs": "x"})).await;
    lab.becomes(&path, |map| map["metadata"]["labels"].is_null()).await;
    lab.event("DriftCorrected").await;
    lab.sync().await;
    let status = lab.applied(&id).await;
    lab.sync().await;
    assert_eq!(lab.applied(&id).await.applied_at, status.applied_at, "it is put right once");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_commit_is_reported_and_changes_nothing() {
    let lab = Lab::start().await;
    let good = lab.commit(&[("n.yaml", NAMESPACE), ("a.yaml", &map("a", "1"))], "Good");
    lab.follow();
    lab.applied(&good).await;
    let deployment =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: web}\nspec: {replicas: many}\n";
    let table = [
        ("a: [", "broken.yaml: "),
        ("apiVersion: v1\nkind: ConfigMap\n", "broken.yaml: ConfigMap default/: it has no metadata.name"),
        ("apiVersion: x/v1\nkind: Widget\nmetadata: {name: w}\n", "serves no kind Widget in x/v1"),
        (deployment, "broken.yaml: Deployment.apps web/d: "),
    ];
    for (text, expected) in table {
        let bad = lab.commit(&[("a.yaml", &map("a", "2")), ("broken.yaml", text)], "Bad");
        let status = lab.status_with(|status| status.last_attempted_commit.as_ref() == Some(&bad)).await;
        let error = status.error.unwrap_or_default();
        assert!(error.contains(expected) && !status.ready, "{expected}: {error}");
        assert_eq!(status.last_applied_commit.as_ref(), Some(&good));
        assert_eq!(lab.get(&format!("{MAPS}/a")).await.unwrap()["data"]["key"], "1", "{expected}");
    }
    lab.event("Failed").await;
    lab.remove("broken.yaml");
    let mended = lab.commit(&[("a.yaml", &map("a", "3"))], "Mended");
    assert_eq!(lab.applied(&mended).await.error, None);
    assert_eq!(lab.get(&format!("{MAPS}/a")).await.unwrap()["data"]["key"], "3");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_namespace_with_a_broken_object_is_not_made() {
    let lab = Lab::start().await;
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: web}\nspec: {ports: [{port: 80000}]}\n";
    let bad = lab.commit(&[("n.yaml", NAMESPACE), ("s.yaml", service)], "Bad");
    lab.follow();
    let status = lab.status_with(|status| status.last_attempted_commit.as_ref() == Some(&bad)).await;
    assert!(status.error.unwrap_or_default().contains("s.yaml: Service web/s: "));
    assert_eq!(lab.get("/api/v1/namespaces/web").await, None);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_means_nothing_happens_until_resumed() {
    let lab = Lab::start().await;
    let id = lab.commit(&[("n.yaml", NAMESPACE), ("a.yaml", &map("a", "1"))], "First");
    lab.follow();
    lab.applied(&id).await;
    lab.annotate("rkctl.dev/suspend", json!("true")).await;
    lab.status_with(|status| status.suspended).await;
    let id = lab.commit(&[("a.yaml", &map("a", "2"))], "Second");
    lab.two_intervals().await;
    assert_eq!(lab.get(&format!("{MAPS}/a")).await.unwrap()["data"]["key"], "1");
    lab.annotate("rkctl.dev/suspend", json!(null)).await;
    assert!(!lab.applied(&id).await.suspended);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_repository_that_is_followed_no_longer_is_gone() {
    let lab = Lab::start().await;
    lab.forget().await;
    lab.leave_status().await;
    lab.forget().await;
    assert_eq!(lab.get("/api/v1/namespaces/kube-system/configmaps/rkctl-gitops").await, None);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_objects_stay_when_their_files_go() {
    let lab = Lab::start().await;
    let protected = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p, namespace: web, annotations: {rkctl.dev/prune: disabled}}\n";
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: web, annotations: {rkctl.dev/prune: disabled}}\n";
    let id = lab.commit(&[("n.yaml", namespace), ("p.yaml", protected), ("a.yaml", &map("a", "1"))], "First");
    lab.follow();
    lab.applied(&id).await;
    for file in ["n.yaml", "p.yaml", "a.yaml"] {
        lab.remove(file);
    }
    let kustomization = "configMapGenerator: [{name: g, namespace: default, literals: [a=b]}]\n";
    let id = lab.commit(&[("kustomization.yaml", kustomization)], "Second");
    let status = lab.applied(&id).await;
    assert_eq!(status.objects, 1);
    lab.gone(&format!("{MAPS}/a")).await;
    assert!(lab.get(&format!("{MAPS}/p")).await.is_some());
    assert!(lab.get("/api/v1/namespaces/web").await.unwrap()["metadata"]["deletionTimestamp"].is_null());
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kustomizations_may_reach_beside_their_folder() {
    let mut lab = Lab::start().await;
    lab.config.path = "clusters/one".into();
    let id = lab.commit(
        &[
            ("clusters/one/kustomization.yaml", "namePrefix: x-\nresources: [../../base]\n"),
            ("base/kustomization.yaml", "resources: [deep/a.yaml]\n"),
            ("base/deep/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
            ("unrelated.yaml", "]"),
        ],
        "First",
    );
    lab.follow();
    lab.applied(&id).await;
    assert!(lab.get("/api/v1/namespaces/default/configmaps/x-a").await.is_some());
    lab.stop().await;
}
