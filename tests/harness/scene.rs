//! What a drill gets: a namespace of its own in the cluster.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use testkit::kubectl::{Args, Ran};
use testkit::{Kubectl, eventually};

use super::cluster::Cluster;

/// A condition that does not come about in this time never will. Two busy cores make everything slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A drill's place: `kubectl` is bound to its namespace.
pub struct Scene {
    pub cluster: Arc<Cluster>,
    pub namespace: String,
    pub kubectl: Kubectl,
}

impl Scene {
    /// Makes the namespace and waits until pods can be made in it.
    pub fn set(cluster: Arc<Cluster>, namespace: &str) -> Self {
        let all = cluster.kubectl();
        // Where a lab is kept, the namespace of a run that was ended may still be there.
        eventually(PATIENCE, "the namespace is made", || {
            let ran = all.run(&["create", "namespace", namespace]);
            if ran.status.success() {
                return Ok(());
            }
            let _going = all.run(&["delete", "namespace", namespace, "--wait=false"]);
            Err(ran.report())
        });
        let scene = Self { kubectl: all.namespace(namespace), cluster, namespace: namespace.to_owned() };
        scene.eventually("the default service account is there", "get serviceaccount default");
        scene
    }

    /// Lets the namespace go. Nobody waits for it, nor for a cluster that is gone.
    pub fn clear(self) {
        if !self.cluster.answers() {
            return;
        }
        let _gone = self.cluster.kubectl().run(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }

    /// Runs kubectl until it succeeds; answers what it said.
    #[track_caller]
    pub fn eventually(&self, what: &str, args: &(impl Args + ?Sized)) -> String {
        eventually(PATIENCE, what, || {
            let ran = self.kubectl.run(args);
            if ran.status.success() { Ok(ran.stdout) } else { Err(ran.report()) }
        })
    }

    /// Runs kubectl until what it says is as `look` wants it.
    #[track_caller]
    pub fn until<T>(&self, what: &str, args: &(impl Args + ?Sized), look: impl Fn(&str) -> Option<T>) -> T {
        self.until_within(PATIENCE, what, args, look)
    }

    /// As [`Scene::until`], with a bound.
    #[track_caller]
    pub fn until_within<T>(
        &self,
        bound: Duration,
        what: &str,
        args: &(impl Args + ?Sized),
        look: impl Fn(&str) -> Option<T>,
    ) -> T {
        eventually(bound, what, || {
            let ran = self.kubectl.run(args);
            look(&ran.stdout).ok_or_else(|| ran.report())
        })
    }

    /// Applies a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        self.kubectl.apply(manifest);
    }

    /// Waits for a rollout.
    #[track_caller]
    pub fn rolled_out(&self, what: &str) {
        self.kubectl.ok(&["rollout", "status", what, "--timeout=90s"]);
    }

    /// Waits until pods with a label (`app=web`) or a name (`pod/x`) are Ready.
    #[track_caller]
    pub fn ready(&self, what: &str) {
        let what = if what.contains('=') { vec!["pod", "--selector", what] } else { vec![what] };
        self.kubectl.ok([&["wait", "--for=condition=Ready", "--timeout=90s"][..], &what].concat().as_slice());
    }

    /// Runs a script in a pod.
    pub fn sh(&self, pod: &str, script: &str) -> Ran {
        self.kubectl.run(&["exec", pod, "--", "sh", "-c", script])
    }

    /// Pods with a label, as the API has them, without those that are going.
    #[track_caller]
    pub fn pods(&self, selector: &str) -> Vec<Value> {
        let list = self.kubectl.json(&["get", "pods", "--selector", selector]);
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
    }

    /// One pod as the API has it.
    #[track_caller]
    pub fn pod(&self, name: &str) -> Value {
        self.kubectl.json(&["get", "pod", name])
    }
}

/// The names of objects.
pub fn names(objects: &[Value]) -> Vec<String> {
    let mut names: Vec<String> =
        objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}

/// The status of a condition of an object; empty where it has none of that type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}
