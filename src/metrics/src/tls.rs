//! Keys, certificates and whom to trust: a serving certificate of our own making, whose authority is published in the
//! APIService; clients must be the API server's front proxy; agents must have certificates of the cluster's CA.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pki::{Authority, Profile, San, Usage};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::Error;

/// The pod makes a new certificate at each start; nobody runs it for this long without one.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// The serving side, and the authority that the APIService must name, in PEM.
pub fn serving(host: &str, front_proxy_ca_pem: &str) -> Result<(Arc<ServerConfig>, String), Error> {
    let failed = |error: &dyn std::error::Error| Error::Tls(stdx::error::chain(error));
    let now = Timestamp::now();
    let mut random = rand::rng();
    let ca = Authority::generate("rkctl-metrics", now, &mut random).map_err(|error| failed(&error))?;
    let authority =
        Authority::from_pem("the metrics CA", &ca.certificate_pem, &ca.key_pem).map_err(|error| failed(&error))?;
    let profile = Profile {
        common_name: host.to_string(),
        organizations: Vec::new(),
        sans: vec![San::Dns(host.to_string())],
        usage: Usage::Server,
        lifetime: LIFETIME,
    };
    let leaf = authority.issue(&profile, now, &mut random).map_err(|error| failed(&error))?;
    let chain = vec![CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).map_err(|error| failed(&error))?];
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).map_err(|error| failed(&error))?;
    let clients =
        WebPkiClientVerifier::builder(Arc::new(roots(front_proxy_ca_pem)?)).build().map_err(|error| failed(&error))?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), ca.certificate_pem))
}

/// The client side towards agents.
pub fn agents(cluster_ca_pem: &str) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots(cluster_ca_pem)?).with_no_client_auth()))
}

fn roots(pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(Error::Tls)?;
    }
    Ok(roots)
}
