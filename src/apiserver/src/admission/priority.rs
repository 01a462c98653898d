//! Priority: the name of a pod's priority class becomes a number; and the classes that a cluster begins with.

use async_trait::async_trait;
use http::Request;
use serde_json::{Value, json};

use super::{forbidden, is, writes};
use crate::live::{Live, text};
use crate::plugin::{Admission, Admit, Bootstrap, Operation};
use crate::status::Result;

const GROUP: &str = "scheduling.k8s.io";
const DEFAULT_POLICY: &str = "PreemptLowerPriority";
/// Name, value and description of the classes that are always there.
const SYSTEM: [(&str, i64, &str); 2] = [
    ("system-cluster-critical", 2_000_000_000, "For pods that the cluster needs; they may move to another node."),
    ("system-node-critical", 2_000_001_000, "For pods that a node needs; they stay on it."),
];

/// The plugin.
pub struct Priority(pub Live);

#[async_trait]
impl Admission for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, operation: Operation) -> bool {
        writes(operation) || operation == Operation::Delete
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        if !is(request, "", "pods") || !object["spec"].is_object() {
            return Ok(());
        }
        match request.old {
            None => self.resolve(request, object).await,
            Some(old) => {
                // Kept where the client leaves them out.
                for field in ["priority", "preemptionPolicy"] {
                    if object["spec"].get(field).is_none()
                        && let Some(kept) = old["spec"].get(field)
                    {
                        object["spec"][field] = kept.clone();
                    }
                }
                Ok(())
            }
        }
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let is_system = SYSTEM.iter().any(|(name, ..)| *name == request.name);
        if request.operation == Operation::Delete && is_system && is(request, GROUP, "priorityclasses") {
            return Err(forbidden(
                request,
                object,
                "this is a system priority class and cannot be deleted".to_string(),
            ));
        }
        let Some(object) = object.filter(|_| is(request, GROUP, "priorityclasses")) else { return Ok(()) };
        if object["globalDefault"] != true {
            return Ok(());
        }
        let name = text(object, "/metadata/name");
        let classes = self.0.list(GROUP, "priorityclasses", "").await?;
        let other =
            classes.iter().find(|other| other["globalDefault"] == true && text(other, "/metadata/name") != name);
        match other.map(|other| text(other, "/metadata/name")) {
            Some(other) => {
                let why =
                    format!("PriorityClass {other} is already marked as default. Only one default can exist at a time");
                Err(forbidden(request, Some(object), why))
            }
            None => Ok(()),
        }
    }
}

impl Priority {
    async fn resolve(&self, request: &Admit<'_>, pod: &mut Value) -> Result<()> {
        let name = text(pod, "/spec/priorityClassName").to_string();
        let class = match name.as_str() {
            "" => {
                let classes = self.0.list(GROUP, "priorityclasses", "").await?;
                // The smallest of several defaults, as Kubernetes takes it.
                let defaults = classes.into_iter().filter(|class| class["globalDefault"] == true);
                defaults.min_by_key(|class| class["value"].as_i64())
            }
            name => match self.class(name).await? {
                Some(class) => Some(class),
                None => {
                    let why = format!("no PriorityClass with name {name} was found");
                    return Err(forbidden(request, Some(pod), why));
                }
            },
        };
        let value = class.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
        let policy = class.as_ref().map(|class| text(class, "/preemptionPolicy")).filter(|policy| !policy.is_empty());
        let policy = policy.unwrap_or(DEFAULT_POLICY).to_string();
        if let Some(given) = pod["spec"]["priority"].as_i64()
            && given != value
        {
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
                 computed {value} from the given PriorityClass name"
            );
            return Err(forbidden(request, Some(pod), why));
        }
        if let Some(given) = pod["spec"]["preemptionPolicy"].as_str()
            && given != policy
        {
            let why = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            );
            return Err(forbidden(request, Some(pod), why));
        }
        if let Some(class) = &class {
            pod["spec"]["priorityClassName"] = json!(text(class, "/metadata/name"));
        }
        pod["spec"]["priority"] = json!(value);
        pod["spec"]["preemptionPolicy"] = json!(policy);
        Ok(())
    }

    async fn class(&self, name: &str) -> Result<Option<Value>> {
        if let Some(class) = self.0.get(GROUP, "priorityclasses", "", name).await? {
            return Ok(Some(class));
        }
        // The system's classes count before they have been written.
        let system = SYSTEM.iter().find(|(own, _, _)| *own == name);
        Ok(system.map(|(name, value, description)| class(name, *value, description)))
    }
}

fn class(name: &str, value: i64, description: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": description,
        "globalDefault": false,
        "preemptionPolicy": DEFAULT_POLICY,
    })
}

/// Makes the system's classes.
pub struct SystemClasses(pub Live);

#[async_trait]
impl Bootstrap for SystemClasses {
    fn name(&self) -> &'static str {
        "scheduling/bootstrap-system-priority-classes"
    }

    async fn bootstrap(
        &self,
        client: &kube::Client,
    ) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
        for (name, value, description) in SYSTEM {
            if self.0.get(GROUP, "priorityclasses", "", name).await?.is_some() {
                continue;
            }
            let body = serde_json::to_vec(&class(name, value, description))?;
            let request = Request::post("/apis/scheduling.k8s.io/v1/priorityclasses")
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body)?;
            match client.request::<Value>(request).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Cluster, create, run};
    use super::*;

    #[tokio::test]
    async fn a_class_becomes_a_number_and_the_default_class_is_for_those_without() {
        let cluster = Cluster::new();
        let plugin = Priority(cluster.live.clone());
        let asked = create("", "pods", "ns");
        let resolve = async |spec: Value| {
            let pod = run(&plugin, &asked, Some(json!({"metadata": {"name": "p"}, "spec": spec}))).await;
            pod.map(|pod| (pod["spec"]["priority"].as_i64(), text(&pod, "/spec/preemptionPolicy").to_string()))
        };
        assert_eq!(resolve(json!({})).await.expect("admitted"), (Some(0), DEFAULT_POLICY.to_string()));
        let critical = resolve(json!({"priorityClassName": "system-node-critical"})).await.expect("admitted");
        assert_eq!(critical.0, Some(2_000_001_000));
        let unknown = resolve(json!({"priorityClassName": "x"})).await.expect_err("is unknown");
        assert_eq!(unknown.message(), "pods \"p\" is forbidden: no PriorityClass with name x was found");
        assert!(resolve(json!({"priority": 5})).await.is_err());
        let mut own = class("own", 7, "");
        own["globalDefault"] = json!(true);
        own["preemptionPolicy"] = json!("Never");
        cluster.put("priorityclasses", own).await;
        assert_eq!(resolve(json!({})).await.expect("admitted"), (Some(7), "Never".to_string()));
        assert_eq!(resolve(json!({"priority": 7})).await.expect("admitted").0, Some(7));
        let mut second = class("second", 8, "");
        second["globalDefault"] = json!(true);
        assert!(run(&plugin, &create(GROUP, "priorityclasses", ""), Some(second)).await.is_err());
    }
}
