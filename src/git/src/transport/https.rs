//! Git's smart HTTP protocol: each question of libgit2 is a request of its own, and its answer a stream.

use std::io::{self, Read, Write};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::client::{self, Client};
use super::{FREE, SILENCE, fetch_only, git_error, io_error};
use crate::Error;
use crate::access::HttpsAccess;

/// libgit2 holds the whole list in memory: some 500,000 references.
const MAX_LISTING_BYTES: u64 = 64 << 20;
/// libgit2 stops reading at the end of what it understands; what HTTP has after that is little.
const MAX_REST_BYTES: usize = 64 << 10;
/// What libgit2 asks at once: a line for each reference that is wanted, in the worst case all of them.
const MAX_QUESTION_BYTES: usize = 64 << 20;

/// The way to one repository.
pub(super) struct Https {
    client: Arc<Mutex<Client>>,
    runtime: Arc<Runtime>,
}

impl Https {
    pub(super) fn new(access: Arc<HttpsAccess>, runtime: Arc<Runtime>) -> Self {
        Self { client: Arc::new(Mutex::new(Client::new(access))), runtime }
    }
}

impl SmartSubtransport for Https {
    fn action(&self, _url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let state = match service {
            Service::UploadPackLs => {
                let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
                let listing = self.runtime.block_on(client.listing()).map_err(|error| git_error(&error))?;
                State::Answer { body: listing, room_bytes: MAX_LISTING_BYTES }
            }
            Service::UploadPack => State::Question(Vec::new()),
            Service::ReceivePackLs | Service::ReceivePack => return fetch_only(service),
        };
        let (client, runtime) = (self.client.clone(), self.runtime.clone());
        Ok(Box::new(Stream { client, runtime, state, unread: Bytes::new() }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

enum State {
    /// What libgit2 wrote so far; it is sent when the answer is read.
    Question(Vec<u8>),
    /// The server's answer, and how much more of it is taken.
    Answer {
        body: Incoming,
        room_bytes: u64,
    },
    Ended,
}

/// One question and its answer.
struct Stream {
    client: Arc<Mutex<Client>>,
    runtime: Arc<Runtime>,
    state: State,
    unread: Bytes,
}

impl Stream {
    /// More of the answer; empty at its end.
    fn next(&mut self) -> Result<Bytes, Error> {
        if let State::Question(question) = &mut self.state {
            let question = Bytes::from(mem::take(question));
            let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
            let body = self.runtime.block_on(client.upload_pack(question))?;
            // A pack goes to the disk; the worker's time bounds it.
            self.state = State::Answer { body, room_bytes: u64::MAX };
        }
        while let State::Answer { body, room_bytes } = &mut self.state {
            let frame = self.runtime.block_on(async { timeout(SILENCE, body.frame()).await });
            match frame {
                Err(_) => return Err(client::silent()),
                Ok(Some(Err(error))) => return Err(client::broken(&error)),
                Ok(None) => self.state = State::Ended,
                Ok(Some(Ok(frame))) => {
                    // Trailers say nothing to us.
                    let data = frame.into_data().unwrap_or_default();
                    let room = room_bytes.checked_sub(data.len() as u64);
                    *room_bytes = room.ok_or_else(|| {
                        Error::Failed(format!("the list of references is larger than {} MiB", MAX_LISTING_BYTES >> 20))
                    })?;
                    if !data.is_empty() {
                        return Ok(data);
                    }
                }
            }
        }
        Ok(Bytes::new())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.unread = self.next().map_err(|error| io_error(&error))?;
        }
        Ok(super::take(&mut self.unread, buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let refused = |why: String| Err(io_error(&Error::Failed(why)));
        match &mut self.state {
            State::Question(question) if question.len() + data.len() <= MAX_QUESTION_BYTES => {
                question.extend_from_slice(data);
                Ok(data.len())
            }
            State::Question(_) => refused(format!("more is asked than {} MiB", MAX_QUESTION_BYTES >> 20)),
            State::Answer { .. } | State::Ended => refused("the question was asked already".to_owned()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    /// Reads what is left, so that the connection can be used again.
    fn drop(&mut self) {
        let State::Answer { body, .. } = &mut self.state else { return };
        let rest = async {
            let mut rest_bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                rest_bytes += frame.data_ref().map_or(0, Bytes::len);
                if rest_bytes > MAX_REST_BYTES {
                    break;
                }
            }
        };
        // A server that keeps its end back is asked over another connection.
        let _late = self.runtime.block_on(async { timeout(FREE, rest).await });
    }
}
