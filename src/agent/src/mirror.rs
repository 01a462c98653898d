//! Mirror pods: the API's image of this node's static pods, so that they are seen and reported like all others.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use crate::Error;
use crate::objects::api::api;
use crate::pod::identity::{CONFIG_HASH, CONFIG_MIRROR, PodRef, annotation, is_mirror};

/// What to do with the mirrors.
#[derive(Debug, Default)]
pub struct Plan {
    /// Static pods that have none.
    pub create: Vec<Arc<Pod>>,
    /// Mirrors of what is no more, or of a former version.
    pub delete: Vec<Arc<Pod>>,
}

/// Compares static pods with the mirrors that the API has. A mirror stays while its pod, which `runs` knows by its hash,
/// is still ending, so that the end is seen.
pub fn plan(statics: &[Arc<Pod>], api_pods: &[Arc<Pod>], runs: impl Fn(&str) -> bool) -> Plan {
    let mut plan = Plan::default();
    let name = |pod: &Pod| (pod.metadata.namespace.clone(), pod.metadata.name.clone());
    for mirror in api_pods.iter().filter(|pod| is_mirror(pod)) {
        let fits = statics
            .iter()
            .any(|pod| name(pod) == name(mirror) && annotation(pod, CONFIG_HASH) == annotation(mirror, CONFIG_MIRROR));
        let ending = !fits && annotation(mirror, CONFIG_MIRROR).is_some_and(&runs);
        if (!fits && !ending) || mirror.metadata.deletion_timestamp.is_some() {
            plan.delete.push(mirror.clone());
        }
    }
    let absent = |pod: &&Arc<Pod>| !api_pods.iter().any(|other| name(other) == name(pod));
    plan.create.extend(statics.iter().filter(absent).cloned());
    plan
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Static pods that have a mirror now, which knows nothing yet of what runs.
    pub made: Vec<Arc<Pod>>,
    /// What went wrong, each of one pod.
    pub errors: Vec<Error>,
}

/// Carries a plan out as far as it can be: what is wrong with one pod is no matter of another's. `node` owns the mirrors
/// it makes: the API takes none without that owner, so that none are made before the node is registered.
pub async fn carry_out(plan: &Plan, client: &kube::Client, node: Option<&Node>) -> Outcome {
    let mut outcome = Outcome::default();
    for mirror in &plan.delete {
        let reference = PodRef::of(mirror);
        let preconditions = Preconditions { uid: Some(reference.uid.clone()), resource_version: None };
        let options =
            DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..Default::default() };
        let pods = Api::<Pod>::namespaced(client.clone(), &reference.namespace);
        let deleted =
            pods.delete(&reference.name, &options).await.map_err(api(format!("delete mirror pod {reference}")));
        outcome.errors.extend(deleted.err().filter(|error| !error.is_not_found()));
    }
    let Some(owner) = node.and_then(owner) else { return outcome };
    for pod in &plan.create {
        let reference = PodRef::of(pod);
        let pods = Api::<Pod>::namespaced(client.clone(), &reference.namespace);
        let made = pods.create(&PostParams::default(), &mirror(pod, owner.clone())).await;
        match made.map_err(api(format!("create mirror pod {reference}"))) {
            Ok(_) => outcome.made.push(pod.clone()),
            Err(error) => outcome.errors.push(error),
        }
    }
    outcome
}

fn owner(node: &Node) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.metadata.name.clone()?,
        uid: node.metadata.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: None,
    })
}

fn mirror(pod: &Pod, owner: OwnerReference) -> Pod {
    let mut mirror = pod.clone();
    let hash = annotation(pod, CONFIG_HASH).unwrap_or_default().to_string();
    mirror.metadata.uid = None;
    mirror.metadata.annotations.get_or_insert_default().insert(CONFIG_MIRROR.into(), hash);
    mirror.metadata.owner_references = Some(vec![owner]);
    mirror
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, annotations: serde_json::Value) -> Arc<Pod> {
        let metadata = json!({ "name": name, "namespace": "default", "annotations": annotations });
        Arc::new(serde_json::from_value(json!({ "metadata": metadata })).unwrap())
    }

    #[test]
    fn mirrors_follow_their_pods() {
        let statics = [pod("a", json!({ CONFIG_HASH: "1" })), pod("b", json!({ CONFIG_HASH: "2" }))];
        let mirrors = [
            pod("a", json!({ CONFIG_MIRROR: "0" })),
            pod("c", json!({ CONFIG_MIRROR: "3" })),
            pod("d", json!({})),
            pod("e", json!({ CONFIG_MIRROR: "4" })),
        ];
        let plan = plan(&statics, &mirrors, |hash| hash == "4");
        let names = |pods: &[Arc<Pod>]| pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&plan.create), names(&plan.delete)), (vec!["b".into()], vec!["a".into(), "c".into()]));
    }

    #[tokio::test]
    async fn a_pod_that_the_api_refuses_does_not_keep_the_others_from_their_mirrors() {
        // The API as far as it is asked here: it knows no namespace `nowhere`.
        let answer = |request: http::Request<kube::client::Body>| async move {
            let refused = request.uri().path().contains("/nowhere/");
            let body = match refused {
                true => {
                    json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "no" })
                }
                false => json!({ "metadata": { "name": "made" } }),
            };
            let answer = http::Response::builder().status(if refused { 404 } else { 201 });
            answer.body(kube::client::Body::from(body.to_string().into_bytes()))
        };
        let client = kube::Client::new(tower::service_fn(answer), "default");
        let node: Node = serde_json::from_value(json!({ "metadata": { "name": "w1", "uid": "n" } })).unwrap();
        let mut bad = (*pod("bad", json!({}))).clone();
        bad.metadata.namespace = Some("nowhere".into());
        let plan = Plan { create: vec![Arc::new(bad), pod("good", json!({}))], delete: vec![] };
        let outcome = carry_out(&plan, &client, Some(&node)).await;
        let made: Vec<_> = outcome.made.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!((made, outcome.errors.len()), (vec!["good"], 1));
    }
}
