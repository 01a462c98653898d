//! What a certificate says, and when it must be renewed.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;

use crate::authority::San;
use crate::error::Error;

/// The share of its life a certificate must have left; below it, it is renewed.
const RENEW_BELOW: f64 = 0.3;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The subject's name.
    pub common_name: String,
    /// The subject's groups.
    pub organizations: Vec<String>,
    /// The issuer's name.
    pub issuer: String,
    /// DNS names of a server.
    pub dns_names: Vec<String>,
    /// Addresses of a server.
    pub ip_addresses: Vec<IpAddr>,
    /// When its life begins.
    pub not_before: Timestamp,
    /// When its life ends.
    pub not_after: Timestamp,
    /// Whether it may sign certificates.
    pub is_ca: bool,
    /// Whether it may show who a client is.
    pub client_auth: bool,
    /// Whether it may show who a server is.
    pub server_auth: bool,
    /// In hexadecimal.
    pub serial: String,
    /// The subject's public key, the bits of the point.
    #[serde(skip)]
    pub public_key: Vec<u8>,
}

impl Inspection {
    /// Names and addresses together, sorted.
    pub fn sans(&self) -> Vec<San> {
        let names = self.dns_names.iter().cloned().map(San::Dns);
        let mut sans: Vec<San> = names.chain(self.ip_addresses.iter().copied().map(San::Ip)).collect();
        sans.sort();
        sans
    }
}

/// Reads the first certificate of a PEM text; `what` names it in errors.
///
/// # Errors
/// [`Error::Certificate`] where it is not one.
pub fn inspect(what: &str, pem: &str) -> Result<Inspection, Error> {
    with_certificate(what, pem, |certificate| Ok(describe(certificate)))
}

/// The node that an agent's certificate is for (Kubernetes' `system:node:NAME`); `None` for another's.
pub fn node_of(certificate_pem: &str) -> Option<String> {
    let subject = inspect("the agent's certificate", certificate_pem).ok()?.common_name;
    subject.strip_prefix("system:node:").map(str::to_owned)
}

/// Whether `certificate_pem` was signed by the key of `authority_pem`.
pub(crate) fn is_signed_by(what: &str, certificate_pem: &str, authority_pem: &str) -> Result<bool, Error> {
    with_certificate(what, certificate_pem, |certificate| {
        with_certificate("the authority", authority_pem, |authority| {
            Ok(certificate.verify_signature(Some(authority.public_key())).is_ok())
        })
    })
}

/// Whether so little of its life is left that it must be renewed.
pub fn renewal_due(inspection: &Inspection, now: Timestamp) -> bool {
    now > renewal_at(inspection)
}

/// The last moment at which enough of its life is left.
pub fn renewal_at(inspection: &Inspection) -> Timestamp {
    let life = inspection.not_after.as_second() - inspection.not_before.as_second();
    let left = (life as f64 * RENEW_BELOW).ceil() as i64;
    Timestamp::from_second(inspection.not_after.as_second() - left).unwrap_or(inspection.not_before)
}

fn with_certificate<T>(
    what: &str,
    pem: &str,
    read: impl FnOnce(&X509Certificate<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let wrong = |detail: String| Error::Certificate { what: what.to_owned(), detail };
    let block =
        Pem::iter_from_buffer(pem.as_bytes()).next().ok_or_else(|| wrong("it holds no PEM block".to_owned()))?;
    let block = block.map_err(|error| wrong(error.to_string()))?;
    let certificate = block.parse_x509().map_err(|error| wrong(error.to_string()))?;
    read(&certificate)
}

fn describe(certificate: &X509Certificate<'_>) -> Inspection {
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().unwrap_or("").to_owned();
    let subject = certificate.subject();
    let (mut dns_names, mut ip_addresses) = (Vec::new(), Vec::new());
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(dns) => dns_names.push((*dns).to_owned()),
                GeneralName::IPAddress(bytes) => ip_addresses.extend(address(bytes)),
                _ => {}
            }
        }
    }
    let usage = certificate.extended_key_usage().ok().flatten().map(|extension| extension.value);
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MIN);
    Inspection {
        common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: subject.iter_organization().map(text).collect(),
        issuer: certificate.issuer().iter_common_name().next().map(text).unwrap_or_default(),
        dns_names,
        ip_addresses,
        not_before: at(certificate.validity().not_before),
        not_after: at(certificate.validity().not_after),
        is_ca: certificate.is_ca(),
        client_auth: usage.is_some_and(|usage| usage.client_auth),
        server_auth: usage.is_some_and(|usage| usage.server_auth),
        serial: hex::encode(certificate.raw_serial()),
        public_key: certificate.public_key().subject_public_key.data.to_vec(),
    }
}

pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
