//! The images of this program, made from the running binary: what addons and sandboxes run, without any registry.
//!
//! One layer holds the binary as `/rkctl`; two images on it differ in their entry points. Where they are missing or of
//! another binary, the archive is written straight into the runtime's import: the binary is read twice, once for the
//! layer's digest, and no copy of it is written on the way.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::Error;

pub mod bring;

/// The image that addons run; its entry point is `/rkctl`.
pub const IMAGE: &str = concat!("rkctl.local/rkctl:", env!("CARGO_PKG_VERSION"));
/// The image of sandboxes; its entry point is `/rkctl node pause`.
pub const PAUSE_IMAGE: &str = concat!("rkctl.local/pause:", env!("CARGO_PKG_VERSION"));
/// The binary this runs from.
const BINARY: &str = "/proc/self/exe";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Imports the images where they are missing or were made from another binary. `folder` keeps which one it was.
pub async fn ensure(runtime: &dyn cri::Runtime, importer: &cri::Importer, folder: &Path) -> Result<(), Error> {
    let mark = folder.join("image.sha256");
    let layer = blocking(|| Layer::of(Path::new(BINARY))).await?;
    let digest = layer.digest.clone();
    let same = std::fs::read_to_string(&mark).is_ok_and(|imported| imported.trim() == digest);
    let present = runtime.image_status(IMAGE).await?.is_some() && runtime.image_status(PAUSE_IMAGE).await?.is_some();
    if same && present {
        return Ok(());
    }
    importer.import(move |out| layer.write_archive(Path::new(BINARY), out)).await?;
    std::fs::write(&mark, &digest).map_err(Error::file("write", &mark))?;
    tracing::info!(image = IMAGE, "imported the image of this program");
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Pod(format!("make the image of this program: {error}"))),
    }
}

/// The layer of a binary, known by its digest before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layer {
    /// SHA-256 in hexadecimal.
    digest: String,
    size_bytes: u64,
}

impl Layer {
    /// The layer that holds `binary`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    fn of(binary: &Path) -> Result<Self, Error> {
        let hashing = write_layer(binary, Hashing::new(std::io::sink())).map_err(Error::file("read", binary))?;
        let (digest, size_bytes) = hashing.finish();
        Ok(Self { digest, size_bytes })
    }

    /// Writes an OCI archive with both images; `binary` is the file the layer was made of.
    ///
    /// # Errors
    /// Where `binary` cannot be read or `out` takes no more.
    fn write_archive(&self, binary: &Path, out: &mut dyn Write) -> std::io::Result<()> {
        let mut tar = tar::Builder::new(out);
        self.write_manifests(&mut tar)?;
        let mut header = header(self.size_bytes, 0o644);
        header.set_path(format!("blobs/sha256/{}", self.digest))?;
        header.set_cksum();
        tar.get_mut().write_all(header.as_bytes())?;
        // A tar archive is a whole number of blocks: nothing is left to fill up.
        write_layer(binary, &mut *tar.get_mut())?;
        tar.into_inner().map(drop)
    }

    /// All of the archive but the layer.
    fn write_manifests(&self, tar: &mut tar::Builder<&mut dyn Write>) -> std::io::Result<()> {
        let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        let mut manifests = Vec::new();
        let mut blobs: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |value: serde_json::Value| {
            let bytes = value.to_string().into_bytes();
            let (digest, size) = (hex::encode(Sha256::digest(&bytes)), bytes.len());
            blobs.push((digest.clone(), bytes));
            (format!("sha256:{digest}"), size)
        };
        let layer_name = format!("sha256:{}", self.digest);
        for (name, entry) in [(IMAGE, vec!["/rkctl"]), (PAUSE_IMAGE, vec!["/rkctl", "node", "pause"])] {
            let (config, config_size) = add(json!({
                "architecture": architecture, "os": "linux",
                "config": { "Entrypoint": entry, "Env": ["PATH=/"], "WorkingDir": "/" },
                "rootfs": { "type": "layers", "diff_ids": [layer_name] },
                "history": [{ "created_by": "rkctl" }],
            }));
            let (manifest, manifest_size) = add(json!({
                "schemaVersion": 2, "mediaType": MANIFEST,
                "config": { "mediaType": CONFIG, "digest": config, "size": config_size },
                "layers": [{ "mediaType": LAYER, "digest": layer_name, "size": self.size_bytes }],
            }));
            let tag = name.rsplit(':').next().unwrap_or_default();
            manifests.push(json!({
                "mediaType": MANIFEST, "digest": manifest, "size": manifest_size,
                "annotations": { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag },
            }));
        }
        let index = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        let mut put = |path: String, bytes: &[u8]| tar.append_data(&mut header(bytes.len() as u64, 0o644), path, bytes);
        put("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        put("index.json".into(), index.as_bytes())?;
        for (digest, bytes) in &blobs {
            put(format!("blobs/sha256/{digest}"), bytes)?;
        }
        Ok(())
    }
}

/// Counts and digests what passes through.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    fn finish(self) -> (String, u64) {
        (hex::encode(self.hasher.finalize()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the layer's tar archive and answers where it went.
fn write_layer<W: Write>(binary: &Path, out: W) -> std::io::Result<W> {
    let mut tar = tar::Builder::new(out);
    for (path, mode) in [("etc/", 0o755), ("tmp/", 0o1777), ("var/", 0o755), ("var/run/", 0o755)] {
        let mut header = header(0, mode);
        header.set_entry_type(tar::EntryType::Directory);
        tar.append_data(&mut header, path, std::io::empty())?;
    }
    let passwd = b"root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
    tar.append_data(&mut header(passwd.len() as u64, 0o644), "etc/passwd", &passwd[..])?;
    let mut file = File::open(binary)?;
    let size = file.metadata()?.len();
    tar.append_data(&mut header(size, 0o755), "rkctl", &mut file)?;
    tar.into_inner()
}

fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    // The same binary makes the same image.
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_blob_of_the_archive_has_the_digest_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("binary");
        std::fs::write(&binary, b"not really a program").unwrap();
        let layer = Layer::of(&binary).unwrap();
        let mut written = Vec::new();
        layer.write_archive(&binary, &mut written).unwrap();
        let mut archive = tar::Archive::new(written.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(hex::encode(Sha256::digest(&bytes)), digest);
            }
            names.push(path);
        }
        assert_eq!(names.len(), 2 + 4 + 1, "{names:?}");
        assert!(names.contains(&format!("blobs/sha256/{}", layer.digest)), "{names:?}");
    }
}
