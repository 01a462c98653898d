//! Passing a request on to another server and its answer back, upgrades included.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, COOKIE, HOST, LOCATION, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use url::{Host, Url};

use super::connect::Trust;
use super::links;
use super::place::is_proxyable;
use crate::authn::PROTOCOL_PREFIX;
use crate::body::{self, Body, BoxError};
use crate::handler::LongRunning;
use crate::state::State;
use crate::status::{Result, Status};

/// Headers that are about one connection and not passed on.
const HOP_BY_HOP: [&str; 7] = [
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];

/// Longer than any refusal of an agent.
pub const REFUSAL_BYTES_MAX: usize = 64 << 10;

const NO_UPGRADES: &str = "this transport cannot be upgraded; use HTTP/1.1";

/// A request to be passed on.
pub struct Forward {
    /// Where to.
    pub to: SocketAddr,
    /// How.
    pub trust: Trust,
    /// Path and query there.
    pub path_and_query: String,
    /// Headers beside the client's own.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What becomes of an answer that leads the client elsewhere.
    pub redirects: Redirects,
}

/// What becomes of an answer that leads the client elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirects {
    /// It is not passed on: agents' own API and servers behind the aggregation layer have nowhere to lead to, and the
    /// client would take this server's credentials there.
    Refused,
    /// Places of the same server are led to below this path (`/api/v1/nodes/n/proxy`); others are a page's own matter.
    Below(String),
}

/// The request asks for another protocol.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asks = connection.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    asks && headers.contains_key(UPGRADE)
}

/// The client's side of an upgrade, which comes about once it is answered, and the request's headers.
///
/// # Errors
/// 400 over a transport that has no upgrades.
pub fn upgrade_of(request: Request<Body>) -> Result<(OnUpgrade, HeaderMap)> {
    let (mut parts, _) = request.into_parts();
    match parts.extensions.remove::<OnUpgrade>() {
        Some(client) => Ok((client, parts.headers)),
        None => Err(Status::bad_request(NO_UPGRADES)),
    }
}

/// Asks the other end for a connection in SPDY, with `protocol` inside of it.
///
/// # Errors
/// As [`forward`]; and what the other end says where it refuses.
pub async fn open_spdy(
    state: &Arc<State>,
    client: &HeaderMap,
    to: Forward,
    protocol: &'static str,
) -> Result<TokioIo<Upgraded>> {
    check_target(state, &to)?;
    let mut headers = passed_on(client, to.to, true);
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_EXTENSIONS] {
        headers.remove(name);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert("x-stream-protocol-version", HeaderValue::from_static(protocol));
    let request = outgoing(Method::POST, &to.path_and_query, headers, body::empty())?;
    let mut answer = state.connector.send(to.to, to.trust, request).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let code = answer.status();
        let body = answer.into_body().map_err(|error| -> BoxError { error.into() }).boxed_unsync();
        let text = body::read(body, REFUSAL_BYTES_MAX).await?;
        let text = String::from_utf8_lossy(&text);
        return Err(refusal(code, &format!("unable to upgrade connection: {}", text.trim_end())));
    }
    let upgraded = hyper::upgrade::on(&mut answer).await;
    let failed = |error| Status::new(502, "ServiceUnavailable", format!("error proxying: {error}"));
    upgraded.map(TokioIo::new).map_err(failed)
}

/// What an agent says where it refuses, as clients understand it: its words are the reason that people look for.
pub fn refusal(code: StatusCode, text: &str) -> Status {
    match code {
        StatusCode::BAD_REQUEST => Status::bad_request(text),
        StatusCode::NOT_FOUND => Status::new(404, "NotFound", text),
        StatusCode::INTERNAL_SERVER_ERROR => Status::internal(text),
        // An agent that does not answer with a refusal has gone astray.
        code if !code.is_client_error() && !code.is_server_error() => Status::new(502, "ServiceUnavailable", text),
        code => Status::new(code.as_u16(), "", text),
    }
}

/// Passes a request on and answers with what comes back.
///
/// # Errors
/// 400 for an address that nothing may be passed on to, and for an upgrade over a transport that has none; 502 where
/// the other end is not reachable.
pub async fn forward(
    state: &Arc<State>,
    request: Request<Body>,
    to: Forward,
    running: Option<LongRunning>,
) -> Result<Response<Body>> {
    check_target(state, &to)?;
    let (mut parts, body) = request.into_parts();
    let upgrades = wants_upgrade(&parts.headers);
    let client_side = parts.extensions.remove::<OnUpgrade>();
    if upgrades && client_side.is_none() {
        return Err(Status::bad_request(NO_UPGRADES));
    }
    let mut headers = passed_on(&parts.headers, to.to, upgrades);
    for (name, value) in to.headers {
        headers.append(name, value);
    }
    if matches!(to.redirects, Redirects::Below(_)) && wants_page(&parts.headers) {
        headers.remove(ACCEPT_ENCODING);
    }
    let outgoing = outgoing(parts.method, &to.path_and_query, headers, if upgrades { body::empty() } else { body })?;
    let mut answer = state.connector.send(to.to, to.trust, outgoing).await?;
    let status = answer.status();
    settle_location(status, answer.headers_mut(), &to.redirects, to.to, &to.path_and_query)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (mut parts, body) = answer.into_parts();
        HOP_BY_HOP.iter().for_each(|name| drop(parts.headers.remove(*name)));
        parts.headers.remove(CONNECTION);
        parts.extensions.clear();
        // The request counts as running for as long as its body does.
        let body = body.map_err(move |error| -> BoxError {
            let _running = &running;
            error.into()
        });
        let response = Response::from_parts(parts, body.boxed_unsync());
        let Redirects::Below(prefix) = to.redirects else { return Ok(response) };
        let (place, asked) = (to.to, to.path_and_query);
        // Where a link starts from is known to whoever reads the page.
        let is_absolute = |link: &str| link.starts_with('/') || link.contains("://");
        let lead = move |link: &str| is_absolute(link).then(|| led_below(link, &prefix, place, &asked)).flatten();
        return Ok(links::settle(response, Box::new(lead)));
    }
    let Some(client_side) = client_side.filter(|_| upgrades) else {
        return Err(Status::new(502, "ServiceUnavailable", "the other end switched protocols unasked"));
    };
    let other_side = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    let shutdown = state.shutdown.clone();
    tokio::spawn(async move {
        let _running = running;
        let _ = shutdown.run_until_cancelled(tunnel(client_side, other_side)).await;
    });
    Ok(response)
}

/// Whether somebody browses: links of pages are rewritten, for which they must not be packed.
fn wants_page(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepted.any(|accept| accept.contains("text/html"))
}

/// Addresses of agents and pods come from those who report them, who must not lead requests to this host's own
/// services or, with this server's certificate, back to this server.
fn check_target(state: &State, to: &Forward) -> Result<()> {
    let config = &state.config;
    let own = SocketAddr::new(config.advertise_address, config.advertise_port.unwrap_or(state.port));
    let refused = match to.trust {
        // Where servers behind the aggregation layer are is what administrators say.
        Trust::Named(..) => false,
        Trust::Agent if to.to == own => true,
        _ => !config.local_targets && !is_proxyable(to.to.ip()),
    };
    match refused {
        true => Err(Status::bad_request(format!("address not allowed: {}", to.to))),
        false => Ok(()),
    }
}

/// Refuses a redirect, or leads it below the path that is proxied.
fn settle_location(
    status: StatusCode,
    headers: &mut HeaderMap,
    redirects: &Redirects,
    to: SocketAddr,
    asked: &str,
) -> Result<()> {
    let Some(location) = headers.get(LOCATION) else { return Ok(()) };
    match redirects {
        Redirects::Refused if status.is_redirection() => {
            let message = "the backend attempted to redirect this request, which is not permitted";
            Err(Status::new(502, "ServiceUnavailable", message))
        }
        Redirects::Refused => Ok(()),
        Redirects::Below(prefix) => {
            let led = location.to_str().ok().and_then(|location| led_below(location, prefix, to, asked));
            if let Some(led) = led.and_then(|led| HeaderValue::try_from(led).ok()) {
                headers.insert(LOCATION, led);
            }
            Ok(())
        }
    }
}

/// The path below `prefix` that leads to a place of the server at `to`; `None` for places elsewhere. `asked` is what
/// that server was asked for, which relative places start from.
pub fn led_below(location: &str, prefix: &str, to: SocketAddr, asked: &str) -> Option<String> {
    let mut base = Url::parse(&format!("http://{to}")).ok()?;
    base.set_path(asked.split('?').next().unwrap_or_default());
    let place = base.join(location).ok()?;
    let ip = match place.host()? {
        Host::Ipv4(ip) => IpAddr::from(ip),
        Host::Ipv6(ip) => IpAddr::from(ip),
        Host::Domain(_) => return None,
    };
    // A server that speaks TLS names itself with https; the base above is http whatever it speaks.
    let same = matches!(place.scheme(), "http" | "https") && SocketAddr::new(ip, place.port_or_known_default()?) == to;
    if !same {
        return None;
    }
    let path = place.path();
    let below = path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut led = if below { path.to_string() } else { format!("{prefix}{path}") };
    for (mark, part) in [('?', place.query()), ('#', place.fragment())] {
        if let Some(part) = part {
            led.push(mark);
            led.push_str(part);
        }
    }
    Some(led)
}

async fn tunnel(client: OnUpgrade, other: OnUpgrade) {
    match tokio::try_join!(client, other) {
        Ok((client, other)) => {
            let (mut client, mut other) = (TokioIo::new(client), TokioIo::new(other));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut other).await {
                tracing::debug!("a tunnel ended: {error}");
            }
        }
        Err(error) => tracing::debug!("a tunnel was not made: {error}"),
    }
}

fn outgoing(method: Method, path_and_query: &str, headers: HeaderMap, body: Body) -> Result<Request<Body>> {
    let uri: Uri =
        path_and_query.parse().map_err(|_| Status::bad_request(format!("invalid path {path_and_query:?}")))?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The client's headers without what is for this server alone.
pub fn passed_on(headers: &HeaderMap, to: SocketAddr, upgrades: bool) -> HeaderMap {
    let mut passed = headers.clone();
    let own: Vec<_> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            HOP_BY_HOP.contains(&name) || name.starts_with("impersonate-") || name.starts_with("x-remote-")
        })
        .cloned()
        .collect();
    own.iter().for_each(|name| drop(passed.remove(name)));
    passed.remove(AUTHORIZATION);
    passed.remove(COOKIE);
    drop_tokens(&mut passed);
    if !upgrades {
        passed.remove(CONNECTION);
        passed.remove(UPGRADE);
    }
    if let Ok(host) = HeaderValue::from_str(&to.to_string()) {
        passed.insert(HOST, host);
    }
    passed
}

/// Browsers put the bearer's token among the protocols of a WebSocket; it is for this server alone.
fn drop_tokens(headers: &mut HeaderMap) {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let protocols: Vec<&[u8]> =
        values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect();
    let is_token = |protocol: &&[u8]| protocol.starts_with(PROTOCOL_PREFIX.as_bytes());
    if !protocols.iter().any(is_token) {
        return;
    }
    let left: Vec<&[u8]> = protocols.iter().copied().filter(|protocol| !is_token(protocol)).collect();
    let joined = (!left.is_empty()).then(|| HeaderValue::from_bytes(&left.join(&b", "[..])).ok()).flatten();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Some(joined) = joined {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_here_and_upgrades_pass() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("impersonate-user", "x"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        assert!(wants_upgrade(&headers));
        let passed = passed_on(&headers, "10.0.0.1:10250".parse().expect("an address"), true);
        assert!(!passed.contains_key("authorization") && !passed.contains_key("impersonate-user"));
        assert_eq!(passed["upgrade"], "SPDY/3.1");
        assert_eq!(passed["x-stream-protocol-version"], "v4.channel.k8s.io");
        assert_eq!(passed["host"], "10.0.0.1:10250");
    }

    #[test]
    fn tokens_in_websocket_protocols_stay_here() {
        let passed = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("sec-websocket-protocol", HeaderValue::from_static(value));
            }
            let passed = passed_on(&headers, "10.0.0.1:10250".parse().expect("an address"), true);
            let left = passed.get_all("sec-websocket-protocol").iter();
            left.map(|value| value.to_str().expect("text").to_string()).collect::<Vec<_>>()
        };
        let token = "base64url.bearer.authorization.k8s.io.YWJj";
        assert_eq!(passed(&[token]), Vec::<String>::new());
        assert_eq!(passed(&["v5.channel.k8s.io"]), ["v5.channel.k8s.io"]);
        assert_eq!(
            passed(&["base64url.bearer.authorization.k8s.io.YWJj,a", "b, base64url.bearer.authorization.k8s.io.x ,c"]),
            ["a, b, c"]
        );
    }

    #[test]
    fn redirects_of_agents_are_refused_and_those_of_pages_stay_below_their_proxy() {
        let prefix = "/api/v1/namespaces/n/pods/p:80/proxy";
        let to: SocketAddr = "10.42.0.5:80".parse().expect("an address");
        let settle = |status: u16, location: &str, redirects: &Redirects| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, HeaderValue::from_str(location).expect("a header"));
            let status = StatusCode::from_u16(status).expect("a code");
            let settled = settle_location(status, &mut headers, redirects, to, "/a/b?c");
            settled.map(|()| headers[LOCATION].to_str().expect("text").to_string())
        };
        for status in [301, 302, 303, 307, 308] {
            let refused = settle(status, "https://evil.example/", &Redirects::Refused).expect_err("is refused");
            assert_eq!(refused.code(), 502);
        }
        assert!(settle(201, "/made", &Redirects::Refused).is_ok());
        let below = Redirects::Below(prefix.to_string());
        for (location, expected) in [
            ("/login?next=%2F#top", format!("{prefix}/login?next=%2F#top")),
            ("/", format!("{prefix}/")),
            ("d", format!("{prefix}/a/d")),
            ("../../../../x", format!("{prefix}/x")),
            ("http://10.42.0.5/x", format!("{prefix}/x")),
            ("//10.42.0.5:80/x", format!("{prefix}/x")),
            ("https://10.42.0.5:80/x", format!("{prefix}/x")),
            (&format!("{prefix}/y"), format!("{prefix}/y")),
            ("http://10.42.0.5:81/x", "http://10.42.0.5:81/x".to_string()),
            ("https://example.com/x", "https://example.com/x".to_string()),
        ] {
            assert_eq!(settle(302, location, &below).expect("passes"), expected, "{location}");
        }
    }
}
