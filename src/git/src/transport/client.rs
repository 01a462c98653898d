//! A small HTTPS client for one repository: one connection that is kept, credentials when they are asked for and to
//! this server alone, redirects on this server alone, and a bound on every wait.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Position, Url};

use super::redirect::{self, MAX_REDIRECTS};
use super::refusal;
use super::{CONNECT, FREE, SILENCE};
use crate::Error;
use crate::access::HttpsAccess;

/// A server's status line and headers are not read beyond; bodies pass through a buffer of this size.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Git servers send about ten.
const MAX_HEADERS: usize = 100;
/// Some servers answer Git's protocol only to those who say that they are Git.
const AGENT: &str = concat!("git/2.0 (rkctl ", env!("CARGO_PKG_VERSION"), ")");
/// What lists of references and packs come as.
const LISTING_TYPE: &str = "application/x-git-upload-pack-advertisement";
const REQUEST_TYPE: &str = "application/x-git-upload-pack-request";
const RESULT_TYPE: &str = "application/x-git-upload-pack-result";

type Sender = SendRequest<Full<Bytes>>;

/// The client. Its futures run on one runtime, on which its connection lives too.
pub(super) struct Client {
    access: Arc<HttpsAccess>,
    /// Where the repository is, after redirects.
    repository: Url,
    tls: Option<TlsConnector>,
    kept: Option<Sender>,
    /// The server asked for the credentials.
    known: bool,
}

/// What is asked of the server.
struct Question {
    method: Method,
    url: Url,
    accept: &'static str,
    body: Bytes,
}

impl Client {
    pub(super) fn new(access: Arc<HttpsAccess>) -> Self {
        let repository = access.url.clone();
        Self { access, repository, tls: None, kept: None, known: false }
    }

    /// The list of references. Where the server redirects on its own, later requests go there too.
    pub(super) async fn listing(&mut self) -> Result<Incoming, Error> {
        let mut url = redirect::listing(&self.access.url);
        for _ in 0..=MAX_REDIRECTS {
            let question = Question { method: Method::GET, url: url.clone(), accept: "*/*", body: Bytes::new() };
            let response = self.ask(&question).await?;
            if response.status().is_redirection() {
                let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                url = redirect::follow(&url, location).map_err(Error::Failed)?;
                continue;
            }
            let repository = redirect::repository(&url).map_err(Error::Failed)?;
            let body = accepted(response, LISTING_TYPE)?;
            self.repository = repository;
            return Ok(body);
        }
        Err(Error::Failed(format!("the server redirects more than {MAX_REDIRECTS} times")))
    }

    /// The answer to what libgit2 asks of `git-upload-pack`.
    pub(super) async fn upload_pack(&mut self, body: Bytes) -> Result<Incoming, Error> {
        let url = redirect::service(&self.repository);
        let question = Question { method: Method::POST, url, accept: RESULT_TYPE, body };
        accepted(self.ask(&question).await?, RESULT_TYPE)
    }

    /// Asks, and once more with credentials where the server wants them.
    async fn ask(&mut self, question: &Question) -> Result<Response<Incoming>, Error> {
        let response = self.send(question).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let have = self.access.credentials.is_some();
        if let Some(why) = refusal::challenge(response.headers(), have, self.known) {
            return Err(Error::Failed(why));
        }
        drop(response);
        self.known = true;
        let response = self.send(question).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                let why = refusal::challenge(response.headers(), have, true);
                Err(Error::Failed(why.unwrap_or_else(|| "the server refused the credentials".to_owned())))
            }
            _ => Ok(response),
        }
    }

    async fn send(&mut self, question: &Question) -> Result<Response<Incoming>, Error> {
        let request = self.request(question)?;
        // Servers close connections that were idle, and asking twice does no harm: nothing is changed there.
        if let Some(mut sender) = self.kept.take()
            && let Ok(Ok(())) = timeout(FREE, sender.ready()).await
        {
            match timeout(SILENCE, sender.send_request(request.clone())).await {
                Ok(Ok(response)) => {
                    self.kept = Some(sender);
                    return Ok(response);
                }
                Ok(Err(_)) => {}
                Err(_) => return Err(silent()),
            }
        }
        let mut sender = self.connect().await?;
        let response = match timeout(SILENCE, sender.send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => return Err(silent()),
        };
        self.kept = Some(sender);
        Ok(response)
    }

    fn request(&self, question: &Question) -> Result<Request<Full<Bytes>>, Error> {
        let url = &question.url;
        let mut builder = Request::builder()
            .method(&question.method)
            .uri(&url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, question.accept)
            .header(CACHE_CONTROL, "no-cache");
        if question.method == Method::POST {
            builder = builder.header(CONTENT_TYPE, REQUEST_TYPE);
        }
        if let (true, Some((user, password))) = (self.known, &self.access.credentials) {
            let text = STANDARD.encode(format!("{user}:{}", password.expose()));
            let mut value = HeaderValue::from_str(&format!("Basic {text}"))
                .map_err(|_| Error::Failed("auth.username or auth.password cannot be sent".to_owned()))?;
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        let request = builder.body(Full::new(question.body.clone()));
        request.map_err(|error| Error::Failed(format!("ask for {}: {error}", url.path())))
    }

    async fn connect(&mut self) -> Result<Sender, Error> {
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => self.tls.insert(connector()?).clone(),
        };
        let url = &self.access.url;
        let host = url.host_str().unwrap_or_default();
        // The URL's parser has put an address in brackets and a name into its wire form already.
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(443);
        let failed =
            |what: &str, error: &dyn std::error::Error| Error::Failed(format!("{what}: {}", stdx::error::chain(error)));
        let name = ServerName::try_from(plain.to_owned()).map_err(|error| failed(host, &error))?;
        let limit_s = CONNECT.as_secs();
        let found = timeout(CONNECT, ssh::resolve::addresses(plain, port)).await;
        let unknown = format!("the name {host} cannot be resolved");
        let addresses = found
            .map_err(|_| Error::Failed(format!("{unknown}: no answer within {limit_s} s")))?
            .map_err(|error| failed(&unknown, &error))?;
        let connecting = async {
            let stream = ssh::resolve::connect(&addresses).await;
            let stream = stream.map_err(|error| failed(&format!("no connection to {host}:{port}"), &error))?;
            let stream = tls.connect(name, stream).await.map_err(|error| untrusted(host, &error))?;
            let mut http = http1::Builder::new();
            http.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
            let (sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
            // What goes wrong with it is told to whoever waits for an answer.
            tokio::spawn(async move { drop(connection.await) });
            Ok(sender)
        };
        let late = |_| Error::Failed(format!("{host}:{port} did not take the connection within {limit_s} s"));
        timeout(CONNECT, connecting).await.map_err(late)?
    }
}

/// TLS that trusts the machine's roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn connector() -> Result<TlsConnector, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Error::Failed(format!(
            "no trusted root certificates on this machine{why}: install ca-certificates, or name them by SSL_CERT_FILE"
        )));
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn accepted(response: Response<Incoming>, media_type: &str) -> Result<Incoming, Error> {
    match refusal::refusal(response.status(), response.headers(), media_type) {
        Some(why) => Err(Error::Failed(why)),
        None => Ok(response.into_body()),
    }
}

fn untrusted(host: &str, error: &std::io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => Error::Failed(format!(
            "the certificate of {host} is not trusted ({why}): its authority must be among this machine's roots"
        )),
        _ => Error::Failed(format!("TLS with {host}: {}", stdx::error::chain(error))),
    }
}

/// A connection that ended in the middle.
pub(super) fn broken(error: &hyper::Error) -> Error {
    Error::Failed(format!("the connection to the server broke: {}", stdx::error::chain(error)))
}

/// A server that does not answer.
pub(super) fn silent() -> Error {
    Error::Failed(format!("the server was silent for {} s", SILENCE.as_secs()))
}
