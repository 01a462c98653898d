//! The worker's side of the pipe: one request in, one answer out.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use git2::ConfigLevel;

use crate::access::Access;
use crate::repository::Local;
use crate::request::{Answer, Request};
use crate::{Error, read, transport};

/// A request is a few paths and names.
const MAX_REQUEST_BYTES: u64 = 1 << 20;

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
            transport::register(Access::new(url, auth)?)?;
            Ok(Answer::Fetched(Local::open(repository)?.fetch(url, reference)?))
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
        // A repository that is read by file:// may belong to any user: nothing in it is ever executed.
        // SAFETY: as above.
        unsafe { git2::opts::set_verify_owner_validation(false) }
    };
    set().map_err(|error| Error::Failed(format!("set up libgit2: {}", error.message())))
}
