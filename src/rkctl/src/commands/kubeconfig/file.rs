//! The kubeconfig's file: what of it may be replaced, what is added to, and how it is written. What somebody else put
//! there is never lost, since it may be the only way into a cluster.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Where else a kubeconfig can go.
const ELSEWHERE: &str = "name another file (`--kubeconfig FILE` of `rkctl up`, `--file FILE` of `rkctl kubeconfig`)";

/// What a context of a kubeconfig leads to, as far as it must be compared.
pub struct Entry {
    pub server: String,
    /// `None` where it is not in the file itself.
    pub ca: Option<String>,
    certificate: Option<String>,
}

impl Entry {
    /// The context of that name.
    pub fn of(text: &str, context: &str) -> Option<Self> {
        Self::read(&serde_yaml::from_str(text).ok()?, context)
    }

    fn read(file: &Value, context: &str) -> Option<Self> {
        let decode = |value: &Value| {
            String::from_utf8(base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?).ok()
        };
        let context = &named(file, "contexts", context)?["context"];
        let cluster = &named(file, "clusters", context["cluster"].as_str()?)?["cluster"];
        let user = context["user"].as_str().and_then(|user| named(file, "users", user));
        Some(Self {
            server: cluster["server"].as_str()?.to_owned(),
            ca: decode(&cluster["certificate-authority-data"]),
            certificate: user.and_then(|user| decode(&user["user"]["client-certificate-data"])),
        })
    }

    pub fn is_valid(&self) -> bool {
        let Some(certificate) = &self.certificate else { return false };
        pki::inspect("the kubeconfig", certificate)
            .is_ok_and(|inspection| !pki::renewal_due(&inspection, Timestamp::now()))
    }
}

/// The entry of that name in `clusters`, `users` or `contexts`.
fn named<'a>(file: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    file[list].as_array()?.iter().find(|entry| entry["name"] == name)
}

/// The one context of a kubeconfig as rkctl writes it; `None` for everything else.
fn only_context(text: &str) -> Option<(String, Entry)> {
    let file: Value = serde_yaml::from_str(text).ok()?;
    let one = |list: &str| file[list].as_array().is_some_and(|entries| entries.len() == 1);
    if !["clusters", "users", "contexts"].into_iter().all(one) {
        return None;
    }
    let name = file["contexts"][0]["name"].as_str()?.to_owned();
    let entry = Entry::read(&file, &name).filter(|entry| entry.ca.is_some() && entry.certificate.is_some())?;
    Some((name, entry))
}

/// Writes `fresh` in the place of an older kubeconfig of the same cluster. That of a cluster that does not answer any
/// more is set aside; that of one that answers is left, and so is every file that rkctl has not written.
pub async fn replace(path: &Path, fresh: &str) -> anyhow::Result<()> {
    let Some(present) = content(path)? else { return write(path, fresh) };
    let Some((context, old)) = only_context(&present) else {
        bail!(
            "{0} was left as it is: it is not the kubeconfig of one cluster that rkctl writes; {ELSEWHERE}, or add to \
             this one with `rkctl kubeconfig --merge --file {0}`",
            path.display()
        );
    };
    if only_context(fresh).is_some_and(|(_, new)| new.ca == old.ca) {
        return write(path, fresh);
    }
    if still_serves(&present, &context).await {
        bail!(
            "{} was left as it is: it belongs to another cluster, which answers at {}; {ELSEWHERE}, or see whether \
             the inventory is right",
            path.display(),
            old.server
        );
    }
    set_aside(path, &context)?;
    write(path, fresh)
}

/// The kubeconfig that is there with the entries of `fresh` in it, whose context is `name`; `None` where none is there.
/// An entry of that name that belongs to another cluster is not given up while that one answers.
pub async fn merged(path: &Path, fresh: &str, name: &str) -> anyhow::Result<Option<String>> {
    let Some(present) = content(path)? else { return Ok(None) };
    let merged = merge(&present, fresh).with_context(|| format!("merge into {}", path.display()))?;
    let (old, new) = (Entry::of(&present, name), Entry::of(fresh, name));
    if let Some(old) = old.filter(|old| new.is_none_or(|new| new.ca != old.ca)) {
        if still_serves(&present, name).await {
            bail!(
                "{} was left as it is: its context {name} belongs to another cluster, which answers at {}; {ELSEWHERE}, \
                 or see whether the inventory is right",
                path.display(),
                old.server
            );
        }
        set_aside(path, name)?;
    }
    Ok(Some(merged))
}

/// The text of a file; `None` where there is none, or nothing in it.
fn content(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !text.trim().is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Keeps a copy as `FILE.old`, and says so.
fn set_aside(path: &Path, context: &str) -> anyhow::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".old");
    let aside = PathBuf::from(aside);
    write(&aside, &std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?)?;
    eprintln!(
        "note: {} led to another cluster by its context {context}, which does not answer; what it was is in {}",
        path.display(),
        aside.display()
    );
    Ok(())
}

/// How long a cluster is asked whether it is there.
const STILL_SERVES_WITHIN: Duration = Duration::from_secs(3);

/// Whether the cluster of a context answers, known by the authority that the kubeconfig has.
async fn still_serves(kubeconfig: &str, context: &str) -> bool {
    let ask = async {
        let kubeconfig = kube::config::Kubeconfig::from_yaml(kubeconfig).ok()?;
        let options = kube::config::KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.ok()?;
        config.default_retry = false;
        let client = kube::Client::try_from(config).ok()?;
        let request = http::Request::get("/livez").body(Vec::new()).ok()?;
        match client.request_text(request).await {
            Ok(_) | Err(kube::Error::Api(_)) => Some(()),
            Err(_) => None,
        }
    };
    tokio::time::timeout(STILL_SERVES_WITHIN, ask).await.is_ok_and(|answer| answer.is_some())
}

/// `present` with the entries of `fresh` in the place of those of the same name.
fn merge(present: &str, fresh: &str) -> anyhow::Result<String> {
    let mut present: Value = serde_yaml::from_str(present).context("it is not YAML")?;
    let fresh: Value = serde_yaml::from_str(fresh)?;
    if !present.is_object() {
        bail!("it is not a kubeconfig");
    }
    for list in ["clusters", "users", "contexts"] {
        let mut entries = present[list].as_array().cloned().unwrap_or_default();
        for entry in fresh[list].as_array().into_iter().flatten() {
            entries.retain(|old| old["name"] != entry["name"]);
            entries.push(entry.clone());
        }
        present[list] = Value::Array(entries);
    }
    present["current-context"] = fresh["current-context"].clone();
    for (key, value) in [("apiVersion", json!("v1")), ("kind", json!("Config"))] {
        present[key] = value;
    }
    Ok(serde_yaml::to_string(&present)?)
}

/// Writes a file that holds a key: 0600 from the first byte, whole or not at all.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let mut temp = path.as_os_str().to_owned();
        temp.push(".rkctl-new");
        let _absent = std::fs::remove_file(&temp);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temp, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(server: &str, authority: &str) -> String {
        let config = pki::Kubeconfig {
            cluster: "lab".into(),
            user: "admin".into(),
            server: server.into(),
            ca_pem: authority.into(),
            auth: pki::UserAuth::Certificate { certificate_pem: "CERT".into(), key_pem: "KEY".into() },
        };
        config.to_yaml()
    }

    /// The kubeconfig of somebody else's clusters; nobody listens at their address.
    fn theirs(context: &str) -> String {
        format!(
            "{{apiVersion: v1, kind: Config, current-context: {context}, \
             clusters: [{{name: prod, cluster: {{server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true}}}}], \
             users: [{{name: they, user: {{token: abc}}}}], \
             contexts: [{{name: {context}, context: {{cluster: prod, user: they}}}}]}}"
        )
    }

    /// A server at a loopback address that answers every connection with 401, once.
    fn answering() -> String {
        use std::io::Read as _;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = [0u8; 4096];
            let _read = stream.read(&mut request);
            let body = r#"{"kind":"Status","status":"Failure","code":401,"message":"no","reason":"Unauthorized"}"#;
            let _sent = write!(stream, "HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn the_kubeconfig_of_a_cluster_that_is_gone_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("config"), dir.path().join("config.old"));
        std::fs::write(&path, "\n").unwrap();
        for server in ["https://127.0.0.1:1", "https://127.0.0.1:2"] {
            replace(&path, &of(server, "ONE")).await.unwrap();
            assert!(!old.exists(), "the same authority is the same cluster");
        }
        replace(&path, &of("https://127.0.0.1:3", "TWO")).await.unwrap();
        assert!(std::fs::read_to_string(&old).unwrap().contains("127.0.0.1:2"));
        assert!(std::fs::read_to_string(&path).unwrap().contains("127.0.0.1:3"));
    }

    #[tokio::test]
    async fn what_rkctl_has_not_written_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let several = merge(&of("https://127.0.0.1:1", "ONE"), &theirs("prod")).unwrap();
        let binary = [b"\xff\xfe".to_vec(), vec![b'x'; 9]].concat();
        for text in [theirs("prod").into_bytes(), several.into_bytes(), b"notes: of mine\n".to_vec(), binary] {
            std::fs::write(&path, &text).unwrap();
            let refused = replace(&path, &of("https://127.0.0.1:2", "TWO")).await.unwrap_err().to_string();
            assert!(refused.contains("was left as it is") && refused.contains("--merge"), "{refused}");
            assert_eq!(std::fs::read(&path).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn merging_keeps_other_clusters_and_replaces_the_own_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        assert_eq!(merged(&path, &of("https://127.0.0.1:1", "ONE"), "lab").await.unwrap(), None);
        std::fs::write(&path, theirs("prod")).unwrap();
        for server in ["https://127.0.0.1:1", "https://127.0.0.1:2"] {
            let text = merged(&path, &of(server, "ONE"), "lab").await.unwrap().unwrap();
            let file: Value = serde_yaml::from_str(&text).unwrap();
            assert_eq!(file["clusters"].as_array().unwrap().len(), 2, "{text}");
            assert_eq!(file["current-context"], "lab");
            assert_eq!(Entry::read(&file, "lab").unwrap().server, server);
            assert_eq!(named(&file, "users", "they").unwrap()["user"]["token"], "abc");
            write(&path, &text).unwrap();
        }
        assert!(merge("- a\n", &of("x", "ONE")).is_err());
    }

    #[tokio::test]
    async fn a_context_of_the_same_name_is_given_up_only_where_its_cluster_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("config"), dir.path().join("config.old"));
        let new = of("https://127.0.0.1:2", "TWO");
        let answers = theirs("lab").replace("https://127.0.0.1:1", &answering());
        std::fs::write(&path, &answers).unwrap();
        let refused = merged(&path, &new, "lab").await.unwrap_err().to_string();
        assert!(refused.contains("context lab belongs to another cluster, which answers at"), "{refused}");
        assert!(!old.exists() && std::fs::read_to_string(&path).unwrap() == answers);
        for gone in [theirs("lab"), of("https://127.0.0.1:1", "ONE")] {
            std::fs::write(&path, &gone).unwrap();
            assert!(merged(&path, &new, "lab").await.unwrap().is_some());
            assert_eq!(std::fs::read_to_string(&old).unwrap(), gone);
        }
    }

    #[test]
    fn the_file_is_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube/config");
        write(&path, "x").unwrap();
        write(&path, "y").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "y");
    }
}
