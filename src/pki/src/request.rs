//! Certificate signing requests: made where the key is, read where they are judged.

use std::net::IpAddr;

use rcgen::{CertificateParams, KeyPair};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::authority::{San, distinguished_name, san};
use crate::error::Error;

/// What a request asks for. Its signature has been checked against its own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The subject's name.
    pub common_name: String,
    /// The subject's groups.
    pub organizations: Vec<String>,
    /// DNS names asked for.
    pub dns_names: Vec<String>,
    /// Addresses asked for.
    pub ip_addresses: Vec<IpAddr>,
    /// Whether it asks for e-mail addresses, URIs or other names, which no signer of ours grants.
    pub has_other_names: bool,
}

/// Makes a request for the holder of `key_pem` (PKCS#8 PEM).
///
/// # Errors
/// [`Error::Key`] where the key cannot be read, [`Error::Name`] for a name that cannot stand in a certificate.
pub fn new_request(key_pem: &str, common_name: &str, organizations: &[String], sans: &[San]) -> Result<String, Error> {
    let key = KeyPair::from_pem(key_pem).map_err(|source| Error::Key { what: "the key".to_owned(), source })?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(common_name, organizations);
    params.subject_alt_names = sans.iter().map(san).collect::<Result<_, _>>()?;
    let doing = "making a certificate signing request";
    let request = params.serialize_request(&key).map_err(|source| Error::Crypto { doing, source })?;
    request.pem().map_err(|source| Error::Crypto { doing, source })
}

/// Reads a request in PEM and checks its signature.
///
/// # Errors
/// [`Error::Request`] where it is damaged or not signed by its own key.
pub fn parse_request(pem: &str) -> Result<Request, Error> {
    let wrong = |detail: String| Error::Request { detail };
    let block = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes())
        .next()
        .ok_or_else(|| wrong("it holds no PEM block".to_owned()))?
        .map_err(|error| wrong(error.to_string()))?;
    if block.label != "CERTIFICATE REQUEST" && block.label != "NEW CERTIFICATE REQUEST" {
        return Err(wrong(format!("its PEM block is `{}`", block.label)));
    }
    let (_, request) = X509CertificationRequest::from_der(&block.contents).map_err(|error| wrong(error.to_string()))?;
    request.verify_signature().map_err(|_| wrong("it is not signed by its own key".to_owned()))?;
    let subject = &request.certification_request_info.subject;
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().unwrap_or("").to_owned();
    let mut read = Request {
        common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: subject.iter_organization().map(text).collect(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        has_other_names: false,
    };
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(dns) => read.dns_names.push((*dns).to_owned()),
                GeneralName::IPAddress(bytes) => read.ip_addresses.extend(crate::inspect::address(bytes)),
                _ => read.has_other_names = true,
            }
        }
    }
    Ok(read)
}
