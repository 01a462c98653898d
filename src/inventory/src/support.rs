//! What an inventory may ask for and this version cannot do yet. The file is right; `up` refuses it with the remedy.

use crate::cluster::{Cluster, Datastore};

/// What `up` must refuse, one message each; empty where the whole inventory can be carried out.
pub fn unsupported(cluster: &Cluster) -> Vec<String> {
    let mut missing = Vec::new();
    let controllers = cluster.controllers().count();
    if controllers > 1 {
        missing.push(format!(
            "the inventory has {controllers} control-plane hosts; several of them are not supported yet: leave role \
             `controller` to one host and make the others workers"
        ));
    }
    if cluster.datastore == Datastore::Etcd {
        missing.push(
            "spec.datastore.type `etcd` is not supported yet: leave spec.datastore out to use the embedded one".into(),
        );
    }
    if !cluster.registry.mirrors.is_empty() {
        missing.push("spec.registry.mirrors is not supported yet: configure containerd's certs.d on the hosts".into());
    }
    if cluster.security.encrypt_secrets {
        missing.push("spec.security.encryptSecrets is not supported yet: leave it out".into());
    }
    missing
}
