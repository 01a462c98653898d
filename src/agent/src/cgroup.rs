//! The cgroups above the containers': `/kubepods`, the classes of service, the pods; on v1 and on v2.
//!
//! Containers' own cgroups are the runtime's work. With the systemd driver the runtime makes the slices too, and only
//! the pods' limits are set here.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pod::resources::{PERIOD_US, Qos, weight};

/// Where the kernel shows cgroups.
pub const MOUNT: &str = "/sys/fs/cgroup";
/// The v1 controllers in which pods get a cgroup before the runtime makes the containers'.
const V1_CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// The v2 controllers that are handed down.
const V2_CONTROLLERS: [&str; 6] = ["+cpu", "+cpuset", "+memory", "+pids", "+io", "+hugetlb"];

/// Who manages cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Folders under the mount.
    Cgroupfs,
    /// systemd's slices.
    Systemd,
}

/// What a pod as a whole may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// Shares of the processor.
    pub cpu_shares: i64,
    /// Microseconds of each period; `None` for no limit.
    pub cpu_quota_us: Option<i64>,
    /// Bytes; `None` for no limit.
    pub memory_bytes: Option<i64>,
}

/// What all pods of the node together may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeLimits {
    /// Shares of the processor.
    pub cpu_shares: i64,
    /// Bytes; 0 where it is not known.
    pub memory_bytes: i64,
}

/// The node's cgroups.
#[derive(Debug, Clone)]
pub struct Cgroups {
    mount: PathBuf,
    root: String,
    driver: Driver,
    unified: bool,
}

impl Cgroups {
    /// The cgroups under `root` (`/`) of the machine.
    pub fn new(root: &str, driver: Driver) -> Self {
        Self::at(Path::new(MOUNT), root, driver)
    }

    /// The cgroups under another mount; for tests.
    pub fn at(mount: &Path, root: &str, driver: Driver) -> Self {
        let unified = mount.join("cgroup.controllers").exists();
        Self { mount: mount.to_path_buf(), root: root.trim_matches('/').to_string(), driver, unified }
    }

    /// True for cgroup v2.
    pub fn is_unified(&self) -> bool {
        self.unified
    }

    /// What the runtime is told as the parent of a pod's containers.
    pub fn parent(&self, qos: Qos, uid: &str) -> String {
        match self.driver {
            Driver::Systemd => slices(qos, uid).pop().unwrap_or_default(),
            Driver::Cgroupfs => format!("/{}", self.path(qos, Some(uid))),
        }
    }

    /// The path of a class of service or of a pod below the mount (v2) or below each controller (v1).
    pub fn path(&self, qos: Qos, uid: Option<&str>) -> String {
        let mut parts = vec![self.root.clone()];
        match self.driver {
            Driver::Systemd => {
                let mut slices = slices(qos, uid.unwrap_or_default());
                if uid.is_none() {
                    slices.pop();
                }
                parts.extend(slices);
            }
            Driver::Cgroupfs => {
                parts.push("kubepods".into());
                match qos {
                    Qos::Guaranteed => {}
                    Qos::Burstable => parts.push("burstable".into()),
                    Qos::BestEffort => parts.push("besteffort".into()),
                }
                parts.extend(uid.map(|uid| format!("pod{uid}")));
            }
        }
        parts.retain(|part| !part.is_empty());
        parts.join("/")
    }

    /// The path of the cgroup that all pods are in.
    fn node_path(&self) -> String {
        let name = match self.driver {
            Driver::Systemd => "kubepods.slice",
            Driver::Cgroupfs => "kubepods",
        };
        if self.root.is_empty() { name.to_string() } else { format!("{}/{name}", self.root) }
    }

    /// The processes of a cgroup; `None` where they are not counted.
    pub fn processes(&self, path: &str) -> Option<u64> {
        fs::read_to_string(self.folder("pids", path).join("pids.current")).ok()?.trim().parse().ok()
    }

    /// The folder in which a v1 controller's files of a cgroup are; on v2 there is one for all.
    pub fn folder(&self, controller: &str, path: &str) -> PathBuf {
        let path = path.trim_start_matches('/');
        if self.unified { self.mount.join(path) } else { self.mount.join(controller).join(path) }
    }

    /// Makes the cgroups of the classes of service.
    pub fn prepare_node(&self) -> std::io::Result<()> {
        if self.driver == Driver::Systemd {
            return Ok(());
        }
        for qos in [Qos::Burstable, Qos::BestEffort] {
            self.make(&self.path(qos, None))?;
        }
        self.set_shares(&self.path(Qos::BestEffort, None), 2);
        Ok(())
    }

    /// Keeps all pods together to what is allocatable, where their cgroup exists: with the systemd driver the first
    /// pod makes it.
    pub fn limit_node(&self, limits: NodeLimits) {
        let path = self.node_path();
        self.set_shares(&path, limits.cpu_shares);
        if limits.memory_bytes > 0 {
            let file = if self.unified { "memory.max" } else { "memory.limit_in_bytes" };
            self.write("memory", &path, file, &limits.memory_bytes.to_string());
        }
    }

    /// Makes a pod's cgroup and sets its limits.
    pub fn prepare_pod(&self, qos: Qos, uid: &str, limits: PodLimits) -> std::io::Result<()> {
        let path = self.path(qos, Some(uid));
        if self.driver == Driver::Cgroupfs {
            self.make(&path)?;
        }
        self.apply(&path, limits);
        Ok(())
    }

    /// Sets a pod's limits where its cgroup exists.
    pub fn limit_pod(&self, qos: Qos, uid: &str, limits: PodLimits) {
        self.apply(&self.path(qos, Some(uid)), limits);
    }

    fn apply(&self, path: &str, limits: PodLimits) {
        self.set_shares(path, limits.cpu_shares);
        let quota = limits.cpu_quota_us;
        if self.unified {
            let quota = quota.map_or("max".into(), |quota| quota.to_string());
            self.write("cpu", path, "cpu.max", &format!("{quota} {PERIOD_US}"));
            self.write("memory", path, "memory.max", &limits.memory_bytes.map_or("max".into(), |b| b.to_string()));
        } else {
            self.write("cpu", path, "cpu.cfs_period_us", &PERIOD_US.to_string());
            self.write("cpu", path, "cpu.cfs_quota_us", &quota.unwrap_or(-1).to_string());
            self.write("memory", path, "memory.limit_in_bytes", &limits.memory_bytes.unwrap_or(-1).to_string());
        }
    }

    /// Gives the burstable class the shares that its pods ask for together.
    pub fn set_burstable_shares(&self, shares: i64) {
        self.set_shares(&self.path(Qos::Burstable, None), shares.max(2));
    }

    fn set_shares(&self, path: &str, shares: i64) {
        if self.unified {
            self.write("cpu", path, "cpu.weight", &weight(shares.max(2)).to_string());
        } else {
            self.write("cpu", path, "cpu.shares", &shares.max(2).to_string());
        }
    }

    /// A controller that the machine lacks is no reason not to run pods: what cannot be limited is logged.
    fn write(&self, controller: &str, path: &str, file: &str, value: &str) {
        let file = self.folder(controller, path).join(file);
        if let Err(error) = fs::write(&file, value) {
            tracing::debug!(file = %file.display(), value, %error, "set a cgroup's limit");
        }
    }

    fn make(&self, path: &str) -> std::io::Result<()> {
        if !self.unified {
            for controller in V1_CONTROLLERS.iter().filter(|controller| self.mount.join(controller).is_dir()) {
                fs::create_dir_all(self.mount.join(controller).join(path))?;
            }
            return Ok(());
        }
        let mut folder = self.mount.clone();
        for part in path.split('/') {
            for controller in V2_CONTROLLERS {
                // One that the kernel lacks is refused alone.
                let _ = fs::write(folder.join("cgroup.subtree_control"), controller);
            }
            folder.push(part);
            if !folder.is_dir() {
                fs::create_dir(&folder)?;
            }
        }
        Ok(())
    }

    /// Removes a pod's cgroups once nothing runs in them.
    pub fn remove_pod(&self, uid: &str) {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let path = self.path(qos, Some(uid));
            if self.unified {
                remove_tree(&self.mount.join(&path));
                continue;
            }
            for controller in fs::read_dir(&self.mount).into_iter().flatten().flatten() {
                remove_tree(&controller.path().join(&path));
            }
        }
    }
}

/// Cgroups are removed from the leaves; files in them are not removable and go with them.
fn remove_tree(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path());
    }
    if let Err(error) = fs::remove_dir(folder) {
        tracing::debug!(folder = %folder.display(), %error, "remove a cgroup");
    }
}

/// The slices from `kubepods.slice` down to a pod's.
fn slices(qos: Qos, uid: &str) -> Vec<String> {
    let mut names = vec!["kubepods".to_string()];
    match qos {
        Qos::Guaranteed => {}
        Qos::Burstable => names.push("kubepods-burstable".into()),
        Qos::BestEffort => names.push("kubepods-besteffort".into()),
    }
    let last = names.last().cloned().unwrap_or_default();
    names.push(format!("{last}-pod{}", uid.replace('-', "_")));
    names.into_iter().map(|name| format!("{name}.slice")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_named_as_kubelet_names_them() {
        let fs = Cgroups::at(Path::new("/nonexistent"), "/", Driver::Cgroupfs);
        assert_eq!(fs.parent(Qos::Guaranteed, "a-b"), "/kubepods/poda-b");
        assert_eq!(fs.parent(Qos::BestEffort, "a-b"), "/kubepods/besteffort/poda-b");
        let systemd = Cgroups::at(Path::new("/nonexistent"), "/", Driver::Systemd);
        assert_eq!(systemd.parent(Qos::Burstable, "a-b"), "kubepods-burstable-poda_b.slice");
        assert_eq!(
            systemd.path(Qos::Burstable, Some("a-b")),
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice"
        );
    }

    #[test]
    fn unified_cgroups_get_weights_and_limits() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu memory").unwrap();
        let cgroups = Cgroups::at(root.path(), "/", Driver::Cgroupfs);
        let limits = PodLimits { cpu_shares: 1024, cpu_quota_us: Some(50_000), memory_bytes: Some(1 << 20) };
        cgroups.prepare_pod(Qos::Burstable, "u", limits).unwrap();
        let read = |file: &str| fs::read_to_string(root.path().join("kubepods/burstable/podu").join(file)).unwrap();
        assert_eq!(read("cpu.max"), "50000 100000");
        assert_eq!(read("memory.max"), "1048576");
        assert_eq!(read("cpu.weight"), "39");
    }

    #[test]
    fn all_pods_together_get_what_is_allocatable() {
        // Which version, which driver; the files that say so.
        let cases = [
            (true, Driver::Cgroupfs, "kubepods/cpu.weight", "79", "kubepods/memory.max"),
            (true, Driver::Systemd, "kubepods.slice/cpu.weight", "79", "kubepods.slice/memory.max"),
            (false, Driver::Cgroupfs, "cpu/x/kubepods/cpu.shares", "2048", "memory/x/kubepods/memory.limit_in_bytes"),
        ];
        for (unified, driver, cpu, shares, memory) in cases {
            let mount = tempfile::tempdir().unwrap();
            for file in [cpu, memory] {
                fs::create_dir_all(mount.path().join(file).parent().unwrap()).unwrap();
            }
            if unified {
                fs::write(mount.path().join("cgroup.controllers"), "cpu memory").unwrap();
            }
            let cgroups = Cgroups::at(mount.path(), if unified { "/" } else { "/x" }, driver);
            cgroups.limit_node(NodeLimits { cpu_shares: 2048, memory_bytes: 1 << 30 });
            let read = |file: &str| fs::read_to_string(mount.path().join(file)).unwrap();
            assert_eq!((read(cpu), read(memory)), (shares.to_string(), "1073741824".to_string()), "{cpu}");
        }
    }
}
