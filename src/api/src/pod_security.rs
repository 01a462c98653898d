//! The Pod Security Standards: what a pod may ask for at a level and in a version of them.
//!
//! Pure: policies come from a namespace's labels, pods from wherever they stand. The checks and their words are
//! Kubernetes' (k8s.io/pod-security-admission), since people search for them. Whether a violation refuses, warns or is
//! written down is the admission plugin's.

mod baseline;
mod policy;
mod restricted;

use std::collections::BTreeSet;

use serde_json::Value;

pub use policy::{Level, LevelVersion, Policy, Version};

use crate::read;

/// Something that a pod asks for and may not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What it is, in short: `host namespaces`.
    pub reason: String,
    /// Where it is: `hostNetwork=true`.
    pub detail: String,
}

impl Violation {
    fn new(reason: &str, detail: impl Into<String>) -> Self {
        Self { reason: reason.to_string(), detail: detail.into() }
    }
}

/// The reasons alone, as for pods of a namespace.
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>().join(", ")
}

/// The reasons with their details, as for one pod.
pub fn details(violations: &[Violation]) -> String {
    let with_detail = |violation: &Violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    };
    violations.iter().map(with_detail).collect::<Vec<_>>().join(", ")
}

/// Everything that a pod of this metadata and spec may not have. Checks are in order of level, then of name.
pub fn evaluate(policy: LevelVersion, metadata: &Value, spec: &Value) -> Vec<Violation> {
    let minor = policy.version.minor();
    let pod = Pod { metadata, spec, minor };
    let restricted: Vec<&Check> = match policy.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => Vec::new(),
        Level::Restricted => restricted::CHECKS.iter().filter(|check| check.since <= minor).collect(),
    };
    let is_overridden = |check: &Check| restricted.iter().any(|other| other.overrides == check.id);
    let baseline = baseline::CHECKS.iter().filter(|check| check.since <= minor && !is_overridden(check));
    baseline.chain(restricted.iter().copied()).filter_map(|check| (check.run)(&pod)).collect()
}

/// A rule of the standards.
struct Check {
    /// Its name there.
    id: &'static str,
    /// The first minor version that has it.
    since: u32,
    /// The weaker check that it stands for.
    overrides: &'static str,
    run: fn(&Pod<'_>) -> Option<Violation>,
}

const fn check(id: &'static str, since: u32, run: fn(&Pod<'_>) -> Option<Violation>) -> Check {
    Check { id, since, overrides: "", run }
}

/// What is judged, by the rules of a minor version.
struct Pod<'a> {
    metadata: &'a Value,
    spec: &'a Value,
    minor: u32,
}

impl<'a> Pod<'a> {
    /// Every container: those that begin, those that stay, those that were added.
    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let spec = self.spec;
        lists.into_iter().flat_map(move |list| read::list(spec, list))
    }

    /// The names of the containers that something is true of.
    fn named(&self, is: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| is(container)).map(|container| read::text(container, "name")).collect()
    }

    /// `pod`, and the containers, of which something in `securityContext` is true.
    fn setters(&self, is: impl Fn(&'a Value) -> bool) -> Vec<String> {
        let own = is(read::at(self.spec, "securityContext")).then(|| "pod".to_string());
        let names = self.named(|container| is(read::at(container, "securityContext")));
        own.into_iter().chain((!names.is_empty()).then(|| containers(&names))).collect()
    }

    /// The `securityContext` of the pod and of each container.
    fn contexts(&self) -> impl Iterator<Item = &'a Value> {
        let own = read::at(self.spec, "securityContext");
        std::iter::once(own).chain(self.containers().map(|container| read::at(container, "securityContext")))
    }

    fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = read::map(self.metadata, "annotations").iter();
        all.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
    }

    fn is_windows(&self) -> bool {
        read::text(self.spec, "os.name") == "windows"
    }

    /// Root in such a pod is nobody outside of it (KEP-127).
    fn has_own_users(&self) -> bool {
        read::at(self.spec, "hostUsers") == &Value::Bool(false)
    }
}

fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", ")
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// Each once and in order.
fn sorted<'a>(items: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    items.into_iter().collect()
}

#[cfg(test)]
mod tests;
