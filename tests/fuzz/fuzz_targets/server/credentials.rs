//! Headers that say who asks and for which protocol, a line each: bearers, impersonation, front proxies, upgrades. None
//! of them is passed on.
#![no_main]

use apiserver::authn::bootstrap_token;
use apiserver::decoders::{bearer_token, front_proxy_user, impersonated, offered, passed_on, wants_upgrade, websocket};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    if let Some(token) = bearer_token(&headers)
        && let Some((id, secret)) = bootstrap_token::parse(&token)
    {
        assert_eq!((id.len(), secret.len(), token.len()), (6, 16, 23));
    }
    if let Ok(Some(user)) = impersonated(&headers) {
        assert!(!user.name.is_empty());
    }
    if let Some(user) = front_proxy_user(&headers) {
        assert!(!user.name.is_empty());
    }
    for upgrades in [false, true] {
        let passed = passed_on(&headers, ([10, 0, 0, 1], 10250).into(), upgrades);
        assert_eq!(bearer_token(&passed), None);
        assert!(matches!(impersonated(&passed), Ok(None)) && front_proxy_user(&passed).is_none());
        assert_eq!(passed["host"], "10.0.0.1:10250");
        assert!(upgrades || !wants_upgrade(&passed));
    }
    for subresource in ["exec", "attach", "portforward"] {
        let _ = websocket::choose(subresource, &headers);
    }
    let protocol = offered(&headers);
    assert!(!protocol.starts_with("base64url.bearer.authorization.k8s.io."));
    if let Ok(answer) = websocket::accept(&headers, &protocol) {
        assert_eq!(answer.status(), 101);
    }
});
