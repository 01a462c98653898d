//! The way to other hosts: what libgit2 is given in place of transports of its own, which it is built without, so
//! that the program has one TLS (rustls) and one SSH (russh). libgit2 goes on speaking Git's protocol; here are only
//! the streams that it speaks it over. Runs in the worker only.

mod client;
mod https;
mod redirect;
mod refusal;
mod ssh;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use git2::transport::{Service, Transport};
use git2::{ErrorClass, ErrorCode};
use tokio::runtime::Builder;

use crate::Error;
use crate::access::Access;

/// A server that does not take the connection, TLS or SSH included.
const CONNECT: Duration = Duration::from_secs(15);
/// A server that is silent for so long while it is to answer.
const SILENCE: Duration = Duration::from_secs(30);
/// A kept connection that does not get free in this time is left, and another one made.
const FREE: Duration = Duration::from_secs(1);
/// What is told of a failure: people read it.
const MAX_MESSAGE_CHARACTERS: usize = 1000;

/// Makes libgit2 go `access`'s way. To be called once, before the first remote is made.
///
/// # Errors
/// [`Error::Failed`] where libgit2 or the runtime do not take it.
pub(crate) fn register(access: Access) -> Result<(), Error> {
    let failed = |why: String| Error::Failed(format!("set up the git worker's connections: {why}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(error.to_string()))?;
    let runtime = Arc::new(runtime);
    let registered = match access {
        Access::File => Ok(()),
        Access::Https(access) => {
            let access = Arc::new(access);
            // SAFETY: no transport is made meanwhile: the worker has this one thread, and makes remotes only after it.
            unsafe {
                git2::transport::register("https", move |remote| {
                    Transport::smart(remote, true, https::Https::new(access.clone(), runtime.clone()))
                })
            }
        }
        Access::Ssh(access) => {
            let access = Arc::new(access);
            // `user@host:path` goes this way too: libgit2 asks for it as for `ssh://`.
            // SAFETY: as above.
            unsafe {
                git2::transport::register("ssh", move |remote| {
                    Transport::smart(remote, false, ssh::Ssh::new(access.clone(), runtime.clone()))
                })
            }
        }
    };
    registered.map_err(|error| failed(error.message().to_owned()))
}

/// The answer to what is never asked: this program only fetches.
fn fetch_only<T>(service: Service) -> Result<T, git2::Error> {
    Err(git_error(&Error::Failed(format!("{service:?}: repositories are only fetched from"))))
}

fn git_error(error: &Error) -> git2::Error {
    git2::Error::new(ErrorCode::GenericError, ErrorClass::Net, message(error))
}

fn io_error(error: &Error) -> io::Error {
    io::Error::other(message(error))
}

/// The text of an error as libgit2 can carry it: words of a server may be in it, and C ends a text at a NUL.
fn message(error: &Error) -> String {
    one_line(&stdx::error::chain(error))
}

/// Moves what fits of `unread` into `buffer`; answers how many bytes.
fn take(unread: &mut Bytes, buffer: &mut [u8]) -> usize {
    let length = buffer.len().min(unread.len());
    unread.copy_to_slice(&mut buffer[..length]);
    length
}

/// `text` without control characters, cut to what people read.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control()).map(str::trim).filter(|part| !part.is_empty());
    words.collect::<Vec<_>>().join(" | ").chars().take(MAX_MESSAGE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_that_c_can_hold() {
        assert_eq!(one_line("fatal:\u{7} no\r\nsuch\0repository\n"), "fatal: | no | such | repository");
        assert_eq!(one_line(&"x".repeat(5000)).len(), MAX_MESSAGE_CHARACTERS);
    }
}
