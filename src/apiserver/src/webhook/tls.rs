//! TLS to an endpoint: whom it must be, by which authorities, and what is shown to it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use url::Url;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::endpoint::Endpoint;

/// The TLS configuration for an endpoint.
///
/// # Errors
/// Authorities or credentials that cannot be used; of keys nothing is repeated.
pub(super) fn config(endpoint: &Endpoint) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let trusted = if endpoint.is_unverified { Vec::new() } else { authorities(endpoint)? };
    let verifier = Arc::new(Verifier::new(trusted, endpoint.is_unverified, provider)?);
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let Some(identity) = &endpoint.identity else { return Ok(builder.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.chain).collect();
    let chain = chain.map_err(|_| "the client certificate is not PEM".to_string())?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| "the client key is not PEM".to_string())?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("the client certificate: {error}"))
}

/// The endpoint's authorities; those of the machine where it names none.
fn authorities(endpoint: &Endpoint) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(pem) = &endpoint.authorities else { return Ok(rustls_native_certs::load_native_certs().certs) };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| format!("unable to load root certificates: {error}"))?;
    match read.is_empty() {
        true => Err("unable to load root certificates: unable to parse bytes as PEM block".to_string()),
        false => Ok(read),
    }
}

/// The name that the endpoint's certificate must have.
///
/// # Errors
/// A host that no certificate can name.
pub(super) fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, String> {
    let name = match &endpoint.server_name {
        Some(name) => name.clone(),
        None => {
            let url = Url::parse(&endpoint.url).map_err(|error| error.to_string())?;
            let host = url.host_str().unwrap_or_default();
            host.trim_start_matches('[').trim_end_matches(']').to_string()
        }
    };
    ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name of a server"))
}

/// Why a handshake failed, in Go's words.
pub(super) fn why(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let refused = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match inner {
        Some(Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer => refused("certificate signed by unknown authority"),
            CertificateError::BadSignature => {
                refused("certificate signed by unknown authority (the trusted one of that name has another key)")
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let has: Vec<&str> = presented.iter().map(|name| shown(name)).collect();
                refused(&format!("certificate is valid for {}, not {}", has.join(", "), expected.to_str()))
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => refused("certificate has expired or is not yet valid"),
            other => refused(&other.to_string()),
        },
        Some(other) => format!("tls: {other}"),
        None => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "EOF".to_string(),
            _ => error.to_string(),
        },
    }
}

/// `DnsName("a")` as `a`.
fn shown(presented: &str) -> &str {
    presented.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map_or(presented, |(name, _)| name)
}

/// Verifies as WebPKI does, and takes a certificate that is trusted itself as Go does: what many webhooks make for
/// themselves is its own authority.
#[derive(Debug)]
struct Verifier {
    /// `None` where nothing at all is trusted.
    chains: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    is_unverified: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(
        trusted: Vec<CertificateDer<'static>>,
        is_unverified: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let chains = match roots.is_empty() {
            true => None,
            false => {
                let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                Some(builder.build().map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { chains, trusted, is_unverified, provider })
    }

    /// A certificate that is trusted itself has the name and is in its time.
    fn verify_itself(&self, leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = parsed.validity();
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_unverified {
            return Ok(ServerCertVerified::assertion());
        }
        if self.trusted.iter().any(|one| one == end_entity) {
            self.verify_itself(end_entity, server_name, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chains {
            Some(chains) => chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
