//! What belongs to no pod is ended and removed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use super::Pods;
use crate::Error;
use crate::host::Host;
use crate::pod::execute;
use crate::pod::identity::PodRef;
use crate::pod::observed::{self, Observed, Phase};
use crate::pod::resources::{self, Qos};

/// What belongs to no pod is looked for this often.
const TIDY: Duration = Duration::from_secs(30);

impl Pods {
    /// Tidies up again and again until `shutdown`.
    pub(super) async fn tidy_often(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(TIDY) => {}
                // What a former agent left is not waited for.
                () = self.0.completed.notified() => {}
            }
            self.tidy().await;
        }
    }

    /// Ends what belongs to no pod, and gives the node's cgroups their limits.
    async fn tidy(&self) {
        let (known, complete, burstable) = {
            let table = self.lock();
            let known: HashSet<String> = table.workers.keys().cloned().collect();
            let pods = table.workers.values().map(|worker| worker.pod());
            let burstable: i64 = pods.filter(|pod| resources::qos(pod) == Qos::Burstable).map(|pod| shares(&pod)).sum();
            (known, table.complete, burstable)
        };
        // Again, since systemd may have written its own over them.
        self.0.host.limit_pods();
        self.0.host.cgroups.set_burstable_shares(burstable);
        if !complete {
            return;
        }
        match orphans(self.0.host.runtime.as_ref(), &known).await {
            Ok(orphans) => {
                for (reference, observed) in orphans {
                    // A pod may have come since the known ones were noted.
                    if self.lock().workers.contains_key(&reference.uid) {
                        continue;
                    }
                    tracing::info!(pod = %reference, uid = reference.uid, "end a pod that nobody wants any more");
                    if let Err(error) = end(&self.0.host, &reference, &observed).await {
                        tracing::warn!(pod = %reference, error = %stdx::error::chain(&error), "end an orphan");
                    }
                }
            }
            Err(error) => tracing::debug!(error = %stdx::error::chain(&error), "look for orphans"),
        }
        for uid in self.0.host.volumes.present().iter().filter(|uid| !known.contains(*uid)) {
            if self.lock().workers.contains_key(uid) {
                continue;
            }
            if let Err(error) = self.0.host.volumes.remove(uid) {
                tracing::warn!(uid, error = %stdx::error::chain(&error), "remove the volumes of a pod that is gone");
            }
        }
    }
}

fn shares(pod: &Pod) -> i64 {
    let request = pod.spec.as_ref().map_or(0, |spec| resources::pod_request(spec, "cpu"));
    resources::shares(i64::try_from(request).unwrap_or(i64::MAX))
}

/// The pods in the runtime that are not among the known.
async fn orphans(runtime: &dyn cri::Runtime, known: &HashSet<String>) -> Result<HashMap<PodRef, Observed>, Error> {
    let mut found: HashMap<PodRef, Observed> = HashMap::new();
    for item in runtime.list_sandboxes(&[]).await? {
        let Some(reference) = PodRef::from_labels(&item.labels).filter(|found| !known.contains(&found.uid)) else {
            continue;
        };
        let ready = item.state() == cri::v1::PodSandboxState::SandboxReady;
        let sandbox = observed::Sandbox { id: item.id, ready, ..Default::default() };
        found.entry(reference).or_default().sandboxes.push(sandbox);
    }
    for item in runtime.list_containers(&[]).await? {
        let Some(reference) = PodRef::from_labels(&item.labels).filter(|found| !known.contains(&found.uid)) else {
            continue;
        };
        let phase = observed::phase(item.state());
        let instance = observed::Instance { id: item.id, phase, ..Default::default() };
        found.entry(reference).or_default().containers.push(instance);
    }
    Ok(found)
}

async fn end(host: &Host, reference: &PodRef, observed: &Observed) -> Result<(), Error> {
    for instance in observed.containers.iter().filter(|instance| instance.phase == Phase::Running) {
        host.runtime.stop_container(&instance.id, Duration::from_secs(30)).await?;
    }
    execute::clean_up(host, reference, observed).await
}
