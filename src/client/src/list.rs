//! Lists, decoded object by object from their raw text. Only one decoder a kind comes out of this, which keeps the
//! program small; `kube::Api::list` makes a second.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// One page of a list.
#[derive(Debug)]
pub struct Page<K> {
    /// Its objects.
    pub objects: Vec<K>,
    /// The list's resource version.
    pub revision: String,
    /// Where the next page begins; `None` after the last.
    pub continue_token: Option<String>,
}

/// A list of which only the envelope is decoded.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<Box<RawValue>>>,
}

/// The page of the resource at `path` (`/api/v1/pods`) that `params` asks for.
///
/// # Errors
/// The request was refused or did not get through, or the answer is no list, or an object of it does not decode.
pub async fn page<K: DeserializeOwned>(
    client: &kube::Client,
    path: &str,
    params: &ListParams,
) -> Result<Page<K>, kube::Error> {
    let raw = raw(client, path, params, None).await?;
    let objects = raw.objects.iter().map(|object| serde_json::from_str(object.get()));
    let objects = objects.collect::<Result<_, _>>().map_err(kube::Error::SerdeError)?;
    Ok(Page { objects, revision: raw.revision, continue_token: raw.continue_token })
}

/// As [`page`], without the objects that do not decode: each is told in the log and does not hide the others. They come
/// in the form that `accept` names, where it names one.
pub(crate) async fn tolerant_page<K: DeserializeOwned>(
    client: &kube::Client,
    path: &str,
    params: &ListParams,
    accept: Option<&'static str>,
) -> Result<Page<K>, kube::Error> {
    let raw = raw(client, path, params, accept).await?;
    let decode = |object: &RawValue| match serde_json::from_str(object.get()) {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::warn!(path, %error, "an object does not decode; ignored");
            None
        }
    };
    let objects = raw.objects.iter().filter_map(|object| decode(object)).collect();
    Ok(Page { objects, revision: raw.revision, continue_token: raw.continue_token })
}

async fn raw(
    client: &kube::Client,
    path: &str,
    params: &ListParams,
    accept: Option<&'static str>,
) -> Result<Page<Box<RawValue>>, kube::Error> {
    let mut request = Request::new(path).list(params).map_err(kube::Error::BuildRequest)?;
    if let Some(accept) = accept {
        request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static(accept));
    }
    let text = client.request_text(request).await?;
    let envelope: Envelope = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
    Ok(Page {
        objects: envelope.items.unwrap_or_default(),
        revision: envelope.metadata.resource_version.unwrap_or_default(),
        continue_token: envelope.metadata.continue_.filter(|token| !token.is_empty()),
    })
}
