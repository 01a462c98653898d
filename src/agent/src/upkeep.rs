//! What is done to the node now and then: logs are rotated, unused images are removed when the disk fills, pods are
//! ended that take too much.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::eviction::Evictor;
use crate::host::Host;
use crate::images::gc::{Collector, excess_bytes};
use crate::logs::rotate;
use crate::pod::identity::{CONTAINER_NAME, PodRef, RESTART_COUNT};

/// Logs and what pods take are looked at this often.
const LOOK: Duration = Duration::from_secs(10);
/// Images are looked at each so many times.
const IMAGES_EVERY: u32 = 30;

/// Looks after the node until `shutdown`.
pub async fn run(evictor: Evictor, shutdown: CancellationToken) {
    let host = evictor.host().clone();
    let mut collector = Collector::default();
    let mut round = 0_u32;
    loop {
        if let Err(error) = rotate_logs(&host).await {
            tracing::warn!(error = %stdx::error::chain(&error), "rotate logs");
        }
        if round.is_multiple_of(IMAGES_EVERY)
            && let Err(error) = collect_images(&host, &mut collector).await
        {
            tracing::warn!(error = %stdx::error::chain(&error), "remove unused images");
        }
        if let Err(error) = evictor.look(&mut collector).await {
            tracing::warn!(error = %stdx::error::chain(&error), "look at what pods take");
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn rotate_logs(host: &Host) -> Result<(), Error> {
    for container in host.runtime.list_containers(&[]).await? {
        if container.state() != cri::v1::ContainerState::ContainerRunning {
            continue;
        }
        let Some(pod) = PodRef::from_labels(&container.labels) else { continue };
        let (Some(name), Some(count)) =
            (container.labels.get(CONTAINER_NAME), container.annotations.get(RESTART_COUNT))
        else {
            continue;
        };
        let log = host.config.pod_logs_dir.join(pod.log_folder()).join(name).join(format!("{count}.log"));
        if rotate::due(&log)
            && let Err(error) = rotate_log(host, &container.id, &log).await
        {
            // The other logs fill the disk too.
            tracing::warn!(log = %log.display(), error = %stdx::error::chain(&error), "rotate a log");
        }
    }
    Ok(())
}

/// Where the runtime opens no new log, the old one goes on, and is tried again.
async fn rotate_log(host: &Host, container: &str, log: &Path) -> Result<(), Error> {
    let aside = rotate::put_aside(log, Timestamp::now())?;
    if let Err(error) = host.runtime.reopen_container_log(container).await {
        rotate::put_back(log, &aside)?;
        return Err(error.into());
    }
    rotate::remove_oldest(log)
}

async fn collect_images(host: &Host, collector: &mut Collector) -> Result<(), Error> {
    let disks = host.runtime.image_fs_info().await?;
    let disk = disks.first().and_then(|disk| disk.fs_id.as_ref()).map(|id| id.mountpoint.clone());
    let bytes =
        disk.map_or(Ok(0), |disk| excess_bytes(Path::new(&disk), host.config.image_gc_high_threshold_percent))?;
    remove_unused_images(host, collector, bytes).await
}

/// Removes as many unused images as it takes to free `bytes`, the longest unused first; notes which are used. For one
/// that cannot be removed, which is logged, the next ones go.
///
/// # Errors
/// The runtime does not tell which images there are, or are used.
pub async fn remove_unused_images(host: &Host, collector: &mut Collector, bytes: u64) -> Result<(), Error> {
    let mut images = host.runtime.list_images().await?;
    let mut used = HashSet::new();
    for container in host.runtime.list_containers(&[]).await? {
        used.insert(container.image_ref);
        used.extend(container.image.map(|image| image.image));
    }
    let now = Timestamp::now();
    collector.note(&images, &used, now);
    let mut left = bytes;
    while left > 0 {
        let Some(id) = collector.choose(&images, &used, left, now).into_iter().next() else { break };
        tracing::info!(image = id, "remove an unused image: the disk is filling");
        let size = images.iter().find(|image| image.id == id).map_or(0, |image| image.size);
        images.retain(|image| image.id != id);
        match host.runtime.remove_image(&id).await {
            Ok(()) => left = left.saturating_sub(size),
            Err(error) => {
                tracing::warn!(image = id, error = %stdx::error::chain(&error), "remove an unused image");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cri::v1;
    use jiff::SignedDuration;

    use super::*;
    use crate::fake::{self, FakeRuntime};
    use crate::pod::identity;

    #[tokio::test]
    async fn an_image_that_cannot_be_removed_keeps_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Arc::new(FakeRuntime::default());
        let host = fake::host(runtime.clone(), folder.path());
        runtime.have_images(&["a-stuck", "b", "c"]);
        let mut collector = Collector::default();
        let images = host.runtime.list_images().await.unwrap();
        let before = Timestamp::now() - SignedDuration::from_hours(1);
        collector.note(&images, &HashSet::new(), before);
        remove_unused_images(&host, &mut collector, 1 << 20).await.unwrap();
        assert_eq!(runtime.calls(), ["remove image b"], "as much is freed as if it could");
        remove_unused_images(&host, &mut collector, u64::MAX).await.unwrap();
        assert_eq!(runtime.calls(), ["remove image b", "remove image c"]);
    }

    #[tokio::test]
    async fn a_log_that_is_not_opened_anew_goes_on_and_keeps_no_other_from_being_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Arc::new(FakeRuntime::default());
        let host = fake::host(runtime.clone(), folder.path());
        let pod = PodRef { namespace: "default".into(), name: "web".into(), uid: "u1".into() };
        let logs = host.config.pod_logs_dir.join(pod.log_folder());
        for name in ["a-stuck", "b"] {
            let labels = [
                (identity::POD_NAMESPACE, "default"),
                (identity::POD_NAME, "web"),
                (identity::POD_UID, "u1"),
                (CONTAINER_NAME, name),
            ];
            let config = v1::ContainerConfig {
                metadata: Some(v1::ContainerMetadata { name: name.into(), attempt: 0 }),
                labels: labels.map(|(key, value)| (key.to_string(), value.to_string())).into(),
                annotations: [(RESTART_COUNT.to_string(), "0".to_string())].into(),
                ..Default::default()
            };
            let id = host.runtime.create_container("s", config, v1::PodSandboxConfig::default()).await.unwrap();
            host.runtime.start_container(&id).await.unwrap();
            std::fs::create_dir_all(logs.join(name)).unwrap();
            std::fs::File::create(logs.join(name).join("0.log")).unwrap().set_len(11 << 20).unwrap();
        }
        rotate_logs(&host).await.unwrap();
        let files = |name: &str| std::fs::read_dir(logs.join(name)).unwrap().count();
        let exists = |name: &str| logs.join(name).join("0.log").exists();
        assert!(runtime.calls().contains(&"reopen b".to_string()));
        assert_eq!((exists("b"), files("b")), (false, 1), "the runtime makes it anew");
        assert_eq!((exists("a-stuck"), files("a-stuck")), (true, 1), "the runtime writes on where it wrote");
    }
}
