//! Static pods: manifests in a folder of this node, which run without asking the API.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Toleration};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::pod::identity::{CONFIG_HASH, CONFIG_SEEN, CONFIG_SOURCE};

/// A manifest larger than this is none.
const MANIFEST_MAX_BYTES: u64 = 1024 * 1024;

/// The pods of a folder, and the files that could not be read with the reason.
pub fn load(folder: &Path, node: &str, seen: Timestamp) -> (Vec<Pod>, Vec<Error>) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| wanted(path))
        .collect();
    files.sort();
    let (mut pods, mut errors) = (Vec::new(), Vec::new());
    for file in files {
        match read(&file, node, seen) {
            Ok(pod) => pods.push(pod),
            Err(error) => errors.push(error),
        }
    }
    (pods, errors)
}

fn wanted(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
    !name.starts_with('.') && kind && path.is_file()
}

fn read(file: &Path, node: &str, seen: Timestamp) -> Result<Pod, Error> {
    let size = std::fs::metadata(file).map_err(Error::file("read", file))?.len();
    if size > MANIFEST_MAX_BYTES {
        return Err(Error::Pod(format!("manifest {} is larger than {MANIFEST_MAX_BYTES} bytes", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(Error::file("read", file))?;
    parse(&text, file, node, seen)
}

/// The pod in the text of a manifest, completed as the API would and with a UID made from node, file and text.
pub fn parse(text: &str, file: &Path, node: &str, seen: Timestamp) -> Result<Pod, Error> {
    let wrong = |message: String| Error::Pod(format!("manifest {}: {message}", file.display()));
    // By way of JSON, so that pods have one decoder in this program and not one for each format.
    let json: serde_json::Value = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let mut pod: Pod = serde_json::from_str(&json.to_string()).map_err(|error| wrong(error.to_string()))?;
    let name = pod
        .metadata
        .name
        .clone()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| wrong("metadata.name is missing".into()))?;
    let hash = hex::encode(&Sha256::digest(format!("{node}\0{}\0{text}", file.display()))[..16]);
    let metadata = &mut pod.metadata;
    metadata.name = Some(format!("{name}-{}", node.to_lowercase()));
    metadata.namespace.get_or_insert_with(|| "default".into());
    metadata.uid = Some(hash.clone());
    metadata.creation_timestamp = None;
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(CONFIG_HASH.into(), hash);
    annotations.insert(CONFIG_SOURCE.into(), "file".into());
    annotations.insert(CONFIG_SEEN.into(), seen.to_string());
    pod.status = None;
    let spec = pod.spec.as_mut().ok_or_else(|| wrong("spec is missing".into()))?;
    if spec.containers.is_empty() {
        return Err(wrong("spec.containers is empty".into()));
    }
    spec.node_name = Some(node.to_string());
    spec.restart_policy.get_or_insert_with(|| "Always".into());
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".into());
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.enable_service_links.get_or_insert(true);
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations
        .iter()
        .any(|toleration| toleration.operator.as_deref() == Some("Exists") && toleration.key.is_none())
    {
        // Nothing but its manifest decides where a static pod runs.
        tolerations.push(Toleration {
            operator: Some("Exists".into()),
            effect: Some("NoExecute".into()),
            ..Default::default()
        });
    }
    Ok(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_become_pods_of_this_node() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: i}]}\n";
        let pod = parse(text, Path::new("web.yaml"), "w1", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("web-w1"));
        assert_eq!(pod.metadata.namespace.as_deref(), Some("default"));
        let other = parse(&format!("{text}\n"), Path::new("web.yaml"), "w1", Timestamp::UNIX_EPOCH).unwrap();
        assert_ne!(pod.metadata.uid, other.metadata.uid);
        assert!(
            parse("kind: Pod\nmetadata: {name: web}\n", Path::new("web.yaml"), "w1", Timestamp::UNIX_EPOCH).is_err()
        );
    }

    #[test]
    fn a_broken_manifest_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), "metadata: {name: a}\nspec: {containers: [{name: a}]}\n").unwrap();
        std::fs::write(folder.path().join("b.yaml"), "{").unwrap();
        std::fs::write(folder.path().join(".c.yaml"), "{").unwrap();
        let (pods, errors) = load(folder.path(), "w1", Timestamp::UNIX_EPOCH);
        assert_eq!((pods.len(), errors.len()), (1, 1));
    }
}
