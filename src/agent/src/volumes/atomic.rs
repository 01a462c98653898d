//! Files that change under a running container without a moment in which half of them are new.
//!
//! The layout is kubelet's: the files lie in a folder named by the time, `..data` is a link to it, and each visible
//! name is a link through `..data`. Exchanging `..data` exchanges everything at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path};

use crate::Error;

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Its owner, where it is not root.
    pub uid: Option<u32>,
}

/// The files of a volume by path relative to it.
pub type Payload = BTreeMap<String, File>;

/// Makes the volume at `target` hold exactly `payload`; true where something changed.
pub fn write(target: &Path, payload: &Payload) -> Result<bool, Error> {
    for path in payload.keys() {
        check(path)?;
    }
    let old = fs::read_link(target.join(DATA)).ok();
    if old.as_ref().is_some_and(|old| same(&target.join(old), payload)) {
        return Ok(false);
    }
    let stamp = jiff::Zoned::now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    let name = format!("{stamp}.{}", rand::random::<u32>());
    let folder = target.join(&name);
    make_folder(&folder)?;
    if let Err(error) = fill(target, &name, payload) {
        // It is tried again and again: what failed must not pile up, and may hold keys.
        let _ = fs::remove_dir_all(&folder);
        return Err(error);
    }
    show(target, payload)?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(target.join(old));
    }
    Ok(true)
}

/// Writes the files into their folder and lets that be what is shown.
fn fill(target: &Path, folder: &str, payload: &Payload) -> Result<(), Error> {
    let root = target.join(folder);
    for (path, file) in payload {
        let mut above: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
        // The outermost first; the very last is the root itself.
        above.pop();
        for folder in above.into_iter().rev().map(|path| root.join(path)).filter(|folder| !folder.is_dir()) {
            make_folder(&folder)?;
        }
        write_file(&root.join(path), file)?;
    }
    let next = target.join(DATA_NEXT);
    let _ = fs::remove_file(&next);
    symlink(folder, &next).map_err(Error::file("link", &next))?;
    fs::rename(&next, target.join(DATA)).map_err(Error::file("rename", &next))
}

/// A path must stay in the volume and must not touch the names that the exchange uses.
fn check(path: &str) -> Result<(), Error> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") || path.len() > 4096 {
        return Err(Error::Pod(format!("path {path:?} of a volume is not a relative path inside it")));
    }
    Ok(())
}

fn same(folder: &Path, payload: &Payload) -> bool {
    let mut present = BTreeSet::new();
    collect(folder, folder, &mut present);
    present.len() == payload.len()
        && payload.iter().all(|(path, file)| {
            let on_disk = folder.join(path);
            present.contains(path)
                && fs::metadata(&on_disk).is_ok_and(|meta| meta.permissions().mode() & 0o777 == file.mode & 0o777)
                && fs::read(&on_disk).is_ok_and(|data| data == file.data)
        })
}

fn collect(root: &Path, folder: &Path, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, out);
        } else if let Ok(relative) = path.strip_prefix(root) {
            out.insert(relative.to_string_lossy().into_owned());
        }
    }
}

/// Whoever the containers run as gets through to the files; the agent's umask leaves nobody else.
fn make_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir(folder).map_err(Error::file("create folder", folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(Error::file("set mode of", folder))
}

fn write_file(path: &Path, file: &File) -> Result<(), Error> {
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::file("create", path))?;
    out.write_all(&file.data).map_err(Error::file("write", path))?;
    // The mode given on creation is cut by the umask.
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode)).map_err(Error::file("set mode of", path))?;
    if file.uid.is_some() {
        chown(path, file.uid, None).map_err(Error::file("set owner of", path))?;
    }
    Ok(())
}

/// Makes the visible names, and removes those that are gone.
fn show(target: &Path, payload: &Payload) -> Result<(), Error> {
    let wanted: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(target).map_err(Error::file("read", target))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(name.as_str()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    for name in wanted {
        let link = target.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link).map_err(Error::file("link", &link))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| File { data: data.into(), mode: 0o644, uid: None };
        files.iter().map(|(path, data)| (path.to_string(), file(data))).collect()
    }

    #[test]
    fn files_appear_change_and_go() {
        let root = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join(name)).ok();
        assert!(write(root.path(), &payload(&[("a", "1"), ("d/e", "2")])).unwrap());
        assert_eq!((read("a"), read("d/e")), (Some("1".into()), Some("2".into())));
        assert_eq!(fs::read_link(root.path().join("a")).unwrap(), Path::new("..data/a"));
        assert!(!write(root.path(), &payload(&[("a", "1"), ("d/e", "2")])).unwrap());
        assert!(write(root.path(), &payload(&[("a", "3")])).unwrap());
        assert_eq!((read("a"), read("d/e")), (Some("3".into()), None));
        let hidden = fs::read_dir(root.path()).unwrap().count();
        assert_eq!(hidden, 3, "the link, the data and its folder");
    }

    #[test]
    fn others_than_root_get_through_to_the_files() {
        let root = tempfile::tempdir().unwrap();
        // As the agent's unit sets it. Other tests of this process run as root, or as the owner of what they make.
        let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        let written = write(root.path(), &payload(&[("path/to/file", "1"), ("path/other", "2")]));
        nix::sys::stat::umask(before);
        assert!(written.unwrap());
        for folder in ["..data", "..data/path", "..data/path/to"] {
            let mode = fs::metadata(root.path().join(folder)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755, "{folder}");
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        assert!(write(root.path(), &payload(&[("a", "1")])).unwrap());
        let count = || fs::read_dir(root.path()).unwrap().count();
        let before = count();
        assert!(write(root.path(), &payload(&[("a", "2"), ("z", "file"), ("z/y", "in a file")])).is_err());
        assert_eq!(count(), before);
        assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "1");
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../a", "/a", "a/../../b", "..data", ""] {
            assert!(write(root.path(), &payload(&[(path, "x")])).is_err(), "{path}");
        }
    }
}
