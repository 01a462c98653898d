//! Reading what the node has left and what its pods use: the kernel's figures, the runtime's, and the disk itself.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cri::v1;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::rank::{ContainerUse, Disk, PodUse};
use crate::Error;
use crate::host::Host;
use crate::machine::meminfo;
use crate::pod::identity::PodRef;
use crate::pod::resources::qos;
use crate::pod::worker::Worker;
use machinery::eviction::{Level, Levels, Signal};

/// Files and folders that one measurement looks at; what has more counts as what was found so far.
const FILES_MAX: usize = 5_000_000;
/// The kernel counts a file's room in these, whatever the disk's own blocks are.
const BLOCK_BYTES: u64 = 512;

/// What is left, and whether images lie on the disk of the volumes.
pub struct Observed {
    pub levels: Levels,
    pub one_disk: bool,
}

/// Looks at the node.
pub async fn observe(host: &Host) -> Observed {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut levels = Levels::new();
    let memory = text("/proc/meminfo");
    let bytes = |name: &str| meminfo(&memory, name).and_then(|bytes| u64::try_from(bytes).ok());
    if let (Some(available), Some(capacity)) = (bytes("MemAvailable"), bytes("MemTotal")) {
        levels.insert(Signal::Memory, Level { available, capacity });
    }
    let most = text("/proc/sys/kernel/pid_max").trim().parse::<u64>().ok();
    if let (Some(capacity), Some(used)) = (most, pids(&text("/proc/loadavg"))) {
        levels.insert(Signal::Pids, Level { available: capacity.saturating_sub(used), capacity });
    }
    let nodefs = existing(&host.config.kubelet_dir);
    insert(&mut levels, &nodefs, Signal::NodefsBytes, Signal::NodefsInodes);
    let disks = host.runtime.image_fs_info().await.unwrap_or_default();
    let imagefs = disks.first().and_then(|disk| disk.fs_id.as_ref()).map(|id| PathBuf::from(&id.mountpoint));
    if let Some(imagefs) = &imagefs {
        insert(&mut levels, imagefs, Signal::ImagefsBytes, Signal::ImagefsInodes);
    }
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let one_disk = imagefs.is_none_or(|imagefs| device(&imagefs).is_none_or(|other| Some(other) == device(&nodefs)));
    Observed { levels, one_disk }
}

/// The second half of the fourth field of `/proc/loadavg`.
fn pids(loadavg: &str) -> Option<u64> {
    loadavg.split(' ').nth(3)?.split('/').nth(1)?.parse().ok()
}

/// The folder, or the nearest above it that is there.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_path_buf()
}

fn insert(levels: &mut Levels, folder: &Path, bytes: Signal, inodes: Signal) {
    let Ok(stat) = nix::sys::statvfs::statvfs(folder) else { return };
    let size = stat.fragment_size();
    levels.insert(bytes, Level { available: stat.blocks_available() * size, capacity: stat.blocks() * size });
    // Some file systems make files as they are needed and count none.
    if stat.files() > 0 {
        levels.insert(inodes, Level { available: stat.files_available(), capacity: stat.files() });
    }
}

/// Measures pods, each with its worker. The disk is read on a thread of its own.
///
/// # Errors
/// The runtime does not tell its figures.
pub async fn measure(host: &Arc<Host>, workers: Vec<Arc<Worker>>) -> Result<Vec<(Arc<Worker>, PodUse)>, Error> {
    if workers.is_empty() {
        return Ok(Vec::new());
    }
    let stats = host.runtime.list_container_stats().await?;
    let host = host.clone();
    let measured = tokio::task::spawn_blocking(move || {
        let measured = workers.into_iter().map(|worker| {
            let usage = of(&host, &worker, &stats);
            (worker, usage)
        });
        measured.collect()
    });
    Ok(measured.await.unwrap_or_default())
}

fn of(host: &Host, worker: &Worker, stats: &[v1::ContainerStats]) -> PodUse {
    let (pod, observed) = (worker.pod(), worker.observed());
    let mut usage = PodUse::default();
    let reference = PodRef::of(&pod);
    let logs = host.config.pod_logs_dir.join(reference.log_folder());
    for name in names(&pod) {
        let Some(latest) = observed.latest(&name) else { continue };
        let stat = stats.iter().find(|stat| stat.attributes.as_ref().is_some_and(|of| of.id == latest.id));
        let container = ContainerUse { logs: disk_use(&logs.join(&name)), ..of_runtime(stat) };
        usage.containers.insert(name, container);
    }
    let paths = host.volumes.paths(&pod);
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter(|volume| is_local(volume)) {
        if let Some(path) = paths.get(&volume.name) {
            usage.volumes.insert(volume.name.clone(), disk_use(path));
        }
    }
    let cgroup = host.cgroups.path(qos(&pod), Some(&reference.uid));
    usage.processes = host.cgroups.processes(&cgroup).unwrap_or(0);
    usage
}

fn names(pod: &Pod) -> Vec<String> {
    let Some(spec) = pod.spec.as_ref() else { return Vec::new() };
    let init = spec.init_containers.iter().flatten();
    let mut names: Vec<String> = spec.containers.iter().chain(init).map(|container| container.name.clone()).collect();
    names.extend(spec.ephemeral_containers.iter().flatten().map(|container| container.name.clone()));
    names
}

fn of_runtime(stat: Option<&v1::ContainerStats>) -> ContainerUse {
    let Some(stat) = stat else { return ContainerUse::default() };
    let memory = stat.memory.as_ref().and_then(|memory| memory.working_set_bytes);
    let layer = stat.writable_layer.as_ref().map_or(Disk::default(), |layer| Disk {
        bytes: layer.used_bytes.map_or(0, |bytes| bytes.value),
        inodes: layer.inodes_used.map_or(0, |inodes| inodes.value),
    });
    ContainerUse { memory_bytes: memory.map_or(0, |bytes| bytes.value), layer, logs: Disk::default() }
}

/// Lies on the node's disk and is the pod's own.
fn is_local(volume: &Volume) -> bool {
    let on_disk = volume.empty_dir.as_ref().is_some_and(|source| source.medium.as_deref().unwrap_or("").is_empty());
    on_disk || volume.config_map.is_some()
}

/// What a folder takes of its disk: files with several names once, other file systems below it not at all.
pub fn disk_use(folder: &Path) -> Disk {
    let Ok(root) = fs::symlink_metadata(folder) else { return Disk::default() };
    let mut sum = Disk { bytes: root.blocks() * BLOCK_BYTES, inodes: 1 };
    let mut linked = HashSet::new();
    let mut folders = vec![folder.to_path_buf()];
    let mut left = FILES_MAX;
    while let Some(folder) = folders.pop() {
        // What goes away while it is counted takes nothing.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.dev() != root.dev() || (!found.is_dir() && found.nlink() > 1 && !linked.insert(found.ino())) {
                continue;
            }
            sum += Disk { bytes: found.blocks() * BLOCK_BYTES, inodes: 1 };
            if found.is_dir() {
                folders.push(entry.path());
            }
            left -= 1;
            if left == 0 {
                return sum;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_counted_by_the_kernel() {
        assert_eq!(pids("0.1 0.2 0.3 1/432 99"), Some(432));
        assert_eq!(pids(""), None);
    }

    #[test]
    fn a_folder_takes_what_its_files_take() {
        let folder = tempfile::tempdir().unwrap();
        let empty = disk_use(folder.path());
        assert_eq!(empty.inodes, 1);
        fs::create_dir(folder.path().join("deeper")).unwrap();
        fs::write(folder.path().join("deeper/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(folder.path().join("deeper/file"), folder.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        let full = disk_use(folder.path());
        assert_eq!(full.inodes, 4);
        let grown = full.bytes - empty.bytes;
        assert!((1 << 20..(1 << 20) + (1 << 16)).contains(&grown), "{grown}");
        assert_eq!(disk_use(&folder.path().join("nothing")), Disk::default());
    }
}
