//! Names of kinds and resources: group, version, kind, resource.

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
