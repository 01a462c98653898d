//! What people ask for by annotations on the status: a sync now, a pause. Seen at once through an informer.

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

use crate::{NAMESPACE, RECONCILE_AT, STATUS_NAME, SUSPEND};

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steering {
    /// Free text that is new for every request.
    pub reconcile_at: Option<String>,
    /// Let everything be.
    pub suspended: bool,
}

impl Steering {
    /// Reads the annotations.
    pub fn of(status: &ConfigMap) -> Self {
        let annotation = |name: &str| status.metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
        Self {
            reconcile_at: annotation(RECONCILE_AT),
            suspended: annotation(SUSPEND).is_some_and(|value| value == "true"),
        }
    }
}

/// Follows the annotations; the receiver is told when they change.
pub async fn follow(context: &client::Context) -> watch::Receiver<Steering> {
    let (sender, receiver) = watch::channel(Steering::default());
    let informer = context.informers.by_field::<ConfigMap>(&format!("metadata.name={STATUS_NAME}"));
    informer.on_change(move |change| {
        let map = change.object();
        if map.metadata.namespace.as_deref() == Some(NAMESPACE) {
            let new = match change {
                client::informer::Change::Deleted(_) => Steering::default(),
                _ => Steering::of(map),
            };
            sender.send_if_modified(|old| std::mem::replace(old, new.clone()) != new);
        }
    });
    tokio::select! {
        () = informer.synced() => {}
        () = context.shutdown.cancelled() => {}
    }
    receiver
}
