//! ResourceQuota: what a namespace holds is counted when something is added, and what would exceed a quota refused.
//!
//! Counted from the objects themselves and not from the quota's status, so that a quota counts from the moment it is
//! there; and from what other requests are about to write, so that it holds however many come at once.

use std::collections::HashMap;

use api::quota::{Amounts, add, amounts, cost, in_scope, quantity, raise};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use self::reservations::{Namespace, Reservations};
use super::{forbidden, group_resource};
use crate::live::{Live, items, text};
use crate::plugin::{Admission, Admit, Hold, Operation};
use crate::status::Result;

mod reservations;

/// The plugin.
pub struct ResourceQuota {
    live: Live,
    reservations: Reservations,
}

#[async_trait]
impl Admission for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn hold(&self, request: &Admit<'_>, object: &Value) -> Result<Option<Hold>> {
        if request.namespace.is_empty() || !request.subresource.is_empty() {
            return Ok(None);
        }
        if self.live.count("", "resourcequotas", request.namespace).await? == 0 {
            return Ok(None);
        }
        let (group, resource) = (request.group_version.group.as_str(), request.resource);
        let mut quotas = self.live.list("", "resourcequotas", request.namespace).await?;
        quotas.retain(|quota| in_scope(quota, group, resource, object));
        let mut grown = Vec::new();
        for quota in &quotas {
            let name = text(quota, "/metadata/name");
            if let Some(lacking) = unspecified(&amounts(&quota["spec"]["hard"]), group, resource, object) {
                return Err(forbidden(request, Some(object), format!("failed quota: {name}: must specify {lacking}")));
            }
            let growth = growth(quota, request, object);
            if !growth.is_empty() {
                grown.push((quota, growth));
            }
        }
        if grown.is_empty() {
            return Ok(None);
        }
        let namespace = self.reservations.namespace(request.namespace);
        let turn = namespace.turn.lock().await;
        let others = self.others(request, &namespace).await?;
        for (quota, growth) in grown {
            check(quota, request, object, &growth, &others)?;
        }
        let reservation = (!request.dry_run).then(|| namespace.reserve(&group_resource(request).to_string(), object));
        drop(turn);
        Ok(reservation.map(|reservation| Box::new(reservation) as Hold))
    }
}

impl ResourceQuota {
    /// Counts what is in the store of `live`.
    pub fn new(live: Live) -> Self {
        Self { live, reservations: Reservations::default() }
    }

    /// What the namespace holds of this resource, without the object itself: each object as it is kept, and as it is
    /// being written.
    async fn others(&self, request: &Admit<'_>, namespace: &Namespace) -> Result<Vec<Vec<Value>>> {
        // Before the list: what is written meanwhile is in it then, or still among these.
        let reserved = namespace.objects(&group_resource(request).to_string());
        let listed = self.live.list(&request.group_version.group, request.resource, request.namespace).await?;
        let itself = request.old.map(uid);
        let mut by_uid: HashMap<String, Vec<Value>> = HashMap::new();
        for object in listed.into_iter().chain(reserved.iter().map(|object| Value::clone(object))) {
            if itself != Some(uid(&object)) {
                by_uid.entry(uid(&object).to_string()).or_default().push(object);
            }
        }
        Ok(by_uid.into_values().collect())
    }
}

fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// What the object asks for more than before, of what the quota limits. Only what grows is looked at: a change that
/// asks for no more is let through in a full namespace.
fn growth(quota: &Value, request: &Admit<'_>, object: &Value) -> Amounts {
    let (group, resource) = (request.group_version.group.as_str(), request.resource);
    let (hard, now) = (amounts(&quota["spec"]["hard"]), Timestamp::now());
    let old = request.old.map(|old| cost(group, resource, old, now)).unwrap_or_default();
    let mut new = cost(group, resource, object, now);
    new.retain(|name, amount| hard.contains_key(name) && *amount > old.get(name).copied().unwrap_or_default());
    new
}

/// Refuses what the quota has no room for beside `others`.
fn check(quota: &Value, request: &Admit<'_>, object: &Value, growth: &Amounts, others: &[Vec<Value>]) -> Result<()> {
    let (group, resource) = (request.group_version.group.as_str(), request.resource);
    let hard = amounts(&quota["spec"]["hard"]);
    let mut used = Amounts::new();
    for states in others {
        add(&mut used, largest(quota, group, resource, states));
    }
    let over: Vec<&String> = growth
        .iter()
        .filter(|(name, amount)| used.get(*name).copied().unwrap_or_default() + **amount > hard[*name])
        .map(|(name, _)| name)
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    let list = |of: &Amounts| {
        let parts = over.iter().map(|name| format!("{name}={}", of.get(*name).copied().unwrap_or_default()));
        parts.collect::<Vec<_>>().join(",")
    };
    let why = format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        text(quota, "/metadata/name"),
        list(growth),
        list(&used),
        list(&hard)
    );
    Err(forbidden(request, Some(object), why))
}

/// The most that an object takes in any of its states.
fn largest(quota: &Value, group: &str, resource: &str, states: &[Value]) -> Amounts {
    let (mut most, now) = (Amounts::new(), Timestamp::now());
    for state in states.iter().filter(|state| in_scope(quota, group, resource, state)) {
        raise(&mut most, cost(group, resource, state, now));
    }
    most
}

/// The quota's limits that every container must say something about, with the containers that do not; nothing of pods
/// that say it for all their containers.
fn unspecified(hard: &Amounts, group: &str, resource: &str, pod: &Value) -> Option<String> {
    const COMPUTE: [(&str, &str, &str); 6] = [
        ("cpu", "requests", "cpu"),
        ("limits.cpu", "limits", "cpu"),
        ("limits.memory", "limits", "memory"),
        ("memory", "requests", "memory"),
        ("requests.cpu", "requests", "cpu"),
        ("requests.memory", "requests", "memory"),
    ];
    if !group.is_empty() || resource != "pods" || matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return None;
    }
    let says = |resources: &Value, of: &str, name: &str| quantity(&resources[of][name]).is_some();
    let containers = || items(pod, "/spec/containers").iter().chain(items(pod, "/spec/initContainers"));
    let mut lacking = Vec::new();
    for (limit, of, name) in COMPUTE {
        if !hard.contains_key(limit) || says(&pod["spec"]["resources"], of, name) {
            continue;
        }
        let silent = containers().filter(|container| !says(&container["resources"], of, name));
        let mut silent: Vec<&str> = silent.map(|container| text(container, "/name")).collect();
        silent.sort_unstable();
        if !silent.is_empty() {
            lacking.push(format!("{limit} for: {}", silent.join(",")));
        }
    }
    (!lacking.is_empty()).then(|| lacking.join("; "))
}

#[cfg(test)]
mod tests;
