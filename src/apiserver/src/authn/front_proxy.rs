//! Front proxies: whoever holds a certificate of the front-proxy CA says in headers for whom it asks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use http::HeaderMap;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::plugin::{Authenticator, Authority, Connection};
use crate::request::User;
use crate::status::{Result, Status};

/// The only common name that the front-proxy CA's certificates speak for others with.
const ALLOWED_NAME: &str = "front-proxy-client";
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// Reads `X-Remote-User`, `X-Remote-Uid`, `X-Remote-Group` and `X-Remote-Extra-*`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrontProxy;

#[async_trait]
impl Authenticator for FrontProxy {
    async fn authenticate(&self, connection: &Connection, headers: &HeaderMap) -> Result<Option<User>> {
        let Some(certificate) = &connection.certificate else { return Ok(None) };
        if certificate.authority != Authority::FrontProxy {
            return Ok(None);
        }
        let Some(user) = user(headers) else { return Ok(None) };
        let parsed = X509Certificate::from_der(certificate.der.as_ref()).map(|(_, parsed)| parsed);
        let allowed = parsed.is_ok_and(|parsed| {
            parsed.subject().iter_common_name().any(|name| name.as_str().is_ok_and(|name| name == ALLOWED_NAME))
        });
        if allowed { Ok(Some(user)) } else { Err(Status::unauthorized()) }
    }
}

/// The user whom a front proxy names.
pub fn user(headers: &HeaderMap) -> Option<User> {
    let first = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_string();
    let name = first("x-remote-user");
    if name.is_empty() {
        return None;
    }
    let groups = headers.get_all("x-remote-group").iter().filter_map(|value| value.to_str().ok());
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let (Some(key), Ok(value)) = (header.as_str().strip_prefix(EXTRA_PREFIX), value.to_str()) {
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
            extra.entry(key).or_default().push(value.to_string());
        }
    }
    Some(User { name, uid: first("x-remote-uid"), groups: groups.map(str::to_string).collect(), extra })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_the_user_the_groups_and_extras() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-remote-user", "ann"),
            ("x-remote-group", "a"),
            ("x-remote-group", "b"),
            ("x-remote-extra-acme.com%2fproject", "p"),
        ] {
            headers.append(name, value.parse().expect("a header value"));
        }
        let user = user(&headers).expect("a user");
        assert_eq!((user.name.as_str(), user.groups.len()), ("ann", 2));
        assert_eq!(user.extra["acme.com/project"], ["p"]);
        assert_eq!(super::user(&HeaderMap::new()), None);
    }
}
