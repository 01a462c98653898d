//! Proving to the server who we are: keys, certificates, an agent, a password, in the target's order.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Error as KeyError, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, ssh_key};

use crate::error::Error;
use crate::host_key::Verifier;
use crate::secret::Secret;
use crate::target::{Auth, KeyFile, Target};

/// Servers end the connection after about six refused attempts; an agent full of keys must not use them all up.
const AGENT_KEYS_LIMIT: usize = 5;

/// Questions of one keyboard-interactive exchange are answered up to this many rounds.
const PROMPT_ROUNDS_LIMIT: usize = 4;

struct Attempt<'a> {
    handle: &'a mut Handle<Verifier>,
    target: &'a Target,
    tried: Vec<String>,
    accepted: String,
}

/// Authenticates as the target's user by the first of its ways that the server takes.
pub(crate) async fn authenticate(handle: &mut Handle<Verifier>, target: &Target) -> Result<(), Error> {
    let mut attempt = Attempt { handle, target, tried: Vec::new(), accepted: String::new() };
    for auth in &target.auth {
        let accepted = match auth {
            Auth::Key(file) => attempt.key_file(file).await?,
            Auth::Agent { socket, only } => attempt.agent(socket.as_deref(), only).await?,
            Auth::Password(password) => attempt.password(password).await?,
        };
        if accepted {
            return Ok(());
        }
    }
    // Asked for nothing, the server says what it takes.
    if attempt.tried.is_empty() && attempt.nothing().await? {
        return Ok(());
    }
    Err(attempt.rejected())
}

impl Attempt<'_> {
    async fn nothing(&mut self) -> Result<bool, Error> {
        let result = self.handle.authenticate_none(&self.target.user).await;
        self.answer(result)
    }

    fn rejected(&self) -> Error {
        let list = |items: &[String]| match items {
            [] => "nothing, since there is no key, agent or password".to_owned(),
            items => items.join(", "),
        };
        Error::AuthRejected {
            host: self.target.label(),
            user: self.target.user.clone(),
            tried: list(&self.tried),
            accepted: if self.accepted.is_empty() { "something else".to_owned() } else { self.accepted.clone() },
        }
    }

    /// Reads a server's answer; a server that hangs up has had enough attempts.
    fn answer(&mut self, result: Result<AuthResult, russh::Error>) -> Result<bool, Error> {
        match result {
            Ok(AuthResult::Success) => Ok(true),
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                let names: Vec<&str> = remaining_methods.iter().map(|method| method.into()).collect();
                if names.is_empty() && self.handle.is_closed() {
                    return Err(self.rejected());
                }
                self.accepted = names.join(", ");
                Ok(false)
            }
            Err(_) if self.handle.is_closed() && !self.tried.is_empty() => Err(self.rejected()),
            Err(source) => {
                Err(Error::Auth { host: self.target.label(), user: self.target.user.clone(), source: source.into() })
            }
        }
    }

    async fn rsa_hash(&self, is_rsa: bool) -> Option<HashAlg> {
        if !is_rsa {
            return None;
        }
        // A server that does not say takes SHA-512 since OpenSSH 7.2; SHA-1 is never used.
        self.handle.best_supported_rsa_hash().await.ok().flatten().flatten().or(Some(HashAlg::Sha512))
    }

    async fn key_file(&mut self, file: &KeyFile) -> Result<bool, Error> {
        let Some(key) = load_key(file).await? else { return Ok(false) };
        let key = Arc::new(key);
        if let Some(certificate) = load_certificate(&file.path) {
            self.tried.push(format!("certificate of {}", file.path.display()));
            let result = self.handle.authenticate_openssh_cert(&self.target.user, key.clone(), certificate).await;
            if self.answer(result)? {
                return Ok(true);
            }
        }
        self.tried.push(format!("key {}", file.path.display()));
        let hash = self.rsa_hash(key.algorithm().is_rsa()).await;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let result = self.handle.authenticate_publickey(&self.target.user, key).await;
        self.answer(result)
    }

    async fn agent(&mut self, socket: Option<&Path>, only: &[PathBuf]) -> Result<bool, Error> {
        let connected = match socket {
            Some(path) => AgentClient::connect_uds(path).await,
            None => AgentClient::connect_env().await,
        };
        let mut agent = match connected {
            Ok(agent) => agent,
            Err(error) => {
                self.tried.push(format!("agent ({error})"));
                return Ok(false);
            }
        };
        if let Some(binding) = self.handle.agent_session_binding() {
            // Agents that do not know the extension refuse it and work without.
            let _unsupported = agent.bind_session(binding, false).await;
        }
        let identities = match agent.request_identities().await {
            Ok(identities) => identities,
            Err(error) => {
                self.tried.push(format!("agent ({error})"));
                return Ok(false);
            }
        };
        let wanted: Vec<PublicKey> = only.iter().filter_map(|path| russh::keys::load_public_key(path).ok()).collect();
        let offered = |identity: &AgentIdentity| {
            only.is_empty() || wanted.iter().any(|key| key.key_data() == identity.public_key().key_data())
        };
        let user = self.target.user.clone();
        for identity in identities.into_iter().filter(offered).take(AGENT_KEYS_LIMIT) {
            let key = identity.public_key().into_owned();
            self.tried.push(format!("agent's key {}", key.fingerprint(HashAlg::Sha256)));
            let hash = self.rsa_hash(key.algorithm().is_rsa()).await;
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(&user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(&user, certificate, hash, &mut agent).await
                }
            };
            match result {
                Ok(answer) => {
                    if self.answer(Ok(answer))? {
                        return Ok(true);
                    }
                }
                // The agent would not sign with this key; the next may do.
                Err(error) => tracing::debug!(%error, "agent did not sign"),
            }
        }
        Ok(false)
    }

    async fn password(&mut self, password: &Secret) -> Result<bool, Error> {
        self.tried.push("password".to_owned());
        let result = self.handle.authenticate_password(&self.target.user, password.expose()).await;
        if self.answer(result)? {
            return Ok(true);
        }
        if !self.accepted.contains("keyboard-interactive") {
            return Ok(false);
        }
        self.tried.push("keyboard-interactive".to_owned());
        let user = self.target.user.clone();
        let mut reply = self.handle.authenticate_keyboard_interactive_start(&user, None).await;
        for _ in 0..PROMPT_ROUNDS_LIMIT {
            let answers = match reply {
                Ok(KeyboardInteractiveAuthResponse::Success) => return Ok(true),
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => match prompts.as_slice() {
                    [] => Vec::new(),
                    [only] if !only.echo => vec![password.expose().to_owned()],
                    _ => return Ok(false),
                },
                Ok(KeyboardInteractiveAuthResponse::Failure { .. }) => return Ok(false),
                Err(source) => return self.answer(Err(source)),
            };
            reply = self.handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        Ok(false)
    }
}

/// Reads and decrypts a key; `None` when it is missing and need not be there.
async fn load_key(file: &KeyFile) -> Result<Option<PrivateKey>, Error> {
    let file = file.clone();
    let path = file.path.clone();
    // Decrypting takes a while on purpose, and the passphrase may come from a person.
    let loaded = tokio::task::spawn_blocking(move || load_key_blocking(&file)).await;
    loaded.map_err(|error| Error::ReadKey { path, source: std::io::Error::other(error) })?
}

fn load_key_blocking(file: &KeyFile) -> Result<Option<PrivateKey>, Error> {
    let path = &file.path;
    let failed = |source| Error::ReadKey { path: path.clone(), source };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.required => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 && metadata.uid() == effective_uid() {
        return Err(Error::KeyPermissions { path: path.clone(), mode });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    match russh::keys::decode_secret_key(&text, None) {
        Ok(key) => return Ok(Some(key)),
        Err(error) if !text.contains("ENCRYPTED") && !is_encrypted(&error) => {
            return Err(Error::DecodeKey { path: path.clone(), source: error.into() });
        }
        Err(_) => {}
    }
    let passphrase =
        file.passphrase.as_ref().and_then(|source| source.ask(&format!("passphrase for {}", path.display())));
    match passphrase {
        Some(passphrase) => {
            russh::keys::decode_secret_key(&text, Some(passphrase.expose())).map(Some).map_err(|source| match source {
                KeyError::SshKey(ssh_key::Error::Crypto) => Error::PassphraseWrong { path: path.clone() },
                source => Error::DecodeKey { path: path.clone(), source: source.into() },
            })
        }
        // A usual place whose key is locked is passed over, as one is that does not exist.
        None if !file.required => Ok(None),
        None => Err(Error::PassphraseNeeded { path: path.clone() }),
    }
}

fn is_encrypted(error: &russh::keys::Error) -> bool {
    matches!(error, KeyError::KeyIsEncrypted | KeyError::SshKey(ssh_key::Error::Encrypted))
}

fn effective_uid() -> u32 {
    fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid())
}

/// The certificate beside a key, where there is one that can be read.
fn load_certificate(key: &Path) -> Option<russh::keys::Certificate> {
    let mut path = key.as_os_str().to_owned();
    path.push("-cert.pub");
    russh::keys::load_openssh_certificate(&path).ok()
}
