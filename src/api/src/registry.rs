//! Which resources are served, in the order discovery lists them, and how they are found.
//!
//! To add a kind: its behaviour in `kinds/`, and one line in its group's function below.

pub(crate) mod subresources;

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::{
    admissionregistration::v1 as admissionregistration, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling, batch::v1 as batch, certificates::v1 as certificates,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
    flowcontrol::v1 as flowcontrol, networking::v1 as networking, node::v1 as node, policy::v1 as policy,
    rbac::v1 as rbac, resource::v1 as dra, scheduling::v1 as scheduling, storage::v1 as storage,
    storagemigration::v1 as storagemigration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta_v1;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;
use machinery::gvk::GroupVersion;
use machinery::names;
use machinery::schema::{Definitions, Schema};

use crate::definitions::{Described, closure, schema_in};
use crate::kinds;
use crate::resource::{Behaviour, Kind, Resource, Subresource, Text};
use subresources::*;

pub(crate) const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// A namespace's deletion has consequences that deserve one request each.
const NAMESPACE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const READ_VERBS: &[&str] = &["get", "list"];
const CREATE_VERBS: &[&str] = &["create"];

const CATEGORY_ALL: &[&str] = &["all"];
const CATEGORY_EXTENSIONS: &[&str] = &["api-extensions"];

/// A kind that is sent and answered and is no resource of its own: the body of a subresource or of a deletion.
pub struct Body {
    /// Group and version of its apiVersion.
    pub group_version: GroupVersion,
    /// `Scale`, `Eviction`, `DeleteOptions`.
    pub kind: &'static str,
    /// The key of the kind's schema among the definitions.
    pub schema_name: &'static str,
    definitions: OnceLock<Definitions>,
}

impl Body {
    fn new<K: Described>(group: &str, version: &str, kind: &'static str) -> Self {
        Self {
            group_version: GroupVersion::new(group, version),
            kind,
            schema_name: K::SCHEMA_NAME,
            definitions: OnceLock::new(),
        }
    }

    /// The kind's schema and every schema it refers to; made on first use.
    pub fn definitions(&self) -> &Definitions {
        self.definitions.get_or_init(|| closure(self.schema_name))
    }

    /// The kind's own schema, whose references [`Body::definitions`] resolves.
    pub fn schema(&self) -> &Schema {
        schema_in(self.definitions(), self.schema_name)
    }
}

/// Every built-in resource that is served.
pub struct Registry {
    resources: Vec<Resource>,
    bodies: Vec<Body>,
    /// Positions by plural and by kind; a name is in few groups and versions.
    by_plural: HashMap<Text, Vec<usize>>,
    by_kind: HashMap<Text, Vec<usize>>,
}

/// The registry of this build.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::new(resources()));
    &REGISTRY
}

impl Registry {
    fn new(resources: Vec<Resource>) -> Self {
        let mut by_plural: HashMap<Text, Vec<usize>> = HashMap::new();
        let mut by_kind: HashMap<Text, Vec<usize>> = HashMap::new();
        for (at, resource) in resources.iter().enumerate() {
            by_plural.entry(resource.plural.clone()).or_default().push(at);
            by_kind.entry(resource.kind.clone()).or_default().push(at);
        }
        Self { resources, bodies: bodies(), by_plural, by_kind }
    }

    fn find(&self, positions: Option<&Vec<usize>>, group: &str, version: &str) -> Option<&Resource> {
        positions?
            .iter()
            .map(|at| &self.resources[*at])
            .find(|found| found.group_version.group == group && found.group_version.version == version)
    }

    /// All resources, a group's versions preferred first, in discovery order.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// The resource of a URL: group (empty for core), version and plural.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        self.find(self.by_plural.get(plural), group, version)
    }

    /// The resource of a kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Resource> {
        self.find(self.by_kind.get(kind), group, version)
    }

    /// The resource called `plural` in the preferred version of `group`.
    pub fn preferred(&self, group: &str, plural: &str) -> Option<&Resource> {
        self.resources.iter().find(|found| found.group_version.group == group && found.plural == plural)
    }

    /// The groups in discovery order, each with its versions, the preferred one first.
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for GroupVersion { group, version } in self.resources.iter().map(|found| &found.group_version) {
            match groups.iter_mut().find(|(name, _)| name == group) {
                Some((_, versions)) if versions.contains(&version.as_str()) => {}
                Some((_, versions)) => versions.push(version),
                None => groups.push((group, vec![version])),
            }
        }
        groups
    }

    /// The resources of one group and version, in discovery order.
    pub fn of_version(&self, group: &str, version: &str) -> impl Iterator<Item = &Resource> {
        self.resources
            .iter()
            .filter(move |found| found.group_version.group == group && found.group_version.version == version)
    }

    /// The kinds that are no resources: bodies of subresources and options.
    pub fn bodies(&self) -> &[Body] {
        &self.bodies
    }

    /// The body of a kind: `autoscaling`, `v1`, `Scale`.
    pub fn body(&self, group: &str, version: &str, kind: &str) -> Option<&Body> {
        self.bodies.iter().find(|found| {
            found.kind == kind && found.group_version.group == group && found.group_version.version == version
        })
    }

    /// The resource in whose form objects of `resource` are stored: itself for all but a few.
    pub fn stored_as<'a>(&'a self, resource: &'a Resource) -> &'a Resource {
        let storage = resource.storage.as_ref();
        storage.and_then(|own| self.get(&own.group, &own.version, &resource.plural)).unwrap_or(resource)
    }
}

/// A resource with all verbs and no subresources; the methods below say what differs.
fn stored<K>(behaviour: &'static dyn Kind) -> Resource
where
    K: k8s_openapi::Resource<Scope: 'static> + Described,
{
    Resource {
        group_version: GroupVersion::new(K::GROUP, K::VERSION),
        kind: K::KIND.into(),
        plural: K::URL_PATH_SEGMENT.into(),
        singular: K::KIND.to_lowercase().into(),
        namespaced: TypeId::of::<K::Scope>() == TypeId::of::<NamespaceResourceScope>(),
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: ALL_VERBS,
        subresources: Cow::Borrowed(&[]),
        storage: None,
        deprecated: None,
        schema_name: K::SCHEMA_NAME.into(),
        update_creates: false,
        update_needs_version: false,
        name_rule: names::dns1123_subdomain,
        behaviour: Behaviour::BuiltIn(behaviour),
        definitions: OnceLock::new(),
    }
}

/// A kind that is answered and never kept.
fn review<K>() -> Resource
where
    K: k8s_openapi::Resource<Scope: 'static> + Described,
{
    stored::<K>(&kinds::simple::Simple::PLAIN).verbs(CREATE_VERBS)
}

impl Resource {
    fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names.iter().copied().map(Text::Borrowed).collect();
        self
    }

    fn categories(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories.iter().copied().map(Text::Borrowed).collect();
        self
    }

    fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    fn with(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = Cow::Borrowed(subresources);
        self
    }

    fn stored_in(mut self, group: &'static str, version: &'static str) -> Self {
        self.storage = Some(GroupVersion::new(group, version));
        self
    }

    fn deprecated(mut self, warning: &'static str) -> Self {
        self.deprecated = Some(warning.into());
        self
    }

    fn update_creates(mut self) -> Self {
        self.update_creates = true;
        self
    }

    fn update_needs_version(mut self) -> Self {
        self.update_needs_version = true;
        self
    }

    fn named(mut self, rule: fn(&str) -> Vec<String>) -> Self {
        self.name_rule = rule;
        self
    }
}

fn bodies() -> Vec<Body> {
    vec![
        Body::new::<autoscaling::v1::Scale>("autoscaling", "v1", "Scale"),
        Body::new::<policy::Eviction>("policy", "v1", "Eviction"),
        Body::new::<authentication::TokenRequest>("authentication.k8s.io", "v1", "TokenRequest"),
        Body::new::<meta_v1::DeleteOptions>("", "v1", "DeleteOptions"),
        Body::new::<meta_v1::Status>("", "v1", "Status"),
    ]
}

fn resources() -> Vec<Resource> {
    let groups = [
        core_group(),
        extension_groups(),
        apps_group(),
        batch_group(),
        autoscaling_group(),
        policy_and_network_groups(),
        identity_groups(),
        storage_groups(),
        remaining_groups(),
    ];
    groups.into_iter().flatten().collect()
}

fn core_group() -> Vec<Resource> {
    vec![
        stored::<core::ComponentStatus>(&kinds::component_status::COMPONENT_STATUS)
            .short(&["cs"])
            .verbs(READ_VERBS)
            .deprecated("v1 ComponentStatus is deprecated in v1.19+"),
        stored::<core::ConfigMap>(&kinds::config_map::CONFIG_MAP).short(&["cm"]),
        stored::<core::Endpoints>(&kinds::endpoints::ENDPOINTS)
            .update_creates()
            .short(&["ep"])
            .deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        stored::<core::Event>(&kinds::event::CoreEvent).update_creates().named(names::path_segment).short(&["ev"]),
        stored::<core::LimitRange>(&kinds::limit_range::LIMIT_RANGE).update_creates().short(&["limits"]),
        stored::<core::Namespace>(&kinds::namespace::Namespace)
            .short(&["ns"])
            .verbs(NAMESPACE_VERBS)
            .with(NAMESPACE)
            .named(names::dns1123_label),
        review::<core::Binding>(),
        stored::<core::PersistentVolumeClaim>(&kinds::persistent_volume_claim::PERSISTENT_VOLUME_CLAIM)
            .short(&["pvc"])
            .with(PERSISTENT_VOLUME_CLAIM),
        stored::<core::Pod>(&kinds::pod::Pod).short(&["po"]).categories(CATEGORY_ALL).with(POD),
        stored::<core::PodTemplate>(&kinds::pod_template::POD_TEMPLATE),
        stored::<core::ReplicationController>(&kinds::replication_controller::REPLICATION_CONTROLLER)
            .short(&["rc"])
            .categories(CATEGORY_ALL)
            .with(REPLICATION_CONTROLLER),
        stored::<core::ResourceQuota>(&kinds::resource_quota::RESOURCE_QUOTA).short(&["quota"]).with(RESOURCE_QUOTA),
        stored::<core::Secret>(&kinds::secret::SECRET),
        stored::<core::ServiceAccount>(&kinds::service_account::SERVICE_ACCOUNT).short(&["sa"]).with(SERVICE_ACCOUNT),
        stored::<core::Service>(&kinds::service::Service)
            .update_creates()
            .short(&["svc"])
            .categories(CATEGORY_ALL)
            .with(SERVICE)
            .named(names::dns1035_label),
        stored::<core::Node>(&kinds::node::Node).short(&["no"]).with(NODE),
        stored::<core::PersistentVolume>(&kinds::persistent_volume::PERSISTENT_VOLUME)
            .short(&["pv"])
            .with(PERSISTENT_VOLUME),
    ]
}

fn extension_groups() -> Vec<Resource> {
    vec![
        stored::<apiregistration::APIService>(&kinds::extensions::API_SERVICE)
            .update_needs_version()
            .categories(CATEGORY_EXTENSIONS)
            .named(names::path_segment)
            .with(API_SERVICE),
        stored::<apiextensions::CustomResourceDefinition>(&kinds::extensions::CRD)
            .update_needs_version()
            .short(&["crd", "crds"])
            .categories(CATEGORY_EXTENSIONS)
            .with(CRD),
        stored::<admissionregistration::MutatingAdmissionPolicy>(&kinds::admission::MUTATING_POLICY)
            .update_needs_version()
            .categories(CATEGORY_EXTENSIONS),
        stored::<admissionregistration::MutatingAdmissionPolicyBinding>(&kinds::admission::MUTATING_BINDING)
            .update_needs_version()
            .categories(CATEGORY_EXTENSIONS),
        stored::<admissionregistration::MutatingWebhookConfiguration>(&kinds::admission::WEBHOOKS)
            .update_needs_version()
            .categories(CATEGORY_EXTENSIONS),
        stored::<admissionregistration::ValidatingAdmissionPolicy>(&kinds::admission::VALIDATING_POLICY)
            .update_needs_version()
            .categories(CATEGORY_EXTENSIONS)
            .with(VALIDATING_ADMISSION_POLICY),
        stored::<admissionregistration::ValidatingAdmissionPolicyBinding>(&kinds::admission::VALIDATING_BINDING)
            .update_needs_version()
            .categories(CATEGORY_EXTENSIONS),
        stored::<admissionregistration::ValidatingWebhookConfiguration>(&kinds::admission::WEBHOOKS)
            .update_needs_version()
            .categories(CATEGORY_EXTENSIONS),
    ]
}

fn apps_group() -> Vec<Resource> {
    vec![
        stored::<apps::ControllerRevision>(&kinds::controller_revision::CONTROLLER_REVISION),
        stored::<apps::DaemonSet>(&kinds::daemon_set::DAEMON_SET)
            .short(&["ds"])
            .categories(CATEGORY_ALL)
            .with(DAEMON_SET),
        stored::<apps::Deployment>(&kinds::deployment::DEPLOYMENT)
            .short(&["deploy"])
            .categories(CATEGORY_ALL)
            .with(DEPLOYMENT),
        stored::<apps::ReplicaSet>(&kinds::replica_set::REPLICA_SET)
            .short(&["rs"])
            .categories(CATEGORY_ALL)
            .with(REPLICA_SET),
        stored::<apps::StatefulSet>(&kinds::stateful_set::STATEFUL_SET)
            .short(&["sts"])
            .categories(CATEGORY_ALL)
            .with(STATEFUL_SET),
    ]
}

fn batch_group() -> Vec<Resource> {
    vec![
        stored::<batch::CronJob>(&kinds::cron_job::CRON_JOB).short(&["cj"]).categories(CATEGORY_ALL).with(CRON_JOB),
        stored::<batch::Job>(&kinds::job::Job).categories(CATEGORY_ALL).with(JOB),
    ]
}

fn autoscaling_group() -> Vec<Resource> {
    vec![
        stored::<autoscaling::v2::HorizontalPodAutoscaler>(&kinds::autoscaling::Autoscaler)
            .short(&["hpa"])
            .categories(CATEGORY_ALL)
            .with(HPA),
        stored::<autoscaling::v1::HorizontalPodAutoscaler>(&kinds::autoscaling::AutoscalerV1)
            .short(&["hpa"])
            .categories(CATEGORY_ALL)
            .with(HPA)
            .stored_in("autoscaling", "v2"),
    ]
}

fn policy_and_network_groups() -> Vec<Resource> {
    vec![
        stored::<policy::PodDisruptionBudget>(&kinds::pod_disruption_budget::POD_DISRUPTION_BUDGET)
            .update_needs_version()
            .named(names::path_segment)
            .short(&["pdb"])
            .with(POD_DISRUPTION_BUDGET),
        stored::<networking::IngressClass>(&kinds::networks::INGRESS_CLASS),
        stored::<networking::Ingress>(&kinds::ingress::INGRESS).short(&["ing"]).with(INGRESS),
        stored::<networking::IPAddress>(&kinds::networks::IP_ADDRESS)
            .short(&["ip"])
            .named(kinds::networks::ip_address_name),
        stored::<networking::NetworkPolicy>(&kinds::network_policy::NETWORK_POLICY).short(&["netpol"]),
        stored::<networking::ServiceCIDR>(&kinds::networks::SERVICE_CIDR).with(SERVICE_CIDR),
        stored::<discovery::EndpointSlice>(&kinds::endpoint_slice::ENDPOINT_SLICE),
        stored::<events::Event>(&kinds::event::Event).update_creates().short(&["ev"]).stored_in("", "v1"),
        stored::<coordination::Lease>(&kinds::lease::LEASE).update_creates().update_needs_version(),
    ]
}

fn identity_groups() -> Vec<Resource> {
    vec![
        review::<authentication::SelfSubjectReview>(),
        review::<authentication::TokenReview>(),
        review::<authorization::LocalSubjectAccessReview>(),
        review::<authorization::SelfSubjectAccessReview>(),
        review::<authorization::SelfSubjectRulesReview>(),
        review::<authorization::SubjectAccessReview>(),
        stored::<rbac::ClusterRoleBinding>(&kinds::rbac::CLUSTER_BINDING).update_creates().named(names::path_segment),
        stored::<rbac::ClusterRole>(&kinds::rbac::CLUSTER_ROLE).update_creates().named(names::path_segment),
        stored::<rbac::RoleBinding>(&kinds::rbac::BINDING).update_creates().named(names::path_segment),
        stored::<rbac::Role>(&kinds::rbac::ROLE).update_creates().named(names::path_segment),
        stored::<certificates::CertificateSigningRequest>(&kinds::certificates::SigningRequest)
            .named(names::path_segment)
            .short(&["csr"])
            .with(CSR),
        stored::<certificates::ClusterTrustBundle>(&kinds::certificates::CLUSTER_TRUST_BUNDLE)
            .update_needs_version()
            .named(names::path_segment),
        stored::<certificates::PodCertificateRequest>(&kinds::certificates::PodRequest)
            .update_needs_version()
            .with(POD_CERTIFICATE_REQUEST),
    ]
}

fn storage_groups() -> Vec<Resource> {
    vec![
        stored::<scheduling::PriorityClass>(&kinds::priority_class::PRIORITY_CLASS).short(&["pc"]),
        stored::<storage::CSIDriver>(&kinds::storage::CSI_DRIVER).update_needs_version(),
        stored::<storage::CSINode>(&kinds::storage::CSI_NODE).update_needs_version(),
        stored::<storage::CSIStorageCapacity>(&kinds::storage::CSI_STORAGE_CAPACITY),
        stored::<storage::StorageClass>(&kinds::storage_class::STORAGE_CLASS).short(&["sc"]),
        stored::<storage::VolumeAttachment>(&kinds::storage::VOLUME_ATTACHMENT)
            .update_needs_version()
            .with(VOLUME_ATTACHMENT),
        stored::<storage::VolumeAttributesClass>(&kinds::storage::VOLUME_ATTRIBUTES_CLASS).short(&["vac"]),
        stored::<storagemigration::StorageVersionMigration>(&kinds::storage::STORAGE_VERSION_MIGRATION)
            .with(STORAGE_VERSION_MIGRATION),
    ]
}

fn remaining_groups() -> Vec<Resource> {
    vec![
        stored::<node::RuntimeClass>(&kinds::runtime_class::RUNTIME_CLASS).update_creates().update_needs_version(),
        stored::<flowcontrol::FlowSchema>(&kinds::flow_control::FLOW_SCHEMA).with(FLOW_SCHEMA),
        stored::<flowcontrol::PriorityLevelConfiguration>(&kinds::flow_control::PRIORITY_LEVEL).with(PRIORITY_LEVEL),
        stored::<dra::DeviceClass>(&kinds::resource_claims::DEVICE_CLASS),
        stored::<dra::ResourceClaim>(&kinds::resource_claims::RESOURCE_CLAIM).with(RESOURCE_CLAIM),
        stored::<dra::ResourceClaimTemplate>(&kinds::resource_claims::RESOURCE_CLAIM_TEMPLATE),
        stored::<dra::ResourceSlice>(&kinds::resource_claims::RESOURCE_SLICE),
        stored::<dra::DeviceTaintRule>(&kinds::resource_claims::DEVICE_TAINT_RULE).with(DEVICE_TAINT_RULE),
    ]
}

#[cfg(test)]
mod tests;
