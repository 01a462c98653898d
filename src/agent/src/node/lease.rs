//! The node's lease: the sign of life that the control plane waits for.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Keeper;
use crate::Error;
use crate::objects::api::api;

/// Where nodes' leases are.
const NAMESPACE: &str = "kube-node-lease";
/// A quarter of the lease.
const RENEW: Duration = Duration::from_secs(10);
/// What failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// How long the control plane waits after a renewal.
const LEASE_SECONDS: i32 = 40;

impl Keeper {
    /// Renews the lease until `shutdown`.
    pub async fn keep_lease(&self, shutdown: CancellationToken) {
        loop {
            let wait = match self.renew().await {
                Ok(()) => RENEW,
                Err(error) => {
                    tracing::warn!(error = %stdx::error::chain(&error), "renew the node's lease");
                    RETRY
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let name = &self.host.config.node_name;
        let leases = Api::<Lease>::namespaced(self.client.clone(), NAMESPACE);
        let now = MicroTime(Timestamp::now());
        let body = renewal(name, self.owner(), &now);
        match leases.patch(name, &PatchParams::default(), &Patch::Merge(&body)).await {
            Ok(_) => Ok(()),
            Err(error) if client::is_not_found(&error) => {
                let made = leases.create(&PostParams::default(), &self.lease(now)).await;
                made.map(drop).map_err(api("create the node's lease"))
            }
            Err(error) => Err(api("renew the node's lease")(error)),
        }
    }

    /// The node, once it is known; the lease goes with it.
    fn owner(&self) -> Option<OwnerReference> {
        let uid = self.node()?.metadata.uid.clone()?;
        let name = self.host.config.node_name.clone();
        Some(OwnerReference { api_version: "v1".into(), kind: "Node".into(), name, uid, ..Default::default() })
    }

    fn lease(&self, now: MicroTime) -> Lease {
        let name = self.host.config.node_name.clone();
        let owner = self.owner().map(|owner| vec![owner]);
        Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(NAMESPACE.into()),
                owner_references: owner,
                ..Default::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(name),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: Some(now),
                ..Default::default()
            }),
        }
    }
}

/// A merge patch that renews the lease. The lease is often made before its node, and a node that is made anew has
/// another UID: so each renewal says whose it is.
fn renewal(name: &str, owner: Option<OwnerReference>, now: &MicroTime) -> Value {
    let spec = json!({ "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now });
    match owner {
        Some(owner) => json!({ "metadata": { "ownerReferences": [owner] }, "spec": spec }),
        None => json!({ "spec": spec }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_says_whose_the_lease_is_once_the_node_is_known() {
        let now = MicroTime(Timestamp::UNIX_EPOCH);
        assert!(renewal("w1", None, &now).get("metadata").is_none());
        let owner = OwnerReference { name: "w1".into(), uid: "u".into(), ..Default::default() };
        let renewed = renewal("w1", Some(owner), &now);
        assert_eq!(renewed["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(renewed["spec"]["holderIdentity"], "w1");
    }
}
