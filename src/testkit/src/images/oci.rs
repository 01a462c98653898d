//! The OCI image layout: blobs named by their digest, an index that names them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Something in an image's file system.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A file with its content and permission bits.
    File(Vec<u8>, u32),
    /// A folder with its permission bits.
    Folder(u32),
    /// A symbolic link.
    Link(String),
}

/// An image of one layer.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    entries: BTreeMap<String, Entry>,
    command: Vec<String>,
    env: Vec<String>,
}

impl Image {
    /// An empty image called `name` (`HOST/PATH:TAG`).
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), entries: BTreeMap::new(), command: Vec::new(), env: Vec::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same under another name.
    pub fn renamed(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Adds a file; folders above it are made (0755).
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.with(path, Entry::File(content.into(), mode))
    }

    /// Adds a folder.
    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.with(path, Entry::Folder(mode))
    }

    /// Adds a symbolic link.
    pub fn link(self, path: &str, target: &str) -> Self {
        self.with(path, Entry::Link(target.to_owned()))
    }

    fn with(mut self, path: &str, entry: Entry) -> Self {
        let path = path.trim_start_matches('/');
        for (slash, _) in path.match_indices('/') {
            self.entries.entry(path[..slash].to_owned()).or_insert(Entry::Folder(0o755));
        }
        self.entries.insert(path.to_owned(), entry);
        self
    }

    /// What it runs; `args` of a container replace it, `command` too.
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    fn layer(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let mut header = tar::Header::new_gnu();
            // The same image has the same digest wherever and whenever it is made.
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            let written = match entry {
                Entry::File(content, mode) => {
                    header.set_size(content.len() as u64);
                    header.set_mode(*mode);
                    tar.append_data(&mut header, path, content.as_slice())
                }
                Entry::Folder(mode) => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_size(0);
                    header.set_mode(*mode);
                    tar.append_data(&mut header, format!("{path}/"), std::io::empty())
                }
                Entry::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    header.set_mode(0o777);
                    tar.append_link(&mut header, path, target)
                }
            };
            written.expect("writing to memory");
        }
        tar.into_inner().expect("writing to memory")
    }

    fn config(&self, layer: &str) -> Value {
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Cmd": self.command, "Env": self.env, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [layer] },
        })
    }
}

/// Go's name for this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Blobs of an archive by digest: what images share is in it once.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob and answers its descriptor.
    fn add(&mut self, media_type: &str, content: Vec<u8>) -> Value {
        let digest = hex::encode(Sha256::digest(&content));
        let descriptor =
            json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len() });
        self.0.insert(digest, content);
        descriptor
    }

    fn add_json(&mut self, media_type: &str, content: &Value) -> Value {
        self.add(media_type, content.to_string().into_bytes())
    }
}

/// The images as one archive.
pub fn archive(images: &[Image]) -> Vec<u8> {
    let mut blobs = Blobs::default();
    let mut manifests = Vec::new();
    for image in images {
        let layer = blobs.add(LAYER, image.layer());
        let config = blobs.add_json(CONFIG, &image.config(layer["digest"].as_str().unwrap_or_default()));
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        let mut descriptor = blobs.add_json(MANIFEST, &manifest);
        descriptor["platform"] = json!({ "architecture": architecture(), "os": "linux" });
        // containerd reads the first, other tools the second.
        descriptor["annotations"] =
            json!({ "io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name });
        manifests.push(descriptor);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, path, content).expect("writing to memory");
    };
    put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    put("index.json", index.as_bytes());
    for (digest, content) in &blobs.0 {
        put(&format!("blobs/sha256/{digest}"), content);
    }
    tar.into_inner().expect("writing to memory")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_archive_names_its_images_and_every_blob_has_its_digest() {
        let image =
            Image::new("rkctl.local/x:1").file("/a/b/c", "text", 0o600).link("/a/l", "b/c").command(&["/a/b/c"]);
        let bytes = archive(&[image.clone(), image.clone().renamed("rkctl.local/y:1")]);
        assert_eq!(bytes, archive(&[image.clone(), image.clone().renamed("rkctl.local/y:1")]));
        let mut index = None;
        let mut blobs = 0;
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(digest, hex::encode(Sha256::digest(&content)));
                blobs += 1;
            } else if path == "index.json" {
                index = Some(serde_json::from_slice::<Value>(&content).unwrap());
            }
        }
        assert_eq!(blobs, 3, "layer, config and manifest, shared by both");
        let index = index.unwrap();
        let names: Vec<&str> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|manifest| manifest["annotations"]["io.containerd.image.name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["rkctl.local/x:1", "rkctl.local/y:1"]);
        let layer = image.layer();
        let paths: Vec<String> = tar::Archive::new(layer.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(paths, ["a/", "a/b/", "a/b/c", "a/l"]);
    }
}
