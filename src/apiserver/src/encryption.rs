//! The encryption configuration: a file in Kubernetes' form (`apiserver.config.k8s.io/v1`, `EncryptionConfiguration`)
//! that says which resources are encrypted at rest and with which keys. It becomes rules about the store's keys.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use api::registry::registry;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use store::encryption::{Encryption, Key, KeyError, Keys, Provider, Rule};

use crate::error::Error;
use crate::live;

const API_VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "EncryptionConfiguration";
/// Others than the owner may do nothing with the file: it holds keys.
const OTHERS: u32 = 0o077;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    resources: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    resources: Vec<String>,
    providers: Vec<OneProvider>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OneProvider {
    aesgcm: Option<KeyList>,
    secretbox: Option<KeyList>,
    identity: Option<Nothing>,
    aescbc: Option<serde::de::IgnoredAny>,
    kms: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyList {
    keys: Vec<NamedKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    name: String,
    secret: String,
}

/// Reads the file; only its owner may be able to.
///
/// # Errors
/// [`Error::Read`], and [`Error::Credentials`] where it says what cannot be done, with the field.
pub fn load(path: &Path) -> Result<Encryption, Error> {
    let read = |source| Error::Read { path: path.to_path_buf(), source };
    let wrong = |detail: String| Error::Credentials { path: path.to_path_buf(), detail };
    let mode = std::fs::metadata(path).map_err(read)?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(wrong(format!("others than its owner may use it (mode {:o}); chmod 600 it", mode & 0o777)));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    parse(&text).map_err(wrong)
}

/// Reads the text of a configuration.
///
/// # Errors
/// What cannot be done, with the field and never with what is in it.
pub fn parse(text: &str) -> Result<Encryption, String> {
    let file: File = serde_yaml::from_str(text).map_err(|error| error.without_snippet().to_string())?;
    if file.api_version != API_VERSION || file.kind != KIND {
        return Err(format!("it is not an {API_VERSION} {KIND}"));
    }
    let mut rules = Vec::new();
    for (at, group) in file.resources.iter().enumerate() {
        let field = format!("resources[{at}]");
        if group.resources.is_empty() || group.providers.is_empty() {
            return Err(format!("{field}: resources and providers: Required value"));
        }
        let mut keys = Vec::new();
        for (at, resource) in group.resources.iter().enumerate() {
            keys.extend(keys_of(resource).map_err(|why| format!("{field}.resources[{at}]: {why}"))?);
        }
        let mut providers = Vec::new();
        for (at, provider) in group.providers.iter().enumerate() {
            providers.push(read_provider(provider).map_err(|why| format!("{field}.providers[{at}]: {why}"))?);
        }
        rules.push(Rule { keys, providers });
    }
    Ok(Encryption::new(rules))
}

fn read_provider(provider: &OneProvider) -> Result<Provider, String> {
    let text = |error: KeyError| error.to_string();
    match provider {
        OneProvider { aescbc: Some(_), .. } => Err("aescbc is not supported; use secretbox or aesgcm".to_string()),
        OneProvider { kms: Some(_), .. } => Err("kms is not supported; use secretbox or aesgcm".to_string()),
        OneProvider { aesgcm: Some(list), secretbox: None, identity: None, .. } => {
            Provider::aesgcm(read_keys(list)?).map_err(text)
        }
        OneProvider { aesgcm: None, secretbox: Some(list), identity: None, .. } => {
            Provider::secretbox(read_keys(list)?).map_err(text)
        }
        OneProvider { aesgcm: None, secretbox: None, identity: Some(_), .. } => Ok(Provider::identity()),
        _ => Err("name exactly one of aesgcm, secretbox and identity".to_string()),
    }
}

fn read_keys(list: &KeyList) -> Result<Vec<Key>, String> {
    let read = |(at, key): (usize, &NamedKey)| {
        let secret = STANDARD.decode(&key.secret).map_err(|_| format!("keys[{at}].secret: is not base64"))?;
        Ok(Key::new(&key.name, secret))
    };
    list.keys.iter().enumerate().map(read).collect()
}

/// The store's keys of `secrets`, `deployments.apps`, `*.` (the core group), `*.apps` and `*.*`.
fn keys_of(resource: &str) -> Result<Vec<Keys>, String> {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let prefix = |group: &str, plural: &str| Keys::Prefix(live::prefix(group, plural, ""));
    let builtin = |group: &str| registry().resources().iter().any(|known| known.group_version.group == group);
    match (plural, group) {
        ("*", "*") => Ok(vec![Keys::All]),
        // A star alone is no resource, as in Kubernetes.
        ("*", "") if resource == "*" => Err("use '*.' for the core group, '*.*' for all".to_string()),
        ("*", "") => {
            let core = registry().resources().iter().filter(|known| known.group_version.group.is_empty());
            Ok(core.map(|known| prefix("", &known.plural)).collect())
        }
        ("*", group) => Ok(vec![Keys::Prefix(format!("/registry/{group}/"))]),
        ("", _) => Err("has no name".to_string()),
        (plural, group) => {
            let known = registry().resources().iter().any(|known| {
                known.plural == plural
                    && (known.group_version.group == group
                        || known.storage.as_ref().is_some_and(|stored| stored.group == group))
            });
            if !known && (builtin(group) || group.is_empty()) {
                return Err(format!("there is no resource {resource}"));
            }
            Ok(vec![prefix(group, plural)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(resources: &str, providers: &str) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
             - resources: [{resources}]\n  providers:\n  {providers}\n"
        )
    }

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    #[test]
    fn kubernetes_own_example_is_read() {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n  - resources:\n      \
             - secrets\n      - configmaps\n      - pandas.awesome.bears.example\n    providers:\n      - aesgcm:\n          \
             keys:\n            - name: key1\n              secret: {KEY}\n            - name: key2\n              \
             secret: {KEY}\n      - secretbox:\n          keys:\n            - name: key1\n              secret: {KEY}\n      \
             - identity: {{}}\n  - resources: ['*.apps']\n    providers:\n      - identity: {{}}\n"
        );
        let read = format!("{:?}", parse(&text).expect("is read"));
        for prefix in ["/registry/secrets/", "/registry/awesome.bears.example/pandas/", "/registry/apps/"] {
            assert!(read.contains(&format!("{prefix:?}")), "{read}");
        }
        assert!(!read.contains(KEY));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_field_and_no_secret() {
        let keys = |provider: &str, secret: &str| format!("- {provider}: {{keys: [{{name: k, secret: {secret}}}]}}");
        let cases = [
            (
                with("secrets", &keys("aescbc", KEY)),
                "resources[0].providers[0]: aescbc is not supported; use secretbox",
            ),
            (with("secrets", "- kms: {name: x}"), "kms is not supported"),
            (with("secrets", "- {}"), "exactly one of"),
            (with("secrets", &keys("secretbox", "c2hvcnQ=")), "key k of secretbox has 5 bytes, it must have 32"),
            (with("secrets", &keys("aesgcm", "'%%hidden%%'")), "keys[0].secret: is not base64"),
            (with("secret", "- identity: {}"), "resources[0].resources[0]: there is no resource secret"),
            (with("deployments", "- identity: {}"), "there is no resource deployments"),
            (with("'*'", "- identity: {}"), "use '*.' for the core group"),
            (with("", "- identity: {}"), "Required value"),
            (with("secrets", "- identity: {}").replace("v1", "v2"), "it is not an"),
            (with("secrets", "- vault: {}"), "vault"),
        ];
        for (text, expected) in cases {
            let why = parse(&text).expect_err(expected);
            assert!(why.contains(expected) && !why.contains("hidden"), "{expected}: {why}");
        }
    }

    #[test]
    fn every_form_of_a_resource_becomes_keys() {
        let prefix = |text: &str| Keys::Prefix(text.to_string());
        assert_eq!(keys_of("secrets"), Ok(vec![prefix("/registry/secrets/")]));
        assert_eq!(keys_of("deployments.apps"), Ok(vec![prefix("/registry/apps/deployments/")]));
        assert_eq!(keys_of("*.*"), Ok(vec![Keys::All]));
        let core = keys_of("*.").expect("the core group");
        assert!(core.contains(&prefix("/registry/secrets/")) && !core.contains(&prefix("/registry/apps/deployments/")));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("encryption.yaml");
        std::fs::write(&path, with("secrets", "- identity: {}")).expect("written");
        let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        set(0o644);
        assert!(load(&path).expect_err("others may read").to_string().contains("chmod 600"));
        set(0o600);
        load(&path).expect("is read");
    }
}
