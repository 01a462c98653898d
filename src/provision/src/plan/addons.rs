//! Addons: applied where their hash differs, removed where they are not wanted.

use inventory::Cluster;

use super::{Action, Draft, Peers, Release, Wave};
use crate::cluster_facts::AddonFacts;

/// Adds what changes addons, and answers those that must be waited for.
pub(super) fn plan(cluster: &Cluster, peers: &Peers, release: &Release, draft: &mut Draft<'_>) -> Vec<String> {
    let wanted = |name: &str| match name {
        "dns" => cluster.addons.dns.enabled,
        "ingress" => cluster.addons.ingress.enabled,
        "metrics" => cluster.addons.metrics.enabled,
        _ => true,
    };
    let found = |name: &str| peers.cluster.as_ref().and_then(|cluster| cluster.addons.get(name));
    let mut reasons = Vec::new();
    let (mut apply, mut wait) = (Vec::new(), Vec::new());
    for (name, hash) in release.addons.iter().filter(|(name, _)| wanted(name)) {
        match found(name) {
            Some(addon) if addon.hash == *hash && addon.ready => continue,
            Some(addon) if addon.hash == *hash => {}
            other => {
                reasons.push(format!("{name} is {}", if other.is_some() { "another version" } else { "missing" }));
                apply.push(name.clone());
            }
        }
        wait.push(name.clone());
    }
    let there = peers.cluster.iter().flat_map(|cluster| cluster.addons.keys());
    let remove: Vec<String> =
        there.filter(|name| !wanted(name) || !release.addons.contains_key(*name)).cloned().collect();
    reasons.extend(remove.iter().map(|name| format!("{name} is not wanted")));
    if !reasons.is_empty() {
        let after =
            [("apply", &apply), ("remove", &remove)].map(|(verb, names)| format!("{verb} {}", names.join(", ")));
        let after: Vec<String> = after.into_iter().filter(|text| !text.ends_with(' ')).collect();
        draft
            .step(Wave::Cluster, "addons", "apply addons", reasons.join(", "))
            .change(before(&apply, &remove, found), after.join("; "))
            .by(Action::ApplyAddons { apply, remove });
    }
    wait
}

/// What is there of the addons that change.
fn before<'a>(apply: &[String], remove: &[String], found: impl Fn(&str) -> Option<&'a AddonFacts>) -> String {
    let state = |name: &String| match found(name) {
        Some(addon) => format!("{name} {}", &addon.hash[..addon.hash.len().min(12)]),
        None => format!("{name} missing"),
    };
    apply.iter().chain(remove).map(state).collect::<Vec<_>>().join(", ")
}

/// After whatever may hold them up is done.
pub(super) fn plan_wait(wait: Vec<String>, draft: &mut Draft<'_>) {
    if !wait.is_empty() {
        draft
            .step(Wave::Cluster, "addons-ready", format!("wait for {}", wait.join(", ")), "they are not available yet")
            .change("not available", "available")
            .by(Action::AwaitAddons(wait));
    }
}
