//! What to do for a deployment: pure. One look may plan a part; what it changes brings the next look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::model::{self, DESIRED, Goal, HASH_LABEL, MAX, Member, REVISION, REVISION_HISTORY, same_template};
use super::{proportion, status, until};
use crate::common::hash::hash_of;
use crate::common::owners::controller_reference;

/// What the plan is made from.
pub struct Observed<'a> {
    pub deployment: &'a Deployment,
    /// Every ReplicaSet of the deployment.
    pub sets: &'a [Arc<ReplicaSet>],
    /// Pods of old sets are still there; matters where pods are recreated.
    pub old_pods_run: bool,
    pub now: Timestamp,
}

/// One request.
#[derive(Debug)]
pub enum Step {
    Create(Box<ReplicaSet>),
    /// A merge patch, and the event that tells of it.
    PatchSet {
        name: String,
        resource_version: Option<String>,
        patch: Value,
        event: Option<String>,
    },
    DeleteSet {
        name: String,
        uid: String,
        resource_version: Option<String>,
    },
    /// Annotations of the deployment.
    Annotate(BTreeMap<String, String>),
    /// The whole status.
    Status(Box<DeploymentStatus>),
}

/// What to do, and when to look again although nothing changes.
pub struct Planned {
    pub steps: Vec<Step>,
    pub again_in: Option<Duration>,
}

struct Planner<'a> {
    observed: &'a Observed<'a>,
    spec: &'a DeploymentSpec,
    goal: Goal,
    /// Sets that were made from another template, oldest first.
    old: Vec<Member>,
    new: Option<Member>,
    steps: Vec<Step>,
    progress: Option<DeploymentCondition>,
    judge: bool,
}

/// Compares a deployment with its sets.
pub fn plan(observed: &Observed<'_>) -> Planned {
    let spec = &observed.deployment.spec;
    let mut members: Vec<Member> = observed.sets.iter().map(Member::new).collect();
    members.sort_by_key(Member::age_key);
    // Of several that match, the oldest is the new one.
    let new = members.iter().position(|member| same_template(&spec.template, &member.set));
    let new = new.map(|at| members.remove(at));
    let goal = Goal::of(spec);
    let planner = Planner { observed, spec, goal, old: members, new, steps: Vec::new(), progress: None, judge: false };
    planner.run()
}

impl Planner<'_> {
    fn run(mut self) -> Planned {
        let paused = self.spec.paused.unwrap_or(false);
        if self.observed.deployment.metadata.deletion_timestamp.is_none() {
            self.note_pause(paused);
            if paused || self.is_scaled() {
                self.adopt_new(false);
                self.scale();
                if paused {
                    self.clean_up();
                }
            } else {
                self.judge = true;
                if self.goal.recreate { self.recreate() } else { self.roll() }
            }
        }
        self.finish()
    }

    /// The number asked for has changed since the sets were sized.
    fn is_scaled(&self) -> bool {
        let mut active = self.old.iter().chain(&self.new).filter(|member| member.replicas > 0);
        active.any(|member| member.annotated(DESIRED).is_some_and(|desired| desired != self.goal.replicas))
    }

    fn note_pause(&mut self, paused: bool) {
        if self.spec.progress_deadline_seconds.is_none() {
            return;
        }
        let status = self.observed.deployment.status.clone().unwrap_or_default();
        let reason = status::find(&status, "Progressing").and_then(|condition| condition.reason.clone());
        let now = self.observed.now;
        let said_paused = reason.as_deref() == Some("DeploymentPaused");
        // A deployment that ran into its deadline keeps saying so while it is paused.
        let late = reason.as_deref() == Some("ProgressDeadlineExceeded");
        if paused && !said_paused && !late {
            let text = "Deployment is paused";
            self.progress = Some(status::condition("Progressing", "Unknown", "DeploymentPaused", text, now));
        } else if !paused && said_paused {
            let text = "Deployment is resumed";
            self.progress = Some(status::condition("Progressing", "Unknown", "DeploymentResumed", text, now));
        }
    }

    fn total(&self) -> i32 {
        model::sum(self.old.iter().chain(&self.new).map(|member| member.replicas))
    }

    /// How large the new set may be now.
    fn new_size(&self, current: i32) -> i32 {
        if self.goal.recreate {
            return self.goal.replicas;
        }
        let (total, most) = (self.total(), self.goal.most());
        if total >= most {
            return current;
        }
        current + (most - total).min(self.goal.replicas - current)
    }

    /// Brings the new set's revision and annotations up to date, or creates the set. Whether the pass ends here.
    fn adopt_new(&mut self, create: bool) -> bool {
        let newest_old = self.old.iter().map(|member| model::revision(member.set.annotations())).max().unwrap_or(0);
        let revision = newest_old.saturating_add(1);
        let deployment = self.observed.deployment;
        let Some(new) = &self.new else {
            if create {
                self.create(revision);
            }
            return create;
        };
        let mut changed: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in model::inherited(deployment) {
            if new.set.annotations().get(&name) != Some(&value) {
                changed.insert(name, value);
            }
        }
        let own = model::revision(new.set.annotations());
        if own < revision {
            changed.insert(REVISION.to_string(), revision.to_string());
            if own > 0 {
                let history = new.set.annotations().get(REVISION_HISTORY).filter(|history| !history.is_empty());
                let history = history.map_or(own.to_string(), |history| format!("{history},{own}"));
                changed.insert(REVISION_HISTORY.to_string(), history);
            }
        }
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let set_min_ready = new.set.spec.min_ready_seconds.unwrap_or(0);
        self.annotate(own.max(revision));
        self.note_found();
        if changed.is_empty() && min_ready == set_min_ready {
            return false;
        }
        let mut patch = json!({"metadata": {"annotations": changed}});
        if min_ready != set_min_ready {
            patch["spec"] = json!({"minReadySeconds": min_ready});
        }
        self.patch_new(patch);
        true
    }

    fn patch_new(&mut self, patch: Value) {
        if let Some(new) = &self.new {
            let resource_version = new.set.resource_version();
            self.steps.push(Step::PatchSet { name: new.name(), resource_version, patch, event: None });
        }
    }

    fn annotate(&mut self, revision: i64) {
        if model::revision(self.observed.deployment.annotations()) != revision {
            self.steps.push(Step::Annotate([(REVISION.to_string(), revision.to_string())].into()));
        }
    }

    /// A set of an earlier revision is used again, which is progress as much as a new one.
    fn note_found(&mut self) {
        let Some(new) = &self.new else { return };
        let status = self.observed.deployment.status.clone().unwrap_or_default();
        if self.spec.progress_deadline_seconds.is_some() && status::find(&status, "Progressing").is_none() {
            let message = format!("Found new replica set \"{}\"", new.name());
            let now = self.observed.now;
            self.progress = Some(status::condition("Progressing", "True", "FoundNewReplicaSet", &message, now));
        }
    }

    fn create(&mut self, revision: i64) {
        let deployment = self.observed.deployment;
        let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
        let hash = hash_of(&self.spec.template, collisions);
        let mut template = self.spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH_LABEL.to_string(), hash.clone());
        let labels = labels.clone();
        let mut selector = self.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_string(), hash.clone());
        let mut annotations = model::inherited(deployment);
        annotations.insert(REVISION.to_string(), revision.to_string());
        annotations.insert(DESIRED.to_string(), self.goal.replicas.to_string());
        annotations.insert(MAX.to_string(), self.goal.most().to_string());
        let name = format!("{}-{hash}", deployment.name_any());
        let set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: deployment.namespace(),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(vec![controller_reference(deployment)]),
                ..ObjectMeta::default()
            },
            spec: ReplicaSetSpec {
                replicas: Some(self.new_size(0)),
                min_ready_seconds: self.spec.min_ready_seconds,
                selector,
                template: Some(template),
            },
            status: None,
        };
        self.steps.push(Step::Create(Box::new(set)));
        self.annotate(revision);
        if self.spec.progress_deadline_seconds.is_some() {
            let message = format!("Created new replica set \"{name}\"");
            let now = self.observed.now;
            self.progress = Some(status::condition("Progressing", "True", "NewReplicaSetCreated", &message, now));
        }
    }

    /// Sets the size of a set, and what sizes are counted from.
    fn resize(&mut self, which: Which, size: i32) -> bool {
        let (replicas, most) = (self.goal.replicas, self.goal.most());
        let member = match which {
            Which::New => self.new.as_mut(),
            Which::Old(at) => self.old.get_mut(at),
        };
        let Some(member) = member else { return false };
        let current = member.annotated(DESIRED) == Some(replicas) && member.annotated(MAX) == Some(most);
        if member.replicas == size && current {
            return false;
        }
        let annotations = json!({DESIRED: replicas.to_string(), MAX: most.to_string()});
        let mut patch = json!({"metadata": {"annotations": annotations}});
        let mut event = None;
        if member.replicas != size {
            patch["spec"] = json!({"replicas": size});
            let word = if size > member.replicas { "up" } else { "down" };
            event = Some(format!("Scaled {word} replica set {} from {} to {size}", member.name(), member.replicas));
        }
        let resized = member.replicas != size;
        member.replicas = size;
        let (name, resource_version) = (member.name(), member.set.resource_version());
        self.steps.push(Step::PatchSet { name, resource_version, patch, event });
        resized
    }

    /// Spreads a new number over the sets that are there.
    fn scale(&mut self) {
        let active: Vec<Which> = (0..self.old.len())
            .map(Which::Old)
            .filter(|which| self.member(*which).is_some_and(|member| member.replicas > 0))
            .chain(self.new.iter().filter(|new| new.replicas > 0).map(|_| Which::New))
            .collect();
        match active.as_slice() {
            [] => {
                let latest =
                    if self.new.is_some() { Some(Which::New) } else { self.old.len().checked_sub(1).map(Which::Old) };
                if let Some(latest) = latest {
                    self.resize(latest, self.goal.replicas);
                }
            }
            [only] => {
                self.resize(*only, self.goal.replicas);
            }
            several => {
                let full = |new: &Member| {
                    new.replicas == self.goal.replicas
                        && new.annotated(DESIRED) == Some(self.goal.replicas)
                        && new.available == self.goal.replicas
                };
                if self.new.as_ref().is_some_and(full) {
                    (0..self.old.len()).for_each(|at| {
                        if self.old[at].replicas > 0 {
                            self.resize(Which::Old(at), 0);
                        }
                    });
                } else if !self.goal.recreate {
                    let members: Vec<Member> =
                        several.iter().filter_map(|which| self.member(*which)).cloned().collect();
                    let existing = self.observed.deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
                    for (which, size) in several.iter().zip(proportion::shares(&members, self.goal, existing)) {
                        self.resize(*which, size);
                    }
                }
            }
        }
    }

    fn member(&self, which: Which) -> Option<&Member> {
        match which {
            Which::New => self.new.as_ref(),
            Which::Old(at) => self.old.get(at),
        }
    }

    fn recreate(&mut self) {
        let mut scaled = false;
        for at in 0..self.old.len() {
            if self.old[at].replicas > 0 {
                scaled |= self.resize(Which::Old(at), 0);
            }
        }
        // A set that is shared with an earlier template must not be brought up before the old pods are gone.
        if scaled || self.observed.old_pods_run || self.adopt_new(true) {
            return;
        }
        if !self.resize(Which::New, self.goal.replicas) {
            self.clean_up_when_complete();
        }
    }

    fn roll(&mut self) {
        if self.adopt_new(true) {
            return;
        }
        if let Some(new) = &self.new {
            let size = if new.replicas > self.goal.replicas { self.goal.replicas } else { self.new_size(new.replicas) };
            if self.resize(Which::New, size) {
                return;
            }
        }
        if self.shrink_old() {
            return;
        }
        self.clean_up_when_complete();
    }

    /// Takes from old sets what availability allows; pods that are not available first, from the oldest set.
    fn shrink_old(&mut self) -> bool {
        let old_total = model::sum(self.old.iter().map(|member| member.replicas));
        let Some(new) = self.new.as_ref().filter(|_| old_total > 0) else { return false };
        let least = self.goal.replicas - self.goal.max_unavailable;
        let new_unavailable = new.replicas.saturating_sub(new.available);
        let may_go = self.total().saturating_sub(least).saturating_sub(new_unavailable);
        if may_go <= 0 {
            return false;
        }
        let mut scaled = false;
        let mut cleaned = 0;
        for at in 0..self.old.len() {
            let member = &self.old[at];
            let unhealthy = member.replicas.saturating_sub(member.available).min(may_go - cleaned);
            if member.replicas == 0 || unhealthy <= 0 {
                continue;
            }
            cleaned += unhealthy;
            let size = member.replicas - unhealthy;
            scaled |= self.resize(Which::Old(at), size);
        }
        let available = model::sum(self.old.iter().chain(&self.new).map(|member| member.available));
        let mut left = available.saturating_sub(least);
        for at in 0..self.old.len() {
            let member = &self.old[at];
            let down = member.replicas.min(left);
            if down <= 0 {
                continue;
            }
            left -= down;
            let size = member.replicas - down;
            scaled |= self.resize(Which::Old(at), size);
        }
        scaled
    }

    fn clean_up_when_complete(&mut self) {
        let next = status::next(&self.facts());
        if status::complete(self.observed.deployment, self.goal, &next.status) {
            self.clean_up();
        }
    }

    /// Deletes the oldest revisions beyond the limit.
    fn clean_up(&mut self) {
        let Some(limit) = self.spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()) else {
            return;
        };
        let mut old: Vec<&Member> =
            self.old.iter().filter(|member| member.set.metadata.deletion_timestamp.is_none()).collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|member| (model::revision(member.set.annotations()), member.age_key()));
        let idle = |member: &&&Member| {
            let observed = member.set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
            let generation = member.set.metadata.generation.unwrap_or(0);
            member.replicas == 0 && member.existing == 0 && generation <= observed
        };
        let steps: Vec<Step> = old[..surplus]
            .iter()
            .filter(idle)
            .map(|member| Step::DeleteSet {
                name: member.name(),
                uid: member.set.uid().unwrap_or_default(),
                resource_version: member.set.resource_version(),
            })
            .collect();
        self.steps.extend(steps);
    }

    fn facts(&self) -> status::Facts<'_> {
        status::Facts {
            deployment: self.observed.deployment,
            goal: self.goal,
            new: self.new.as_ref(),
            members: self.old.iter().chain(&self.new).cloned().collect(),
            progress: self.progress.clone(),
            judge: self.judge,
            now: self.observed.now,
        }
    }

    fn finish(mut self) -> Planned {
        let next = status::next(&self.facts());
        let again_in = next.deadline.map(|at| until(self.observed.now, at));
        if self.observed.deployment.status.as_ref() != Some(&next.status) {
            self.steps.push(Step::Status(Box::new(next.status)));
        }
        Planned { steps: self.steps, again_in }
    }
}

#[derive(Debug, Clone, Copy)]
enum Which {
    New,
    Old(usize),
}
