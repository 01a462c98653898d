//! What a request and an answer look like on the other side of the proxy. Pure.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers that belong to one connection and are not passed on (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what must not be passed on; the headers that `Connection` names as well.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// The protocol that a request wants to change to, such as `websocket`.
pub fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let wants = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")));
    if wants { headers.get(header::UPGRADE).cloned() } else { None }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Of the other end of the connection.
    pub address: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
}

/// Tells the service who asked, and how. What the client claims of itself is replaced, not believed.
pub fn set_forwarded(headers: &mut HeaderMap, client: Client, host: &str) {
    let address = client.address.to_canonical().to_string();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set("x-forwarded-for", &address);
    set("x-real-ip", &address);
    set("x-forwarded-proto", client.scheme);
    set("x-forwarded-host", host);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn headers_of_the_connection_stay_on_it() {
        let mut found =
            headers(&[("connection", "close, x-mine"), ("x-mine", "1"), ("te", "trailers"), ("accept", "*/*")]);
        strip_hop_by_hop(&mut found);
        assert_eq!(found, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn an_upgrade_is_one_only_where_the_connection_says_so() {
        assert_eq!(upgrade_of(&headers(&[("connection", "Upgrade"), ("upgrade", "websocket")])).unwrap(), "websocket");
        assert_eq!(upgrade_of(&headers(&[("upgrade", "websocket")])), None);
    }

    #[test]
    fn a_client_cannot_pretend_to_be_another() {
        let mut found = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "http")]);
        let client = Client { address: "192.0.2.9".parse().unwrap(), scheme: "https" };
        set_forwarded(&mut found, client, "shop.example.org");
        assert_eq!(found["x-forwarded-for"], "192.0.2.9");
        assert_eq!(found["x-forwarded-host"], "shop.example.org");
        assert_eq!(found["x-forwarded-proto"], "https");
    }
}
