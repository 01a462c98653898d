//! DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or cannot be reached, unless it
//! says something about that itself.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{is, writes};
use crate::live::{items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultTolerationSeconds;

#[async_trait]
impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, operation: Operation) -> bool {
        writes(operation)
    }

    async fn admit(&self, request: &Admit<'_>, pod: &mut Value) -> Result<()> {
        if is(request, "", "pods") && pod["spec"].is_object() {
            tolerate(pod);
        }
        Ok(())
    }
}

fn tolerate(pod: &mut Value) {
    let tolerated = |taint: &str| {
        items(pod, "/spec/tolerations").iter().any(|toleration| {
            let (key, effect) = (text(toleration, "/key"), text(toleration, "/effect"));
            (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        })
    };
    let lacking: Vec<Value> = TAINTS
        .iter()
        .filter(|taint| !tolerated(taint))
        .map(|taint| json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}))
        .collect();
    if lacking.is_empty() {
        return;
    }
    match pod["spec"]["tolerations"].as_array_mut() {
        Some(list) => list.extend(lacking),
        None => pod["spec"]["tolerations"] = json!(lacking),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_pod_does_not_tolerate_itself_is_added() {
        let cases = [
            (json!(null), 2),
            (json!([{"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]), 2),
            (json!([{"operator": "Exists"}]), 1),
            (json!([{"key": TAINTS[0], "operator": "Exists", "effect": "NoSchedule"}]), 3),
            (json!([{"key": "other", "operator": "Exists"}]), 3),
        ];
        for (tolerations, expected) in cases {
            let mut pod = json!({"spec": {"tolerations": tolerations}});
            tolerate(&mut pod);
            assert_eq!(items(&pod, "/spec/tolerations").len(), expected, "{pod}");
            let before = pod.clone();
            tolerate(&mut pod);
            assert_eq!(pod, before, "a second time changes nothing");
        }
    }
}
