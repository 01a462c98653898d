//! Mounts the agent makes: tmpfs for what must not reach a disk, binds for subPaths.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Error;

/// The paths below `folder` on which something is mounted, the deepest first.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(unescape(path)))
        .filter(|path| path.starts_with(folder))
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

/// The kernel writes spaces and the like as `\040`.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// True where something is mounted on `path`.
pub fn is_mounted(path: &Path) -> bool {
    below(path).iter().any(|mounted| mounted == path)
}

/// Mounts a tmpfs on `path`, at most `size_bytes` large where given. Nothing is done where something is mounted there.
pub fn tmpfs(path: &Path, size_bytes: Option<i64>) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create folder", path))?;
    if is_mounted(path) {
        return Ok(());
    }
    let options = size_bytes.filter(|size| *size > 0).map(|size| format!("size={size}"));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options.as_deref())
        .map_err(|errno| Error::file("mount", path)(errno.into()))
}

/// Unmounts everything below `folder`.
pub fn unmount_below(folder: &Path) -> Result<(), Error> {
    for path in below(folder) {
        umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(|errno| Error::file("unmount", &path)(errno.into()))?;
    }
    Ok(())
}

/// Binds `sub_path` of the volume at `volume` to `target`, and answers the target.
///
/// The path is opened beneath the volume by the kernel, so that no link a container makes leads out of it, now or
/// between the check and the mount.
pub fn bind_sub_path(volume: &Path, sub_path: &str, target: &Path) -> Result<(), Error> {
    let relative = Path::new(sub_path);
    if relative.is_absolute() || relative.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Error::Pod(format!("subPath {sub_path:?} must be a relative path without '..'")));
    }
    if is_mounted(target) {
        return Ok(());
    }
    let root = fs::File::open(volume).map_err(Error::file("open", volume))?;
    let open = |path: &Path| {
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH);
        openat2(&root, path, how)
    };
    let opened = match open(relative) {
        Err(nix::errno::Errno::ENOENT) => {
            make_beneath(&root, relative).map_err(Error::file("create folder", volume.join(relative)))?;
            open(relative)
        }
        opened => opened,
    };
    let opened = opened.map_err(|errno| Error::file("open subPath", volume.join(relative))(errno.into()))?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create folder", parent))?;
    }
    let is_folder = fs::metadata(&source).map_err(Error::file("read", volume.join(relative)))?.is_dir();
    let made = if is_folder { fs::create_dir_all(target) } else { fs::File::create(target).map(drop) };
    made.map_err(Error::file("create", target))?;
    mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|errno| Error::file("mount", target)(errno.into()))
}

/// Makes the folders of a path one after the other, each beneath the root,
/// with the volume's own mode: whoever may write the volume may write its parts.
fn make_beneath(root: &fs::File, relative: &Path) -> std::io::Result<()> {
    let mode = root.metadata()?.mode() & 0o7777;
    let mut done = PathBuf::new();
    for part in relative.components() {
        let parent = if done.as_os_str().is_empty() { PathBuf::from(".") } else { done.clone() };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let folder = openat2(root, &parent, how)?;
        match nix::sys::stat::mkdirat(&folder, part.as_os_str(), nix::sys::stat::Mode::S_IRWXU) {
            Ok(()) => {
                let made = openat2(&folder, part.as_os_str(), how)?;
                // The mode given on creation is cut by the umask.
                fs::File::from(made).set_permissions(fs::Permissions::from_mode(mode))?;
            }
            Err(nix::errno::Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        done.push(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_cannot_leave_its_volume() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("volume");
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        let target = root.path().join("target");
        assert!(bind_sub_path(&volume, "out", &target).is_err());
        assert!(bind_sub_path(&volume, "out/new", &target).is_err());
        assert!(bind_sub_path(&volume, "../volume", &target).is_err());
        assert!(bind_sub_path(&volume, "/etc", &target).is_err());
    }

    #[test]
    fn mountinfo_escapes_are_read() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
        assert!(is_mounted(Path::new("/proc")));
    }
}
