//! ResourceQuotas: their status says what is allowed and how much of it is used.
//!
//! Admission counts for itself and refuses what does not fit; what stands in the status is for people and for
//! programs that ask before they create. It is counted anew from what is there whenever something that a quota of
//! the namespace is about comes, goes or changes what it takes, and now and then for what changes with time alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::quota::{Amounts, Counted, counted};
use client::discovery::ServerResource;
use client::informer::{Change, Informer, Informers, Metadata, Object};
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::key::Key;
use crate::common::ready;

mod usage;

/// Quotas that are counted at once.
const WORKERS: usize = 2;
/// What comes and goes together is counted once.
const SETTLE: Duration = Duration::from_millis(50);
/// How often every quota is counted though nothing was told, as in Kubernetes.
const COUNT_PERIOD: Duration = Duration::from_secs(300);

/// A resource by group and plural name.
type Name = (String, String);

struct Controller {
    client: kube::Client,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
    device_claims: Informer<ResourceClaim>,
    informers: Informers,
    /// Resources of which some quota counts the objects.
    objects: Mutex<HashMap<Name, Informer<Metadata>>>,
    discovery_period: Duration,
    queue: WorkQueue<Key>,
}

/// Counts until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let informers = &context.informers;
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        quotas: informers.all(),
        pods: informers.all(),
        services: informers.all(),
        claims: informers.all(),
        device_claims: informers.all(),
        informers: informers.clone(),
        objects: Mutex::default(),
        discovery_period: shared.config.discovery_period,
        queue: WorkQueue::new("resource-quota"),
    });
    controller.listen();
    let Controller { quotas, pods, services, claims, device_claims, .. } = controller.as_ref();
    let synced = async {
        tokio::join!(quotas.synced(), pods.synced(), services.synced(), claims.synced(), device_claims.synced())
    };
    if !ready(context, synced).await {
        return Ok(());
    }
    let queue = controller.queue.clone();
    let work = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(&key).await }
    };
    queue.run_until(&context.shutdown, WORKERS, work).await;
    Ok(())
}

impl Controller {
    fn listen(&self) {
        let enqueue = self.queue.clone();
        self.quotas.on_change(move |change| {
            let quota = change.object();
            enqueue.add(Key::of(&quota.metadata));
        });
        self.follow(&self.pods, |old, new| old.spec != new.spec || phase(old) != phase(new));
        self.follow(&self.services, |old, new| old.spec != new.spec);
        self.follow(&self.claims, |old, new| old.spec != new.spec || old.status != new.status);
        self.follow(&self.device_claims, |old, new| old.spec != new.spec);
    }

    /// Counts a namespace's quotas again when something comes, goes, or changes in a way that `matters`.
    fn follow<K: Object>(&self, informer: &Informer<K>, matters: impl Fn(&K, &K) -> bool + Send + Sync + 'static) {
        let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
        informer.on_change(move |change| {
            if !matches!(change, Change::Updated(old, new) if !matters(old, new)) {
                again(&quotas, &queue, change.object().meta().namespace.as_deref());
            }
        });
    }

    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(quota) = self.quotas.get(&key.namespace, &key.name) else { return Ok(Outcome::Done) };
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let (mut used, mut missing) = (Amounts::new(), false);
        let quota_value = json!({"spec": quota.spec});
        let now = Timestamp::now();
        let mut parts: HashMap<(&str, &str), Amounts> = HashMap::new();
        for name in hard.keys() {
            let (group, resource) = match counted(name) {
                // Of these the amounts below hold the number of objects too.
                Counted::Objects { group: "", resource: resource @ "pods" } => ("", resource),
                Counted::Objects { group, resource } => {
                    let count = self.count(group, resource, &quota_value, key).await?;
                    missing |= count.is_none();
                    used.insert(name.clone(), usage::number(count.unwrap_or(0)));
                    continue;
                }
                Counted::Parts { group, resource } => (group, resource),
            };
            let sum = parts.entry((group, resource));
            let sum = sum.or_insert_with(|| self.sum(group, resource, &quota_value, &key.namespace, now));
            used.insert(name.clone(), sum.get(name).copied().unwrap_or_default());
        }
        self.write(&quota, key, hard, &used).await?;
        Ok(Outcome::After(if missing { self.discovery_period } else { COUNT_PERIOD }))
    }

    /// What the namespace's objects of a resource take together, of those that the quota is about.
    fn sum(&self, group: &str, resource: &str, quota: &Value, namespace: &str, now: Timestamp) -> Amounts {
        let of = |objects: Vec<Value>| usage::sum(quota, group, resource, &objects, now);
        match resource {
            "pods" => of(values(&self.pods, namespace)),
            "services" => of(values(&self.services, namespace)),
            "persistentvolumeclaims" => of(values(&self.claims, namespace)),
            _ => of(values(&self.device_claims, namespace)),
        }
    }

    /// How many objects of a resource the namespace has; `None` where the cluster serves no such resource.
    async fn count(&self, group: &str, resource: &str, quota: &Value, key: &Key) -> Result<Option<usize>, Error> {
        // A quota with scopes is about nothing that has no part in them.
        if !api::quota::in_scope(quota, group, resource, &Value::Null) {
            return Ok(Some(0));
        }
        let name = (group.to_string(), resource.to_string());
        let known = self.lock().get(&name).cloned();
        let informer = match known {
            Some(informer) => informer,
            None => {
                let Some(found) = self.find(group, resource).await? else { return Ok(None) };
                self.count_from_now_on(name, &found)
            }
        };
        tokio::time::timeout(self.discovery_period, informer.synced()).await.map_err(|_| Error::Object {
            object: format!("ResourceQuota {key}"),
            problem: format!("{resource} cannot be listed, and are not counted yet"),
        })?;
        Ok(Some(informer.list(Some(&key.namespace)).len()))
    }

    fn count_from_now_on(&self, name: Name, resource: &ServerResource) -> Informer<Metadata> {
        let mut objects = self.lock();
        if let Some(informer) = objects.get(&name) {
            return informer.clone();
        }
        let informer = self.informers.metadata(resource);
        let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
        informer.on_change(move |change| {
            if !matches!(change, Change::Updated(..)) {
                again(&quotas, &queue, Some(change.object().namespace()).filter(|namespace| !namespace.is_empty()));
            }
        });
        objects.insert(name, informer.clone());
        informer
    }

    /// Where the cluster serves a resource, in its group's preferred version.
    async fn find(&self, group: &str, plural: &str) -> Result<Option<ServerResource>, Error> {
        let what = || format!("find the resource {plural} of the group {group:?}");
        let (version, listed) = if group.is_empty() {
            ("v1".to_string(), self.client.list_core_api_resources("v1").await)
        } else {
            let groups = self.client.list_api_groups().await.map_err(doing(what()))?.groups;
            let found = groups.into_iter().find(|one| one.name == group);
            let Some(preferred) = found.and_then(|one| one.preferred_version) else { return Ok(None) };
            let listed = self.client.list_api_group_resources(&preferred.group_version).await;
            (preferred.version, listed)
        };
        let resources = listed.map_err(doing(what()))?.resources;
        let found = resources.into_iter().find(|one| one.name == plural && one.namespaced);
        Ok(found.map(|one| ServerResource {
            group: group.to_string(),
            version,
            kind: one.kind,
            plural: one.name,
            namespaced: true,
            verbs: one.verbs,
        }))
    }

    async fn write(
        &self,
        quota: &ResourceQuota,
        key: &Key,
        hard: BTreeMap<String, Quantity>,
        used: &Amounts,
    ) -> Result<(), Error> {
        let old = quota.status.clone().unwrap_or_default();
        let (old_hard, old_used) = (old.hard.unwrap_or_default(), old.used.unwrap_or_default());
        if old_hard == hard && usage::same(&old_used, used) {
            return Ok(());
        }
        let used: BTreeMap<&String, String> = used.iter().map(|(name, amount)| (name, amount.to_string())).collect();
        let status = json!({"hard": without(json!(hard), &old_hard), "used": without(json!(used), &old_used)});
        let patch = json!({"metadata": {"uid": quota.metadata.uid}, "status": status});
        let api: Api<ResourceQuota> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !client::is_not_found(&error) => {
                Err(doing(format!("write the status of ResourceQuota {key}"))(error))
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Informer<Metadata>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn phase(pod: &Pod) -> (Option<&str>, bool) {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    (phase, pod.metadata.deletion_timestamp.is_some())
}

/// Counts the quotas of a namespace again.
fn again(quotas: &Informer<ResourceQuota>, queue: &WorkQueue<Key>, namespace: Option<&str>) {
    for quota in quotas.list(namespace) {
        queue.add_after(Key::of(&quota.metadata), SETTLE);
    }
}

/// The namespace's objects as JSON, as the counting takes them.
fn values<K: Object + Serialize>(informer: &Informer<K>, namespace: &str) -> Vec<Value> {
    let objects = informer.list(Some(namespace));
    objects.iter().filter_map(|object| serde_json::to_value(object.as_ref()).ok()).collect()
}

/// A merge patch that makes a map be `wanted`.
fn without(mut wanted: Value, old: &BTreeMap<String, Quantity>) -> Value {
    for name in old.keys() {
        if wanted.get(name).is_none() {
            wanted[name] = Value::Null;
        }
    }
    wanted
}
