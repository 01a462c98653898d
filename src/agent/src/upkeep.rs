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

/// Removes as many unused images as it takes to free `bytes`, the longest unused first; notes which are used.
pub async fn remove_unused_images(host: &Host, collector: &mut Collector, bytes: u64) -> Result<(), Error> {
    let images = host.runtime.list_images().await?;
    let mut used = HashSet::new();
    for container in host.runtime.list_containers(&[]).await? {
        used.insert(container.image_ref);
        used.extend(container.image.map(|image| image.image));
    }
    let now = Timestamp::now();
    collector.note(&images, &used, now);
    for id in collector.choose(&images, &used, bytes, now) {
        tracing::info!(image = id, "remove an unused image: the disk is filling");
        host.runtime.remove_image(&id).await?;
    }
    Ok(())
}
