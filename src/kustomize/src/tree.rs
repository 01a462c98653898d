//! Files by path, wherever they come from.

use std::collections::BTreeMap;

/// The names a kustomization file may have.
pub(crate) const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Where files are read from. Paths are relative to the root, with `/`, without `.` and `..`.
pub trait Tree {
    /// The bytes of a file; `None` where there is none, or a folder.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
}

impl Tree for BTreeMap<String, Vec<u8>> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.get(path).cloned()
    }
}

impl<F: Fn(&str) -> Option<Vec<u8>>> Tree for F {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self(path)
    }
}

/// A path as it stands in a file of `folder`, as a path from the root. `None` where it leaves the tree.
pub(crate) fn join(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A path that only the network could resolve.
pub(crate) fn is_remote(path: &str) -> bool {
    path.contains("://") || path.starts_with("git@") || path.starts_with("github.com/") || path.contains("?ref=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_tree() {
        assert_eq!(join("a/b", "../c.yaml").as_deref(), Some("a/c.yaml"));
        assert_eq!(join("", "./x/").as_deref(), Some("x"));
        assert_eq!(join("a", "..").as_deref(), Some(""));
        assert_eq!(join("a", "../../x"), None);
        assert_eq!(join("a", "/etc/passwd"), None);
    }

    #[test]
    fn remote_paths_are_told_apart() {
        assert!(is_remote("https://example.com/x.yaml") && is_remote("git@example.com:a/b") && is_remote("a/b?ref=v1"));
        assert!(!is_remote("../base") && !is_remote("a.yaml"));
    }
}
