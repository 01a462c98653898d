//! PodSecurity: pods that ask for more than their namespace's labels allow are refused, warned of or written down;
//! of workloads whose pods would be, the client is warned. Nobody and nothing is exempt.
//!
//! What may be asked for is `api::pod_security`'s.

use std::collections::{BTreeMap, HashSet};

use api::pod_security::{self, Level, LevelVersion, Policy, Violation};
use async_trait::async_trait;
use machinery::meta;
use serde_json::Value;

use super::{forbidden, name_of, writes};
use crate::live::{Live, items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::{Result, Status};

/// The plugin.
pub struct PodSecurity(pub Live);

/// Subresources of pods that leave their specs alone.
const HARMLESS: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

/// How many pods of a namespace are looked at when its policy changes; Kubernetes looks at as many.
const PODS_MAX: usize = 3000;

/// Where workloads have the template of their pods.
const WORKLOADS: [(&str, &str, &str); 8] = [
    ("", "replicationcontrollers", "/spec/template"),
    ("", "podtemplates", "/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("batch", "jobs", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
];

#[async_trait]
impl Admission for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, operation: Operation) -> bool {
        writes(operation)
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(object) = object else { return Ok(()) };
        match (request.group_version.group.as_str(), request.resource) {
            ("", "namespaces") if request.subresource.is_empty() => self.namespace(request, object).await,
            ("", "pods") if !HARMLESS.contains(&request.subresource) => self.pod(request, object).await,
            (group, resource) if request.subresource.is_empty() => {
                let known = WORKLOADS.iter().find(|(of, plural, _)| (*of, *plural) == (group, resource));
                match known.and_then(|(.., pointer)| object.pointer(pointer)) {
                    Some(template) => self.workload(request, template).await,
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl PodSecurity {
    async fn policy(&self, namespace: &str) -> Result<Option<Policy>> {
        let namespace = self.0.get("", "namespaces", "", namespace).await?;
        Ok(namespace.map(|namespace| Policy::of(&namespace["metadata"]["labels"]).0))
    }

    /// Labels have to say something, and pods that are there already are told of where they say more than before.
    async fn namespace(&self, request: &Admit<'_>, object: &Value) -> Result<()> {
        let (policy, errors) = Policy::of(&object["metadata"]["labels"]);
        let old = request.old.map(|old| Policy::of(&old["metadata"]["labels"]));
        if !errors.is_empty() && old.as_ref().is_none_or(|(_, before)| before != &errors) {
            return Err(Status::invalid("", "Namespace", &name_of(request, Some(object)), &errors));
        }
        if old.is_some_and(|(old, _)| policy.is_tightened(&old)) {
            let name = meta::name(object);
            let pods = self.0.list("", "pods", name).await?;
            warnings(name, policy.enforce, pods).into_iter().for_each(|warning| request.warnings.add(warning));
        }
        Ok(())
    }

    async fn pod(&self, request: &Admit<'_>, pod: &Value) -> Result<()> {
        if request.operation == Operation::Update && request.old.is_some_and(|old| !is_significant(pod, old)) {
            return Ok(());
        }
        let Some(policy) = self.policy(request.namespace).await?.filter(|policy| !policy.is_privileged()) else {
            return Ok(());
        };
        request.audit.annotate("pod-security.kubernetes.io/enforce-policy", policy.enforce.to_string());
        let found = evaluate(policy.enforce, pod);
        let refused = !found.is_empty();
        audit(request, policy.audit, pod);
        if refused {
            let (standard, details) = (policy.enforce.to_string(), pod_security::details(&found));
            return Err(forbidden(request, Some(pod), format!("violates PodSecurity {standard:?}: {details}")));
        }
        warn(request, policy.warn, pod);
        Ok(())
    }

    /// Workloads are never refused: their pods will be.
    async fn workload(&self, request: &Admit<'_>, template: &Value) -> Result<()> {
        if let Some(policy) = self.policy(request.namespace).await? {
            audit(request, policy.audit, template);
            warn(request, policy.warn, template);
        }
        Ok(())
    }
}

fn evaluate(policy: LevelVersion, pod: &Value) -> Vec<Violation> {
    pod_security::evaluate(policy, &pod["metadata"], &pod["spec"])
}

/// What is said of a pod that would not be allowed.
fn would_violate(policy: LevelVersion, pod: &Value) -> Option<String> {
    let found = evaluate(policy, pod);
    let standard = policy.to_string();
    (!found.is_empty()).then(|| format!("would violate PodSecurity {standard:?}: {}", pod_security::details(&found)))
}

fn warn(request: &Admit<'_>, policy: LevelVersion, pod: &Value) {
    would_violate(policy, pod).into_iter().for_each(|warning| request.warnings.add(warning));
}

fn audit(request: &Admit<'_>, policy: LevelVersion, pod: &Value) {
    if policy.level == Level::Privileged || !request.audit.is_on() {
        return;
    }
    if let Some(violation) = would_violate(policy, pod) {
        request.audit.annotate("pod-security.kubernetes.io/audit-violations", violation);
    }
}

/// Whether a change of a pod can make it ask for more: other images, or other containers.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let images = |pod: &Value, list: &str| -> Vec<(String, String)> {
        let containers = items(pod, &format!("/spec/{list}")).iter();
        containers.map(|one| (text(one, "/name").to_string(), text(one, "/image").to_string())).collect()
    };
    let main = ["containers", "initContainers"].iter().any(|list| images(pod, list) != images(old, list));
    let before = images(old, "ephemeralContainers");
    main || images(pod, "ephemeralContainers").iter().any(|container| !before.contains(container))
}

/// What is said of the pods of a namespace whose policy has become stricter: each kind of violation once, with the
/// first pod that has it.
fn warnings(namespace: &str, enforce: LevelVersion, pods: Vec<Value>) -> Vec<String> {
    let all = pods.len();
    let mut said: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in representative(pods).iter().take(PODS_MAX) {
        let found = evaluate(enforce, pod);
        if !found.is_empty() {
            let name = meta::name(pod);
            let entry = said.entry(pod_security::reasons(&found)).or_insert_with(|| (name.to_string(), 0));
            if name < entry.0.as_str() {
                entry.0 = name.to_string();
            }
            entry.1 += 1;
        }
    }
    let mut lines = Vec::new();
    if all > PODS_MAX {
        lines.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {all} existing pods"
        ));
    }
    if !said.is_empty() {
        let standard = enforce.to_string();
        lines.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {standard:?}"
        ));
    }
    let mut of_pods: Vec<String> = said
        .into_iter()
        .map(|(reasons, (name, count))| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            count => format!("{name} (and {} other pods): {reasons}", count - 1),
        })
        .collect();
    of_pods.sort();
    lines.extend(of_pods);
    lines
}

/// The pods, one of each controller first: the others are like it.
fn representative(pods: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    let is_first = |pod: &Value| match controller(pod) {
        Some(uid) => seen.insert(uid.to_string()),
        None => true,
    };
    let (mut first, others): (Vec<Value>, Vec<Value>) = pods.into_iter().partition(is_first);
    first.extend(others);
    first
}

fn controller(pod: &Value) -> Option<&str> {
    let owner = meta::owner_references(pod).iter().find(|owner| owner["controller"] == Value::Bool(true))?;
    Some(text(owner, "/uid"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::testing::{Asked, Cluster, create, run};

    const LABEL: &str = "pod-security.kubernetes.io/enforce";

    fn namespace(labels: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": labels}})
    }

    fn pod(host_network: bool) -> Value {
        let containers = json!([{"name": "c", "image": "i"}]);
        json!({"apiVersion": "v1", "metadata": {"name": "p", "namespace": "n"}, "spec": {"hostNetwork": host_network, "containers": containers}})
    }

    fn update(resource: &'static str, old: Value) -> Asked {
        Asked { operation: Operation::Update, old: Some(old), ..create("", resource, "n") }
    }

    #[tokio::test]
    async fn pods_are_refused_by_their_namespaces_label() {
        let cluster = Cluster::new();
        let plugin = PodSecurity(cluster.live.clone());
        let asked = create("", "pods", "n");
        cluster.put("namespaces", namespace(json!({}))).await;
        assert!(run(&plugin, &asked, Some(pod(true))).await.is_ok());
        cluster.put("namespaces", namespace(json!({LABEL: "baseline"}))).await;
        assert!(run(&plugin, &asked, Some(pod(false))).await.is_ok());
        let refused = run(&plugin, &asked, Some(pod(true))).await.expect_err("is refused");
        let expected =
            "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
        assert_eq!((refused.code(), refused.message()), (403, expected));
        // Labels that cannot be read refuse what the strictest would.
        cluster.put("namespaces", namespace(json!({LABEL: "bassline"}))).await;
        assert!(run(&plugin, &asked, Some(pod(false))).await.is_err());
    }

    #[tokio::test]
    async fn changes_count_where_they_bring_something() {
        let cluster = Cluster::new();
        let plugin = PodSecurity(cluster.live.clone());
        cluster.put("namespaces", namespace(json!({LABEL: "baseline"}))).await;
        let old = pod(true);
        let mut labelled = old.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert!(run(&plugin, &update("pods", old.clone()), Some(labelled)).await.is_ok());
        let mut other = old.clone();
        other["spec"]["containers"][0]["image"] = json!("j");
        assert!(run(&plugin, &update("pods", old.clone()), Some(other.clone())).await.is_err());
        let mut debugged = pod(false);
        debugged["spec"]["ephemeralContainers"] = json!([{"name": "e", "securityContext": {"privileged": true}}]);
        let asked = Asked { subresource: "ephemeralcontainers", ..update("pods", pod(false)) };
        assert!(run(&plugin, &asked, Some(debugged)).await.is_err());
        let status = Asked { subresource: "status", ..update("pods", old) };
        assert!(run(&plugin, &status, Some(other)).await.is_ok());
    }

    #[tokio::test]
    async fn labels_have_to_be_levels_and_versions() {
        let cluster = Cluster::new();
        let plugin = PodSecurity(cluster.live.clone());
        let wrong = namespace(json!({LABEL: "x"}));
        let asked = create("", "namespaces", "n");
        let refused = run(&plugin, &asked, Some(wrong.clone())).await.expect_err("is refused");
        assert_eq!(refused.code(), 422);
        assert!(refused.message().contains("must be one of privileged, baseline, restricted"), "{}", refused.message());
        // What was wrong before may stay.
        assert!(run(&plugin, &update("namespaces", wrong.clone()), Some(wrong)).await.is_ok());
        assert!(run(&plugin, &asked, Some(namespace(json!({LABEL: "baseline"})))).await.is_ok());
    }

    #[test]
    fn pods_that_are_there_are_told_of_once_for_each_reason() {
        let named = |name: &str, owner: &str| {
            let mut pod = pod(true);
            pod["metadata"] = json!({"name": name});
            if !owner.is_empty() {
                pod["metadata"]["ownerReferences"] = json!([{"uid": owner, "controller": true}]);
            }
            pod
        };
        let mut privileged = pod(false);
        privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
        let pods = vec![named("b", "1"), named("c", "1"), named("a", ""), pod(false), privileged];
        let enforce = Policy::of(&json!({LABEL: "baseline"})).0.enforce;
        assert_eq!(
            warnings("n", enforce, pods),
            [
                "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a (and 2 other pods): host namespaces",
                "p: privileged",
            ]
        );
        assert!(warnings("n", enforce, vec![pod(false)]).is_empty());
        let order: Vec<String> = representative(vec![named("a", "1"), named("b", "1"), named("c", "2")])
            .iter()
            .map(|pod| meta::name(pod).to_string())
            .collect();
        assert_eq!(order, ["a", "c", "b"]);
    }
}
