//! Secrets that the inventory refers to, read when they are needed. They go into files on hosts and into
//! authentication, never into messages.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use inventory::cluster::Security;
use inventory::{GitOps, SecretRef};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Where the credentials for the repository are on a control-plane host.
pub const GIT_DIR: &str = "/etc/rkctl/gitops";
/// Where the files about access to the API are on a control-plane host.
pub const ACCESS_DIR: &str = "/etc/rkctl/access";
/// A command that asks somebody is given this long.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// A secret is short; a larger file is another one.
const MAX_SECRET_BYTES: usize = 256 << 10;

/// The bytes a reference stands for.
///
/// # Errors
/// [`Error::Secret`]; it names the reference and never the secret.
pub async fn resolve(reference: &SecretRef) -> Result<Vec<u8>, Error> {
    let wrong = |reason: String| Error::Secret { reference: reference.to_string(), reason };
    let secret = match reference {
        SecretRef::Env(name) => {
            std::env::var_os(name).ok_or_else(|| wrong("the variable is not set".to_owned()))?.into_encoded_bytes()
        }
        SecretRef::File(path) => tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?,
        SecretRef::Command(command) => {
            let mut child = tokio::process::Command::new("/bin/sh");
            child.arg("-c").arg(command).kill_on_drop(true);
            child.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::inherit());
            let output = tokio::time::timeout(COMMAND_TIMEOUT, child.output())
                .await
                .map_err(|_| wrong(format!("it took longer than {} s", COMMAND_TIMEOUT.as_secs())))?
                .map_err(|error| wrong(error.to_string()))?;
            if !output.status.success() {
                return Err(wrong(output.status.to_string()));
            }
            output.stdout
        }
    };
    match secret.len() {
        0 => Err(wrong("it is empty".to_owned())),
        size if size > MAX_SECRET_BYTES => Err(wrong(format!("it has more than {MAX_SECRET_BYTES} bytes"))),
        _ => Ok(secret),
    }
}

/// The text a reference stands for, without the line end files and commands give it.
///
/// # Errors
/// [`Error::Secret`].
pub async fn resolve_text(reference: &SecretRef) -> Result<String, Error> {
    let bytes = resolve(reference).await?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Secret { reference: reference.to_string(), reason: "it is not text".to_owned() })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Files of the operator's machine about access to the API: the key of the server's configuration that names it, and
/// the path on the server.
pub fn access_files(security: &Security) -> Vec<(&'static str, String, &PathBuf)> {
    let all = [
        ("auditPolicyFile", "audit-policy.yaml", &security.audit_policy),
        ("authenticationConfigFile", "authentication.yaml", &security.authentication_config),
        ("tokenWebhookConfigFile", "token-webhook.kubeconfig", &security.token_webhook_config),
        ("authorizationConfigFile", "authorization.yaml", &security.authorization_config),
    ];
    let given =
        all.into_iter().filter_map(|(key, name, path)| Some((key, format!("{ACCESS_DIR}/{name}"), path.as_ref()?)));
    given.collect()
}

/// The repository's credentials and the files about access: path on the server and content.
#[derive(Clone, Default)]
pub struct GitFiles(pub BTreeMap<String, Vec<u8>>);

impl GitFiles {
    /// Reads what the inventory refers to.
    ///
    /// # Errors
    /// [`Error::Secret`].
    pub async fn read(gitops: Option<&GitOps>, security: &Security) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for (_, on_server, path) in access_files(security) {
            files.insert(on_server, resolve(&SecretRef::File(path.clone())).await?);
        }
        if let Some(gitops) = gitops {
            let auth = &gitops.auth;
            for (name, reference) in
                [("ssh_key", &auth.ssh_key), ("known_hosts", &auth.known_hosts), ("password", &auth.password)]
            {
                if let Some(reference) = reference {
                    files.insert(format!("{GIT_DIR}/{name}"), resolve(reference).await?);
                }
            }
        }
        Ok(Self(files))
    }

    /// Path and SHA-256, for the plan.
    pub fn hashes(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(path, content)| (path.clone(), hex::encode(Sha256::digest(content)))).collect()
    }
}
