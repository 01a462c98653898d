//! Names of kinds and resources: group, version, kind, resource.

use std::cmp::Ordering;
use std::fmt;

/// A group and a version; the core group is the empty string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// `apps`, `rbac.authorization.k8s.io`; empty for the core group.
    pub group: String,
    /// `v1`, `v2beta1`.
    pub version: String,
}

impl GroupVersion {
    /// A group and version by name.
    pub fn new(group: impl Into<String>, version: impl Into<String>) -> Self {
        Self { group: group.into(), version: version.into() }
    }

    /// Reads an `apiVersion`: `v1` or `apps/v1`. `None` where it has more than one slash or an empty part.
    pub fn parse(api_version: &str) -> Option<Self> {
        let parts: Vec<&str> = api_version.split('/').collect();
        match parts.as_slice() {
            [version] if !version.is_empty() => Some(Self::new("", *version)),
            [group, version] if !group.is_empty() && !version.is_empty() => Some(Self::new(*group, *version)),
            _ => None,
        }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.version),
            group => write!(f, "{group}/{}", self.version),
        }
    }
}

/// A kind in a group and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// Group and version.
    pub group_version: GroupVersion,
    /// `Pod`, `Deployment`.
    pub kind: String,
}

/// A resource (the plural in URLs) in a group; what RBAC and error messages name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// Empty for the core group.
    pub group: String,
    /// `pods`, `deployments`.
    pub resource: String,
}

impl fmt::Display for GroupResource {
    /// `pods` in the core group, `deployments.apps` elsewhere, as kubectl prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.resource),
            group => write!(f, "{}.{group}", self.resource),
        }
    }
}

/// Which of two versions is preferred, the lesser first: `v2` after `v1`, releases after betas after alphas, and all of
/// these after names that follow no such form (the order of CustomResourceDefinition's versions).
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, None) => b.cmp(a),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// How far a version has come (alpha, beta, released), its number, and the number of its alpha or beta.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with(['0', '+']));
    let rest = version.strip_prefix('v')?;
    for (word, stage) in [("alpha", 0), ("beta", 1)] {
        if let Some((major, minor)) = rest.split_once(word) {
            let minor = if minor.is_empty() { Some(0) } else { number(minor) };
            return Some((stage, number(major)?, minor?));
        }
    }
    Some((2, number(rest)?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let expected =
            ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"];
        let mut versions = expected;
        versions.reverse();
        versions.sort_by(|a, b| compare_versions(b, a));
        assert_eq!(versions, expected);
    }
}
