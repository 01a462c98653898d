//! The audit log, as whoever reads it after the fact finds it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use apiserver::audit::{Settings, log};
use apiserver::policy::Access;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Cluster, eventually};

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitManagedFields: true
rules:
- {level: None, users: ['system:apiserver', 'tester']}
- {level: Metadata, omitStages: [RequestReceived], resources: [{group: '', resources: [secrets]}]}
- {level: RequestResponse, omitStages: [RequestReceived], resources: [{group: '', resources: [configmaps]}]}
- {level: Request, omitStages: [RequestReceived], resources: [{group: '', resources: [pods]}]}
- {level: Metadata, resources: [{group: '', resources: [nodes, endpoints]}]}
- {level: Metadata, userGroups: ['system:unauthenticated']}
- {level: Metadata, nonResourceURLs: ['/version'], omitStages: [RequestReceived]}
";

struct Audited {
    cluster: Cluster,
    log: PathBuf,
    _folder: TempDir,
}

impl Audited {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("logs/audit.log"));
        std::fs::write(&policy, POLICY).expect("writing the policy");
        let settings = log::Settings {
            path: log.clone(),
            max_size_bytes: 100 << 20,
            max_age_days: 0,
            max_backups: 0,
            mode: log::Mode::Blocking,
        };
        let access = Access { audit: Some(Settings { policy, log: settings }), ..Access::default() };
        Self { cluster: Cluster::start_with(access).await, log, _folder: folder }
    }

    /// Waits for the first event that is as wanted.
    async fn event(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async { events(&self.log).into_iter().find(|event| wanted(event)) }).await
    }
}

fn events(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).expect("readable");
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(parse).collect()
}

fn is(event: &Value, verb: &str, resource: &str) -> bool {
    event["verb"] == verb && event["objectRef"]["resource"] == resource
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_what_is_written_as_far_as_the_policy_says() {
    let audited = Audited::start().await;
    let cluster = &audited.cluster;
    let admin = cluster.certificate("admin", &["system:masters"]);
    cluster.succeeds(&admin, &["create", "secret", "generic", "s", "--from-literal=key=hidden"]).await;
    cluster.succeeds(&admin, &["create", "configmap", "c", "--from-literal=key=shown"]).await;
    cluster.succeeds(&admin, &["get", "configmap", "c", "-o", "yaml"]).await;

    let secret = audited.event("the secret is written", |event| is(event, "create", "secrets")).await;
    assert_eq!(secret["kind"], "Event");
    assert_eq!((&secret["level"], &secret["stage"]), (&json!("Metadata"), &json!("ResponseComplete")));
    assert_eq!(secret["user"]["username"], "admin");
    assert_eq!(secret["user"]["groups"], json!(["system:masters", "system:authenticated"]));
    assert_eq!(secret["sourceIPs"], json!(["127.0.0.1"]));
    assert!(secret["userAgent"].as_str().is_some_and(|agent| agent.starts_with("kubectl")), "{secret}");
    let reference = json!({"resource": "secrets", "namespace": "default", "name": "s", "apiVersion": "v1"});
    assert_eq!(secret["objectRef"], reference);
    assert_eq!(secret["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(secret["annotations"]["authorization.k8s.io/decision"], "allow");
    assert!(!secret.to_string().contains("hidden") && !secret.to_string().contains("aGlkZGVu"), "{secret}");

    // What is refused is not repeated either.
    let patch = r#"{"data":{"key":"not base64, and hidden"}}"#;
    cluster.fails(&admin, &["patch", "secret", "s", "--type=merge", "-p", patch]).await;
    let refused = audited.event("the refused patch is written", |event| is(event, "patch", "secrets")).await;
    assert_eq!(refused["responseStatus"]["code"], 422, "{refused}");
    assert!(!refused.to_string().contains("hidden"), "{refused}");

    let made = audited.event("the map is written", |event| is(event, "create", "configmaps")).await;
    assert_eq!(made["requestObject"]["data"], json!({"key": "shown"}));
    assert_eq!(made["responseObject"]["data"], json!({"key": "shown"}));
    assert!(made["responseObject"]["metadata"].get("managedFields").is_none());
    let read = audited.event("the read is written", |event| is(event, "get", "configmaps")).await;
    assert!(read.get("requestObject").is_none());
    assert_eq!(read["responseObject"]["metadata"]["name"], "c");
    let mode = std::fs::metadata(&audited.log).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    audited.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_impersonation_and_watches_are_written() {
    let audited = Audited::start().await;
    let cluster = &audited.cluster;
    let (admin, ann) = (cluster.certificate("admin", &["system:masters"]), cluster.certificate("ann", &[]));
    cluster.fails(&ann, &["get", "secrets"]).await;
    let refused = audited.event("the refusal is written", |event| event["user"]["username"] == "ann").await;
    assert_eq!(refused["responseStatus"]["code"], 403);
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");

    cluster.fails(&admin, &["get", "secrets", "--as=bob", "--as-group=g"]).await;
    let acted = audited.event("acting for another is written", |event| event["impersonatedUser"].is_object()).await;
    assert_eq!(acted["user"]["username"], "admin");
    assert_eq!(acted["impersonatedUser"]["username"], "bob");

    cluster.fails(&cluster.token("nobody-knows-this"), &["get", "secrets"]).await;
    let nobody = |event: &Value| event["responseStatus"]["code"] == 401;
    // Only of users that are known a rule speaks; without one nothing is written of a secret but that it was asked for.
    let unknown = audited.event("a wrong token is written", nobody).await;
    assert_eq!(unknown["stage"], "ResponseStarted");
    assert_eq!(unknown["responseStatus"]["message"], "Authentication failed, attempted: bearer");

    let watch = ["get", "nodes", "--watch", "--request-timeout=1s"];
    cluster.output(&admin, &watch).await;
    let done = |event: &Value| is(event, "watch", "nodes") && event["stage"] == "ResponseComplete";
    let ended = audited.event("the end of the watch is written", done).await;
    let stages: Vec<Value> = events(&audited.log)
        .into_iter()
        .filter(|event| event["auditID"] == ended["auditID"])
        .map(|event| event["stage"].clone())
        .collect();
    assert_eq!(stages, ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
    audited.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_security_and_policies_write_into_the_event() {
    let audited = Audited::start().await;
    let cluster = &audited.cluster;
    let admin = cluster.certificate("admin", &["system:masters"]);
    cluster.succeeds(&admin, &["create", "namespace", "n"]).await;
    cluster.succeeds(&admin, &["create", "serviceaccount", "default", "-n", "n"]).await;
    cluster.succeeds(&admin, &["label", "namespace", "n", "pod-security.kubernetes.io/audit=baseline"]).await;
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "noted"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["pods"]}]},
            "validations": [{"expression": "false", "message": "this is noted"}],
            "auditAnnotations": [{"key": "who", "valueExpression": "'pod ' + object.metadata.name"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "noted"}, "spec": {"policyName": "noted", "validationActions": ["Audit"]}});
    cluster.create(&admin, &policy).await;
    cluster.create(&admin, &binding).await;
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n"},
            "spec": {"hostNetwork": true, "containers": [{"name": "c", "image": "i"}]}})
    };
    let noted = "validation.policy.admission.k8s.io/validation_failure";
    let mut attempt = 0;
    let event = eventually("the policy is in force", || {
        attempt += 1;
        let name = format!("p{attempt}");
        let (audited, admin) = (&audited, &admin);
        async move {
            cluster.create(admin, &pod(&name)).await;
            let event = audited
                .event("the pod is written", |event| is(event, "create", "pods") && event["objectRef"]["name"] == *name)
                .await;
            event["annotations"].get(noted).is_some().then_some(event)
        }
    })
    .await;
    let annotations = &event["annotations"];
    let violations = annotations["pod-security.kubernetes.io/audit-violations"].as_str().unwrap_or_default();
    assert!(violations.starts_with("would violate PodSecurity \"baseline:latest\": host namespaces"), "{event}");
    let failure: Value = serde_json::from_str(annotations[noted].as_str().unwrap_or_default()).expect("JSON");
    assert_eq!(failure[0]["message"], "this is noted");
    assert_eq!(annotations["noted/who"], json!(format!("pod {}", event["objectRef"]["name"].as_str().unwrap_or(""))));
    assert_eq!(event["requestObject"]["spec"]["hostNetwork"], true);
    assert!(event.get("responseObject").is_none());
    audited.cluster.stop().await;
}
