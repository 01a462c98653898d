//! Mounts the agent makes: tmpfs for what must not reach a disk, binds for subPaths.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Error;

/// How many mounts may lie on one another: more is nothing the agent has made.
const STACKED_MAX: usize = 8;

/// The paths at and below `folder` on which something is mounted, the deepest first; none where there is no folder.
///
/// # Errors
/// Links on the way to the folder or the list of mounts cannot be read. Nothing may be deleted then.
pub fn below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    // The kernel lists mounts by where they are, whatever links lead there.
    let folder = match fs::canonicalize(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(Error::file("resolve", folder))?,
    };
    let list = Path::new("/proc/self/mountinfo");
    let text = fs::read(list).map_err(Error::file("read", list))?;
    let mut found: Vec<PathBuf> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|path| path.starts_with(&folder))
        .collect();
    found.sort_by(|a, b| (b.components().count(), b).cmp(&(a.components().count(), a)));
    found.dedup();
    Ok(found)
}

/// The kernel writes spaces and the like as `\040`, and every other byte as it is.
fn unescape(path: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, others @ ..] = rest {
        let code = match others {
            code if *first == b'\\' && code.len() >= 3 => &code[..3],
            _ => &[],
        };
        let byte = std::str::from_utf8(code).ok().and_then(|code| u8::from_str_radix(code, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[3..] } else { others };
    }
    PathBuf::from(OsString::from_vec(plain))
}

/// True where something is mounted on `path`.
pub fn is_mounted(path: &Path) -> Result<bool, Error> {
    let mounts = below(path)?;
    Ok(fs::canonicalize(path).is_ok_and(|path| mounts.contains(&path)))
}

/// Mounts a tmpfs on `path`, at most `size_bytes` large where given. Nothing is done where something is mounted there.
pub fn tmpfs(path: &Path, size_bytes: Option<i64>) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create folder", path))?;
    if is_mounted(path)? {
        return Ok(());
    }
    let options = size_bytes.filter(|size| *size > 0).map(|size| format!("size={size}"));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options.as_deref())
        .map_err(|errno| Error::file("mount", path)(errno.into()))
}

/// Unmounts everything at and below `folder`. What is deleted there afterwards is nobody else's.
///
/// # Errors
/// Something stays mounted.
pub fn unmount_below(folder: &Path) -> Result<(), Error> {
    for _ in 0..STACKED_MAX {
        let mounts = below(folder)?;
        // A bind passes on what is unmounted in it to what it was made of, which is the host's.
        for path in mounts.iter().rev() {
            mount(None::<&str>, path, None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)
                .map_err(|errno| Error::file("set apart", path)(errno.into()))?;
        }
        for path in &mounts {
            umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
                .map_err(|errno| Error::file("unmount", path)(errno.into()))?;
        }
        if mounts.is_empty() {
            return Ok(());
        }
    }
    Err(Error::file("unmount", folder)(std::io::ErrorKind::ResourceBusy.into()))
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
    if is_mounted(target)? {
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
        assert_eq!(unescape(b"/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(unescape(b"/\xff\\04").into_os_string().into_vec(), b"/\xff\\04");
        assert!(is_mounted(Path::new("/proc")).unwrap());
    }

    /// What a subPath shows of the host is the host's: its mounts stay, and so does what is in them.
    #[test]
    fn what_is_mounted_within_a_sub_path_stays_where_it_came_from() {
        let root = tempfile::tempdir().unwrap();
        let (host, kubelet) = (root.path().join("host"), root.path().join("kubelet"));
        let link = root.path().join("link");
        fs::create_dir_all(host.join("disks")).unwrap();
        fs::create_dir_all(kubelet.join("pod")).unwrap();
        std::os::unix::fs::symlink(&kubelet, &link).unwrap();
        // As the root of a host that systemd has started.
        tmpfs(&host, None).unwrap();
        mount(None::<&str>, &host, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        let disk = host.join("disks/one");
        tmpfs(&disk, None).unwrap();
        fs::write(disk.join("data"), "kept").unwrap();

        // The agent's folder is behind a link.
        bind_sub_path(&host, "disks", &link.join("pod/sub")).unwrap();
        assert_eq!(fs::read_to_string(link.join("pod/sub/one/data")).unwrap(), "kept");
        assert_eq!(below(&link.join("pod")).unwrap().len(), 2);
        unmount_below(&link.join("pod")).unwrap();
        assert!(below(&link.join("pod")).unwrap().is_empty());
        assert!(is_mounted(&disk).unwrap());
        assert_eq!(fs::read_to_string(disk.join("data")).unwrap(), "kept");
        unmount_below(&host).unwrap();
    }
}
