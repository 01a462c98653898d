//! The node's lease: the sign of life that the control plane waits for.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
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
        let body =
            json!({ "spec": { "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now } });
        match leases.patch(name, &PatchParams::default(), &Patch::Merge(&body)).await {
            Ok(_) => Ok(()),
            Err(error) if client::is_not_found(&error) => {
                let made = leases.create(&PostParams::default(), &self.lease(now)).await;
                made.map(drop).map_err(api("create the node's lease"))
            }
            Err(error) => Err(api("renew the node's lease")(error)),
        }
    }

    fn lease(&self, now: MicroTime) -> Lease {
        let name = self.host.config.node_name.clone();
        let owner = self.node().and_then(|node| node.metadata.uid.clone()).map(|uid| {
            vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: name.clone(),
                uid,
                ..Default::default()
            }]
        });
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
