//! The addons that are part of this program: their files, with variables filled in, and their hashes.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};

static ADDONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../addons");

/// What the variables in an addon's files stand for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `${CLUSTER_DNS}`.
    pub cluster_dns: String,
    /// `${CLUSTER_DOMAIN}`.
    pub cluster_domain: String,
}

/// The image of this program, `${IMAGE}`.
fn image() -> String {
    format!("rkctl.local/rkctl:{}", env!("CARGO_PKG_VERSION"))
}

/// The names of the addons.
pub fn names() -> Vec<String> {
    ADDONS.dirs().filter_map(|dir| Some(dir.path().to_str()?.to_owned())).collect()
}

/// The files of an addon by their paths, variables filled in.
fn files(name: &str, settings: &Settings) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let Some(dir) = ADDONS.get_dir(name) else {
        bail!("there is no addon `{name}`; there are {}", names().join(", "));
    };
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir];
    while let Some(dir) = dirs.pop() {
        dirs.extend(dir.dirs());
        for file in dir.files() {
            let path = file.path().to_str().context("a path of an addon is not text")?;
            let text = file.contents_utf8().with_context(|| format!("addons/{path} is not text"))?;
            let text = fill_in(text, settings).with_context(|| format!("fill in addons/{path}"))?;
            files.insert(path.to_owned(), text.into_bytes());
        }
    }
    Ok(files)
}

/// Replaces `${NAME}`.
fn fill_in(text: &str, settings: &Settings) -> anyhow::Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').context("`${` without `}`")?;
        filled.push_str(before);
        match name {
            "IMAGE" => filled.push_str(&image()),
            "CLUSTER_DNS" => filled.push_str(&settings.cluster_dns),
            "CLUSTER_DOMAIN" => filled.push_str(&settings.cluster_domain),
            other => bail!("unknown variable `{other}`; there are IMAGE, CLUSTER_DNS, CLUSTER_DOMAIN"),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Name and hash of every addon, as it would be applied.
pub fn hashes(settings: &Settings) -> anyhow::Result<BTreeMap<String, String>> {
    names().into_iter().map(|name| Ok((name.clone(), hash(&name, settings)?))).collect()
}

/// The hash of an addon, as it would be applied.
pub fn hash(name: &str, settings: &Settings) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for (path, content) in files(name, settings)? {
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(&content);
        hash.update([0]);
    }
    Ok(hex::encode(hash.finalize())[..16].to_owned())
}

/// The objects of an addon.
pub fn render(name: &str, settings: &Settings) -> anyhow::Result<Vec<serde_json::Value>> {
    kustomize::build(&files(name, settings)?, name).with_context(|| format!("render the addon {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { cluster_dns: "10.43.0.10".into(), cluster_domain: "cluster.local".into() }
    }

    #[test]
    fn every_addon_renders_to_named_objects() {
        for name in names() {
            let objects = render(&name, &settings()).unwrap_or_else(|error| panic!("{error:#}"));
            assert!(!objects.is_empty(), "{name}");
            for object in objects {
                let named = |field: &str| object[field].is_string();
                assert!(named("apiVersion") && named("kind") && object["metadata"]["name"].is_string(), "{object}");
                assert!(!object.to_string().contains("${"), "{object}");
            }
        }
    }

    #[test]
    fn what_the_cluster_leans_on_leaves_a_lost_host_before_up_gives_up_waiting_for_it() {
        for name in names() {
            for object in render(&name, &settings()).unwrap() {
                if object["kind"] != "Deployment" {
                    continue;
                }
                let tolerations = object["spec"]["template"]["spec"]["tolerations"].as_array().unwrap();
                for key in ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"] {
                    let found = tolerations.iter().find(|toleration| toleration["key"] == key).unwrap();
                    assert_eq!(
                        (&found["effect"], found["tolerationSeconds"].as_i64()),
                        (&"NoExecute".into(), Some(30))
                    );
                }
            }
        }
    }

    #[test]
    fn a_hash_changes_with_the_settings() {
        let other = Settings { cluster_dns: "10.43.0.11".into(), ..settings() };
        for name in names().into_iter().filter(|name| name == "dns") {
            assert_ne!(hash(&name, &settings()).unwrap(), hash(&name, &other).unwrap());
        }
    }

    #[test]
    fn unknown_variables_are_errors() {
        assert_eq!(fill_in("a ${CLUSTER_DNS} $x", &settings()).unwrap(), "a 10.43.0.10 $x");
        assert!(fill_in("${OTHER}", &settings()).is_err());
        assert!(fill_in("${IMAGE", &settings()).is_err());
    }
}
