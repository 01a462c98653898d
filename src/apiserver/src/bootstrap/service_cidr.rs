//! The ServiceCIDR called `kubernetes`: the range that this server gives addresses of services from, and that it is
//! ready.

use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use jiff::Timestamp;
use machinery::meta;
use serde_json::{Value, json};

use super::objects::{self, BoxError, Step};
use crate::live::Live;
use crate::plugin::Bootstrap;

const GROUP: &str = "networking.k8s.io";
const PLURAL: &str = "servicecidrs";
const NAME: &str = "kubernetes";
const READY: &str = "Kubernetes default Service CIDR is ready";

/// How often it is made again where somebody deleted it.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// Makes the object and says that it is ready.
pub struct DefaultServiceCidr {
    /// Where what is there is read.
    pub live: Live,
    /// The server's range.
    pub cidr: IpNet,
}

#[async_trait]
impl Bootstrap for DefaultServiceCidr {
    fn name(&self) -> &'static str {
        "start-kubernetes-service-cidr-controller"
    }

    fn every(&self) -> Option<Duration> {
        Some(KEEP_EVERY)
    }

    async fn bootstrap(&self, client: &kube::Client) -> Result<(), BoxError> {
        if self.live.get(GROUP, PLURAL, "", NAME).await?.is_none() {
            let object = json!({
                "apiVersion": format!("{GROUP}/v1"),
                "kind": "ServiceCIDR",
                "metadata": {"name": NAME},
                "spec": {"cidrs": [self.cidr.to_string()]},
            });
            let collection = format!("/apis/{GROUP}/v1/{PLURAL}");
            objects::write(client, vec![Step::Create { collection, object }]).await?;
        }
        let Some(found) = self.live.get(GROUP, PLURAL, "", NAME).await? else {
            return Err("the ServiceCIDR kubernetes is not there although it was made".into());
        };
        objects::write(client, plan(&found, self.cidr, Timestamp::now()).into_iter().collect()).await
    }
}

/// The object with another status, where it should have one. A range that is another than the server's is an
/// administrator's mistake, who is told so.
fn plan(found: &Value, cidr: IpNet, now: Timestamp) -> Option<Step> {
    let own = cidr.to_string();
    let (status, reason, message) = match found["spec"]["cidrs"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| *one == own))
    {
        true => ("True", "", READY.to_string()),
        false => {
            ("False", "InconsistentRange", format!("the server gives addresses from {own}, which is not among them"))
        }
    };
    let mut conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let old = conditions.iter().position(|condition| condition["type"] == "Ready");
    if old.is_some_and(|old| conditions[old]["status"] == status && conditions[old]["message"] == message) {
        return None;
    }
    let condition = json!({
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": meta::format_time(now),
    });
    match old {
        Some(old) => conditions[old] = condition,
        None => conditions.push(condition),
    }
    let mut object = found.clone();
    object["status"] = json!({"conditions": conditions});
    Some(Step::Update { path: format!("/apis/{GROUP}/v1/{PLURAL}/{NAME}/status"), object })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_range_is_ready_and_another_is_not() {
        let cidr: IpNet = "10.43.0.0/16".parse().expect("a range");
        let now = Timestamp::now();
        let found = json!({"metadata": {"name": NAME}, "spec": {"cidrs": ["10.43.0.0/16"]}});
        let Some(Step::Update { object, .. }) = plan(&found, cidr, now) else { panic!("a status is written") };
        assert_eq!(object["status"]["conditions"][0]["message"], READY);
        assert_eq!(plan(&object, cidr, now), None);
        let other: IpNet = "10.44.0.0/16".parse().expect("a range");
        let Some(Step::Update { object, .. }) = plan(&object, other, now) else { panic!("a status is written") };
        assert_eq!(object["status"]["conditions"][0]["status"], "False");
    }
}
