//! Secrets that the inventory refers to, read when they are needed. They go into files on hosts and into
//! authentication, never into messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inventory::cluster::Security;
use inventory::{GitOps, SecretRef};
use serde_json::Value;
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

const AUTHORIZATION_KEY: &str = "authorizationConfigFile";

/// Files of the operator's machine about access to the API: the key of the server's configuration that names it, and
/// the path on the server.
pub fn access_files(security: &Security) -> Vec<(&'static str, String, &PathBuf)> {
    let all = [
        ("auditPolicyFile", "audit-policy.yaml", &security.audit_policy),
        ("authenticationConfigFile", "authentication.yaml", &security.authentication_config),
        ("tokenWebhookConfigFile", "token-webhook.kubeconfig", &security.token_webhook_config),
        (AUTHORIZATION_KEY, "authorization.yaml", &security.authorization_config),
    ];
    let given =
        all.into_iter().filter_map(|(key, name, path)| Some((key, format!("{ACCESS_DIR}/{name}"), path.as_ref()?)));
    given.collect()
}

/// Where the EncryptionConfiguration is on a control-plane host. It stays there where the inventory does not have it any
/// more: what was encrypted by its keys cannot be read without them.
pub const ENCRYPTION_FILE: &str = "/etc/rkctl/access/encryption.yaml";

/// How many webhooks of an AuthorizationConfiguration may have their kubeconfigs go along with it.
const KUBECONFIGS_MAX: usize = 4;
/// The places of these on a control-plane host, in the order of the webhooks.
pub const AUTHORIZATION_KUBECONFIGS: [&str; KUBECONFIGS_MAX] = [
    "/etc/rkctl/access/authorization-1.kubeconfig",
    "/etc/rkctl/access/authorization-2.kubeconfig",
    "/etc/rkctl/access/authorization-3.kubeconfig",
    "/etc/rkctl/access/authorization-4.kubeconfig",
];

/// An AuthorizationConfiguration as it goes to the server. Kubeconfigs that it names by relative paths are put into
/// `files`, and named by where they are on the server; those with absolute paths are the host's own.
async fn with_kubeconfigs(
    path: &Path,
    content: Vec<u8>,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Vec<u8>, Error> {
    // What is no YAML is refused by who looks at what it says.
    let Ok(mut configuration) = serde_yaml::from_slice::<Value>(&content) else { return Ok(content) };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut places = AUTHORIZATION_KUBECONFIGS.iter();
    let authorizers = configuration.get_mut("authorizers").and_then(Value::as_array_mut).into_iter().flatten();
    let mut is_any = false;
    for (index, authorizer) in authorizers.enumerate() {
        let info = authorizer.get_mut("webhook").and_then(|webhook| webhook.get_mut("connectionInfo"));
        let Some(named) = info.and_then(|info| info.get_mut("kubeConfigFile")) else { continue };
        let own = named.as_str().filter(|own| !own.is_empty() && Path::new(own).is_relative());
        let Some(own) = own.map(|own| SecretRef::File(folder.join(own))) else { continue };
        let within = |reason: String| Error::Secret {
            reference: own.to_string(),
            reason: format!("{reason}, and authorizers[{index}] of {} names it", path.display()),
        };
        let place = places.next().ok_or_else(|| {
            within(format!("no more than {KUBECONFIGS_MAX} kubeconfigs are copied; name others by absolute paths"))
        })?;
        let kubeconfig = resolve(&own).await.map_err(|error| match error {
            Error::Secret { reason, .. } => within(reason),
            other => other,
        })?;
        files.insert((*place).to_owned(), kubeconfig);
        *named = Value::from(*place);
        is_any = true;
    }
    match serde_yaml::to_string(&configuration) {
        Ok(text) if is_any => Ok(text.into_bytes()),
        _ => Ok(content),
    }
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
        for (key, on_server, path) in access_files(security) {
            let mut content = resolve(&SecretRef::File(path.clone())).await?;
            if key == AUTHORIZATION_KEY {
                content = with_kubeconfigs(path, content, &mut files).await?;
            }
            files.insert(on_server, content);
        }
        if let Some(path) = &security.encryption_config {
            files.insert(ENCRYPTION_FILE.to_owned(), resolve(&SecretRef::File(path.clone())).await?);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(kubeconfig: &str) -> String {
        format!(
            "authorizers:\n- type: Webhook\n  webhook: {{connectionInfo: {{kubeConfigFile: {kubeconfig}}}}}\n- type: RBAC\n"
        )
    }

    #[tokio::test]
    async fn kubeconfigs_of_webhooks_go_along_with_the_file_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authorization.yaml");
        let security = Security { authorization_config: Some(path.clone()), ..Security::default() };
        std::fs::write(&path, configuration("hooks/one.kubeconfig")).unwrap();
        let missing = GitFiles::read(None, &security).await.err().unwrap().to_string();
        assert!(missing.contains("hooks/one.kubeconfig") && missing.contains("authorizers[0] of"), "{missing}");
        std::fs::create_dir(folder.path().join("hooks")).unwrap();
        std::fs::write(folder.path().join("hooks/one.kubeconfig"), "kind: Config\n").unwrap();
        let files = GitFiles::read(None, &security).await.unwrap().0;
        let place = AUTHORIZATION_KUBECONFIGS[0];
        assert_eq!(files[place], b"kind: Config\n");
        let told: Value = serde_yaml::from_slice(&files["/etc/rkctl/access/authorization.yaml"]).unwrap();
        assert_eq!(told["authorizers"][0]["webhook"]["connectionInfo"]["kubeConfigFile"], place);
        assert_eq!(told["authorizers"][1]["type"], "RBAC");
        // A file of the host stays the host's, and the configuration as it is written.
        let own = configuration("/etc/own.kubeconfig");
        std::fs::write(&path, &own).unwrap();
        let files = GitFiles::read(None, &security).await.unwrap().0;
        assert_eq!(files.into_values().collect::<Vec<_>>(), [own.into_bytes()]);
    }
}
