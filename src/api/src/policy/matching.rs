//! Which requests a policy or binding is for.

use machinery::gvk::GroupVersion;
use machinery::selector::LabelSelector;
use machinery::selector::label::Labels;
use serde_json::Value;

use crate::read;

/// A resource as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Group and version.
    pub group_version: GroupVersion,
    /// `deployments`
    pub resource: String,
}

/// What is matched of a request. Objects that are not there are `null`.
pub struct Requested<'a> {
    /// `CREATE`
    pub operation: &'a str,
    /// The resource of the URL first, then the same one in its other versions and groups.
    pub places: &'a [Place],
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Of the URL; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// Empty while it has not been chosen.
    pub name: &'a str,
    /// The object.
    pub object: &'a Value,
    /// The object before.
    pub old_object: &'a Value,
    /// The namespace of a namespaced object; the object itself where it is a namespace.
    pub namespace_object: &'a Value,
}

impl Requested<'_> {
    fn is_namespace(&self) -> bool {
        self.places.first().is_some_and(|own| own.group_version.group.is_empty() && own.resource == "namespaces")
    }
}

/// A label selector; one that is not given selects everything, one that cannot be read nothing.
#[derive(Debug)]
pub struct Selects(LabelSelector);

impl Selects {
    /// Reads a selector.
    pub fn read(selector: &Value) -> Self {
        Self(match selector {
            Value::Null => LabelSelector::everything(),
            given => LabelSelector::from_json(Some(given)).unwrap_or_else(|_| LabelSelector::nothing()),
        })
    }

    /// Whether it selects an object with these labels.
    pub fn selects_labels(&self, labels: &impl Labels) -> bool {
        self.0.matches(labels)
    }

    /// Whether it selects an object.
    pub fn selects(&self, object: &Value) -> bool {
        self.0.is_everything() || object["metadata"].is_object() && self.0.matches_object(object)
    }
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    read::texts(value, field).map(str::to_string).collect()
}

fn has(list: &[String], one: &str) -> bool {
    list.iter().any(|item| item == "*" || item == one)
}

impl Rule {
    fn read(rule: &Value) -> Self {
        Self {
            operations: texts(rule, "operations"),
            groups: texts(rule, "apiGroups"),
            versions: texts(rule, "apiVersions"),
            resources: texts(rule, "resources"),
            names: texts(rule, "resourceNames"),
            scope: read::text(rule, "scope").to_string(),
        }
    }

    fn matches(&self, requested: &Requested<'_>, place: &Place) -> bool {
        let is_namespaced = !requested.namespace.is_empty() && !requested.is_namespace();
        let in_scope = match self.scope.as_str() {
            "Namespaced" => is_namespaced,
            "Cluster" => !is_namespaced,
            _ => true,
        };
        let is_named = |pattern: &String| {
            let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
            (resource == "*" || resource == place.resource)
                && (subresource == "*" || subresource == requested.subresource)
        };
        in_scope
            && has(&self.operations, requested.operation)
            && has(&self.groups, &place.group_version.group)
            && has(&self.versions, &place.group_version.version)
            && self.resources.iter().any(is_named)
            && (self.names.is_empty() || self.names.iter().any(|name| name == requested.name))
    }
}

/// `matchConstraints` of a policy, `matchResources` of a binding.
#[derive(Debug)]
pub struct Constraints {
    namespaces: Selects,
    objects: Selects,
    included: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Rules mean the versions that they name and no other.
    is_exact: bool,
}

impl Constraints {
    /// Reads the constraints.
    pub fn read(constraints: &Value) -> Self {
        let rules = |field: &str| read::list(constraints, field).iter().map(Rule::read).collect();
        Self {
            namespaces: Selects::read(read::at(constraints, "namespaceSelector")),
            objects: Selects::read(read::at(constraints, "objectSelector")),
            included: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            is_exact: read::text(constraints, "matchPolicy") == "Exact",
        }
    }

    /// As which of [`Requested::places`] the request is meant; none where it is not.
    pub fn find(&self, requested: &Requested<'_>) -> Option<usize> {
        let is_namespaced = !requested.namespace.is_empty() || requested.is_namespace();
        if is_namespaced && !self.namespaces.selects(requested.namespace_object) {
            return None;
        }
        if !self.objects.selects(requested.object) && !self.objects.selects(requested.old_object) {
            return None;
        }
        if self.place(&self.excluded, requested).is_some() {
            return None;
        }
        if self.included.is_empty() { Some(0) } else { self.place(&self.included, requested) }
    }

    fn place(&self, rules: &[Rule], requested: &Requested<'_>) -> Option<usize> {
        let places = if self.is_exact { requested.places.get(..1).unwrap_or_default() } else { requested.places };
        places.iter().position(|place| rules.iter().any(|rule| rule.matches(requested, place)))
    }
}
