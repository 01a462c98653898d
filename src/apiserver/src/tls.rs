//! The serving side of TLS: certificates that are read again when their files change, and client certificates that
//! are asked for but do not break the connection; whether one holds is found out afterwards, so that a client with
//! a stale certificate gets a 401 that says so.

pub mod peer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::config::{Config, KeyPair};
use crate::error::Error;
use crate::plugin::{Authority, ClientCertificate};

/// How often the files are looked at; a handshake later than that looks again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What a handshake needs, as of one reading of the files.
pub struct Loaded {
    /// The configuration of the listener.
    pub server: Arc<ServerConfig>,
    authorities: Vec<(Authority, Arc<dyn ClientCertVerifier>)>,
}

/// The TLS material of a server.
pub struct Material {
    serving: KeyPair,
    client_ca: PathBuf,
    front_proxy_ca: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    loaded: Arc<Loaded>,
    looked: Instant,
    changed: Vec<Option<SystemTime>>,
}

impl Material {
    /// Reads the files.
    ///
    /// # Errors
    /// Files that are missing or do not hold what they should.
    pub fn load(config: &Config) -> Result<Self, Error> {
        let (serving, client_ca) = (config.serving.clone(), config.client_ca.clone());
        let front_proxy_ca = config.front_proxy_ca.clone();
        let loaded = Arc::new(Loaded::read(&serving, &client_ca, front_proxy_ca.as_deref())?);
        let changed = change_times(&serving, &client_ca, front_proxy_ca.as_deref());
        let state = Mutex::new(State { loaded, looked: Instant::now(), changed });
        Ok(Self { serving, client_ca, front_proxy_ca, state })
    }

    /// What the next handshake uses. Where changed files cannot be read, what was read before stays.
    pub fn current(&self) -> Arc<Loaded> {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if state.looked.elapsed() < LOOK_AGAIN_AFTER {
            return state.loaded.clone();
        }
        state.looked = Instant::now();
        let changed = change_times(&self.serving, &self.client_ca, self.front_proxy_ca.as_deref());
        if changed != state.changed {
            match Loaded::read(&self.serving, &self.client_ca, self.front_proxy_ca.as_deref()) {
                Ok(loaded) => {
                    tracing::info!("certificates were read again");
                    state.loaded = Arc::new(loaded);
                    state.changed = changed;
                }
                Err(error) => {
                    tracing::warn!("keeping the certificates in use: {}", stdx::error::chain(&error));
                }
            }
        }
        state.loaded.clone()
    }
}

impl Loaded {
    fn read(serving: &KeyPair, client_ca: &Path, front_proxy_ca: Option<&Path>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut authorities = vec![(Authority::Client, verifier(client_ca, &provider)?)];
        if let Some(path) = front_proxy_ca {
            authorities.push((Authority::FrontProxy, verifier(path, &provider)?));
        }
        let hints = authorities.iter().flat_map(|(_, verifier)| verifier.root_hint_subjects().to_vec()).collect();
        let asking = Arc::new(AskingVerifier { provider: provider.clone(), hints });
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(asking)
            .with_single_cert(read_chain(&serving.certificate)?, read_key(&serving.key)?)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(server), authorities })
    }

    /// Finds out whom a client's chain leads to.
    ///
    /// # Errors
    /// Why it leads to nobody we trust, in words for a log.
    pub fn identify(&self, chain: &[CertificateDer<'static>]) -> Result<Option<ClientCertificate>, String> {
        let Some((leaf, intermediates)) = chain.split_first() else { return Ok(None) };
        let mut refusal = String::new();
        for (authority, verifier) in &self.authorities {
            match verifier.verify_client_cert(leaf, intermediates, UnixTime::now()) {
                Ok(_) => return Ok(Some(ClientCertificate { der: leaf.clone(), authority: *authority })),
                Err(error) if refusal.is_empty() => refusal = error.to_string(),
                Err(_) => {}
            }
        }
        Err(refusal)
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// A file that cannot be read or holds none.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(Error::Credentials { path: path.to_path_buf(), detail: "holds no certificate".to_string() }),
        Err(error) => Err(Error::Credentials { path: path.to_path_buf(), detail: error.to_string() }),
    }
}

/// The private key of a PEM file.
///
/// # Errors
/// A file that cannot be read or holds none.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let pem = std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| Error::Credentials { path: path.to_path_buf(), detail: error.to_string() })
}

/// The roots of a PEM file.
///
/// # Errors
/// A file that cannot be read, holds none, or one that is no certificate.
pub fn read_roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn verifier(ca: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(read_roots(ca)?), provider.clone())
        .build()
        .map_err(|error| Error::Credentials { path: ca.to_path_buf(), detail: error.to_string() })
}

fn change_times(serving: &KeyPair, client_ca: &Path, front_proxy_ca: Option<&Path>) -> Vec<Option<SystemTime>> {
    [Some(serving.certificate.as_path()), Some(&serving.key), Some(client_ca), front_proxy_ca]
        .into_iter()
        .flatten()
        .map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
        .collect()
}

/// Asks for a client certificate, demands proof that the client has its key, and leaves trust for later.
#[derive(Debug)]
struct AskingVerifier {
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for AskingVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
