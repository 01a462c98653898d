//! Every resource that is served at one moment: the built-in ones and those of CustomResourceDefinitions. A request
//! takes it once and sees nothing of later changes; documents that tell of it are kept with it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use api::registry;
use api::resource::Resource;
use machinery::gvk::compare_versions;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::cache::Documents;

/// The resources of one CustomResourceDefinition.
pub struct Definition {
    /// What tells it from what it was before: its uid, generation and accepted names.
    pub stamp: String,
    /// One a version, the preferred first.
    pub resources: Vec<Arc<Resource>>,
    /// Ends when the definition is changed or gone: watches end with it.
    pub ended: CancellationToken,
}

/// The resources of one moment.
#[derive(Default)]
pub struct Served {
    definitions: Vec<Arc<Definition>>,
    by_plural: HashMap<String, Vec<Place>>,
    /// The uids of definitions that are being deleted: nothing new is made of their kinds.
    terminating: HashSet<String>,
    /// Discovery and OpenAPI documents.
    pub documents: Documents,
}

/// Which definition, and which of its versions.
type Place = (usize, usize);

/// A resource that outlasts the request: a watch holds it.
#[derive(Clone)]
pub enum Held {
    /// A built-in resource.
    BuiltIn(&'static Resource),
    /// A custom one, until its definition changes.
    Custom(Arc<Resource>, CancellationToken),
}

impl Deref for Held {
    type Target = Resource;

    fn deref(&self) -> &Resource {
        match self {
            Self::BuiltIn(resource) => resource,
            Self::Custom(resource, _) => resource,
        }
    }
}

impl Held {
    /// Waits until the resource is not served as it was any more: for ever for a built-in one.
    pub async fn ended(&self) {
        match self {
            Self::BuiltIn(_) => std::future::pending().await,
            Self::Custom(_, ended) => ended.cancelled().await,
        }
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamps = self.definitions.iter().map(|definition| &definition.stamp);
        f.debug_list().entries(stamps).finish()
    }
}

impl Served {
    /// The built-in resources with those of `definitions`.
    pub fn new(mut definitions: Vec<Arc<Definition>>, terminating: HashSet<String>) -> Self {
        let place = |one: &Definition| one.resources.first().map(|resource| resource.group_resource().to_string());
        definitions.sort_by_key(|one| place(one));
        let mut by_plural: HashMap<String, Vec<Place>> = HashMap::new();
        for (at, definition) in definitions.iter().enumerate() {
            for (version, resource) in definition.resources.iter().enumerate() {
                by_plural.entry(resource.plural.to_string()).or_default().push((at, version));
            }
        }
        Self { definitions, by_plural, terminating, documents: Documents::default() }
    }

    fn place(&self, group: &str, version: &str, plural: &str) -> Option<(&Definition, &Arc<Resource>)> {
        let is_meant =
            |resource: &Resource| resource.group_version.group == group && resource.group_version.version == version;
        let places = self.by_plural.get(plural)?.iter();
        let mut found =
            places.map(|(at, version)| (&*self.definitions[*at], &self.definitions[*at].resources[*version]));
        found.find(|(_, resource)| is_meant(resource))
    }

    /// The resource of a URL: group (empty for core), version and plural.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        let custom = || self.place(group, version, plural).map(|(_, resource)| &**resource);
        registry().get(group, version, plural).or_else(custom)
    }

    /// The same, to be kept beyond the request.
    pub fn hold(&self, resource: &Resource) -> Option<Held> {
        let (own, plural) = (&resource.group_version, &*resource.plural);
        if let Some(found) = registry().get(&own.group, &own.version, plural) {
            return Some(Held::BuiltIn(found));
        }
        let (definition, found) = self.place(&own.group, &own.version, plural)?;
        Some(Held::Custom(found.clone(), definition.ended.clone()))
    }

    /// The resource of a kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Resource> {
        let custom = || self.of_version(group, version).find(|resource| resource.kind == kind);
        registry().by_kind(group, version, kind).or_else(custom)
    }

    /// The resources of definitions, in all their versions.
    pub fn custom(&self) -> impl Iterator<Item = &Resource> {
        self.definitions.iter().flat_map(|definition| &definition.resources).map(|resource| &**resource)
    }

    /// All resources, the built-in ones first.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        registry().resources().iter().chain(self.custom())
    }

    /// The resources of one group and version, in discovery order.
    pub fn of_version(&self, group: &str, version: &str) -> impl Iterator<Item = &Resource> {
        self.resources()
            .filter(move |found| found.group_version.group == group && found.group_version.version == version)
    }

    /// The groups in discovery order, each with its versions, the preferred one first.
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups = registry().groups();
        let built_in = groups.len();
        for resource in self.custom() {
            let (group, version) = (resource.group_version.group.as_str(), resource.group_version.version.as_str());
            match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, versions)) if versions.contains(&version) => {}
                Some((_, versions)) => versions.push(version),
                None => groups.push((group, vec![version])),
            }
        }
        for (_, versions) in &mut groups[built_in..] {
            versions.sort_by(|a, b| compare_versions(b, a));
        }
        groups
    }

    /// Whether nothing new is made of this resource, as its definition is being deleted.
    pub fn is_terminating(&self, resource: &Resource) -> bool {
        resource.custom().is_some_and(|custom| self.terminating.contains(&custom.definition_uid))
    }

    /// The uids of definitions that are being deleted.
    pub fn has_terminating(&self) -> HashSet<String> {
        self.terminating.clone()
    }

    /// What tells the custom resources of a group and version from what they were; `None` where there are none.
    pub fn stamp(&self, group: &str, version: &str) -> Option<String> {
        let is_meant = |definition: &&Arc<Definition>| {
            definition
                .resources
                .iter()
                .any(|one| one.group_version.group == group && one.group_version.version == version)
        };
        let mut hash = Sha256::new();
        let mut is_any = false;
        for definition in self.definitions.iter().filter(is_meant) {
            is_any = true;
            hash.update(&definition.stamp);
            hash.update([0]);
        }
        is_any.then(|| hex::encode_upper(hash.finalize()))
    }
}
