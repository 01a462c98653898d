//! TLS to an endpoint: whom it must be, by which authorities, and what is shown to it.

use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, Error};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use url::Url;

use super::endpoint::Endpoint;
use crate::tls::peer::Verifier;

/// The TLS configuration for an endpoint.
///
/// # Errors
/// Authorities or credentials that cannot be used; of keys nothing is repeated.
pub(super) fn config(endpoint: &Endpoint) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let verifier = match endpoint.is_unverified {
        true => Verifier::of_anyone(provider),
        false => Verifier::new(authorities(endpoint)?, provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
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
