//! The worker's side of the pipe: one request in, one answer out.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use git2::ConfigLevel;

use crate::repository::Local;
use crate::request::{Answer, Request};
use crate::{Error, read};

/// A request is a few paths and names.
const MAX_REQUEST_BYTES: u64 = 1 << 20;
/// A server that is silent for so long while it answers, in milliseconds.
const SILENCE_MS: i32 = 30_000;
/// A server that does not take the connection, in milliseconds.
const CONNECT_MS: i32 = 15_000;

/// Reads one request, does it and writes the answer.
///
/// # Errors
/// Only where the pipe fails; what fails beyond is an answer.
pub fn run(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut text = String::new();
    input.by_ref().take(MAX_REQUEST_BYTES).read_to_string(&mut text)?;
    let answer = match serde_json::from_str(&text) {
        Ok(request) => answer(&request).unwrap_or_else(|error| Answer::Failed(stdx::error::chain(&error))),
        Err(error) => Answer::Failed(format!("the request cannot be understood: {error}")),
    };
    serde_json::to_writer(&mut output, &answer).map_err(io::Error::other)?;
    output.flush()
}

fn answer(request: &Request) -> Result<Answer, Error> {
    prepare()?;
    match request {
        Request::Fetch { repository, url, reference, auth } => {
            Ok(Answer::Fetched(Local::open(repository)?.fetch(url, reference, auth)?))
        }
        Request::Read { repository, commit, folders } => {
            let local = Local::open(repository)?;
            let found = read::folders(&local.repository, commit, folders)?;
            let files = found.files.into_iter().map(|(path, bytes)| (path, STANDARD.encode(bytes))).collect();
            Ok(Answer::Read { files, missing: found.missing, too_large: found.too_large })
        }
    }
}

/// Makes libgit2 depend on nothing but the request.
fn prepare() -> Result<(), Error> {
    let set = || -> Result<(), git2::Error> {
        for level in [ConfigLevel::System, ConfigLevel::Global, ConfigLevel::XDG, ConfigLevel::ProgramData] {
            // SAFETY: libgit2's options are process-wide, and the worker has a single thread.
            unsafe { git2::opts::set_search_path(level, "") }?;
        }
        // SAFETY: as above.
        unsafe {
            // A repository that is read by file:// may belong to any user: nothing in it is ever executed.
            git2::opts::set_verify_owner_validation(false)?;
            git2::opts::set_server_timeout_in_milliseconds(SILENCE_MS)?;
            git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_MS)
        }
    };
    set().map_err(|error| Error::Failed(format!("set up libgit2: {}", error.message())))
}
