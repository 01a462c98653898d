//! Endpoints that an operator names by a kubeconfig: `clusters` is whom to ask, `users` what this server shows to it.

use std::path::Path;

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
}

impl Remote {
    /// Reads the current context of a kubeconfig. Files that it names are read too, relative to its folder.
    ///
    /// # Errors
    /// What is wrong with it; of keys and tokens nothing is repeated.
    pub fn load(path: &Path) -> Result<Self, String> {
        let within = |why: String| format!("{}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| within(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        Self::parse(&text, folder).map_err(within)
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
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
        let endpoint = endpoint(&cluster.cluster, identity(user, folder)?, folder)?;
        Ok(Self { endpoint, token: token(user, folder)? })
    }
}

fn endpoint(cluster: &Cluster, identity: Option<Identity>, folder: &Path) -> Result<Endpoint, String> {
    let url = &cluster.server;
    let parsed = Url::parse(url).map_err(|error| format!("server {url:?}: {error}"))?;
    if parsed.scheme() != "https" || parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(format!("server {url:?} has to be an https:// URL without parameters"));
    }
    Ok(Endpoint {
        url: url.clone(),
        reach: Reach::Url,
        server_name: cluster.tls_server_name.clone(),
        authorities: material(&cluster.certificate_authority_data, &cluster.certificate_authority, folder)?,
        is_unverified: cluster.insecure_skip_tls_verify,
        identity,
        is_operators: true,
    })
}

fn identity(user: &User, folder: &Path) -> Result<Option<Identity>, String> {
    let chain = material(&user.client_certificate_data, &user.client_certificate, folder)?;
    let key = material(&user.client_key_data, &user.client_key, folder)?;
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some(Identity { chain, key })),
        (None, None) => Ok(None),
        _ => Err("a client certificate and its key go together".to_string()),
    }
}

fn token(user: &User, folder: &Path) -> Result<Option<String>, String> {
    match (user.token.as_str(), user.token_file.as_str()) {
        ("", "") => Ok(None),
        ("", file) => {
            let text = String::from_utf8(read(&folder.join(file))?).map_err(|_| format!("{file} holds no token"))?;
            Ok(Some(text.trim().to_string()))
        }
        (token, _) => Ok(Some(token.to_string())),
    }
}

/// What stands there itself, or in a file.
fn material(data: &str, file: &str, folder: &Path) -> Result<Option<Vec<u8>>, String> {
    match (data, file) {
        ("", "") => Ok(None),
        ("", file) => Ok(Some(read(&folder.join(file))?)),
        (data, _) => Ok(Some(BASE64_STANDARD.decode(data).map_err(|_| "its data is not base64".to_string())?)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cluster: &str, user: &str) -> Result<Remote, String> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        );
        Remote::parse(&text, Path::new("/nowhere"))
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
        assert!(Remote::parse("a: [", Path::new("/")).is_err());
        assert!(Remote::parse("current-context: x", Path::new("/")).is_err());
    }
}
