use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::DeploymentStatus;
use serde_json::Value;

use super::*;

/// A world of one deployment, in which steps are carried out as the API and the ReplicaSet controller would.
struct World {
    deployment: Deployment,
    sets: Vec<Arc<ReplicaSet>>,
    now: Timestamp,
    version: u64,
    events: Vec<String>,
}

impl World {
    fn new(spec: Value) -> Self {
        let mut all = json!({"replicas": 3, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let deployment =
            json!({"metadata": {"name": "web", "namespace": "n", "uid": "u", "generation": 1}, "spec": all});
        let now = Timestamp::from_second(1_000_000).unwrap();
        let deployment = serde_json::from_value(deployment).unwrap();
        Self { deployment, sets: Vec::new(), now, version: 1, events: Vec::new() }
    }

    fn image(&mut self, image: &str) {
        let spec = &mut self.deployment.spec;
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.to_string());
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    /// One look; whether anything was done beside the status.
    fn look(&mut self, old_pods_run: bool) -> bool {
        let observed =
            Observed { deployment: &self.deployment.clone(), sets: &self.sets.clone(), old_pods_run, now: self.now };
        let planned = plan(&observed);
        let mut acted = false;
        for step in planned.steps {
            acted |= !matches!(step, Step::Status(_));
            self.apply(step);
        }
        self.check();
        acted
    }

    fn apply(&mut self, step: Step) {
        self.version += 1;
        match step {
            Step::Create(mut set) => {
                set.metadata.uid = set.metadata.name.clone();
                set.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    self.now + SignedDuration::from_secs(self.version as i64),
                ));
                self.sets.push(Arc::from(set));
            }
            Step::PatchSet { name, patch, event, .. } => {
                self.events.extend(event);
                let at = self.sets.iter().position(|set| set.name_any() == name).unwrap();
                let mut value = json!(*self.sets[at]);
                for (part, fields) in patch.as_object().unwrap() {
                    for (field, new) in fields.as_object().unwrap() {
                        if let Value::Object(entries) = new {
                            for (key, entry) in entries {
                                value[part][field][key] = entry.clone();
                            }
                        } else {
                            value[part][field] = new.clone();
                        }
                    }
                }
                self.sets[at] = Arc::new(serde_json::from_value(value).unwrap());
            }
            Step::DeleteSet { name, .. } => self.sets.retain(|set| set.name_any() != name),
            Step::Annotate(annotations) => {
                self.deployment.metadata.annotations.get_or_insert_default().extend(annotations);
            }
            Step::Status(status) => self.deployment.status = Some(*status),
        }
    }

    /// Pods come and go as the sets say; of the set whose image is `broken` none becomes available.
    fn pods_follow(&mut self, broken: &str) {
        for set in &mut self.sets {
            let image = image_of(set);
            let replicas = model::set_replicas(set);
            let mut new = set.as_ref().clone();
            let status = new.status.get_or_insert_default();
            status.replicas = replicas;
            let available = if image == broken { 0 } else { replicas };
            status.available_replicas = Some(available);
            status.ready_replicas = Some(available);
            *set = Arc::new(new);
        }
    }

    /// What must hold at every moment of a rolling update.
    fn check(&self) {
        let goal = Goal::of(&self.deployment.spec);
        let wanted: i32 = self.sets.iter().map(|set| model::set_replicas(set)).sum();
        assert!(wanted <= goal.most().max(goal.replicas), "{wanted} pods wanted, {} allowed", goal.most());
    }

    fn sizes(&self) -> Vec<(String, i32)> {
        self.sets.iter().map(|set| (image_of(set), model::set_replicas(set))).collect()
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            let acted = self.look(false);
            self.pods_follow("");
            if !acted && !self.look(false) {
                return;
            }
        }
        panic!("does not settle: {:?}", self.sizes());
    }

    fn condition(&self, type_: &str) -> (String, String) {
        let status: &DeploymentStatus = self.deployment.status.as_ref().unwrap();
        let found = status::find(status, type_).unwrap();
        (found.status.clone().unwrap(), found.reason.clone().unwrap())
    }

    fn revision(&self) -> i64 {
        model::revision(self.deployment.annotations())
    }
}

use model::Goal;

fn image_of(set: &ReplicaSet) -> String {
    let template = set.spec.template.as_ref().unwrap();
    template.spec.as_ref().unwrap().containers[0].image.clone().unwrap()
}

fn pairs(all: &[(&str, i32)]) -> Vec<(String, i32)> {
    all.iter().map(|(image, size)| (image.to_string(), *size)).collect()
}

#[test]
fn a_new_deployment_gets_a_set_and_becomes_available() {
    let mut world = World::new(json!({}));
    world.look(false);
    assert_eq!(world.sizes(), pairs(&[("v1", 3)]));
    assert_eq!(world.condition("Available"), ("False".into(), "MinimumReplicasUnavailable".into()));
    assert_eq!(world.condition("Progressing"), ("True".into(), "NewReplicaSetCreated".into()));
    world.settle();
    assert_eq!(world.condition("Available"), ("True".into(), "MinimumReplicasAvailable".into()));
    assert_eq!(world.condition("Progressing"), ("True".into(), "NewReplicaSetAvailable".into()));
    let set = &world.sets[0];
    let hash = set.labels()["pod-template-hash"].clone();
    assert_eq!(set.name_any(), format!("web-{hash}"));
    assert_eq!(set.spec.selector.match_labels.as_ref().unwrap()["pod-template-hash"], hash);
    assert_eq!(set.annotations()["deployment.kubernetes.io/max-replicas"], "4");
    let status = world.deployment.status.clone().unwrap();
    assert_eq!((status.updated_replicas, status.unavailable_replicas), (Some(3), None));
    assert!(!world.look(false), "nothing more to do");
}

#[test]
fn a_rolling_update_keeps_within_surge_and_availability() {
    for (replicas, surge, unavailable) in [
        (3, json!("25%"), json!("25%")),
        (10, json!(3), json!(0)),
        (4, json!(0), json!(1)),
        (1, json!("25%"), json!("25%")),
        (5, json!("100%"), json!("50%")),
    ] {
        let mut world = World::new(json!({"replicas": replicas, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}));
        world.settle();
        world.image("v2");
        let goal = Goal::of(&world.deployment.spec);
        for _ in 0..100 {
            world.look(false);
            // Pods that are wanted gone go at once, new ones become available later: the worst case.
            let available: i32 = world
                .sets
                .iter()
                .map(|set| {
                    let was = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
                    model::set_replicas(set).min(was)
                })
                .sum();
            assert!(available >= goal.replicas - goal.max_unavailable, "{available} of {goal:?}");
            world.pods_follow("");
        }
        assert_eq!(world.sizes(), pairs(&[("v1", 0), ("v2", replicas)]));
        assert_eq!(world.revision(), 2);
    }
}

#[test]
fn a_broken_update_stops_and_says_so_and_undo_brings_the_old_set_back() {
    let mut world = World::new(json!({"replicas": 4}));
    world.settle();
    world.image("bad");
    for _ in 0..20 {
        world.look(false);
        world.pods_follow("bad");
    }
    assert_eq!(world.sizes(), pairs(&[("v1", 3), ("bad", 2)]), "one may be missing, one more may be there");
    assert_eq!(world.condition("Progressing"), ("True".into(), "ReplicaSetUpdated".into()));
    world.now += SignedDuration::from_secs(700);
    world.look(false);
    assert_eq!(world.condition("Progressing"), ("False".into(), "ProgressDeadlineExceeded".into()));
    world.image("v1");
    world.settle();
    assert_eq!(world.sizes(), pairs(&[("v1", 4), ("bad", 0)]));
    assert_eq!(world.revision(), 3);
    let old = &world.sets[0];
    assert_eq!(old.annotations()["deployment.kubernetes.io/revision"], "3");
    assert_eq!(old.annotations()["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(world.condition("Progressing"), ("True".into(), "NewReplicaSetAvailable".into()));
}

#[test]
fn recreate_waits_until_old_pods_are_gone() {
    let mut world = World::new(json!({"strategy": {"type": "Recreate"}}));
    world.settle();
    world.image("v2");
    world.look(true);
    assert_eq!(world.sizes(), pairs(&[("v1", 0)]));
    world.pods_follow("");
    world.look(true);
    assert_eq!(world.sizes(), pairs(&[("v1", 0)]), "they still run");
    world.settle();
    assert_eq!(world.sizes(), pairs(&[("v1", 0), ("v2", 3)]));
}

#[test]
fn scaling_in_a_roll_out_keeps_the_proportion() {
    let mut world =
        World::new(json!({"replicas": 10, "strategy": {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}}));
    world.settle();
    world.image("bad");
    for _ in 0..20 {
        world.look(false);
        world.pods_follow("bad");
    }
    assert_eq!(world.sizes(), pairs(&[("v1", 8), ("bad", 5)]));
    world.deployment.spec.replicas = Some(15);
    world.look(false);
    assert_eq!(world.sizes(), pairs(&[("v1", 11), ("bad", 7)]));
    assert!(world.events.iter().any(|event| event.contains("from 8 to 11")), "{:?}", world.events);
}

#[test]
fn plain_scaling_and_pause() {
    let mut world = World::new(json!({}));
    world.settle();
    world.deployment.spec.replicas = Some(5);
    world.settle();
    assert_eq!(world.sizes(), pairs(&[("v1", 5)]));
    world.deployment.spec.paused = Some(true);
    world.image("v2");
    world.settle();
    assert_eq!(world.sizes(), pairs(&[("v1", 5)]), "a paused deployment does not roll");
    assert_eq!(world.condition("Progressing"), ("Unknown".into(), "DeploymentPaused".into()));
    world.deployment.spec.replicas = Some(2);
    world.settle();
    assert_eq!(world.sizes(), pairs(&[("v1", 2)]), "but it scales");
    world.deployment.spec.paused = Some(false);
    world.settle();
    assert_eq!(world.sizes(), pairs(&[("v1", 0), ("v2", 2)]));
}

#[test]
fn old_revisions_go_beyond_the_limit() {
    let mut world = World::new(json!({"revisionHistoryLimit": 2}));
    world.settle();
    for image in ["v2", "v3", "v4", "v5"] {
        world.image(image);
        world.settle();
    }
    assert_eq!(world.sizes(), pairs(&[("v3", 0), ("v4", 0), ("v5", 3)]));
    assert_eq!(world.revision(), 5);
}

#[test]
fn the_deadline_is_looked_at_when_it_passes() {
    let mut world = World::new(json!({}));
    world.look(false);
    let observed = Observed { deployment: &world.deployment, sets: &world.sets, old_pods_run: false, now: world.now };
    assert_eq!(plan(&observed).again_in, Some(Duration::from_secs(601)));
}

#[test]
fn a_roll_out_that_moves_on_at_the_end_of_time_is_not_late() {
    let mut world = World::new(json!({"progressDeadlineSeconds": i32::MAX - 1}));
    world.look(false);
    let status = world.deployment.status.as_mut().unwrap();
    for condition in status.conditions.iter_mut().flatten() {
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::MAX);
        condition.last_update_time = Some(time);
    }
    world.look(false);
    assert_eq!(world.condition("Progressing").0, "True");
}
