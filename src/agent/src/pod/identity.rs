//! How a pod and its containers are recognised in the runtime: the labels and annotations that kubelet writes.
//!
//! A restarted agent, and tools that read the runtime, know what a container belongs to by these alone.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, Pod};

/// Label: the pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label: the pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label: the pod's UID.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label: the container's name.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Annotation: hash of what forces a new container.
pub const HASH: &str = "io.kubernetes.container.hash";
/// Annotation: how often the container was restarted before.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Annotation: where the container leaves its last words.
pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation: `File` or `FallbackToLogsOnError`.
pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Annotation: the pod's grace period in seconds.
pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Annotation of pods: where the agent got the pod from (`file`, `api`).
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// Annotation of static pods: their UID on the node.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// Annotation of mirror pods: the hash of the static pod they stand for.
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// Annotation of pods: when the agent first saw it.
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";

/// Where a pod is: namespace, name and UID (for static pods the hash of the manifest).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: String,
}

impl PodRef {
    /// The reference of a pod object.
    pub fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_else(|| "default".into()),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// The reference in a sandbox's or container's labels; `None` where the agent did not make it.
    pub fn from_labels(labels: &HashMap<String, String>) -> Option<Self> {
        Some(Self {
            namespace: labels.get(POD_NAMESPACE)?.clone(),
            name: labels.get(POD_NAME)?.clone(),
            uid: labels.get(POD_UID)?.clone(),
        })
    }

    /// `NAMESPACE_NAME_UID`, the name of the pod's log folder.
    pub fn log_folder(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// True for a pod whose manifest lies on this node.
pub fn is_static(pod: &Pod) -> bool {
    annotation(pod, CONFIG_SOURCE).is_some_and(|source| source != "api")
}

/// True for the API's image of a static pod.
pub fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, CONFIG_MIRROR).is_some()
}

/// The value of a pod's annotation.
pub fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The labels of a pod's sandbox.
pub fn sandbox_labels(pod: &Pod) -> HashMap<String, String> {
    let reference = PodRef::of(pod);
    let mut labels: HashMap<String, String> = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.insert(POD_NAME.into(), reference.name);
    labels.insert(POD_NAMESPACE.into(), reference.namespace);
    labels.insert(POD_UID.into(), reference.uid);
    labels
}

/// The labels of a container.
pub fn container_labels(pod: &Pod, container: &str) -> HashMap<String, String> {
    let reference = PodRef::of(pod);
    HashMap::from([
        (POD_NAME.to_string(), reference.name),
        (POD_NAMESPACE.to_string(), reference.namespace),
        (POD_UID.to_string(), reference.uid),
        (CONTAINER_NAME.to_string(), container.to_string()),
    ])
}

/// The annotations of a container.
pub fn container_annotations(pod: &Pod, container: &Container, restart_count: u32) -> HashMap<String, String> {
    let mut annotations = HashMap::from([
        (HASH.to_string(), hash(container)),
        (RESTART_COUNT.to_string(), restart_count.to_string()),
        (
            TERMINATION_PATH.to_string(),
            container.termination_message_path.clone().unwrap_or_else(|| "/dev/termination-log".into()),
        ),
        (TERMINATION_POLICY.to_string(), container.termination_message_policy.clone().unwrap_or_else(|| "File".into())),
    ]);
    if let Some(grace) = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds) {
        annotations.insert(GRACE_PERIOD.into(), grace.to_string());
    }
    annotations
}

/// FNV-1a over the fields whose change asks for a new container: its name and image.
pub fn hash(container: &Container) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    let image = container.image.as_deref().unwrap_or_default();
    for byte in container.name.bytes().chain([0]).chain(image.bytes()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    format!("{hash:x}")
}

/// The annotations of a sandbox: the pod's own.
pub fn sandbox_annotations(pod: &Pod) -> BTreeMap<String, String> {
    pod.metadata.annotations.clone().unwrap_or_default()
}
