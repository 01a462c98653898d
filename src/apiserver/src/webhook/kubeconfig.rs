//! Endpoints that an operator names by a kubeconfig: `clusters` is whom to ask, `users` what this server shows to it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use url::Url;

use super::{Endpoint, Identity, Reach};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

/// What is not known here is not passed over: it could be what makes a connection safe.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Cluster {
    #[serde(default)]
    server: String,
    tls_server_name: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    #[serde(default)]
    certificate_authority: String,
    #[serde(default)]
    certificate_authority_data: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct User {
    #[serde(default)]
    client_certificate: String,
    #[serde(default)]
    client_certificate_data: String,
    #[serde(default)]
    client_key: String,
    #[serde(default)]
    client_key_data: String,
    #[serde(default)]
    token: String,
    #[serde(default, rename = "tokenFile")]
    token_file: String,
}

/// Whom to ask, and by which token.
pub struct Remote {
    /// Whom.
    pub endpoint: Endpoint,
    /// What proves who asks.
    pub token: Option<String>,
    /// The files that were read: the kubeconfig, and those that it names.
    pub files: Vec<PathBuf>,
}

/// How files are read that a kubeconfig names; relative paths are so to its folder.
struct Files<'a> {
    folder: &'a Path,
    /// `None` where nothing is read, since the kubeconfig is on its way to another host.
    read: Option<RefCell<Vec<PathBuf>>>,
}

impl Files<'_> {
    /// What stands in a file; nothing where it is on another host.
    fn read(&self, file: &str) -> Result<Vec<u8>, String> {
        let Some(seen) = &self.read else {
            return match Path::new(file).is_absolute() {
                true => Ok(Vec::new()),
                false => Err(format!(
                    "{file:?} is not copied with it: put its content into the kubeconfig (certificate-authority-data, \
                     client-certificate-data, client-key-data, token), or name a file of the control-plane host by its \
                     absolute path"
                )),
            };
        };
        let path = self.folder.join(file);
        let content = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
        seen.borrow_mut().push(path);
        content
    }
}

impl Remote {
    /// Reads the current context of a kubeconfig. Files that it names are read too, relative to its folder.
    ///
    /// # Errors
    /// What is wrong with it; of keys and tokens nothing is repeated.
    pub fn load(path: &Path) -> Result<Self, String> {
        let within = |why: String| format!("{}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| within(error.to_string()))?;
        Self::read(&text, path).map_err(within)
    }

    /// The same of a text that was read from `path`.
    ///
    /// # Errors
    /// See [`Remote::load`].
    pub fn read(text: &str, path: &Path) -> Result<Self, String> {
        let files = Files { folder: path.parent().unwrap_or(Path::new("/")), read: Some(RefCell::default()) };
        let mut remote = Self::parse(text, &files)?;
        remote.files = files.read.map(RefCell::into_inner).unwrap_or_default();
        remote.files.insert(0, path.to_path_buf());
        Ok(remote)
    }

    /// Looks whether a kubeconfig could be read on another host, to which it is copied without what it names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(text: &str) -> Result<(), String> {
        Self::parse(text, &Files { folder: Path::new("/"), read: None }).map(|_| ())
    }

    fn parse(text: &str, files: &Files<'_>) -> Result<Self, String> {
        // The library's message could quote a token or key that stands there.
        let file: Kubeconfig = serde_yaml::from_str(text).map_err(|_| {
            "it is no kubeconfig, or has more than server, tls-server-name, insecure-skip-tls-verify and \
             certificate-authority of its cluster, client-certificate, client-key, token and tokenFile of its user"
                .to_string()
        })?;
        let context = file.contexts.iter().find(|context| context.name == file.current_context);
        let context =
            context.ok_or_else(|| format!("it has no context {:?}, its current-context", file.current_context))?;
        let context = &context.context;
        let cluster = file.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster.ok_or_else(|| format!("it has no cluster {:?}", context.cluster))?;
        let none = User::default();
        let user = match context.user.as_str() {
            "" => &none,
            name => {
                let found = file.users.iter().find(|user| user.name == name);
                &found.ok_or_else(|| format!("it has no user {name:?}"))?.user
            }
        };
        let endpoint = endpoint(&cluster.cluster, identity(user, files)?, files)?;
        Ok(Self { endpoint, token: token(user, files)?, files: Vec::new() })
    }
}

fn endpoint(cluster: &Cluster, identity: Option<Identity>, files: &Files<'_>) -> Result<Endpoint, String> {
    let url = &cluster.server;
    let parsed = Url::parse(url).map_err(|error| format!("server {url:?}: {error}"))?;
    if parsed.scheme() != "https" || parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(format!("server {url:?} has to be an https:// URL without parameters"));
    }
    Ok(Endpoint {
        url: url.clone(),
        reach: Reach::Url,
        server_name: cluster.tls_server_name.clone(),
        authorities: material(&cluster.certificate_authority_data, &cluster.certificate_authority, files)?,
        is_unverified: cluster.insecure_skip_tls_verify,
        identity,
        is_operators: true,
    })
}

fn identity(user: &User, files: &Files<'_>) -> Result<Option<Identity>, String> {
    let chain = material(&user.client_certificate_data, &user.client_certificate, files)?;
    let key = material(&user.client_key_data, &user.client_key, files)?;
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some(Identity { chain, key })),
        (None, None) => Ok(None),
        _ => Err("a client certificate and its key go together".to_string()),
    }
}

fn token(user: &User, files: &Files<'_>) -> Result<Option<String>, String> {
    match (user.token.as_str(), user.token_file.as_str()) {
        ("", "") => Ok(None),
        ("", file) => {
            let text = String::from_utf8(files.read(file)?).map_err(|_| format!("{file} holds no token"))?;
            Ok(Some(text.trim().to_string()))
        }
        (token, _) => Ok(Some(token.to_string())),
    }
}

/// What stands there itself, or in a file.
fn material(data: &str, file: &str, files: &Files<'_>) -> Result<Option<Vec<u8>>, String> {
    match (data, file) {
        ("", "") => Ok(None),
        ("", file) => Ok(Some(files.read(file)?)),
        (data, _) => Ok(Some(BASE64_STANDARD.decode(data).map_err(|_| "its data is not base64".to_string())?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cluster: &str, user: &str) -> Result<Remote, String> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        );
        Remote::read(&text, Path::new("/nowhere/kubeconfig"))
    }

    #[test]
    fn the_current_context_says_whom_to_ask() {
        let remote = parse("server: 'https://a.example/ask', tls-server-name: b", "token: t").expect("a remote");
        assert_eq!(remote.endpoint.url, "https://a.example/ask");
        assert_eq!(remote.endpoint.server_name.as_deref(), Some("b"));
        assert!(remote.endpoint.is_operators);
        assert_eq!(remote.token.as_deref(), Some("t"));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let good = "server: 'https://a.example/ask'";
        for (cluster, user, why) in [
            ("server: 'http://a'", "", "https"),
            ("server: 'https://a?b=c'", "", "without parameters"),
            ("server: 'https://a', proxy-url: 'http://p'", "", "no kubeconfig, or has more"),
            ("server: 'https://a', certificate-authority: ca.crt", "", "/nowhere/ca.crt"),
            (good, "username: a, password: b", "no kubeconfig, or has more"),
            (good, "client-certificate-data: 'YQ=='", "go together"),
            (good, "tokenFile: t", "/nowhere/t"),
        ] {
            let refusal = parse(cluster, user).map(|_| ()).expect_err(cluster);
            assert!(refusal.contains(why), "{refusal}");
        }
        assert!(Remote::read("a: [", Path::new("/")).is_err());
        assert!(Remote::read("current-context: x", Path::new("/")).is_err());
    }

    #[test]
    fn what_a_kubeconfig_names_goes_with_it_or_is_on_the_other_host() {
        let with = |cluster: &str| {
            Remote::check(&format!(
                "current-context: c\ncontexts: [{{name: c, context: {{cluster: k}}}}]\nclusters: [{{name: k, cluster: \
                 {{server: 'https://a', {cluster}}}}}]\n"
            ))
        };
        assert_eq!(with("certificate-authority: /etc/ssl/ca.crt"), Ok(()));
        assert_eq!(with("certificate-authority-data: YQ=="), Ok(()));
        assert!(with("certificate-authority: ca.crt").is_err_and(|why| why.contains("certificate-authority-data")));
        assert!(Remote::check("a: [").is_err());
    }
}
