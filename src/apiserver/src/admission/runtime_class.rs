//! RuntimeClass: what a runtime costs by itself and where it is to be found is filled into the pods that name it.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{forbidden, is};
use crate::live::{Live, items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

/// The plugin.
pub struct RuntimeClass(pub Live);

#[async_trait]
impl Admission for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, request: &Admit<'_>, pod: &mut Value) -> Result<()> {
        let Some(class) = self.class(request, pod).await? else { return Ok(()) };
        if let Some(overhead) = class.pointer("/overhead/podFixed").filter(|overhead| !overhead.is_null()) {
            if pod["spec"].get("overhead").is_some_and(|own| own != overhead) {
                let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
                return Err(forbidden(request, Some(pod), why));
            }
            pod["spec"]["overhead"] = overhead.clone();
        }
        for (key, value) in class.pointer("/scheduling/nodeSelector").and_then(Value::as_object).into_iter().flatten() {
            let own = &pod["spec"]["nodeSelector"];
            if own.get(key).is_some_and(|own| own != value) {
                let class = text(pod, "/spec/runtimeClassName");
                let why =
                    format!("pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value} of {class}");
                return Err(forbidden(request, Some(pod), why));
            }
            if !own.is_object() {
                pod["spec"]["nodeSelector"] = json!({});
            }
            pod["spec"]["nodeSelector"][key] = value.clone();
        }
        for toleration in items(&class, "/scheduling/tolerations") {
            if !items(pod, "/spec/tolerations").contains(toleration) {
                match pod["spec"]["tolerations"].as_array_mut() {
                    Some(list) => list.push(toleration.clone()),
                    None => pod["spec"]["tolerations"] = json!([toleration]),
                }
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(pod) = object.filter(|_| is(request, "", "pods")) else { return Ok(()) };
        let class = self.class(request, pod).await?;
        let fixed = class.as_ref().and_then(|class| class.pointer("/overhead/podFixed"));
        let own = pod["spec"].get("overhead").filter(|own| own.as_object().is_some_and(|own| !own.is_empty()));
        if own.is_some() && fixed.is_none() {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(forbidden(request, object, why));
        }
        Ok(())
    }
}

impl RuntimeClass {
    async fn class(&self, request: &Admit<'_>, pod: &Value) -> Result<Option<Value>> {
        let name = text(pod, "/spec/runtimeClassName");
        if !is(request, "", "pods") || name.is_empty() {
            return Ok(None);
        }
        match self.0.get("node.k8s.io", "runtimeclasses", "", name).await? {
            Some(class) => Ok(Some(class)),
            None => Err(forbidden(request, Some(pod), format!("pod rejected: RuntimeClass {name:?} not found"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Cluster, create, run};
    use super::*;

    #[tokio::test]
    async fn overhead_and_scheduling_come_from_the_class() {
        let cluster = Cluster::new();
        let class = json!({"apiVersion": "node.k8s.io/v1", "metadata": {"name": "vm"}, "handler": "vm",
            "overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}});
        cluster.put("runtimeclasses", class).await;
        let plugin = RuntimeClass(cluster.live.clone());
        let asked = create("", "pods", "ns");
        let pod = |spec: Value| Some(json!({"metadata": {"name": "p"}, "spec": spec}));
        let admitted = run(&plugin, &asked, pod(json!({"runtimeClassName": "vm"}))).await.expect("admitted");
        assert_eq!(admitted["spec"]["overhead"], json!({"cpu": "250m"}));
        assert_eq!(admitted["spec"]["nodeSelector"], json!({"vm": "yes"}));
        assert_eq!(items(&admitted, "/spec/tolerations").len(), 1);
        for refused in [
            json!({"runtimeClassName": "x"}),
            json!({"overhead": {"cpu": "1"}}),
            json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
            json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}}),
        ] {
            assert!(run(&plugin, &asked, pod(refused.clone())).await.is_err(), "{refused}");
        }
    }
}
