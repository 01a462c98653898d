//! The subresources of the built-in kinds.

use std::borrow::Cow;

use crate::resource::Subresource;

const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
const CONNECT_STREAM: &[&str] = &["create", "get"];
const CONNECT_ANY: &[&str] = &["create", "delete", "get", "patch", "update"];

const fn own(name: &'static str, kind: &'static str) -> Subresource {
    Subresource { name, group_version: None, kind: Cow::Borrowed(kind), verbs: GET_PATCH_UPDATE }
}

const fn other(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, group_version: None, kind: Cow::Borrowed(kind), verbs }
}

const fn of_group(
    name: &'static str,
    group_version: (&'static str, &'static str),
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group_version: Some(group_version), kind: Cow::Borrowed(kind), verbs }
}

/// `status`, of a kind that is known at run time only.
pub(crate) fn status_of(kind: String) -> Subresource {
    Subresource { name: "status", group_version: None, kind: kind.into(), verbs: GET_PATCH_UPDATE }
}

pub(crate) const SCALE: Subresource = of_group("scale", ("autoscaling", "v1"), "Scale", GET_PATCH_UPDATE);

macro_rules! status_only {
    ($($name:ident: $kind:literal),* $(,)?) => {
        $(pub(super) const $name: &[Subresource] = &[own("status", $kind)];)*
    };
}

macro_rules! scale_and_status {
    ($($name:ident: $kind:literal),* $(,)?) => {
        $(pub(super) const $name: &[Subresource] = &[SCALE, own("status", $kind)];)*
    };
}

scale_and_status! {
    DEPLOYMENT: "Deployment",
    REPLICA_SET: "ReplicaSet",
    REPLICATION_CONTROLLER: "ReplicationController",
    STATEFUL_SET: "StatefulSet",
}

status_only! {
    API_SERVICE: "APIService",
    CRD: "CustomResourceDefinition",
    CRON_JOB: "CronJob",
    DAEMON_SET: "DaemonSet",
    DEVICE_TAINT_RULE: "DeviceTaintRule",
    FLOW_SCHEMA: "FlowSchema",
    HPA: "HorizontalPodAutoscaler",
    INGRESS: "Ingress",
    JOB: "Job",
    PERSISTENT_VOLUME: "PersistentVolume",
    PERSISTENT_VOLUME_CLAIM: "PersistentVolumeClaim",
    POD_CERTIFICATE_REQUEST: "PodCertificateRequest",
    POD_DISRUPTION_BUDGET: "PodDisruptionBudget",
    PRIORITY_LEVEL: "PriorityLevelConfiguration",
    RESOURCE_CLAIM: "ResourceClaim",
    RESOURCE_QUOTA: "ResourceQuota",
    SERVICE_CIDR: "ServiceCIDR",
    STORAGE_VERSION_MIGRATION: "StorageVersionMigration",
    VALIDATING_ADMISSION_POLICY: "ValidatingAdmissionPolicy",
    VOLUME_ATTACHMENT: "VolumeAttachment",
}

pub(super) const NAMESPACE: &[Subresource] = &[other("finalize", "Namespace", &["update"]), own("status", "Namespace")];

pub(super) const POD: &[Subresource] = &[
    other("attach", "PodAttachOptions", CONNECT_STREAM),
    other("binding", "Binding", &["create"]),
    own("ephemeralcontainers", "Pod"),
    of_group("eviction", ("policy", "v1"), "Eviction", &["create"]),
    other("exec", "PodExecOptions", CONNECT_STREAM),
    other("log", "Pod", &["get"]),
    other("portforward", "PodPortForwardOptions", CONNECT_STREAM),
    other("proxy", "PodProxyOptions", CONNECT_ANY),
    own("resize", "Pod"),
    own("status", "Pod"),
];

pub(super) const SERVICE: &[Subresource] =
    &[other("proxy", "ServiceProxyOptions", CONNECT_ANY), own("status", "Service")];

pub(super) const NODE: &[Subresource] = &[other("proxy", "NodeProxyOptions", CONNECT_ANY), own("status", "Node")];

pub(super) const SERVICE_ACCOUNT: &[Subresource] =
    &[of_group("token", ("authentication.k8s.io", "v1"), "TokenRequest", &["create"])];

pub(super) const CSR: &[Subresource] =
    &[own("approval", "CertificateSigningRequest"), own("status", "CertificateSigningRequest")];
