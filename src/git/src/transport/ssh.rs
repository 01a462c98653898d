//! Git over ssh: `git-upload-pack` on the server, by the program's own SSH sessions. The server must be in the
//! known_hosts lines, the key is the one of the settings, and nothing else is tried.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use ssh::{Auth, Command, Event, HostKeyError, HostKeyPolicy, KeyFile, Process, Session, Target, Timeouts};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{CONNECT, SILENCE, fetch_only, git_error, io_error};
use crate::Error;
use crate::access::SshAccess;

/// What is kept of the server's complaints.
const MAX_COMPLAINT_BYTES: usize = 4096;

/// The way to one repository.
pub(super) struct Ssh {
    access: Arc<SshAccess>,
    runtime: Arc<Runtime>,
}

impl Ssh {
    pub(super) fn new(access: Arc<SshAccess>, runtime: Arc<Runtime>) -> Self {
        Self { access, runtime }
    }
}

impl SmartSubtransport for Ssh {
    fn action(&self, _url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        // One stream carries the whole talk: libgit2 asks for it once, for the list of references.
        if service != Service::UploadPackLs {
            return fetch_only(service);
        }
        let opened = self.runtime.block_on(open(&self.access));
        let (session, process) = opened.map_err(|error| git_error(&explain(error, &self.access)))?;
        let (runtime, unread, complaint) = (self.runtime.clone(), Bytes::new(), Vec::new());
        Ok(Box::new(Stream { runtime, session, process, unread, complaint }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

async fn open(access: &SshAccess) -> Result<(Session, Process), ssh::Error> {
    let place = &access.place;
    let target = Target {
        port: place.port,
        auth: vec![Auth::Key(KeyFile::new(&access.key_file))],
        host_key: HostKeyPolicy::Strict(vec![access.known_hosts_file.clone()]),
        timeouts: Timeouts { connect: CONNECT, ..Timeouts::default() },
        ..Target::new(&place.host, &place.user)
    };
    let session = ssh::connect(&target).await?;
    let process = session.start(&Command::plain("git-upload-pack").arg(&place.path)).await?;
    Ok((session, process))
}

/// What went wrong, in the words of the settings that mend it.
fn explain(error: ssh::Error, access: &SshAccess) -> Error {
    Error::Failed(match &error {
        ssh::Error::HostKey { source, .. } => match source.as_ref() {
            HostKeyError::Unknown { host, kind, shown } => format!(
                "{host} is not in knownHosts; it showed the {kind} key {shown}: verify it, then add what `ssh-keyscan` tells of the host"
            ),
            HostKeyError::Changed { host, kind, at, known, shown } => format!(
                "{host} showed the {kind} key {shown}, but {at} has {known}: the server was replaced or someone stands between"
            ),
            _ => stdx::error::chain(&error),
        },
        ssh::Error::AuthRejected { user, .. } => {
            format!("the server refused the ssh key for user {user}: add its public half there")
        }
        ssh::Error::PassphraseNeeded { .. } => {
            format!("the ssh key {} has a passphrase: give auth.sshKey one without", access.key_file.display())
        }
        _ => stdx::error::chain(&error),
    })
}

/// The talk with `git-upload-pack`.
struct Stream {
    runtime: Arc<Runtime>,
    session: Session,
    process: Process,
    unread: Bytes,
    complaint: Vec<u8>,
}

impl Stream {
    /// More of its output; empty at its end.
    fn next(&mut self) -> Result<Bytes, Error> {
        loop {
            let next = self.runtime.block_on(async { timeout(SILENCE, self.process.next()).await });
            match next {
                Ok(Ok(Some(Event::Stdout(data)))) if data.is_empty() => {}
                Ok(Ok(Some(Event::Stdout(data)))) => return Ok(data),
                Ok(Ok(Some(Event::Stderr(data)))) => {
                    let room = MAX_COMPLAINT_BYTES.saturating_sub(self.complaint.len());
                    self.complaint.extend_from_slice(&data[..data.len().min(room)]);
                }
                Ok(Ok(None)) => return self.ended().map(|()| Bytes::new()),
                Ok(Err(error)) => return Err(self.broken(stdx::error::chain(&error))),
                Err(_) => return Err(self.broken(format!("the server was silent for {} s", SILENCE.as_secs()))),
            }
        }
    }

    fn ended(&self) -> Result<(), Error> {
        match self.process.status() {
            Some(status) if !status.success() => Err(self.broken(format!("git-upload-pack {status}"))),
            _ => Ok(()),
        }
    }

    /// `what` happened; the server's own words go before it.
    fn broken(&self, what: String) -> Error {
        let said = String::from_utf8_lossy(&self.complaint);
        Error::Failed(match super::one_line(&said) {
            said if said.is_empty() => what,
            said => format!("the server says: {said} ({what})"),
        })
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
        let writing = self.process.write(Bytes::copy_from_slice(data));
        let written = self.runtime.block_on(async { timeout(SILENCE, writing).await });
        match written {
            Ok(Ok(())) => Ok(data.len()),
            // A server that stopped listening has said why.
            Ok(Err(error)) => Err(io_error(&match self.next() {
                Err(said) => said,
                Ok(_) => self.broken(stdx::error::chain(&error)),
            })),
            Err(_) => Err(io_error(&self.broken(format!("the server took nothing for {} s", SILENCE.as_secs())))),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // So that the server need not wait for the connection to time out; a dead one is not waited for.
        const GOODBYE: Duration = Duration::from_secs(1);
        let _gone = self.runtime.block_on(async { timeout(GOODBYE, self.session.close()).await });
    }
}
