//! Jobs from their first pod to their end.

use serde_json::{Value, json};

use super::support::{Cluster, start};

/// A job whose pods have that image.
fn job(name: &str, image: &str, mut spec: Value) -> Value {
    spec["template"] = json!({"spec": {"restartPolicy": "Never",
        "containers": [{"name": "c", "image": image}]}});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
}

fn field(name: &str, path: &str) -> String {
    format!("get job {name} -o jsonpath={{{path}}}")
}

async fn no_pod_is_held_up(cluster: &Cluster) {
    cluster.until("get pods -o jsonpath={.items[*].metadata.finalizers}", str::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_completes_counts_every_pod_and_goes_when_its_time_is_over() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(job("many", "exit-0", json!({"parallelism": 3, "completions": 7}))).await;
    cluster.kubectl("wait --for=condition=complete job/many --timeout=60s").await;
    let counts = ".status.succeeded}/{.status.active}/{.status.uncountedTerminatedPods.succeeded";
    assert_eq!(cluster.kubectl(&field("many", counts)).await, "7//");
    no_pod_is_held_up(&cluster).await;
    let shown = cluster.kubectl("get job many --no-headers").await;
    assert_eq!(shown.split_whitespace().take(3).collect::<Vec<_>>(), ["many", "Complete", "7/7"]);
    cluster
        .apply(job("indexed", "exit-0", json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed"})))
        .await;
    cluster.kubectl("wait --for=condition=complete job/indexed --timeout=60s").await;
    assert_eq!(cluster.kubectl(&field("indexed", ".status.completedIndexes")).await, "0-3");
    cluster.apply(job("brief", "exit-0", json!({"ttlSecondsAfterFinished": 1}))).await;
    cluster.until("get jobs -o name", |out| !out.contains("brief")).await;
    cluster.kubectl("delete job many --wait=false").await;
    cluster.until("get pods -l job-name=many -o name", str::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_told_why_and_one_that_is_suspended_waits() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(job("failing", "exit-3", json!({"backoffLimit": 0}))).await;
    cluster.kubectl("wait --for=condition=failed job/failing --timeout=60s").await;
    let reason = field("failing", ".status.conditions[?(@.type==\"Failed\")].reason}/{.status.failed");
    assert_eq!(cluster.kubectl(&reason).await, "BackoffLimitExceeded/1");
    let rule = json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}});
    cluster.apply(job("policy", "exit-3", json!({"podFailurePolicy": {"rules": [rule]}}))).await;
    let reason = field("policy", ".status.conditions[?(@.type==\"Failed\")].reason");
    cluster.until(&reason, |out| out == "PodFailurePolicy").await;
    cluster.apply(job("late", "v1", json!({"activeDeadlineSeconds": 1, "suspend": true}))).await;
    cluster.until(&field("late", ".status.conditions[0].type"), |out| out == "Suspended").await;
    assert_eq!(cluster.kubectl("get pods -l job-name=late -o name").await, "");
    cluster.kubectl("patch job late --type=merge -p {\"spec\":{\"suspend\":false}}").await;
    let reason = field("late", ".status.conditions[?(@.type==\"Failed\")].reason");
    cluster.until(&reason, |out| out == "DeadlineExceeded").await;
    no_pod_is_held_up(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_suspended_or_smaller_job_are_no_failures() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(job("resting", "v1", json!({"backoffLimit": 0, "parallelism": 2, "completions": 2}))).await;
    cluster.until(&field("resting", ".status.ready"), |out| out == "2").await;
    cluster.kubectl("patch job resting --type=merge -p {\"spec\":{\"parallelism\":1}}").await;
    cluster.until("get pods -l job-name=resting -o name", |out| out.lines().count() == 1).await;
    cluster.kubectl("patch job resting --type=merge -p {\"spec\":{\"suspend\":true}}").await;
    cluster.until("get pods -l job-name=resting -o name", str::is_empty).await;
    cluster.kubectl("patch job resting --type=merge -p {\"spec\":{\"suspend\":false}}").await;
    cluster.until(&field("resting", ".status.ready"), |out| out == "1").await;
    let told = field("resting", ".status.failed}/{.status.conditions[?(@.status==\"True\")].type");
    assert_eq!(cluster.kubectl(&told).await, "/");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_held_by_the_job_that_has_it_and_by_no_other() {
    let cluster = start().await;
    cluster.node("w1").await;
    let finalizers = |pod: &str| format!("get {pod} -o jsonpath={{.metadata.finalizers}}");
    cluster.apply(job("letting-go", "v1", json!({"parallelism": 2, "completions": 2}))).await;
    let pods = "get pods -l job-name=letting-go -o name";
    let pods = cluster.until(pods, |out| out.lines().count() == 2).await;
    let pods: Vec<&str> = pods.lines().collect();
    assert!(cluster.kubectl(&finalizers(pods[0])).await.contains("job-tracking"));
    // Selected no more, and so nobody's.
    cluster.kubectl(&format!("label {} batch.kubernetes.io/controller-uid-", pods[0])).await;
    cluster.until(&finalizers(pods[0]), str::is_empty).await;
    cluster.kubectl("delete job letting-go --cascade=orphan").await;
    cluster.until(&finalizers(pods[1]), str::is_empty).await;
    let template = json!({"containers": [{"name": "c", "image": "v1"}], "restartPolicy": "Never"});
    let bare = |name: &str, label: &str, tracked: bool| {
        let finalizers = if tracked { json!(["batch.kubernetes.io/job-tracking"]) } else { json!([]) };
        json!({"apiVersion": "v1", "kind": "Pod", "spec": template.clone(),
            "metadata": {"name": name, "labels": {"of": label}, "finalizers": finalizers}})
    };
    cluster.apply(bare("nobodys", "nobody", true)).await;
    cluster.until(&finalizers("pod/nobodys"), str::is_empty).await;
    cluster.apply(bare("found", "taker", false)).await;
    let mut taker = job("taker", "v1", json!({"manualSelector": true, "selector": {"matchLabels": {"of": "taker"}}}));
    taker["spec"]["template"]["metadata"] = json!({"labels": {"of": "taker"}});
    cluster.apply(taker).await;
    cluster.until(&finalizers("pod/found"), |out| out.contains("job-tracking")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_makes_jobs_by_its_schedule() {
    let cluster = start().await;
    cluster.node("w1").await;
    let cron = |name: &str, image: &str, policy: &str| {
        let template = job(name, image, json!({}))["spec"].clone();
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": {
            "schedule": "@every 1s", "concurrencyPolicy": policy, "successfulJobsHistoryLimit": 2,
            "jobTemplate": {"spec": template}}})
    };
    cluster.apply(cron("forbids", "v1", "Forbid")).await;
    cluster.apply(cron("allows", "v1", "Allow")).await;
    cluster.apply(cron("replaces", "v1", "Replace")).await;
    cluster.until("get cronjob forbids -o jsonpath={.status.active[*].name}", |out| out.starts_with("forbids-")).await;
    let first = cluster.until("get cronjob replaces -o jsonpath={.status.active[*].name}", |out| !out.is_empty()).await;
    let described = cluster.kubectl("describe cronjob forbids").await;
    assert!(described.contains("Created job forbids-"), "{described}");
    let seen = cluster.kubectl("get cronjob forbids -o jsonpath={.status.lastScheduleTime}").await;
    assert!(!seen.is_empty());
    assert!(first.starts_with("replaces-"));
    cluster.kubectl("patch cronjob allows --type=merge -p {\"spec\":{\"suspend\":true}}").await;
    let made = cluster.kubectl("create job by-hand --from=cronjob/allows -o name").await;
    assert_eq!(made, "job.batch/by-hand");
    cluster.kubectl("delete cronjob forbids allows replaces").await;
    cluster.until("get jobs,pods -o name", str::is_empty).await;
}
