//! From a target to a session: name, TCP or jump host, handshake, authentication, each within its bound.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::Algorithm;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::auth::authenticate;
use crate::error::Error;
use crate::host_key::{HandshakeError, Verifier};
use crate::resolve;
use crate::session::Session;
use crate::target::Target;

/// Jump hosts in a row.
const JUMPS_LIMIT: usize = 8;

/// Kinds of host keys asked for in turn when keys are pinned by fingerprint.
const KEY_KINDS_LIMIT: usize = 4;

/// Unanswered signs of life after which a session ends.
const KEEPALIVES_LIMIT: usize = 3;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects to `target`, through its jump hosts, and authenticates.
///
/// One session serves a host from then on: commands, files and forwarded ports share its connection.
pub async fn connect(target: &Target) -> Result<Session, Error> {
    let mut hops = vec![target];
    while let Some(jump) = hops[hops.len() - 1].jump.as_deref() {
        if hops.len() > JUMPS_LIMIT {
            let source = std::io::Error::other(format!("more than {JUMPS_LIMIT} jump hosts in a row"));
            return Err(Error::Connect { host: target.label(), source });
        }
        hops.push(jump);
    }
    let mut session: Option<Session> = None;
    for hop in hops.into_iter().rev() {
        session = Some(connect_hop(hop, session).await?);
    }
    session.ok_or_else(|| Error::Connect { host: target.label(), source: std::io::ErrorKind::NotConnected.into() })
}

async fn connect_hop(target: &Target, jump: Option<Session>) -> Result<Session, Error> {
    let host = target.label();
    let limit = target.timeouts.connect;
    let timed_out = |phase| Error::ConnectTimeout { host: host.clone(), phase, timeout_ms: limit.as_millis() };

    let name = target.host_key_alias.as_deref().unwrap_or(&target.host);
    let verifier = Verifier::load(&target.host_key, name, target.port)?;
    let deadline = Instant::now() + limit;
    let mut handle = match timeout_at(deadline, shake_hands(target, &verifier, jump.as_ref())).await {
        Ok(result) => result?,
        Err(_) => return Err(timed_out("connecting")),
    };
    match timeout_at(Instant::now() + limit.max(Duration::from_secs(1)), authenticate(&mut handle, target)).await {
        Ok(result) => result?,
        Err(_) => return Err(timed_out("authenticating")),
    }
    Ok(Session::new(target, handle, jump))
}

/// Opens the connection and exchanges keys. Where the server's key is pinned by fingerprint only, its other
/// kinds of keys are asked for before it is refused.
async fn shake_hands(target: &Target, verifier: &Verifier, jump: Option<&Session>) -> Result<Handle<Verifier>, Error> {
    let host = target.label();
    let mut without: Vec<Algorithm> = Vec::new();
    let mut refusal = None;
    loop {
        let config = Arc::new(client::Config {
            preferred: verifier.preferred(&without),
            keepalive_interval: Some(target.timeouts.keepalive),
            keepalive_max: KEEPALIVES_LIMIT,
            nodelay: true,
            ..client::Config::default()
        });
        let stream = open_stream(target, jump).await?;
        match client::connect_stream(config, stream, verifier.clone()).await {
            Ok(handle) => return Ok(handle),
            Err(HandshakeError::HostKey(source)) => return Err(Error::HostKey { host, source: source.into() }),
            Err(HandshakeError::NotPinned(source, kind)) => {
                let source = refusal.get_or_insert(source).clone();
                without.push(kind);
                if !verifier.may_have_other() || without.len() >= KEY_KINDS_LIMIT {
                    return Err(Error::HostKey { host, source: source.into() });
                }
            }
            Err(HandshakeError::Protocol(source)) => {
                return Err(match refusal {
                    Some(source) => Error::HostKey { host, source: source.into() },
                    None => Error::Handshake { host, source: source.into() },
                });
            }
        }
    }
}

async fn open_stream(target: &Target, jump: Option<&Session>) -> Result<Box<dyn Stream>, Error> {
    if let Some(jump) = jump {
        return Ok(Box::new(jump.open_tcp(&target.host, target.port).await?));
    }
    let host = target.label();
    let addresses = resolve::addresses(&target.host, target.port)
        .await
        .map_err(|source| Error::Resolve { host: host.clone(), source })?;
    let stream = resolve::connect(&addresses).await.map_err(|source| Error::Connect { host, source })?;
    Ok(Box::new(stream))
}
