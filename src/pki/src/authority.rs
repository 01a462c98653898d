//! Certificate authorities, and certificates issued by them.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use rand::RngCore;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};

use crate::error::Error;

/// How long an authority lives: ten years.
pub const CA_LIFETIME: Duration = Duration::from_secs(3650 * 86_400);
/// How long what an authority issues lives: one year.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// Certificates begin this much before now, for peers whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(300);
/// RFC 5280 4.1.2.2 allows 20 octets; 16 random ones never collide.
const SERIAL_BYTES: usize = 16;

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A DNS name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl San {
    /// An address where the text is one, a DNS name otherwise.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Dns(text.to_ascii_lowercase()), Self::Ip)
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => write!(f, "{address}"),
        }
    }
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// To show a server who the client is.
    Client,
    /// To show a client who the server is.
    Server,
    /// Both.
    ClientAndServer,
}

/// All that a certificate says beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The user's or server's name.
    pub common_name: String,
    /// The user's groups.
    pub organizations: Vec<String>,
    /// Names and addresses of a server.
    pub sans: Vec<San>,
    /// What it may be used for.
    pub usage: Usage,
    /// How long it lives from now; never longer than its authority.
    pub lifetime: Duration,
}

/// A certificate and its private key.
#[derive(Clone)]
pub struct Issued {
    /// PEM.
    pub certificate_pem: String,
    /// PKCS#8 PEM.
    pub key_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// A certificate authority.
pub struct Authority {
    certificate_pem: String,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority that signs itself.
    ///
    /// # Errors
    /// [`Error::Crypto`] where the key cannot be made.
    pub fn generate(common_name: &str, now: Timestamp, random: &mut dyn RngCore) -> Result<Issued, Error> {
        let key = KeyPair::generate().map_err(|source| Error::Crypto { doing: "making a key", source })?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, now + CA_LIFETIME);
        params.serial_number = Some(serial(random));
        let certificate = params
            .self_signed(&key)
            .map_err(|source| Error::Crypto { doing: "signing a certificate authority", source })?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// An authority from its certificate and key.
    ///
    /// # Errors
    /// [`Error::Certificate`] and [`Error::Key`] where they cannot be read or do not belong together.
    pub fn from_pem(what: &str, certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let inspection = crate::inspect(what, certificate_pem)?;
        let unreadable = |detail: String| Error::Certificate { what: what.to_owned(), detail };
        if !inspection.is_ca {
            return Err(unreadable("it is not a certificate authority".to_owned()));
        }
        let key = KeyPair::from_pem(key_pem).map_err(|source| Error::Key { what: what.to_owned(), source })?;
        if key.der_bytes() != inspection.public_key {
            return Err(unreadable("it does not belong to the key beside it".to_owned()));
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(|source| unreadable(source.to_string()))?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), not_after: inspection.not_after, issuer })
    }

    /// The authority's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// [`Error::Crypto`], or [`Error::Name`] for a name that cannot stand in a certificate.
    pub fn issue(&self, profile: &Profile, now: Timestamp, random: &mut dyn RngCore) -> Result<Issued, Error> {
        let key = KeyPair::generate().map_err(|source| Error::Crypto { doing: "making a key", source })?;
        let params = self.params(profile, now, random)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|source| Error::Crypto { doing: "signing a certificate", source })?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Signs a request. Only its public key is taken from it: subject, names, usages and lifetime are the profile's,
    /// and it never becomes an authority, whatever the request asks for.
    ///
    /// # Errors
    /// [`Error::Request`] where the request is damaged or not signed by its own key.
    pub fn sign_request(
        &self,
        request_pem: &str,
        profile: &Profile,
        now: Timestamp,
        random: &mut dyn RngCore,
    ) -> Result<String, Error> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(|source| Error::Request { detail: source.to_string() })?;
        request.params = self.params(profile, now, random)?;
        let certificate = request
            .signed_by(&self.issuer)
            .map_err(|source| Error::Crypto { doing: "signing a certificate", source })?;
        Ok(certificate.pem())
    }

    fn params(&self, profile: &Profile, now: Timestamp, random: &mut dyn RngCore) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&profile.common_name, &profile.organizations);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match profile.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::ClientAndServer => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.subject_alt_names = profile.sans.iter().map(san).collect::<Result<_, _>>()?;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial(random));
        set_validity(&mut params, now, (now + profile.lifetime).min(self.not_after));
        Ok(params)
    }
}

/// A private key in PKCS#8 PEM that belongs to no certificate, such as the one that signs service-account tokens.
///
/// # Errors
/// [`Error::Crypto`] where the key cannot be made.
pub fn generate_key() -> Result<String, Error> {
    let key = KeyPair::generate().map_err(|source| Error::Crypto { doing: "making a key", source })?;
    Ok(key.serialize_pem())
}

/// The public half of a private key, as `PUBLIC KEY` PEM.
///
/// # Errors
/// [`Error::Key`] where the text is not a private key; `what` names it.
pub fn public_key_pem(what: &str, key_pem: &str) -> Result<String, Error> {
    let key = KeyPair::from_pem(key_pem).map_err(|source| Error::Key { what: what.to_owned(), source })?;
    Ok(key.public_key_pem())
}

pub(crate) fn distinguished_name(common_name: &str, organizations: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    name.push(DnType::CommonName, common_name);
    name
}

pub(crate) fn san(name: &San) -> Result<SanType, Error> {
    match name {
        San::Dns(dns) => {
            let text = dns.as_str().try_into().map_err(|_| Error::Name { name: dns.clone() })?;
            Ok(SanType::DnsName(text))
        }
        San::Ip(address) => Ok(SanType::IpAddress(*address)),
    }
}

fn serial(random: &mut dyn RngCore) -> SerialNumber {
    let mut bytes = [0u8; SERIAL_BYTES];
    random.fill_bytes(&mut bytes);
    // Positive and not empty in DER, whatever was drawn.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = |at: Timestamp| Duration::from_secs(at.as_second().max(0).unsigned_abs());
    params.not_before = epoch + seconds(now - BACKDATE);
    params.not_after = epoch + seconds(not_after);
}
