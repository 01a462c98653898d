//! The files of configMap, secret, downwardAPI and projected volumes.

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, PodCertificateProjection, ProjectedVolumeSource, Secret, Volume,
};

use super::atomic::{File, Payload};
use super::pod_certificates::{Key, PodCertificates};
use super::tokens::Tokens;
use super::trust;
use crate::Error;
use crate::host::Events;
use crate::objects::Objects;
use crate::pod::fields::{self, Facts};

/// The mode of files where the volume names none.
const DEFAULT_MODE: i32 = 0o644;

/// What the files are made from.
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The node and addresses.
    pub facts: &'a Facts,
    /// ConfigMaps and Secrets.
    pub objects: &'a dyn Objects,
    /// Service account tokens.
    pub tokens: &'a Tokens,
    /// Certificates.
    pub certificates: &'a PodCertificates,
    /// Who is told of what signers say.
    pub events: &'a Events,
}

/// The files of a volume; `None` where its kind is made of no files.
pub async fn of(volume: &Volume, sources: &Sources<'_>) -> Result<Option<Payload>, Error> {
    let mut out = Payload::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional.unwrap_or(false);
        config_map(sources, &source.name, source.items.as_deref(), mode, optional, &mut out).await?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        secret(sources, name, source.items.as_deref(), mode, source.optional.unwrap_or(false), &mut out).await?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        downward(sources, source.items.as_deref(), mode, &mut out)?;
    } else if let Some(source) = &volume.projected {
        projected(sources, &volume.name, source, &mut out).await?;
    } else {
        return Ok(None);
    }
    Ok(Some(out))
}

async fn projected(
    sources: &Sources<'_>,
    volume: &str,
    source: &ProjectedVolumeSource,
    out: &mut Payload,
) -> Result<(), Error> {
    let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
    for (index, part) in source.sources.iter().flatten().enumerate() {
        if let Some(map) = &part.config_map {
            config_map(sources, &map.name, map.items.as_deref(), mode, map.optional.unwrap_or(false), out).await?;
        } else if let Some(from) = &part.secret {
            secret(sources, &from.name, from.items.as_deref(), mode, from.optional.unwrap_or(false), out).await?;
        } else if let Some(from) = &part.downward_api {
            downward(sources, from.items.as_deref(), mode, out)?;
        } else if let Some(from) = &part.service_account_token {
            let token = sources.tokens.get(sources.pod, from, sources.objects).await?;
            out.insert(from.path.clone(), private_file(sources.pod, token, mode));
        } else if let Some(from) = &part.cluster_trust_bundle {
            let roots = trust::file(from, sources.objects).await?;
            out.insert(from.path.clone(), private_file(sources.pod, roots, mode));
        } else if let Some(from) = &part.pod_certificate {
            pod_certificate(sources, volume, index, from, mode, out).await?;
        } else {
            return Err(Error::Pod(
                "a source of a projected volume is none of configMap, secret, downwardAPI, serviceAccountToken, clusterTrustBundle and podCertificate: remove it"
                    .into(),
            ));
        }
    }
    Ok(())
}

async fn pod_certificate(
    sources: &Sources<'_>,
    volume: &str,
    index: usize,
    from: &PodCertificateProjection,
    mode: i32,
    out: &mut Payload,
) -> Result<(), Error> {
    let uid = sources.pod.metadata.uid.clone().unwrap_or_default();
    let key = Key { uid, volume: volume.to_string(), source: index };
    let made = sources.certificates.get(sources.pod, key, from, sources.objects, sources.events).await?;
    let whole = format!("{}{}", made.key_pem, made.chain_pem);
    for (path, text) in [
        (&from.credential_bundle_path, whole),
        (&from.key_path, made.key_pem),
        (&from.certificate_chain_path, made.chain_pem),
    ] {
        if let Some(path) = path.as_ref().filter(|path| !path.is_empty()) {
            out.insert(path.clone(), private_file(sources.pod, text, mode));
        }
    }
    Ok(())
}

/// What is a pod's own, tokens and the like, is readable by the one user that all containers run as, else by whoever
/// the volume's mode says.
fn private_file(pod: &Pod, text: String, mode: i32) -> File {
    let spec = pod.spec.as_ref();
    let context = spec.and_then(|spec| spec.security_context.as_ref());
    let common = context.and_then(|context| context.run_as_user);
    let users: Vec<Option<i64>> = spec
        .map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
        .into_iter()
        .flatten()
        .map(|container| container.security_context.as_ref().and_then(|own| own.run_as_user).or(common))
        .collect();
    let same = users.first().copied().flatten().filter(|first| users.iter().all(|user| user == &Some(*first)));
    let group = context.and_then(|context| context.fs_group);
    let uid = same.filter(|_| group.is_none()).and_then(|user| u32::try_from(user).ok());
    let mode = if group.is_some() || uid.is_some() { 0o600 } else { bits(mode) };
    File { data: text.into_bytes(), mode, uid }
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0o644) & 0o777
}

async fn config_map(
    sources: &Sources<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    out: &mut Payload,
) -> Result<(), Error> {
    let namespace = sources.pod.metadata.namespace.as_deref().unwrap_or("default");
    let map = match sources.objects.config_map(namespace, name).await {
        Err(error) if error.is_not_found() && optional => return Ok(()),
        Err(error) if error.is_not_found() => return Err(Error::Pod(format!("configmap {name:?} not found"))),
        map => map?,
    };
    let get = |key: &str| map_value(&map, key);
    let keys =
        map.data.iter().flatten().map(|(key, _)| key).chain(map.binary_data.iter().flatten().map(|(key, _)| key));
    select(keys.cloned().collect(), items, mode, optional, &get, &format!("configmap {name:?}"), out)
}

fn map_value(map: &ConfigMap, key: &str) -> Option<Vec<u8>> {
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(|value| value.as_bytes().to_vec());
    text.or_else(|| map.binary_data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.clone()))
}

async fn secret(
    sources: &Sources<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    out: &mut Payload,
) -> Result<(), Error> {
    let namespace = sources.pod.metadata.namespace.as_deref().unwrap_or("default");
    let secret = match sources.objects.secret(namespace, name).await {
        Err(error) if error.is_not_found() && optional => return Ok(()),
        Err(error) if error.is_not_found() => return Err(Error::Pod(format!("secret {name:?} not found"))),
        secret => secret?,
    };
    let get = |key: &str| secret_value(&secret, key);
    let keys = secret.data.iter().flatten().map(|(key, _)| key.clone()).collect();
    select(keys, items, mode, optional, &get, &format!("secret {name:?}"), out)
}

fn secret_value(secret: &Secret, key: &str) -> Option<Vec<u8>> {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.clone())
}

fn select(
    keys: Vec<String>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    get: &dyn Fn(&str) -> Option<Vec<u8>>,
    object: &str,
    out: &mut Payload,
) -> Result<(), Error> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for key in keys {
            let data = get(&key).unwrap_or_default();
            out.insert(key, File { data, mode: bits(mode), uid: None });
        }
        return Ok(());
    };
    for item in items {
        match get(&item.key) {
            Some(data) => {
                let mode = bits(item.mode.unwrap_or(mode));
                out.insert(item.path.clone(), File { data, mode, uid: None });
            }
            None if optional => {}
            None => return Err(Error::Pod(format!("{object} references non-existent key: {}", item.key))),
        }
    }
    Ok(())
}

fn downward(
    sources: &Sources<'_>,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
    out: &mut Payload,
) -> Result<(), Error> {
    for item in items.unwrap_or_default() {
        let value = if let Some(field) = &item.field_ref {
            fields::field(sources.pod, &field.field_path, sources.facts)
        } else if let Some(resource) = &item.resource_field_ref {
            fields::resource(sources.pod, resource, "", sources.facts)
        } else {
            None
        };
        let Some(value) = value else {
            return Err(Error::Pod(format!("downwardAPI item {:?} names a field that is not supported", item.path)));
        };
        let mode = bits(item.mode.unwrap_or(mode));
        out.insert(item.path.clone(), File { data: value.into_bytes(), mode, uid: None });
    }
    Ok(())
}
