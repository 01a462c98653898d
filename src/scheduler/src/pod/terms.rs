//! The terms of affinity and spreading, ready to be matched.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{
    NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Expression, Selector, SelectorExt};

use super::{Labels, PodInfo};

/// A term of node affinity: every requirement must hold. A term without requirements matches no node.
#[derive(Debug, Clone)]
pub struct NodeTerm {
    expressions: Vec<NodeSelectorRequirement>,
    fields: Vec<NodeSelectorRequirement>,
}

impl NodeTerm {
    pub fn new(term: &NodeSelectorTerm) -> Self {
        Self {
            expressions: term.match_expressions.clone().unwrap_or_default(),
            fields: term.match_fields.clone().unwrap_or_default(),
        }
    }

    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        if self.expressions.is_empty() && self.fields.is_empty() {
            return false;
        }
        // metadata.name is the only field that the API admits.
        self.expressions.iter().all(|requirement| holds(requirement, labels.get(&requirement.key).map(String::as_str)))
            && self
                .fields
                .iter()
                .all(|requirement| requirement.key == "metadata.name" && holds(requirement, Some(name)))
    }
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|listed| listed == value));
    let compare = |with: fn(&i64, &i64) -> bool| {
        let bound = values.first().and_then(|value| value.parse().ok());
        matches!((value.and_then(|value| value.parse().ok()), bound), (Some(value), Some(bound)) if with(&value, &bound))
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(i64::gt),
        "Lt" => compare(i64::lt),
        _ => false,
    }
}

/// A label selector of a term; `None` selects nothing, and so does one that is malformed.
fn selector(selector: Option<&LabelSelector>) -> Option<Selector> {
    Selector::try_from(selector?.clone()).ok()
}

fn with_keys(selector: Option<Selector>, keys: &[String], labels: &Labels, unequal: bool) -> Option<Selector> {
    let mut selector = selector?;
    selector.extend(keys.iter().filter_map(|key| {
        let value = labels.get(key)?.clone();
        Some(if unequal {
            Expression::NotIn(key.clone(), [value].into())
        } else {
            Expression::Equal(key.clone(), value)
        })
    }));
    Some(selector)
}

/// A term of pod affinity or anti-affinity.
#[derive(Debug, Clone)]
pub struct PodTerm {
    pub topology_key: String,
    selector: Option<Selector>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<Selector>,
}

impl PodTerm {
    /// Reads a term of a pod with these labels in `namespace`.
    pub fn new(term: &PodAffinityTerm, namespace: &str, labels: &Labels) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_string());
        }
        let chosen = selector(term.label_selector.as_ref());
        let chosen = with_keys(chosen, term.match_label_keys.as_deref().unwrap_or_default(), labels, false);
        let chosen = with_keys(chosen, term.mismatch_label_keys.as_deref().unwrap_or_default(), labels, true);
        Self {
            topology_key: term.topology_key.clone(),
            selector: chosen,
            namespaces,
            namespace_selector: selector(term.namespace_selector.as_ref()),
        }
    }

    /// Whether the term is about this pod. `namespaces` has the labels of each namespace.
    pub fn matches(&self, pod: &PodInfo, namespaces: &HashMap<String, Labels>) -> bool {
        let Some(chosen) = &self.selector else { return false };
        chosen.matches(&pod.labels) && self.covers(&pod.namespace, namespaces)
    }

    fn covers(&self, namespace: &str, namespaces: &HashMap<String, Labels>) -> bool {
        if self.namespaces.contains(namespace) {
            return true;
        }
        let Some(chosen) = &self.namespace_selector else { return false };
        chosen.selects_all() || namespaces.get(namespace).is_some_and(|labels| chosen.matches(labels))
    }
}

/// A topology spread constraint.
#[derive(Debug, Clone)]
pub struct Spread {
    pub topology_key: String,
    pub max_skew: i64,
    pub min_domains: i64,
    /// `DoNotSchedule`; otherwise a preference.
    pub hard: bool,
    /// Count only nodes that match the pod's node affinity and selector.
    pub honor_affinity: bool,
    /// Count only nodes whose taints the pod tolerates.
    pub honor_taints: bool,
    selector: Option<Selector>,
}

impl Spread {
    pub fn new(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
        Self {
            topology_key: constraint.topology_key.clone(),
            max_skew: i64::from(constraint.max_skew),
            min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
            hard: constraint.when_unsatisfiable != "ScheduleAnyway",
            honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
            selector: with_keys(selector(constraint.label_selector.as_ref()), keys, labels, false),
        }
    }

    /// Whether a pod with these labels is counted; the namespace is the caller's to compare.
    pub fn counts(&self, labels: &Labels) -> bool {
        self.selector.as_ref().is_some_and(|chosen| chosen.matches(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn node_requirements_follow_their_operators() {
        let labels: Labels = [("zone".to_string(), "a".to_string()), ("cores".into(), "8".into())].into();
        for (key, operator, values, expected) in [
            ("zone", "In", json!(["a", "b"]), true),
            ("zone", "In", json!(["b"]), false),
            ("zone", "NotIn", json!(["b"]), true),
            ("disk", "NotIn", json!(["b"]), true),
            ("zone", "Exists", json!([]), true),
            ("disk", "Exists", json!([]), false),
            ("disk", "DoesNotExist", json!([]), true),
            ("cores", "Gt", json!(["7"]), true),
            ("cores", "Gt", json!(["8"]), false),
            ("cores", "Lt", json!(["9"]), true),
            ("zone", "Lt", json!(["9"]), false),
        ] {
            let term = json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
            let term = NodeTerm::new(&serde_json::from_value(term).unwrap());
            assert_eq!(term.matches("n", &labels), expected, "{key} {operator}");
        }
        let empty = NodeTerm::new(&NodeSelectorTerm::default());
        assert!(!empty.matches("n", &labels));
        let field = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
        let field = NodeTerm::new(&serde_json::from_value(field).unwrap());
        assert!(field.matches("n", &labels) && !field.matches("m", &labels));
    }
}
