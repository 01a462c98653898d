//! The agent's two certificates, on disk and in the hands of TLS: read, replaced and used anew without a restart.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use jiff::Timestamp;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// A certificate with its key in two files of the agent's folder.
#[derive(Debug, Clone)]
pub struct Files {
    /// `client.crt`.
    pub certificate: PathBuf,
    /// `client.key`.
    pub key: PathBuf,
}

impl Files {
    /// `NAME.crt` and `NAME.key` in a folder.
    pub fn new(folder: &Path, name: &str) -> Self {
        Self { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) }
    }

    /// Both as PEM, where they are there, belong together and the certificate is valid now.
    pub fn read(&self, now: Timestamp) -> Option<(String, String)> {
        let key = fs::read_to_string(&self.key).ok()?;
        let certificate = fs::read_to_string(&self.certificate).ok().filter(|there| certified(there, &key).is_ok());
        let certificate = certificate.or_else(|| self.finish(&key))?;
        let inspection = pki::inspect("the agent's certificate", &certificate).ok()?;
        (inspection.not_before <= now && now < inspection.not_after).then_some((certificate, key))
    }

    /// Puts a new pair in the place of the old one. Where it ends between the two, the next reading finishes it.
    pub fn write(&self, certificate: &str, key: &str) -> Result<(), Error> {
        write_new(&next(&self.certificate), certificate)?;
        write_private(&self.key, key)?;
        rename(&next(&self.certificate), &self.certificate)
    }

    /// The certificate of this key, that was written and not yet put in its place.
    fn finish(&self, key: &str) -> Option<String> {
        let waiting = next(&self.certificate);
        let certificate = fs::read_to_string(&waiting).ok().filter(|there| certified(there, key).is_ok())?;
        rename(&waiting, &self.certificate).ok()?;
        Some(certificate)
    }
}

/// Writes a file that only root reads, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    write_new(&next(path), text)?;
    rename(&next(path), path)
}

/// Where a file is written before it takes its place: `client.key.next`.
fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".next");
    name.into()
}

fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::file("create", path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::file("write", path))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::file("rename", from))
}

/// The folder for certificates and state, for root alone.
pub fn make_private_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file("create folder", folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(Error::file("set mode of", folder))
}

/// A certificate that TLS asks for at each handshake.
#[derive(Debug, Default, Clone)]
pub struct Live(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Live {
    /// From now on this pair is used. The one in use stays where it is the same.
    pub fn set(&self, certificate_pem: &str, key_pem: &str) -> Result<(), Error> {
        let pair = certified(certificate_pem, key_pem)?;
        let mut current = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if current.as_ref().is_none_or(|current| current.cert != pair.cert) {
            *current = Some(Arc::new(pair));
        }
        Ok(())
    }

    /// The pair in use.
    pub fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

fn certified(certificate_pem: &str, key_pem: &str) -> Result<CertifiedKey, Error> {
    let wrong = |action: &'static str| {
        move |error: &dyn std::error::Error| Error::Certificate { action, message: stdx::error::chain(error) }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect();
    let chain = chain.map_err(|error| wrong("read a certificate")(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| wrong("read a key")(&error))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| wrong("pair a certificate with its key")(&error))
}

impl rustls::client::ResolvesClientCert for Live {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.get()
    }

    fn has_certs(&self) -> bool {
        self.get().is_some()
    }
}

impl rustls::server::ResolvesServerCert for Live {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get()
    }
}

/// The certificates in a PEM file as roots of trust.
pub fn roots(pem: &str) -> Result<rustls::RootCertStore, Error> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate
            .map_err(|error| Error::Certificate { action: "read the cluster's CA", message: error.to_string() })?;
        store
            .add(certificate)
            .map_err(|error| Error::Certificate { action: "read the cluster's CA", message: error.to_string() })?;
    }
    if store.is_empty() {
        return Err(Error::Certificate {
            action: "read the cluster's CA",
            message: "the file holds no certificate".into(),
        });
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_private_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["n1".into()]).unwrap().self_signed(&key).unwrap();
        let files = Files::new(folder.path(), "client");
        assert!(files.read(Timestamp::now()).is_none());
        files.write(&certificate.pem(), &key.serialize_pem()).unwrap();
        let mode = fs::metadata(&files.key).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let (certificate, key) = files.read(Timestamp::now()).unwrap();
        let live = Live::default();
        live.set(&certificate, &key).unwrap();
        let used = live.get().unwrap();
        live.set(&certificate, &key).unwrap();
        assert!(Arc::ptr_eq(&used, &live.get().unwrap()), "the same pair is no change");
        assert!(live.set("", "").is_err());
    }

    #[test]
    fn a_pair_that_was_half_replaced_is_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let pair = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::new(vec!["n1".into()]).unwrap().self_signed(&key).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let (old, new) = (pair(), pair());
        let files = Files::new(folder.path(), "client");
        files.write(&old.0, &old.1).unwrap();
        // As where the host lost its power before the key was in its place, and after.
        write_new(&next(&files.certificate), &new.0).unwrap();
        assert_eq!(files.read(Timestamp::now()).unwrap(), old);
        write_private(&files.key, &new.1).unwrap();
        assert_eq!(files.read(Timestamp::now()).unwrap(), new);
        assert_eq!(files.read(Timestamp::now()).unwrap(), new, "it is in its place now");
        assert!(!next(&files.certificate).exists());
    }
}
