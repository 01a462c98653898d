//! hostPath volumes: the types and what each makes or asks for.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use crate::Error;

/// Makes or checks a hostPath of a type; the empty type asks for nothing.
pub fn prepare(path: &str, kind: &str) -> Result<(), Error> {
    let target = Path::new(path);
    let present = fs::metadata(target).ok();
    match kind {
        "DirectoryOrCreate" if present.is_none() => {
            fs::create_dir_all(target).map_err(Error::file("create folder", target))?;
            return fs::set_permissions(target, fs::Permissions::from_mode(0o755))
                .map_err(Error::file("set mode of", target));
        }
        "FileOrCreate" if present.is_none() => {
            fs::File::create(target).map_err(Error::file("create", target))?;
            return fs::set_permissions(target, fs::Permissions::from_mode(0o644))
                .map_err(Error::file("set mode of", target));
        }
        _ => {}
    }
    let is = |test: fn(&fs::FileType) -> bool| present.as_ref().is_some_and(|meta| test(&meta.file_type()));
    let (fits, wanted) = match kind {
        "" => (true, ""),
        "Directory" | "DirectoryOrCreate" => (is(fs::FileType::is_dir), "directory"),
        "File" | "FileOrCreate" => (is(fs::FileType::is_file), "file"),
        "Socket" => (is(|kind| kind.is_socket()), "socket"),
        "CharDevice" => (is(|kind| kind.is_char_device()), "character device"),
        "BlockDevice" => (is(|kind| kind.is_block_device()), "block device"),
        other => return Err(Error::Pod(format!("hostPath type {other:?} is not known"))),
    };
    if fits { Ok(()) } else { Err(Error::Pod(format!("hostPath type check failed: {path} is not a {wanted}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_make_or_ask() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        assert!(prepare(&path("d"), "Directory").is_err());
        prepare(&path("d"), "DirectoryOrCreate").unwrap();
        prepare(&path("d"), "Directory").unwrap();
        prepare(&path("f"), "FileOrCreate").unwrap();
        assert!(prepare(&path("f"), "Directory").is_err());
        assert!(prepare(&path("f"), "Socket").is_err());
        prepare(&path("none"), "").unwrap();
        assert!(prepare(&path("f"), "Strange").is_err());
    }
}
