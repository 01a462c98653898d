//! What can go wrong while hosts are observed and changed.

/// Why a host or the whole run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection or a command failed.
    #[error("while {doing}")]
    Ssh {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: Box<ssh::Error>,
    },
    /// The host could not be reached or did not let us in.
    #[error(transparent)]
    Reach(Box<ssh::Error>),
    /// A secret that the inventory refers to cannot be had; the secret itself is never shown.
    #[error("the secret {reference} cannot be read: {reason}")]
    Secret {
        /// `env:NAME`, `file:PATH`, `cmd:COMMAND`.
        reference: String,
        /// Why.
        reason: String,
    },
    /// A command on a host exited with an error.
    #[error("{detail}")]
    Command {
        /// What it said.
        detail: String,
    },
    /// A systemd unit did not come up.
    #[error("{unit} does not run; its last words:\n{journal}")]
    Unit {
        /// The unit.
        unit: String,
        /// The last lines of its journal.
        journal: String,
    },
    /// The facts of a host are not complete.
    #[error("the host's answer is not complete: {detail}")]
    Facts {
        /// What is missing.
        detail: String,
    },
    /// A template is wrong.
    #[error("the template {name} cannot be rendered")]
    Template {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: tera::Error,
    },
    /// A key or certificate could not be made or read.
    #[error("while {doing}")]
    Pki {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: pki::Error,
    },
    /// Something took longer than it may.
    #[error("{what} took longer than {limit_s} s")]
    Timeout {
        /// What.
        what: String,
        /// How long it may take.
        limit_s: u64,
    },
    /// Something before this had to succeed and did not.
    #[error("{reason}")]
    Skipped {
        /// What.
        reason: String,
    },
    /// Something on the operator's machine cannot be read.
    #[error("read {path}")]
    Local {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What an operator can do about a host that could not be reached; `None` where the error says so itself.
    pub(crate) fn reach_remedy(&self) -> Option<&'static str> {
        let (Self::Reach(source) | Self::Ssh { source, .. }) = self else { return None };
        Some(match **source {
            ssh::Error::Resolve { .. } => "correct its `address`, or make the name known to this machine",
            ssh::Error::Connect { .. } | ssh::Error::ConnectTimeout { .. } => {
                "see that the host is up, that `address` and `ssh.port` are right, and that no firewall is between"
            }
            ssh::Error::Handshake { .. } => "see that an SSH server listens at `address` and `ssh.port`",
            ssh::Error::AuthRejected { .. } => {
                "name the right `ssh.user` and `ssh.identityFile` or add the key to an agent, and see that the user's \
                 ~/.ssh/authorized_keys has it"
            }
            ssh::Error::ReadKey { .. } | ssh::Error::DecodeKey { .. } => "correct `ssh.identityFile`",
            ssh::Error::PassphraseWrong { .. } => "correct `ssh.passphrase`",
            ssh::Error::Sudo { .. } => {
                "see that sudo lets the user become root (`become.password` where it asks for one), or log in as root"
            }
            ssh::Error::ExecTimeout { .. } | ssh::Error::Session { .. } | ssh::Error::Closed { .. } => {
                "see how the host is and whether the network to it holds, then run it again"
            }
            _ => return None,
        })
    }

    /// The error with its causes, and what to do about it.
    pub(crate) fn told(&self) -> String {
        let chain = stdx::error::chain(self);
        match self.reach_remedy() {
            Some(remedy) => format!("{chain}; {remedy}"),
            None => chain,
        }
    }

    /// For `map_err` of what goes over the connection.
    pub(crate) fn ssh(doing: impl Into<String>) -> impl FnOnce(ssh::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Ssh { doing, source: Box::new(source) }
    }
}
