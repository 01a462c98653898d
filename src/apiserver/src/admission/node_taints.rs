//! TaintNodesByCondition: a new node takes no pods until whoever watches over nodes has seen it ready. What it says of
//! its own readiness is not enough, for a pod could come to it before anything else is there.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::is;
use crate::live::{items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaintNodesByCondition;

#[async_trait]
impl Admission for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, request: &Admit<'_>, node: &mut Value) -> Result<()> {
        if is(request, "", "nodes") {
            taint(node);
        }
        Ok(())
    }
}

fn taint(node: &mut Value) {
    let is_there = |taint: &Value| text(taint, "/key") == NOT_READY && text(taint, "/effect") == EFFECT;
    if items(node, "/spec/taints").iter().any(is_there) {
        return;
    }
    let taint = json!({"key": NOT_READY, "effect": EFFECT});
    match node["spec"]["taints"].as_array_mut() {
        Some(taints) => taints.push(taint),
        None => node["spec"]["taints"] = json!([taint]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_is_tainted_once() {
        let ours = json!({"key": NOT_READY, "effect": EFFECT});
        let cases = [
            (json!({}), json!([ours])),
            (json!({"spec": {}}), json!([ours])),
            (
                json!({"spec": {"taints": [{"key": "a", "effect": EFFECT}]}}),
                json!([{"key": "a", "effect": EFFECT}, ours]),
            ),
            (
                json!({"spec": {"taints": [{"key": NOT_READY, "effect": "NoExecute"}]}}),
                json!([{"key": NOT_READY, "effect": "NoExecute"}, ours]),
            ),
            (json!({"spec": {"taints": [ours]}}), json!([ours])),
        ];
        for (mut node, taints) in cases {
            taint(&mut node);
            assert_eq!(node["spec"]["taints"], taints);
        }
    }
}
