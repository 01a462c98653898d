//! Client certificates: the common name is the user, the organizations are the groups. The chain was verified when
//! the connection was made.

use std::ops::RangeInclusive;

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
                // Read for the first request of a connection; the others ask only whether it still holds.
                connection.named.get_or_init(|| Named::read(certificate)).at(self.clock.now().as_second())
            }
            _ => Ok(None),
        }
    }
}

/// Whom a client certificate names, and from when to when (seconds since 1970).
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// `None` where it names nobody.
    user: Option<User>,
    /// `None` for what is no certificate.
    holds_s: Option<RangeInclusive<i64>>,
}

impl Named {
    /// Reads a certificate.
    pub fn read(certificate: &ClientCertificate) -> Self {
        let der = certificate.der.as_ref();
        let Ok((_, parsed)) = X509Certificate::from_der(der) else { return Self::default() };
        let validity = parsed.validity();
        let holds_s = Some(validity.not_before.timestamp()..=validity.not_after.timestamp());
        let subject = parsed.subject();
        let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
        if name.is_empty() {
            return Self { user: None, holds_s };
        }
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_string).collect();
        let mut user = User { name: name.to_string(), groups, ..User::default() };
        let id = format!("X509SHA256={}", hex::encode(Sha256::digest(der)));
        user.extra.insert("authentication.kubernetes.io/credential-id".to_string(), vec![id]);
        Self { user: Some(user), holds_s }
    }

    /// The user, as long as the certificate holds: a connection may outlive the one it was made with.
    ///
    /// # Errors
    /// 401.
    pub fn at(&self, now_s: i64) -> Result<Option<User>> {
        match &self.holds_s {
            Some(holds_s) if holds_s.contains(&now_s) => Ok(self.user.clone()),
            _ => Err(Status::unauthorized()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};
    use stdx::clock::ManualClock;

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
        let found = Named::read(&certificate(Some("system:node:w1"), &["system:nodes"])).at(now_s).expect("holds");
        let found = found.expect("a user");
        assert_eq!(
            (found.name.as_str(), found.groups.as_slice()),
            ("system:node:w1", &["system:nodes".to_string()][..])
        );
        assert!(found.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
        assert_eq!(Named::read(&certificate(None, &["system:masters"])).at(now_s).expect("holds"), None);
    }

    #[tokio::test]
    async fn an_expired_certificate_is_refused_although_the_connection_lives() {
        // rcgen's default certificates end in the year 4096.
        let clock = |seconds: i64| ManualClock::new(jiff::Timestamp::from_second(seconds).expect("a time"));
        let connection = Connection { certificate: Some(certificate(Some("ann"), &[])), ..Connection::default() };
        let headers = HeaderMap::new();
        let early = Certificates::new(clock(1_800_000_000)).authenticate(&connection, &headers).await;
        assert_eq!(early.expect("holds").map(|user| user.name).as_deref(), Some("ann"));
        let late = Certificates::new(clock(80_000_000_000)).authenticate(&connection, &headers).await;
        assert_eq!(late.expect_err("is expired").code(), 401);
    }
}
