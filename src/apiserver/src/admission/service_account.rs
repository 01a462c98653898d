//! ServiceAccount: every pod has an account, and unless it or the account says otherwise a volume with a token, the
//! cluster's CA and the namespace, in the shape that clients look for.

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use serde_json::{Value, json};

use super::{forbidden, is};
use crate::live::{Live, items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

/// Where containers find the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const DEFAULT: &str = "default";
/// A little over an hour, as Kubernetes has it: tells these tokens from those that somebody asked for.
const EXPIRATION_S: i64 = 3607;
/// Marks a pod that an agent shows for one of its files.
const MIRROR: &str = "kubernetes.io~1config.mirror";
/// How often a missing account is looked for again: a new namespace gets its default account a moment later.
const ATTEMPTS: usize = 20;
const ATTEMPT_EVERY: Duration = Duration::from_millis(50);

/// The plugin.
pub struct ServiceAccount(pub Live);

#[async_trait]
impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, request: &Admit<'_>, pod: &mut Value) -> Result<()> {
        if !is(request, "", "pods") || is_mirror(pod) || !pod["spec"].is_object() {
            return Ok(());
        }
        if text(pod, "/spec/serviceAccountName").is_empty() {
            pod["spec"]["serviceAccountName"] = json!(DEFAULT);
        }
        let name = text(pod, "/spec/serviceAccountName").to_string();
        pod["spec"]["serviceAccount"] = json!(name);
        let account = self.account(request, &name, pod).await?;
        if wants_token(pod, &account) {
            let suffix = suffix();
            mount_token(pod, &format!("{VOLUME_PREFIX}{suffix}"));
        }
        if items(pod, "/spec/imagePullSecrets").is_empty()
            && let Some(secrets) = account.get("imagePullSecrets").filter(|secrets| secrets.is_array())
        {
            pod["spec"]["imagePullSecrets"] = secrets.clone();
        }
        Ok(())
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(pod) = object.filter(|_| is(request, "", "pods")) else { return Ok(()) };
        if !is_mirror(pod) {
            return Ok(());
        }
        if !text(pod, "/spec/serviceAccountName").is_empty() {
            return Err(forbidden(request, object, "a mirror pod may not reference service accounts"));
        }
        let token = |volume: &Value| {
            items(volume, "/projected/sources").iter().any(|source| source.get("serviceAccountToken").is_some())
        };
        if items(pod, "/spec/volumes").iter().any(token) {
            return Err(forbidden(request, object, "a mirror pod may not use ServiceAccountToken volume projections"));
        }
        Ok(())
    }
}

fn is_mirror(pod: &Value) -> bool {
    pod.pointer(&format!("/metadata/annotations/{MIRROR}")).is_some()
}

impl ServiceAccount {
    async fn account(&self, request: &Admit<'_>, name: &str, pod: &Value) -> Result<Value> {
        for attempt in 0..ATTEMPTS {
            if let Some(account) = self.0.get("", "serviceaccounts", request.namespace, name).await? {
                return Ok(account);
            }
            // Only the default account comes by itself.
            if name != DEFAULT {
                break;
            }
            if attempt + 1 < ATTEMPTS {
                tokio::time::sleep(ATTEMPT_EVERY).await;
            }
        }
        let namespace = request.namespace;
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        Err(forbidden(request, Some(pod), why))
    }
}

/// The pod's word counts more than the account's.
fn wants_token(pod: &Value, account: &Value) -> bool {
    let said = |value: Option<&Value>| value.and_then(Value::as_bool);
    said(pod.pointer("/spec/automountServiceAccountToken"))
        .or_else(|| said(account.get("automountServiceAccountToken")))
        .unwrap_or(true)
}

/// Adds the volume under `name`, or the one that is there already, to every container that has nothing in its place.
fn mount_token(pod: &mut Value, name: &str) {
    let existing = items(pod, "/spec/volumes").iter().map(|volume| text(volume, "/name"));
    let existing = existing.into_iter().find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_string);
    let volume = existing.clone().unwrap_or_else(|| name.to_string());
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let taken = items(container, "/volumeMounts").iter().any(|mount| text(mount, "/mountPath") == MOUNT_PATH);
            if taken || !container.is_object() {
                continue;
            }
            mounted = true;
            let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
            push(container, "volumeMounts", mount);
        }
    }
    if mounted && existing.is_none() {
        push(&mut pod["spec"], "volumes", json!({"name": volume, "projected": projected()}));
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    match object[field].as_array_mut() {
        Some(list) => list.push(item),
        None => object[field] = json!([item]),
    }
}

fn projected() -> Value {
    json!({
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": EXPIRATION_S, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
            ]}},
        ],
    })
}

/// Five letters as Kubernetes makes them: without vowels and digits that make words.
fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Cluster, create, run};
    use super::*;

    fn pod(spec: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
        for (key, value) in spec.as_object().into_iter().flatten() {
            pod["spec"][key] = value.clone();
        }
        pod
    }

    async fn cluster(account: Value) -> Cluster {
        let cluster = Cluster::new();
        let mut object = json!({"apiVersion": "v1", "metadata": {"name": "default", "namespace": "ns"}});
        for (key, value) in account.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        cluster.put("serviceaccounts", object).await;
        cluster
    }

    #[tokio::test]
    async fn a_pod_gets_the_default_account_its_token_and_its_pull_secrets() {
        let cluster = cluster(json!({"imagePullSecrets": [{"name": "pull"}]})).await;
        let plugin = ServiceAccount(cluster.live.clone());
        let spec = json!({"initContainers": [{"name": "i"}], "containers": [
            {"name": "c"}, {"name": "own", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}]});
        let pod = run(&plugin, &create("", "pods", "ns"), Some(pod(spec))).await.expect("admitted");
        assert_eq!(
            (text(&pod, "/spec/serviceAccountName"), text(&pod, "/spec/serviceAccount")),
            ("default", "default")
        );
        let volume = text(&pod, "/spec/volumes/0/name").to_string();
        assert!(volume.starts_with(VOLUME_PREFIX) && volume.len() == VOLUME_PREFIX.len() + 5);
        assert_eq!(pod["spec"]["volumes"][0]["projected"]["defaultMode"], 420);
        for container in ["/spec/containers/0", "/spec/initContainers/0"] {
            let mount = &pod.pointer(container).expect("is there")["volumeMounts"][0];
            assert_eq!(mount, &json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
        }
        assert_eq!(items(&pod, "/spec/containers/1/volumeMounts").len(), 1);
        assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    }

    // conformance: automount opt-out: 9 combinations of pod and ServiceAccount flags
    #[tokio::test]
    async fn pod_and_account_can_decline_the_token_and_the_pod_has_the_last_word() {
        for (of_account, of_pod, mounted) in [
            (None, None, true),
            (None, Some(true), true),
            (None, Some(false), false),
            (Some(true), None, true),
            (Some(true), Some(true), true),
            (Some(true), Some(false), false),
            (Some(false), None, false),
            (Some(false), Some(true), true),
            (Some(false), Some(false), false),
        ] {
            let cluster = cluster(json!({"automountServiceAccountToken": of_account})).await;
            let plugin = ServiceAccount(cluster.live.clone());
            let pod = pod(json!({"automountServiceAccountToken": of_pod}));
            let pod = run(&plugin, &create("", "pods", "ns"), Some(pod)).await.expect("admitted");
            assert_eq!(!items(&pod, "/spec/volumes").is_empty(), mounted, "{of_account:?} {of_pod:?}");
        }
    }

    #[tokio::test]
    async fn an_account_that_is_not_there_is_refused_and_mirror_pods_have_none() {
        let cluster = cluster(json!({})).await;
        let plugin = ServiceAccount(cluster.live.clone());
        let asked = create("", "pods", "ns");
        let refused =
            run(&plugin, &asked, Some(pod(json!({"serviceAccountName": "x"})))).await.expect_err("is missing");
        let message = "pods \"p\" is forbidden: error looking up service account ns/x: serviceaccount \"x\" not found";
        assert_eq!(refused.message(), message);
        let mut mirror = pod(json!({}));
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
        let admitted = run(&plugin, &asked, Some(mirror.clone())).await.expect("admitted");
        assert_eq!(admitted, mirror);
        mirror["spec"]["serviceAccountName"] = json!("default");
        assert!(run(&plugin, &asked, Some(mirror)).await.is_err());
    }
}
