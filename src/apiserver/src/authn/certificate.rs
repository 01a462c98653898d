//! Client certificates: the common name is the user, the organizations are the groups. The chain was verified when
//! the connection was made.

use async_trait::async_trait;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use stdx::clock::Clock;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::plugin::{Authenticator, Authority, ClientCertificate, Connection};
use crate::request::User;
use crate::status::{Result, Status};

/// Reads users off certificates of the cluster CA.
pub struct Certificates<C> {
    clock: C,
}

impl<C: Clock> Certificates<C> {
    /// Judges expiry by `clock`.
    pub fn new(clock: C) -> Self {
        Self { clock }
    }
}

#[async_trait]
impl<C: Clock> Authenticator for Certificates<C> {
    async fn authenticate(&self, connection: &Connection, _headers: &HeaderMap) -> Result<Option<User>> {
        match &connection.certificate {
            Some(certificate) if certificate.authority == Authority::Client => {
                user(certificate, self.clock.now().as_second())
            }
            _ => Ok(None),
        }
    }
}

fn user(certificate: &ClientCertificate, now_s: i64) -> Result<Option<User>> {
    let der = certificate.der.as_ref();
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return Err(Status::unauthorized()) };
    let validity = parsed.validity();
    // A connection may outlive the certificate it was made with.
    if now_s > validity.not_after.timestamp() || now_s < validity.not_before.timestamp() {
        return Err(Status::unauthorized());
    }
    let subject = parsed.subject();
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_string).collect();
    let mut user = User { name: name.to_string(), groups, ..User::default() };
    let id = format!("X509SHA256={}", hex::encode(Sha256::digest(der)));
    user.extra.insert("authentication.kubernetes.io/credential-id".to_string(), vec![id]);
    Ok(Some(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn certificate(name: Option<&str>, organizations: &[&str]) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        for organization in organizations {
            params.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        let key = KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("a certificate").der().clone();
        ClientCertificate { der, authority: Authority::Client }
    }

    #[test]
    fn the_common_name_is_the_user_and_organizations_are_groups() {
        let now_s = 1_800_000_000;
        let found = user(&certificate(Some("system:node:w1"), &["system:nodes"]), now_s).expect("holds");
        let found = found.expect("a user");
        assert_eq!(
            (found.name.as_str(), found.groups.as_slice()),
            ("system:node:w1", &["system:nodes".to_string()][..])
        );
        assert!(found.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
        assert_eq!(user(&certificate(None, &["system:masters"]), now_s).expect("holds"), None);
    }

    #[test]
    fn an_expired_certificate_is_refused_although_the_connection_lives() {
        let certificate = certificate(Some("ann"), &[]);
        // rcgen's default certificates end in the year 4096.
        let refused = user(&certificate, 80_000_000_000).expect_err("is expired");
        assert_eq!(refused.code(), 401);
    }
}
