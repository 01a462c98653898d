//! The agent against the real API server and a real containerd: pods through their whole lives.
//!
//! One node serves all cases, which run side by side; each names what a user would see.

mod bench;
mod certificates;
mod containerd;
mod eviction;
mod lives;
mod renewal;
mod server;
mod sources;
mod streams;

use std::time::Duration;

use bench::Bench;

/// A condition that does not come about in this time never will.
pub const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_runs_pods_as_kubelet_does() {
    let bench = Bench::start().await;
    tokio::join!(
        lives::init_containers_env_and_volumes(&bench),
        lives::probes_hooks_and_grace(&bench),
        lives::a_failed_liveness_probe_restarts_the_container(&bench),
        lives::a_probe_that_takes_too_long_restarts_the_container(&bench),
        lives::a_readiness_gate_that_somebody_opens_stays_open(&bench),
        renewal::certificates_are_renewed_and_used_when_the_old_ones_have_ended(&bench),
        eviction::pods_that_take_too_much_of_the_disk_are_ended(&bench),
        lives::a_crashing_container_waits_and_a_failed_pod_tells_why(&bench),
        sources::a_changed_config_map_reaches_its_volume_in_seconds(&bench),
        sources::a_pod_that_waits_for_a_secret_starts_when_it_comes(&bench),
        sources::a_pod_starts_as_soon_as_its_image_is_there(&bench),
        sources::a_static_pod_is_seen_while_its_manifest_lies_there(&bench),
        certificates::a_pod_gets_a_certificate_for_a_key_of_its_own(&bench),
        certificates::a_refused_certificate_is_told_and_its_pod_waits(&bench),
        certificates::a_request_that_somebody_deletes_is_made_again(&bench),
        certificates::pods_trust_the_roots_that_they_select(&bench),
        streams::kubectl_speaks_with_containers_over_websockets(&bench),
    );
    bench.clear().await;
}
