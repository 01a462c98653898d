//! Volumes of pods: made before the sandbox, kept up to date while it runs, taken away after it.
//!
//! The folders are kubelet's: `pods/UID/volumes/PLUGIN/NAME`. What a volume's files say is in [`payload`], how they
//! are exchanged in [`atomic`].

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::Error;
use crate::host::Events;
use crate::objects::Objects;
use crate::pod::fields::Facts;
use crate::quantity;

pub mod atomic;
pub mod host_path;
pub mod mounts;
pub mod payload;
pub mod pod_certificates;
pub mod tokens;
pub mod trust;

/// What owner and group get of a file in a volume with a group.
const GROUP_MAY_READ: u32 = 0o440;

/// Where each of a pod's volumes is on the host, by name.
pub type Paths = HashMap<String, PathBuf>;

/// The volumes of this node's pods.
pub struct Volumes {
    kubelet_dir: PathBuf,
    tokens: tokens::Tokens,
    certificates: pod_certificates::PodCertificates,
}

impl Volumes {
    /// Volumes under `kubelet_dir` (`/var/lib/kubelet`).
    pub fn new(kubelet_dir: &Path) -> Self {
        Self { kubelet_dir: kubelet_dir.to_path_buf(), tokens: Default::default(), certificates: Default::default() }
    }

    /// The folder of a pod.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.kubelet_dir.join("pods").join(uid)
    }

    /// Makes what is missing and brings up to date what changed; answers where everything is.
    pub async fn prepare(
        &self,
        pod: &Pod,
        facts: &Facts,
        objects: &dyn Objects,
        events: &Events,
    ) -> Result<Paths, Error> {
        let certificates = &self.certificates;
        let sources = payload::Sources { pod, facts, objects, tokens: &self.tokens, certificates, events };
        let mut paths = Paths::new();
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let mut failed = None;
        for volume in volumes {
            // One that fails keeps no other from being brought up to date: tokens and certificates end.
            match self.one(volume, &sources).await {
                Ok(path) => drop(paths.insert(volume.name.clone(), path)),
                Err(error) => failed = failed.or_else(|| Some(in_volume(volume, error))),
            }
        }
        failed.map_or(Ok(paths), Err)
    }

    /// Where each volume is, without making anything.
    pub fn paths(&self, pod: &Pod) -> Paths {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        volumes.iter().filter_map(|volume| Some((volume.name.clone(), self.path(uid, volume)?))).collect()
    }

    fn path(&self, uid: &str, volume: &Volume) -> Option<PathBuf> {
        if let Some(source) = &volume.host_path {
            return Some(PathBuf::from(&source.path));
        }
        let plugin = plugin(volume)?;
        Some(self.pod_dir(uid).join("volumes").join(plugin).join(&volume.name))
    }

    async fn one(&self, volume: &Volume, sources: &payload::Sources<'_>) -> Result<PathBuf, Error> {
        let pod = sources.pod;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let path = self.path(uid, volume).ok_or_else(|| unsupported(volume))?;
        if let Some(source) = &volume.host_path {
            host_path::prepare(&source.path, source.type_.as_deref().unwrap_or_default())?;
            return Ok(path);
        }
        if let Some(source) = &volume.empty_dir {
            let limit = source.size_limit.as_ref().and_then(|limit| quantity::whole(&limit.0));
            // What the pod made of its volume stays as it is.
            let fresh = match source.medium.as_deref().unwrap_or_default() {
                "" => {
                    let fresh = !path.exists();
                    fs::create_dir_all(&path).map_err(Error::file("create folder", &path))?;
                    fresh
                }
                "Memory" => {
                    let fresh = !mounts::is_mounted(&path)?;
                    mounts::tmpfs(&path, limit)?;
                    fresh
                }
                other => {
                    return Err(Error::Pod(format!("emptyDir medium {other:?} is not supported: use \"\" or Memory")));
                }
            };
            if fresh {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o777))
                    .map_err(Error::file("set mode of", &path))?;
                own(pod, &path)?;
            }
            return Ok(path);
        }
        let Some(mut files) = payload::of(volume, sources).await? else { return Err(unsupported(volume)) };
        if group(pod).is_some() {
            // As the group's members will find them; else each comparison would see a change.
            files.values_mut().for_each(|file| file.mode |= GROUP_MAY_READ);
        }
        // Configuration may lie on a disk; secrets, tokens and what pods say of themselves may not.
        if volume.config_map.is_some() {
            fs::create_dir_all(&path).map_err(Error::file("create folder", &path))?;
        } else {
            mounts::tmpfs(&path, None)?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(Error::file("set mode of", &path))?;
        if atomic::write(&path, &files)? {
            own(pod, &path)?;
        }
        Ok(path)
    }

    /// True where a pod has volumes whose files may change.
    pub fn changing(pod: &Pod) -> bool {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        volumes.iter().any(|volume| {
            volume.config_map.is_some()
                || volume.secret.is_some()
                || volume.downward_api.is_some()
                || volume.projected.is_some()
        })
    }

    /// Takes the volumes of a pod away that is over, and leaves what tells of it. Whoever asks for it again asks for
    /// nothing.
    pub fn tear_down(&self, uid: &str) -> Result<(), Error> {
        self.tokens.forget(uid);
        self.certificates.forget(uid);
        let folder = self.pod_dir(uid);
        if uid.is_empty() || !folder.exists() {
            return Ok(());
        }
        mounts::unmount_below(&folder)?;
        for sub in ["volumes", "volume-subpaths"].map(|sub| folder.join(sub)).iter().filter(|sub| sub.exists()) {
            fs::remove_dir_all(sub).map_err(Error::file("remove folder", sub))?;
        }
        Ok(())
    }

    /// Takes everything of a pod away: mounts first, so that nothing outside its folder is ever deleted.
    pub fn remove(&self, uid: &str) -> Result<(), Error> {
        self.tokens.forget(uid);
        self.certificates.forget(uid);
        let folder = self.pod_dir(uid);
        if uid.is_empty() || !folder.exists() {
            return Ok(());
        }
        mounts::unmount_below(&folder)?;
        fs::remove_dir_all(&folder).map_err(Error::file("remove folder", &folder))
    }

    /// The UIDs that have a folder.
    pub fn present(&self) -> Vec<String> {
        let entries = fs::read_dir(self.kubelet_dir.join("pods"));
        entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

fn plugin(volume: &Volume) -> Option<&'static str> {
    if volume.empty_dir.is_some() {
        Some("kubernetes.io~empty-dir")
    } else if volume.config_map.is_some() {
        Some("kubernetes.io~configmap")
    } else if volume.secret.is_some() {
        Some("kubernetes.io~secret")
    } else if volume.downward_api.is_some() {
        Some("kubernetes.io~downward-api")
    } else if volume.projected.is_some() {
        Some("kubernetes.io~projected")
    } else {
        None
    }
}

fn unsupported(volume: &Volume) -> Error {
    Error::Pod(format!(
        "volume {:?} is none of emptyDir, hostPath, configMap, secret, downwardAPI and projected, which are what this node can mount",
        volume.name
    ))
}

fn in_volume(volume: &Volume, error: Error) -> Error {
    let message = format!("MountVolume.SetUp failed for volume {:?} : {}", volume.name, stdx::error::chain(&error));
    if matches!(error, Error::Waiting(_)) { Error::Waiting(message) } else { Error::Pod(message) }
}

/// Gives a volume to the pod's fsGroup.
fn own(pod: &Pod, path: &Path) -> Result<(), Error> {
    match group(pod) {
        Some(group) => give(path, group),
        None => Ok(()),
    }
}

/// The group that a pod's volumes belong to.
fn group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    context.and_then(|context| context.fs_group).and_then(|group| u32::try_from(group).ok())
}

fn give(path: &Path, group: u32) -> Result<(), Error> {
    let meta = fs::symlink_metadata(path).map_err(Error::file("read", path))?;
    if meta.file_type().is_symlink() {
        return Ok(());
    }
    chown(path, None, Some(group)).map_err(Error::file("set group of", path))?;
    let mode = meta.mode() & 0o7777;
    let wider = if meta.is_dir() { mode | 0o2770 } else { mode | GROUP_MAY_READ };
    fs::set_permissions(path, fs::Permissions::from_mode(wider)).map_err(Error::file("set mode of", path))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(Error::file("read", path))?.flatten() {
            give(&entry.path(), group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Standalone;
    use serde_json::json;

    #[tokio::test]
    async fn what_a_pod_made_of_its_volume_stays() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path());
        let pod = || -> Pod {
            let volumes =
                json!([{ "name": "work", "emptyDir": {} }, { "name": "strange", "hostPath": { "path": "/" } }]);
            let metadata = json!({ "name": "p", "uid": "u" });
            serde_json::from_value(json!({ "metadata": metadata, "spec": { "containers": [], "volumes": volumes } }))
                .unwrap()
        };
        let paths = volumes.prepare(&pod(), &Facts::default(), &Standalone, &Events::Log).await.unwrap();
        let work = &paths["work"];
        let mode = || fs::metadata(work).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o777);
        fs::set_permissions(work, fs::Permissions::from_mode(0o700)).unwrap();
        volumes.prepare(&pod(), &Facts::default(), &Standalone, &Events::Log).await.unwrap();
        assert_eq!(mode(), 0o700);
        assert_eq!(paths["strange"], Path::new("/"));
        volumes.remove("u").unwrap();
        assert!(!work.exists() && Path::new("/").exists());
    }

    #[tokio::test]
    async fn a_volume_that_cannot_be_mounted_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let volume = json!({ "name": "data", "persistentVolumeClaim": { "claimName": "c" } });
        let pod = json!({ "metadata": { "name": "p", "uid": "u" }, "spec": { "containers": [], "volumes": [volume] } });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let error =
            Volumes::new(folder.path()).prepare(&pod, &Facts::default(), &Standalone, &Events::Log).await.unwrap_err();
        assert!(error.to_string().contains("\"data\""), "{error}");
    }
}
