//! The far side: credentials, host keys, certificates, and which commit a name means there. Runs in the worker only.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use git2::{CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, Oid, RemoteCallbacks};

use crate::request::Auth;
use crate::url::{self, Way};
use crate::{Error, host_key, repository};

/// libgit2 asks again for ever while credentials are refused.
const MAX_ATTEMPTS: u32 = 3;
/// No key, password or known_hosts text is larger.
const MAX_SECRET_BYTES: u64 = 1 << 20;

/// What the callbacks need, read before anything is connected, so that a missing file says so.
pub(crate) struct Access {
    way: Way,
    ssh_key: Option<String>,
    known_hosts: String,
    user_and_password: Option<(String, String)>,
    /// Why we refused; libgit2 passes on that we did, and not why.
    refusal: RefCell<Option<String>>,
}

impl Access {
    pub(crate) fn new(url: &str, auth: &Auth) -> Result<Self, Error> {
        let way = url::parse(url)?;
        let read = |file: &Option<std::path::PathBuf>| file.as_deref().map(read_text).transpose();
        let password = read(&auth.password_file)?.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        let username = auth.username.clone().unwrap_or_else(|| "git".to_owned());
        let access = Self {
            ssh_key: read(&auth.ssh_key_file)?,
            known_hosts: read(&auth.known_hosts_file)?.unwrap_or_default(),
            user_and_password: password.map(|password| (username, password)),
            refusal: RefCell::default(),
            way,
        };
        match &access.way {
            Way::Ssh { .. } if access.ssh_key.is_none() => Err(Error::Failed(format!("{url}: ssh needs auth.sshKey"))),
            Way::Ssh { .. } if access.known_hosts.trim().is_empty() => Err(Error::Failed(format!(
                "{url}: ssh needs auth.knownHosts, so that the server can be told from others"
            ))),
            _ => Ok(access),
        }
    }

    /// The callbacks of one connection.
    pub(crate) fn callbacks(&self) -> RemoteCallbacks<'_> {
        let mut callbacks = RemoteCallbacks::new();
        let attempts = Rc::new(Cell::new(0));
        callbacks.credentials(move |_, user, allowed| {
            attempts.set(attempts.get() + 1);
            self.credentials(user, allowed, attempts.get())
        });
        callbacks.certificate_check(|certificate, _| match (&self.way, certificate.as_hostkey()) {
            (Way::Ssh { host, port }, Some(key)) => {
                let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
                let shown = key.hostkey().unwrap_or_default();
                host_key::check(&self.known_hosts, host, *port, shown, now_unix_s)
                    .map(|()| CertificateCheckStatus::CertificateOk)
                    .map_err(|why| self.refuse(ErrorCode::Certificate, why))
            }
            (Way::Ssh { .. }, None) => {
                Err(self.refuse(ErrorCode::Certificate, "the server showed no host key".to_owned()))
            }
            // OpenSSL's own verdict, against the roots of the system.
            _ => Ok(CertificateCheckStatus::CertificatePassthrough),
        });
        callbacks
    }

    fn refuse(&self, code: ErrorCode, why: String) -> git2::Error {
        let error = git2::Error::new(code, ErrorClass::Callback, &why);
        self.refusal.replace(Some(why));
        error
    }

    /// Fails with what was being done, and with our own reason where we refused.
    pub(crate) fn failed(&self, what: &str) -> impl FnOnce(git2::Error) -> Error {
        let refusal = self.refusal.take();
        move |error| match refusal {
            Some(why) => Error::Failed(format!("{what}: {why}")),
            None => repository::failed(what)(error),
        }
    }

    fn credentials(&self, user: Option<&str>, allowed: CredentialType, attempt: u32) -> Result<Cred, git2::Error> {
        let refused = |why: &str| Err(self.refuse(ErrorCode::Auth, why.to_owned()));
        if attempt > MAX_ATTEMPTS {
            return refused("the server refused the credentials: check auth");
        }
        let user = user.unwrap_or("git");
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(user);
        }
        if allowed.contains(CredentialType::SSH_KEY)
            && let Some(key) = &self.ssh_key
        {
            if attempt > 2 {
                return refused(&format!("the server refused the ssh key for user {user}: add its public half there"));
            }
            return Cred::ssh_key_from_memory(user, None, key, None);
        }
        if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) {
            return match &self.user_and_password {
                Some((user, password)) if attempt == 1 => Cred::userpass_plaintext(user, password),
                Some(_) => {
                    refused("the server refused the user name or password: check auth.username and auth.password")
                }
                None => refused("the server asks for a user name and password: give auth.username and auth.password"),
            };
        }
        refused("the server takes none of the credentials that were given: check auth")
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

/// A reference as the far side has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A branch, tag or full name, and what it points to there.
    Reference(String, Oid),
    /// A commit, which the far side does not list.
    Commit(Oid),
}

/// What `wanted` (a branch, tag, full reference name or commit) means among the `listed` references. A branch goes
/// before a tag of the same name.
pub(crate) fn target(wanted: &str, listed: &[(String, Oid)]) -> Option<Target> {
    let candidates = [wanted.to_owned(), format!("refs/heads/{wanted}"), format!("refs/tags/{wanted}")];
    for (index, candidate) in candidates.iter().enumerate() {
        // Only a whole name or HEAD stands for itself.
        if index == 0 && !(candidate.starts_with("refs/") || candidate == "HEAD") {
            continue;
        }
        if let Some((name, id)) = listed.iter().find(|(name, _)| name == candidate) {
            return Some(Target::Reference(name.clone(), *id));
        }
    }
    let is_id = wanted.len() == 40 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| Oid::from_str(wanted).ok().map(Target::Commit)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_branches_then_tags_then_commits() {
        let id = |digit: &str| Oid::from_str(&digit.repeat(40)).unwrap();
        let listed = [
            ("HEAD", "1"),
            ("refs/heads/main", "1"),
            ("refs/heads/v1", "2"),
            ("refs/tags/v1", "3"),
            ("refs/tags/v2", "4"),
        ]
        .map(|(name, digit)| (name.to_owned(), id(digit)));
        let reference = |name: &str, digit| Some(Target::Reference(name.to_owned(), id(digit)));
        assert_eq!(target("main", &listed), reference("refs/heads/main", "1"));
        assert_eq!(target("HEAD", &listed), reference("HEAD", "1"));
        assert_eq!(target("v1", &listed), reference("refs/heads/v1", "2"));
        assert_eq!(target("refs/tags/v1", &listed), reference("refs/tags/v1", "3"));
        assert_eq!(target("v2", &listed), reference("refs/tags/v2", "4"));
        assert_eq!(target(&"5".repeat(40), &listed), Some(Target::Commit(id("5"))));
        assert_eq!(target("gone", &listed), None);
        assert_eq!(target("12345", &listed), None);
    }
}
