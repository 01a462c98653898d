//! What the cluster says about itself: the answer of `rkctl node facts` on a control-plane host.

use std::collections::BTreeMap;

use inventory::Taint;
use serde::{Deserialize, Serialize};

/// Names of the labels and taints that an inventory has set on a node, so that what leaves it is removed again.
pub const MANAGED_ANNOTATION: &str = "rkctl.dev/managed";

/// What the cluster says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFacts {
    /// Whether `/readyz` says so.
    pub ready: bool,
    /// What does not let it be ready, in `/readyz`'s words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unready: String,
    /// Nodes by name.
    pub nodes: BTreeMap<String, NodeFacts>,
    /// Addons that were applied, by name.
    pub addons: BTreeMap<String, AddonFacts>,
    /// Whether the cluster's DNS answers; `None` where it is not installed.
    pub dns_answers: Option<bool>,
    /// The repository that is followed; `None` where there is none, or where nothing is known of it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitops: Option<GitOpsFacts>,
}

/// How far the cluster is with the repository that it follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitOpsFacts {
    /// Whether the cluster is equal to the repository, as far as is known.
    pub ready: bool,
    /// Whether nothing is done until it is resumed.
    pub suspended: bool,
    /// What was done last or, where it is not ready, why.
    pub message: String,
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// Its Ready condition.
    pub ready: bool,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// All taints.
    pub taints: Vec<Taint>,
    /// What an inventory has set.
    #[serde(default)]
    pub managed: Managed,
    /// Whether it is cordoned.
    #[serde(default)]
    pub unschedulable: bool,
    /// Version of its agent.
    #[serde(default)]
    pub version: String,
    /// Its internal address.
    #[serde(default)]
    pub address: String,
}

/// Labels and taints of a node that an inventory has set; the content of [`MANAGED_ANNOTATION`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managed {
    /// Keys of labels.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Keys and effects of taints, `key:Effect`.
    #[serde(default)]
    pub taints: Vec<String>,
}

/// What is known of an addon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddonFacts {
    /// Hash of what was applied.
    pub hash: String,
    /// Whether its workloads are available.
    pub ready: bool,
}

/// What a node is to look like; the input of `rkctl node nodes set`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSettings {
    /// The node.
    pub name: String,
    /// Labels to set.
    pub set_labels: BTreeMap<String, String>,
    /// Labels to remove.
    pub remove_labels: Vec<String>,
    /// Taints to set.
    pub set_taints: Vec<Taint>,
    /// Taints to remove, `key:Effect`.
    pub remove_taints: Vec<String>,
    /// What the annotation says afterwards.
    pub managed: Managed,
}
