//! Images: pull policy, pulls with their credentials and bounds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::events::EventType;
use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::host::Events;
use crate::objects::Objects;
use crate::pod::memory::Waiting;
use crate::selfimage::bring::Brought;

pub mod gc;

/// How many images are pulled at the same time.
const PULLS_MAX: usize = 4;
/// After the agent's start, new pods wait so long for the image of this program at most.
const OWN_LIMIT: Duration = Duration::from_secs(60);
/// The longest a pull may take.
const PULL_LIMIT: Duration = Duration::from_secs(3600);

/// The node's images.
pub struct Images {
    runtime: Arc<dyn cri::Runtime>,
    pulls: Semaphore,
    own: Brought,
    /// Nobody waits for the program's own images after this.
    own_until: Instant,
}

/// An image that is on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The runtime's id.
    pub id: String,
    /// Its numeric user, where it has one.
    pub uid: Option<i64>,
    /// Its user by name.
    pub username: String,
}

impl Images {
    /// The images of a runtime, to which the program's own are being brought.
    pub fn new(runtime: Arc<dyn cri::Runtime>, own: Brought) -> Self {
        Self { runtime, pulls: Semaphore::new(PULLS_MAX), own, own_until: Instant::now() + OWN_LIMIT }
    }

    /// The program's own images.
    pub fn own(&self) -> &Brought {
        &self.own
    }

    /// Waits for the program's own images, within reason: sandboxes may be made from one of them, and one that is
    /// made too early fails and has to wait before the next attempt.
    pub async fn own_settled(&self) {
        let _ = tokio::time::timeout_at(self.own_until.into(), self.own.wait()).await;
    }

    /// Brings a container's image to the node as its policy says. An error is the container's waiting reason.
    pub async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        objects: &dyn Objects,
        events: &Events,
    ) -> Result<Present, Waiting> {
        let name = Some(container.name.as_str());
        let wanted = container.image.as_deref().unwrap_or_default();
        if wanted.is_empty() || wanted.contains(char::is_whitespace) {
            let message = format!("Failed to apply default image tag {wanted:?}: couldn't parse image name");
            events.pod(pod, name, EventType::Warning, "InspectFailed", &message);
            return Err(Waiting::new("InvalidImageName", message));
        }
        let policy = policy(container);
        let present = self.runtime.image_status(wanted).await;
        let present = present.map_err(|error| Waiting::new("ImageInspectError", stdx::error::chain(&error)))?;
        match (policy, present) {
            ("Never", None) => {
                let message = format!("Container image {wanted:?} is not present with pull policy of Never");
                events.pod(pod, name, EventType::Warning, "ErrImageNeverPull", &message);
                events.pod(pod, name, EventType::Warning, "Failed", "Error: ErrImageNeverPull");
                Err(Waiting::new("ErrImageNeverPull", message))
            }
            ("Never" | "IfNotPresent", Some(image)) => {
                let message = format!("Container image {wanted:?} already present on machine");
                events.pod(pod, name, EventType::Normal, "Pulled", &message);
                Ok(describe(image))
            }
            _ => self.pull(pod, container, wanted, objects, events).await,
        }
    }

    async fn pull(
        &self,
        pod: &Pod,
        container: &Container,
        image: &str,
        objects: &dyn Objects,
        events: &Events,
    ) -> Result<Present, Waiting> {
        let name = Some(container.name.as_str());
        events.pod(pod, name, EventType::Normal, "Pulling", &format!("Pulling image {image:?}"));
        let asked = Instant::now();
        let _permit = self.pulls.acquire().await.map_err(|_| Waiting::new("ErrImagePull", "the agent is stopping"))?;
        let begun = Instant::now();
        let mut last = None;
        for auth in credentials(pod, image, objects).await {
            match self.runtime.pull_image(image, auth, PULL_LIMIT).await {
                Ok(reference) => {
                    let pulled = self.runtime.image_status(&reference).await;
                    let pulled = pulled.map_err(|error| Waiting::new("ErrImagePull", stdx::error::chain(&error)))?;
                    let Some(pulled) = pulled else {
                        return Err(Waiting::new("ErrImagePull", "the image is gone after its pull"));
                    };
                    let message = format!(
                        "Successfully pulled image {image:?} in {:.3}s ({:.3}s including waiting). Image size: {} bytes.",
                        begun.elapsed().as_secs_f64(),
                        asked.elapsed().as_secs_f64(),
                        pulled.size
                    );
                    events.pod(pod, name, EventType::Normal, "Pulled", &message);
                    return Ok(describe(pulled));
                }
                Err(error) => last = Some(stdx::error::chain(&error)),
            }
        }
        let cause = last.unwrap_or_default();
        let message = format!("Failed to pull image {image:?}: {cause}");
        events.pod(pod, name, EventType::Warning, "Failed", &message);
        events.pod(pod, name, EventType::Warning, "Failed", "Error: ErrImagePull");
        Err(Waiting::new("ErrImagePull", cause))
    }
}

fn describe(image: v1::Image) -> Present {
    Present { id: image.id, uid: image.uid.map(|uid| uid.value), username: image.username }
}

/// The policy of a container; by the tag where none is given.
pub fn policy(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let floating = !image.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    container.image_pull_policy.as_deref().unwrap_or(if floating { "Always" } else { "IfNotPresent" })
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: HashMap<String, DockerAuth>,
}

#[derive(Deserialize, Clone, Default)]
#[serde(default)]
struct DockerAuth {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
}

/// The credentials of the pod's pull secrets that fit the image, and at last none.
async fn credentials(pod: &Pod, image: &str, objects: &dyn Objects) -> Vec<Option<v1::AuthConfig>> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut list = Vec::new();
    for reference in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        let Ok(secret) = objects.secret(namespace, &reference.name).await else { continue };
        let data = secret.data.as_ref();
        let bytes = data.and_then(|data| data.get(".dockerconfigjson")).map(|value| value.0.as_slice());
        list.extend(bytes.into_iter().flat_map(|bytes| fitting(bytes, image)).map(Some));
    }
    list.push(None);
    list
}

/// The credentials of a docker configuration that fit the image; none where it is no such configuration.
pub fn fitting(config: &[u8], image: &str) -> Vec<v1::AuthConfig> {
    let Ok(config) = serde_json::from_slice::<DockerConfig>(config) else { return Vec::new() };
    let fitting = config.auths.iter().filter(|(server, _)| fits(server, image));
    fitting.map(|(server, auth)| credential(server, auth)).collect()
}

/// The host that an image is pulled from.
pub fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn fits(server: &str, image: &str) -> bool {
    let server = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = server.split_once('/').unwrap_or((server, ""));
    let registry = registry(image);
    let same_host = host == registry || (registry == "docker.io" && host == "index.docker.io");
    // Of registries that are named by their API, the version is no part of an image's name.
    let unversioned = ["v1", "v2"].into_iter().find_map(|version| path.strip_prefix(version));
    let path = unversioned.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path).trim_matches('/');
    let name = image.strip_prefix(registry).map_or(image, |name| name.trim_start_matches('/'));
    same_host && name.starts_with(path)
}

fn credential(server: &str, auth: &DockerAuth) -> v1::AuthConfig {
    let decoded = STANDARD.decode(&auth.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let (user, password) = decoded.split_once(':').unwrap_or_default();
    let or = |own: &str, other: &str| if own.is_empty() { other.to_string() } else { own.to_string() };
    v1::AuthConfig {
        username: or(&auth.username, user),
        password: or(&auth.password, password),
        identity_token: auth.identitytoken.clone(),
        server_address: server.to_string(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_follows_the_tag() {
        let of = |image: &str| {
            let container = Container { image: Some(image.into()), ..Default::default() };
            policy(&container).to_string()
        };
        assert_eq!(of("web"), "Always");
        assert_eq!(of("web:latest"), "Always");
        assert_eq!(of("web:1"), "IfNotPresent");
        assert_eq!(of("host:5000/web"), "Always");
        assert_eq!(of("web@sha256:00"), "IfNotPresent");
    }

    #[test]
    fn credentials_go_only_to_their_registry() {
        assert!(fits("https://index.docker.io/v1/", "library/web"));
        assert!(fits("registry.example.org", "registry.example.org/team/web:1"));
        assert!(fits("registry.example.org/team", "registry.example.org/team/web:1"));
        assert!(fits("registry.example.org/v2/team", "registry.example.org/team/web:1"));
        assert!(fits("registry.example.org/v1beta", "registry.example.org/v1beta/web:1"));
        // Those of one team are not for another that has a folder of its name.
        assert!(!fits("registry.example.org/team", "registry.example.org/other/team/web:1"));
        assert!(!fits("registry.example.org/v1beta", "registry.example.org/beta/web:1"));
        assert!(!fits("registry.example.org", "other.example.org/web"));
        assert!(!fits("registry.example.org", "web"));
    }
}
