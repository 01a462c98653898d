//! Who we are to a server and it to us: read before anything is connected, so that a missing file says so. Runs in
//! the worker only.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ssh::Secret;
use url::Url;

use crate::Error;
use crate::request::Auth;
use crate::url::{self as repository_url, SshPlace, Way};

/// No password or known_hosts text is larger.
const MAX_SECRET_BYTES: u64 = 1 << 20;
/// The user name for https where only a password is given.
const USUAL_USER: &str = "git";

/// The way to a repository, with what is needed on it.
#[derive(Debug)]
pub(crate) enum Access {
    /// Over https.
    Https(HttpsAccess),
    /// Over ssh.
    Ssh(SshAccess),
    /// On this machine.
    File,
}

/// A repository over https.
#[derive(Debug)]
pub(crate) struct HttpsAccess {
    /// Where it is.
    pub url: Url,
    /// User name, and password or token.
    pub credentials: Option<(String, Secret)>,
}

/// A repository over ssh.
#[derive(Debug)]
pub(crate) struct SshAccess {
    /// Where it is.
    pub place: SshPlace,
    /// Our private key.
    pub key_file: PathBuf,
    /// The lines that tell the server from others; not empty.
    pub known_hosts_file: PathBuf,
}

impl Access {
    /// What `auth` gives for `url`.
    ///
    /// # Errors
    /// [`Error::Url`], and [`Error::Failed`] for what is missing or cannot be read.
    pub(crate) fn new(url: &str, auth: &Auth) -> Result<Self, Error> {
        match repository_url::parse(url)? {
            Way::File => Ok(Self::File),
            Way::Https => {
                let parsed = Url::parse(url).map_err(|error| Error::Url(format!("{url}: {error}")))?;
                let password = auth.password_file.as_deref().map(read_text).transpose()?;
                let username = auth.username.as_deref().unwrap_or(USUAL_USER);
                let credentials =
                    |text: String| (username.to_owned(), Secret::new(text.trim_end_matches(['\r', '\n'])));
                Ok(Self::Https(HttpsAccess { url: parsed, credentials: password.map(credentials) }))
            }
            Way::Ssh(place) => {
                let key = auth.ssh_key_file.clone();
                let key_file = key.ok_or_else(|| Error::Failed(format!("{url}: ssh needs auth.sshKey")))?;
                let known_hosts = auth.known_hosts_file.as_deref().map(read_text).transpose()?;
                match (&auth.known_hosts_file, known_hosts.as_deref().map(str::trim)) {
                    (None, _) | (_, None | Some("")) => Err(Error::Failed(format!(
                        "{url}: ssh needs auth.knownHosts, so that the server can be told from others"
                    ))),
                    (Some(file), _) => Ok(Self::Ssh(SshAccess { place, key_file, known_hosts_file: file.clone() })),
                }
            }
        }
    }
}

fn read_text(path: &Path) -> Result<String, Error> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        fs::File::open(path)?.take(MAX_SECRET_BYTES).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|error| Error::Failed(format!("read {}: {error}", path.display())))
}
