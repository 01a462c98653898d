//! A command that runs on a host: its streams, its end.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::OwnedSemaphorePermit;

use crate::become_root::Gate;
use crate::command::{Output, Status};
use crate::error::Error;

/// `SSH_EXTENDED_DATA_STDERR` of RFC 4254.
const STDERR: u32 = 1;

/// Something a running command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It wrote to standard output.
    Stdout(Bytes),
    /// It wrote to standard error.
    Stderr(Bytes),
}

/// A command that runs. Keep reading it: all commands of a host share one connection, and output that
/// nobody reads holds the others up. Dropping it leaves the command without input and output.
pub struct Process {
    host: String,
    summary: String,
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    status: Option<Status>,
    /// What the command wrote before sudo's last word was read, and together with it.
    pending: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

/// Asks the server to run `line` and waits until it does; where a gate stands before the command, passes it.
pub(crate) async fn start(
    host: String,
    summary: String,
    channel: Channel<Msg>,
    permit: OwnedSemaphorePermit,
    line: String,
    gate: Option<Gate>,
) -> Result<Process, Error> {
    let (read, write) = channel.split();
    let write = Arc::new(write);
    let mut process = Process { host, summary, read, write, status: None, pending: VecDeque::new(), _permit: permit };
    let sent = process.write.exec(true, line).await;
    sent.map_err(|source| Error::Session {
        host: process.host.clone(),
        doing: "starting a command",
        source: source.into(),
    })?;
    loop {
        match process.read.wait().await {
            Some(ChannelMsg::Success) => break,
            Some(ChannelMsg::Failure) => {
                return Err(Error::ExecRefused { host: process.host.clone(), command: process.summary.clone() });
            }
            Some(_) => {}
            None => return Err(process.closed()),
        }
    }
    if let Some(gate) = gate {
        process.pass(gate).await?;
    }
    Ok(process)
}

impl Process {
    fn closed(&self) -> Error {
        Error::Closed { host: self.host.clone(), command: self.summary.clone() }
    }

    /// Answers sudo until it starts the command.
    async fn pass(&mut self, mut gate: Gate) -> Result<(), Error> {
        loop {
            match self.next().await? {
                Some(Event::Stderr(data)) => {
                    let step = gate.read(&data).map_err(|reason| gate.refusal(&self.host, reason))?;
                    if let Some(answer) = step.answer {
                        self.write(answer).await?;
                    }
                    if let Some(rest) = step.started {
                        self.pending = gate.early().map(Event::Stdout).collect();
                        self.pending.extend((!rest.is_empty()).then_some(Event::Stderr(rest)));
                        return Ok(());
                    }
                }
                Some(Event::Stdout(data)) => {
                    gate.keep(data).map_err(|reason| gate.refusal(&self.host, reason))?;
                }
                None => return Err(gate.refusal(&self.host, gate.said())),
            }
        }
    }

    /// The next thing the command does; `None` when it has ended and all its output was read.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        if let Some(event) = self.pending.pop_front() {
            return Ok(Some(event));
        }
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Data { data }) => return Ok(Some(Event::Stdout(data))),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => return Ok(Some(Event::Stderr(data))),
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(Status::Exited(exit_status)),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    self.status = Some(Status::Signaled(signal_text(&signal_name)));
                }
                Some(ChannelMsg::Close) | None if self.status.is_some() => return Ok(None),
                Some(ChannelMsg::Close) | None => return Err(self.closed()),
                Some(_) => {}
            }
        }
    }

    /// How the command ended; `None` while it runs.
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// Writes to the command's standard input; waits while the command does not read.
    pub async fn write(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.stdin().write(data).await
    }

    /// Ends the command's standard input.
    pub async fn close_stdin(&self) -> Result<(), Error> {
        self.stdin().close().await
    }

    pub(crate) fn stdin(&self) -> Stdin {
        Stdin { host: self.host.clone(), write: self.write.clone() }
    }

    /// Asks the server to end the command, and lets go of it. A command that sudo started may live on.
    pub async fn kill(&mut self) {
        // Either fails only when the connection is gone, and the command with it.
        let _gone = self.write.signal(Sig::TERM).await;
        let _gone = self.write.close().await;
    }

    /// Feeds `stdin`, collects the output, waits for the end.
    pub(crate) async fn finish(&mut self, stdin: Bytes, limit_bytes: usize) -> Result<Output, Error> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (host, command) = (self.host.clone(), self.summary.clone());
        let collect = |event: &Event| {
            let (buffer, data) = match event {
                Event::Stdout(data) => (&mut stdout, data),
                Event::Stderr(data) => (&mut stderr, data),
            };
            if buffer.len() + data.len() > limit_bytes {
                return Err(Error::OutputTooLarge { host: host.clone(), command: command.clone(), limit_bytes });
            }
            buffer.extend_from_slice(data);
            Ok(())
        };
        let ended = self.finish_with(stdin, collect).await;
        if matches!(ended, Err(Error::OutputTooLarge { .. })) {
            self.kill().await;
        }
        Ok(Output { status: ended?, stdout, stderr })
    }

    /// As `finish`, with every piece of output given to `on_event`.
    pub(crate) async fn finish_with(
        &mut self,
        stdin: Bytes,
        on_event: impl FnMut(&Event) -> Result<(), Error>,
    ) -> Result<Status, Error> {
        let input = self.stdin();
        let writing = async move {
            input.write(stdin).await?;
            input.close().await
        };
        self.feed(writing, on_event).await
    }

    /// Runs `writing`, which feeds the command, while its output is read, and waits for its end.
    ///
    /// Reading goes on whatever the writer does: a command that ends early leaves its writer waiting for
    /// room that never comes.
    pub(crate) async fn feed(
        &mut self,
        writing: impl Future<Output = Result<(), Error>>,
        mut on_event: impl FnMut(&Event) -> Result<(), Error>,
    ) -> Result<Status, Error> {
        let mut writing = std::pin::pin!(writing);
        let mut written = false;
        loop {
            tokio::select! {
                event = self.next() => match event? {
                    Some(event) => on_event(&event)?,
                    None => break,
                },
                result = &mut writing, if !written => {
                    written = true;
                    // A command that stopped reading still says how it ended; a file that cannot be read does not.
                    if let Err(error @ Error::LocalFile { .. }) = result {
                        return Err(error);
                    }
                }
            }
        }
        self.status.clone().ok_or_else(|| self.closed())
    }
}

/// The standard input of a running command.
pub(crate) struct Stdin {
    host: String,
    write: Arc<ChannelWriteHalf<Msg>>,
}

impl Stdin {
    /// Writes all of `data`; waits while the command does not read.
    pub(crate) async fn write(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.write.data_bytes(data).await.map_err(|source| self.failed(source))
    }

    /// Ends the input.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.write.eof().await.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: russh::Error) -> Error {
        Error::Session { host: self.host.clone(), doing: "writing to a command", source: source.into() }
    }
}

fn signal_text(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        other => format!("{other:?}"),
    }
}
