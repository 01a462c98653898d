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

    /// Both as PEM, where they are there and the certificate is valid now.
    pub fn read(&self, now: Timestamp) -> Option<(String, String)> {
        let certificate = fs::read_to_string(&self.certificate).ok()?;
        let key = fs::read_to_string(&self.key).ok()?;
        let inspection = pki::inspect("the agent's certificate", &certificate).ok()?;
        (inspection.not_before <= now && now < inspection.not_after).then_some((certificate, key))
    }

    /// Puts a new pair in the place of the old one: the key first, so that a certificate never lacks its key.
    pub fn write(&self, certificate: &str, key: &str) -> Result<(), Error> {
        write_private(&self.key, key)?;
        write_private(&self.certificate, certificate)
    }
}

/// Writes a file that only root reads, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let next = path.with_extension("next");
    let _ = fs::remove_file(&next);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)
        .map_err(Error::file("create", &next))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::file("write", &next))?;
    fs::rename(&next, path).map_err(Error::file("rename", &next))
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
    /// From now on this pair is used.
    pub fn set(&self, certificate_pem: &str, key_pem: &str) -> Result<(), Error> {
        let pair = certified(certificate_pem, key_pem)?;
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Arc::new(pair));
        Ok(())
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
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
        assert!(live.get().is_some());
        assert!(live.set("", "").is_err());
    }
}
