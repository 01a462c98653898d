//! From the inventory to sessions: one connection a host, kept for the whole run.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use inventory::{Cluster, Escalation, Host, HostKeyPolicy};
use ssh::{Auth, ClientConfig, KeyFile, Remote, Secret, Session, Target};

use crate::error::Error;
use crate::secrets;

/// The hosts of a cluster that were reached, and why the others were not.
#[derive(Default)]
pub struct Fleet {
    sessions: BTreeMap<String, Box<dyn Remote>>,
    unreachable: BTreeMap<String, String>,
}

impl Fleet {
    /// A fleet of given hosts: for tests.
    pub fn of(sessions: impl IntoIterator<Item = Box<dyn Remote>>) -> Self {
        let sessions = sessions.into_iter().map(|session| (session.name().to_owned(), session)).collect();
        Self { sessions, unreachable: BTreeMap::new() }
    }

    /// The session of a host.
    ///
    /// # Errors
    /// [`Error::Skipped`] with the reason it was not reached.
    pub fn session(&self, host: &str) -> Result<&dyn Remote, Error> {
        match (self.sessions.get(host), self.unreachable.get(host)) {
            (Some(session), _) => Ok(session.as_ref()),
            (None, Some(reason)) => Err(Error::Skipped { reason: reason.clone() }),
            (None, None) => Err(Error::Skipped { reason: "there is no connection to the host".to_owned() }),
        }
    }
}

/// Connects to every host, several at a time. A host that cannot be reached does not keep back the others.
pub async fn connect(cluster: &Cluster) -> Fleet {
    let config = ClientConfig::load();
    let mut fleet = Fleet::default();
    let mut connecting = futures::stream::iter(&cluster.hosts)
        .map(|host| {
            let config = &config;
            async move {
                let session = match config {
                    Ok(config) => connect_host(host, config).await,
                    Err(error) => Err(Error::Skipped { reason: stdx::error::chain(error) }),
                };
                (host.name.clone(), session)
            }
        })
        .buffer_unordered(cluster.options.parallel.max(1));
    while let Some((name, session)) = connecting.next().await {
        match session {
            Ok(session) => _ = fleet.sessions.insert(name, Box::new(session)),
            Err(error) => _ = fleet.unreachable.insert(name, error.told()),
        }
    }
    drop(connecting);
    fleet
}

async fn connect_host(host: &Host, config: &ClientConfig) -> Result<Session, Error> {
    let target = target(host, config).await?;
    let session = ssh::connect(&target).await.map_err(|error| Error::Reach(Box::new(error)))?;
    if host.r#become.method == Escalation::None {
        return Ok(session);
    }
    let password = match &host.r#become.password {
        Some(reference) => Some(Secret::new(secrets::resolve_text(reference).await?)),
        None => None,
    };
    Ok(session.becoming_root(ssh::Become { password }))
}

/// ssh_config's word for the host, then the inventory's over it.
async fn target(host: &Host, config: &ClientConfig) -> Result<Target, Error> {
    let doing = || format!("reading ssh_config for {}", host.address);
    let known = config.host(&host.address).map_err(Error::ssh(doing()))?;
    let mut target = config.target(&host.address).map_err(Error::ssh(doing()))?;
    target.name = host.name.clone();
    match &host.ssh.user {
        Some(user) => target.user = user.clone(),
        // ssh_config's user, or root: the operator's own name is seldom one that hosts know.
        None if known.user.is_none() => target.user = "root".to_owned(),
        None => {}
    }
    target.port = host.ssh.port.unwrap_or(target.port);
    target.timeouts.connect = host.ssh.connect_timeout;
    if let Some(path) = &host.ssh.identity_file {
        let mut key = KeyFile::new(path);
        if let Some(reference) = &host.ssh.passphrase {
            key.passphrase = Some(ssh::SecretSource::fixed(Secret::new(secrets::resolve_text(reference).await?)));
        }
        target.auth = vec![Auth::Key(key)];
    }
    if let Some(reference) = &host.ssh.password {
        target.auth.push(Auth::Password(Secret::new(secrets::resolve_text(reference).await?)));
    }
    let files = || host.ssh.host_keys.file.clone().map_or_else(ssh::host_key::usual_files, |file| vec![file]);
    target.host_key = match host.ssh.host_keys.policy {
        HostKeyPolicy::Strict => ssh::HostKeyPolicy::Strict(files()),
        HostKeyPolicy::AcceptNew => ssh::HostKeyPolicy::AcceptNew(files()),
        HostKeyPolicy::Pinned => {
            let pins = host.ssh.host_keys.fingerprints.iter().map(String::as_str);
            ssh::HostKeyPolicy::pinned(pins).map_err(|error| Error::Skipped { reason: stdx::error::chain(&error) })?
        }
    };
    Ok(target)
}
