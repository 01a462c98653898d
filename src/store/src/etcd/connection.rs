//! Connections to the members of an etcd cluster: TLS, deadlines, and which member is asked. Reads are asked again of
//! the next member, writes never: whether one that got no answer has happened is not known.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use prost::Message;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::wire::{
    CompactionRequest, Ignored, LeaseGrantRequest, LeaseGrantResponse, RangeRequest, RangeResponse, TxnRequest,
    TxnResponse, WatchRequest, WatchResponse,
};
use crate::{Error, Lease};

/// A member that does not take a connection in this time is passed over.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// An answer that takes longer does not come: etcd itself gives up after seven seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often a silent member is asked whether it lives; etcd takes more than one question in 5 s for an attack.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long it has for the answer.
const PING_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries of a read.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Certificates are read again at most so often where members cannot be reached.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// etcd bounds what it sends by what it was asked for.
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// Files in PEM; read again for every new connection, so that renewed certificates are used.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Who signs the members' certificates.
    pub ca: PathBuf,
    /// The store's own certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What etcd answered instead of doing as asked.
#[derive(Debug, thiserror::Error)]
#[error("etcd answers {code:?}: {message}")]
struct Answer {
    code: Code,
    message: String,
}

/// Why there are no connections.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("no member is named")]
    NoEndpoints,
    #[error("{0} is no address of a member")]
    Endpoint(String, #[source] tonic::transport::Error),
    #[error("cannot read {0}")]
    File(PathBuf, #[source] std::io::Error),
    #[error("{0} is not https, so certificates would not be used")]
    Plain(String),
}

/// What the members granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    pub(super) lease: Lease,
    pub(super) ttl_s: u64,
}

/// Connections to every member.
#[derive(Debug)]
pub(super) struct Connection {
    endpoints: Vec<String>,
    tls: Option<Tls>,
    channels: RwLock<Vec<Channel>>,
    /// Which member is asked.
    at: AtomicUsize,
    /// When certificates were read after a failure.
    renewed: Mutex<Option<Instant>>,
}

impl Connection {
    pub(super) fn new(endpoints: Vec<String>, tls: Option<Tls>) -> Result<Self, Error> {
        let (channels, at, renewed) = (RwLock::new(Vec::new()), AtomicUsize::new(0), Mutex::new(None));
        let connection = Self { endpoints, tls, channels, at, renewed };
        connection.renew()?;
        Ok(connection)
    }

    /// Makes new connections with the certificates as they are now.
    pub(super) fn renew(&self) -> Result<(), Error> {
        let failed = |why: Unusable| Error::Backend { doing: "connecting to etcd", source: why.into() };
        if self.endpoints.is_empty() {
            return Err(failed(Unusable::NoEndpoints));
        }
        let made = self.tls.as_ref().map(tls_config).transpose().map_err(failed)?;
        let mut channels = Vec::new();
        for address in &self.endpoints {
            if made.is_some() && !address.starts_with("https://") {
                return Err(failed(Unusable::Plain(address.clone())));
            }
            let wrong = |error| failed(Unusable::Endpoint(address.clone(), error));
            let mut endpoint = Endpoint::from_shared(address.clone())
                .map_err(wrong)?
                .connect_timeout(CONNECT_WITHIN)
                .http2_keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_ANSWER_WITHIN)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true);
            if let Some(tls) = &made {
                endpoint = endpoint.tls_config(tls.clone()).map_err(wrong)?;
            }
            channels.push(endpoint.connect_lazy());
        }
        *self.channels.write().unwrap_or_else(PoisonError::into_inner) = channels;
        Ok(())
    }

    /// The member that is asked, and its turn.
    fn client(&self) -> (usize, Grpc<Channel>) {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        let turn = self.turn();
        let channel = channels[turn % channels.len()].clone();
        (turn, Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Whose turn it is.
    pub(super) fn turn(&self) -> usize {
        self.at.load(Ordering::Relaxed)
    }

    /// The next member is asked from now on, unless somebody else who failed at this turn has passed on already.
    pub(super) fn pass_on(&self, turn: usize) {
        let _ = self.at.compare_exchange(turn, turn.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// After a connection could not be made: perhaps for certificates that have been renewed meanwhile. The watch can
    /// go on for as long as its own connection does, and would not see it.
    fn renew_now_and_then(&self) {
        {
            let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
            if self.tls.is_none() || renewed.is_some_and(|at| at.elapsed() < RENEW_EVERY) {
                return;
            }
            *renewed = Some(Instant::now());
        }
        if let Err(error) = self.renew() {
            tracing::warn!("{}", stdx::error::chain(&error));
        }
    }

    async fn call<I, O>(&self, path: &'static str, message: I) -> Result<O, Status>
    where
        I: Message + 'static,
        O: Message + Default + 'static,
    {
        let (turn, mut client) = self.client();
        let asked = async {
            client.ready().await.map_err(|error| Status::unavailable(stdx::error::chain(&error)))?;
            let (path, codec) = (PathAndQuery::from_static(path), ProstCodec::<I, O>::default());
            client.unary(Request::new(message), path, codec).await.map(tonic::Response::into_inner)
        };
        let answer = tokio::time::timeout(ANSWER_WITHIN, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        if answer.as_ref().is_err_and(|status| is_passing(status.code())) {
            self.pass_on(turn);
            self.renew_now_and_then();
        }
        answer
    }

    /// Asks one member after the other until one answers or the time is over: for what may happen twice.
    async fn ask<I, O>(&self, path: &'static str, message: I) -> Result<O, Status>
    where
        I: Message + Clone + 'static,
        O: Message + Default + 'static,
    {
        let ends = Instant::now() + ANSWER_WITHIN;
        loop {
            match self.call(path, message.clone()).await {
                Err(status) if is_passing(status.code()) && Instant::now() < ends => {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                answer => return answer,
            }
        }
    }

    /// Reads.
    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        self.ask("/etcdserverpb.KV/Range", request).await
    }

    /// A lease of so many seconds or more. One whose answer is lost ends without having been used.
    pub(super) async fn grant(&self, ttl_s: i64) -> Result<Granted, Status> {
        let request = LeaseGrantRequest { ttl: ttl_s };
        let answer: LeaseGrantResponse = self.ask("/etcdserverpb.Lease/LeaseGrant", request).await?;
        match Lease::new(u64::try_from(answer.id).unwrap_or_default()) {
            Some(lease) if answer.error.is_empty() && answer.ttl >= ttl_s => {
                Ok(Granted { lease, ttl_s: u64::try_from(answer.ttl).unwrap_or_default() })
            }
            _ => Err(Status::unknown(format!("no lease of {ttl_s} s: {} s granted {}", answer.ttl, answer.error))),
        }
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    pub(super) async fn compact(&self, revision: i64) -> Result<(), Status> {
        let done: Result<Ignored, Status> = self.call("/etcdserverpb.KV/Compact", CompactionRequest { revision }).await;
        done.map(drop)
    }

    /// Begins a watch. It lasts as long as the stream is held, and ends where the member loses its cluster.
    pub(super) async fn watch(&self, request: WatchRequest) -> Result<Streaming<WatchResponse>, Status> {
        let (_, mut client) = self.client();
        let open = async {
            client.ready().await.map_err(|error| Status::unavailable(stdx::error::chain(&error)))?;
            // The stream of requests must not end, or the watch does.
            let requests = futures::stream::once(std::future::ready(request));
            let mut requests = Request::new(futures::StreamExt::chain(requests, futures::stream::pending()));
            requests.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
            let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
            client.streaming(requests, path, ProstCodec::<WatchRequest, WatchResponse>::default()).await
        };
        let stream = tokio::time::timeout(ANSWER_WITHIN, open).await;
        stream.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))).map(tonic::Response::into_inner)
    }
}

fn tls_config(tls: &Tls) -> Result<ClientTlsConfig, Unusable> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| Unusable::File(path.clone(), error));
    Ok(ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&tls.ca)?))
        .identity(Identity::from_pem(read(&tls.certificate)?, read(&tls.key)?)))
}

/// Whether another member, or this one a little later, may answer.
fn is_passing(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled | Code::Internal)
}

/// What a failed request means to the store's users.
pub(super) fn failed(doing: &'static str, status: Status) -> Error {
    let answer = Answer { code: status.code(), message: status.message().to_string() };
    Error::Backend { doing, source: Box::new(answer) }
}

/// Whether a revision was asked for that etcd no longer has.
pub(super) fn is_compacted(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("compacted")
}

/// Whether a write was refused for a lease that is over.
pub(super) fn is_lease_gone(error: &Error) -> bool {
    let Error::Backend { source, .. } = error else { return false };
    let answer = source.downcast_ref::<Answer>();
    answer.is_some_and(|answer| answer.code == Code::NotFound && answer.message.contains("lease"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_fails_on_one_member_together_passes_to_the_next_and_not_over_it() {
        // The first takes no connection, the second takes them and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = |listener: &std::net::TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
        let endpoints = vec![url(&closed), url(&silent), url(&closed)];
        drop(closed);
        let connection = Connection::new(endpoints, None).expect("addresses");
        let asked = (0..8).map(|_| connection.txn(TxnRequest::default()));
        for answer in futures::future::join_all(asked).await {
            assert_eq!(answer.expect_err("is refused").code(), Code::Unavailable);
        }
        assert_eq!(connection.at.load(Ordering::Relaxed), 1);
    }
}
