//! Becoming root through sudo without a terminal and without a secret in sight of other users.
//!
//! sudo is told to prompt with a random word, so that the password is sent when sudo asks for it and never
//! otherwise: where no password is needed it would end up in the command's standard input. A second random
//! word says that sudo has started the command; what comes before it is sudo's talk.

use bytes::{Bytes, BytesMut};
use rand::Rng;

use crate::error::Error;
use crate::quote::{join, quote};
use crate::secret::Secret;

/// sudo's lecture and complaints are shorter.
const TALK_LIMIT_BYTES: usize = 16 << 10;
/// More than this does not come before a word that was written first: the server looks at both outputs in turn.
const EARLY_LIMIT_BYTES: usize = 4 << 20;

/// How to become root.
#[derive(Debug, Clone, Default)]
pub struct Become {
    /// The user's password; without one sudo must not ask (`sudo -n`).
    pub password: Option<Secret>,
}

impl Become {
    /// `line` as root, and the gate that lets the command's own output begin.
    pub(crate) fn wrap(&self, line: &str, user: &str) -> (String, Gate) {
        let mut random = rand::rng();
        let prompt = format!("rkctl-prompt-{:032x}", random.random::<u128>());
        let started = format!("rkctl-start-{:032x}", random.random::<u128>());
        let inner = format!("printf %s {started} >&2; exec {line}");
        let how = match self.password {
            Some(_) => format!("sudo -S -p {}", quote(&prompt)),
            None => "sudo -n".to_owned(),
        };
        let wrapped = format!("{how} -H -- {}", join(["/bin/sh", "-c", &inner]));
        let gate = Gate {
            user: user.to_owned(),
            password: self.password.clone(),
            prompt,
            started,
            prompts: 0,
            buffer: BytesMut::new(),
            early: Vec::new(),
        };
        (wrapped, gate)
    }
}

/// What to do after sudo said something.
pub(crate) struct Step {
    /// Send this to sudo.
    pub answer: Option<Bytes>,
    /// The command runs; this is the beginning of its standard error.
    pub started: Option<Bytes>,
}

/// The talk with sudo before the command starts.
pub(crate) struct Gate {
    user: String,
    password: Option<Secret>,
    prompt: String,
    started: String,
    prompts: usize,
    buffer: BytesMut,
    /// Standard output that overtook the word that the command runs: the server reads the two outputs apart.
    early: Vec<Bytes>,
}

impl Gate {
    /// Takes what came on standard error; an error is sudo's reason to refuse.
    pub(crate) fn read(&mut self, data: &[u8]) -> Result<Step, String> {
        if self.buffer.len() + data.len() > TALK_LIMIT_BYTES {
            return Err("it talks without end".to_owned());
        }
        self.buffer.extend_from_slice(data);
        if let Some(at) = find(&self.buffer, self.started.as_bytes()) {
            let mut rest = self.buffer.split_off(at);
            let rest = rest.split_off(self.started.len()).freeze();
            return Ok(Step { answer: None, started: Some(rest) });
        }
        let Some(at) = find(&self.buffer, self.prompt.as_bytes()) else {
            return Ok(Step { answer: None, started: None });
        };
        self.buffer = self.buffer.split_off(at + self.prompt.len());
        self.prompts += 1;
        match &self.password {
            Some(password) if self.prompts == 1 => {
                Ok(Step { answer: Some(Bytes::from(format!("{}\n", password.expose()))), started: None })
            }
            _ => Err("the password is wrong".to_owned()),
        }
    }

    /// Keeps what came on standard output; an error is the reason to give up.
    pub(crate) fn keep(&mut self, data: Bytes) -> Result<(), String> {
        if self.early.iter().map(Bytes::len).sum::<usize>() + data.len() > EARLY_LIMIT_BYTES {
            return Err("it talks without end".to_owned());
        }
        self.early.push(data);
        Ok(())
    }

    /// What the command wrote to standard output before it was known to run.
    pub(crate) fn early(self) -> impl Iterator<Item = Bytes> {
        self.early.into_iter()
    }

    /// What sudo said, without the prompt.
    pub(crate) fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.buffer).trim().replace('\n', " | ");
        if text.contains("a password is required") {
            return "it wants a password: give one for becoming root, or allow the user to do so without (NOPASSWD)"
                .to_owned();
        }
        if text.is_empty() { "it ended without a word".to_owned() } else { text }
    }

    pub(crate) fn refusal(&self, host: &str, reason: String) -> Error {
        Error::Sudo { host: host.to_owned(), user: self.user.clone(), reason }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(password: Option<&str>) -> Gate {
        Become { password: password.map(Secret::new) }.wrap("id", "me").1
    }

    #[test]
    fn the_password_is_sent_only_when_sudo_asks_and_never_appears_in_the_command() {
        let how = Become { password: Some(Secret::new("hunter2")) };
        let (line, mut gate) = how.wrap("id", "me");
        assert!(!line.contains("hunter2"), "{line}");
        let talk = format!("We trust you…\n{}", gate.prompt);
        let (first, second) = talk.as_bytes().split_at(20);
        assert!(gate.read(first).unwrap().answer.is_none());
        assert_eq!(gate.read(second).unwrap().answer.unwrap(), "hunter2\n");
        let started = format!("{}warning: x", gate.started);
        assert_eq!(gate.read(started.as_bytes()).unwrap().started.unwrap(), "warning: x");
    }

    #[test]
    fn without_a_question_the_command_starts_and_no_password_is_sent() {
        let mut gate = gate(Some("hunter2"));
        let started = gate.started.clone();
        let step = gate.read(started.as_bytes()).unwrap();
        assert!(step.answer.is_none() && step.started.is_some());
    }

    #[test]
    fn a_second_question_means_the_password_was_wrong() {
        let mut gate = gate(Some("wrong"));
        let prompt = gate.prompt.clone();
        gate.read(prompt.as_bytes()).unwrap();
        let again = format!("\nSorry, try again.\n{prompt}");
        assert_eq!(gate.read(again.as_bytes()).err().unwrap(), "the password is wrong");
    }

    #[test]
    fn output_that_overtakes_the_word_that_the_command_runs_is_kept() {
        let mut gate = gate(None);
        gate.keep(Bytes::from_static(b"uid=0\n")).unwrap();
        gate.keep(Bytes::from_static(b"end\n")).unwrap();
        let started = gate.started.clone();
        assert!(gate.read(started.as_bytes()).unwrap().started.is_some());
        assert_eq!(gate.early().collect::<Vec<_>>().concat(), b"uid=0\nend\n");
    }

    #[test]
    fn endless_talk_is_cut_off() {
        let mut gate = gate(None);
        assert!(gate.keep(Bytes::from(vec![b'x'; EARLY_LIMIT_BYTES + 1])).is_err());
        assert!(gate.read(&vec![b'x'; TALK_LIMIT_BYTES + 1]).is_err());
    }
}
