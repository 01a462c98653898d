//! A connection to a host that is open and let in; cheap to clone, all clones share the connection.

use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::become_root::Become;
use crate::command::{COMMAND_LIMIT_BYTES, Command, Output, Status};
use crate::error::Error;
use crate::host_key::Verifier;
use crate::process::{self, Event, Process};
use crate::target::{Target, Timeouts};

/// sshd takes ten sessions on one connection unless told otherwise (MaxSessions); two are left for others.
const COMMANDS_AT_ONCE_LIMIT: usize = 8;

/// A busy host takes a while to start a session on a connection that is there; one that vanished is noticed by
/// the signs of life it does not give.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to a host, authenticated. It ends when the last clone is dropped.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
    become_root: Option<Arc<Become>>,
}

struct Inner {
    name: String,
    user: String,
    handle: Handle<Verifier>,
    commands: Arc<Semaphore>,
    timeouts: Timeouts,
    /// The session that the connection runs through must live as long as this one.
    _jump: Option<Session>,
}

impl Session {
    pub(crate) fn new(target: &Target, handle: Handle<Verifier>, jump: Option<Session>) -> Self {
        let inner = Inner {
            name: target.name.clone(),
            user: target.user.clone(),
            handle,
            commands: Arc::new(Semaphore::new(COMMANDS_AT_ONCE_LIMIT)),
            timeouts: target.timeouts,
            _jump: jump,
        };
        Self { inner: Arc::new(inner), become_root: None }
    }

    /// A session over the same connection whose commands and uploads run as root through sudo.
    /// Where the user is root already, nothing changes.
    pub fn becoming_root(&self, how: Become) -> Self {
        let become_root = (self.inner.user != "root").then(|| Arc::new(how));
        Self { inner: self.inner.clone(), become_root }
    }

    /// What messages call the host.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The user that logged in.
    pub fn user(&self) -> &str {
        &self.inner.user
    }

    /// Whether the connection is gone: the host went away, or did not answer signs of life.
    pub fn is_closed(&self) -> bool {
        self.inner.handle.is_closed()
    }

    /// Ends the connection for all clones.
    pub async fn close(&self) {
        // The server may be gone already; then there is nothing left to end.
        let _gone = self.inner.handle.disconnect(Disconnect::ByApplication, "", "en").await;
    }

    pub(crate) fn exec_timeout(&self) -> Duration {
        self.inner.timeouts.exec
    }

    pub(crate) fn failed(&self, doing: &'static str) -> impl FnOnce(russh::Error) -> Error {
        let host = self.inner.name.clone();
        move |source| Error::Session { host, doing, source: source.into() }
    }

    /// Opens a channel within a bound: a host that vanished must not hold up its caller.
    async fn open_channel(&self) -> Result<(Channel<Msg>, OwnedSemaphorePermit), Error> {
        let permit = self.inner.commands.clone().acquire_owned().await;
        let permit = permit.map_err(|_| self.failed("opening a channel")(russh::Error::Disconnect))?;
        match timeout(self.answer_timeout(), self.inner.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok((channel, permit)),
            Ok(Err(source)) => Err(self.failed("opening a channel")(source)),
            Err(_) => Err(self.no_answer("opening a channel")),
        }
    }

    fn answer_timeout(&self) -> Duration {
        self.inner.timeouts.connect.max(CHANNEL_TIMEOUT)
    }

    fn no_answer(&self, phase: &'static str) -> Error {
        let timeout_ms = self.answer_timeout().as_millis();
        Error::ConnectTimeout { host: self.inner.name.clone(), phase, timeout_ms }
    }

    /// Starts a command and hands over its streams: for output that is long or awaited line by line.
    /// The command's `stdin` is not sent; the caller writes to the process.
    pub async fn start(&self, command: &Command) -> Result<Process, Error> {
        let host = self.inner.name.clone();
        let become_root = self.become_root.as_deref().filter(|_| !command.as_login_user);
        let (line, gate) = match become_root {
            Some(how) => {
                let (line, gate) = how.wrap(&command.line(), &self.inner.user);
                (line, Some(gate))
            }
            None => (command.line(), None),
        };
        if line.contains('\0') {
            return Err(Error::CommandNul { host });
        }
        if line.len() > COMMAND_LIMIT_BYTES {
            let (size_bytes, limit_bytes) = (line.len(), COMMAND_LIMIT_BYTES);
            return Err(Error::CommandTooLong { host, command: command.summary(), size_bytes, limit_bytes });
        }
        let (channel, permit) = self.open_channel().await?;
        let started = process::start(host, command.summary(), channel, permit, line, gate);
        match timeout(self.answer_timeout(), started).await {
            Ok(result) => result,
            Err(_) => Err(self.no_answer("starting a command")),
        }
    }

    /// Runs a command to its end, within its bounds of time and output.
    pub async fn exec(&self, command: impl Into<Command>) -> Result<Output, Error> {
        let command = command.into();
        let limit = command.timeout.unwrap_or(self.inner.timeouts.exec);
        let mut process = self.start(&command).await?;
        match timeout(limit, process.finish(command.stdin.clone(), command.output_limit_bytes)).await {
            Ok(result) => result,
            Err(_) => {
                process.kill().await;
                let (host, command) = (self.inner.name.clone(), command.summary());
                Err(Error::ExecTimeout { host, command, timeout_ms: limit.as_millis() })
            }
        }
    }

    /// Runs a command and passes what it writes to `on_event` as it comes; the answer is how it ended.
    pub async fn exec_streaming(
        &self,
        command: impl Into<Command>,
        mut on_event: impl FnMut(&Event) + Send,
    ) -> Result<Status, Error> {
        let command = command.into();
        let limit: Duration = command.timeout.unwrap_or(self.inner.timeouts.exec);
        let mut process = self.start(&command).await?;
        match timeout(
            limit,
            process.finish_with(command.stdin.clone(), |event| {
                on_event(event);
                Ok(())
            }),
        )
        .await
        {
            Ok(result) => result,
            Err(_) => {
                process.kill().await;
                let (host, command) = (self.inner.name.clone(), command.summary());
                Err(Error::ExecTimeout { host, command, timeout_ms: limit.as_millis() })
            }
        }
    }

    /// Opens a TCP connection from the host to `host` and `port` (`direct-tcpip`).
    pub async fn open_tcp(&self, host: &str, port: u16) -> Result<ChannelStream<Msg>, Error> {
        let open = self.inner.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        match timeout(self.answer_timeout(), open).await {
            Ok(Ok(channel)) => Ok(channel.into_stream()),
            Ok(Err(source)) => Err(self.failed("opening a connection from the host")(source)),
            Err(_) => Err(self.no_answer("opening a connection from the host")),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.inner.name)
            .field("user", &self.inner.user)
            .finish_non_exhaustive()
    }
}
