//! The FlowSchemas and PriorityLevelConfigurations of a fresh server: two of each that always are as they are here,
//! and those that are suggested, which are an administrator's once the annotation says so. And what every FlowSchema
//! has in its status: whether its level exists.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use machinery::meta;
use serde_json::{Value, json};

use super::objects::{self, BoxError, Step};
use crate::live::{Live, text};
use crate::plugin::Bootstrap;
use crate::state::State;

/// The group of both.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// FlowSchemas.
pub const SCHEMAS: &str = "flowschemas";
/// PriorityLevelConfigurations.
pub const LEVELS: &str = "prioritylevelconfigurations";
/// `true` where the object is the server's to keep.
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// Objects that are never an administrator's.
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];
/// How often what was changed is put right.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How often FlowSchemas are looked at where nothing changes.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A change is seldom alone.
const SETTLE: Duration = Duration::from_millis(50);
/// How soon again where something was wrong, or nothing there yet.
const LOOK_SOON: Duration = Duration::from_millis(500);

/// Shares, percent that may be lent, and queues: how many, how many of them one flow uses, how long each is.
type Limits = (i64, i64, Option<(i64, i64, i64)>);

const LIMITED: [(&str, Limits); 7] = [
    ("catch-all", (5, 0, None)),
    ("global-default", (20, 50, Some((128, 6, 50)))),
    ("leader-election", (10, 0, Some((16, 4, 50)))),
    ("node-high", (40, 25, Some((64, 6, 50)))),
    ("system", (30, 33, Some((64, 6, 50)))),
    ("workload-high", (40, 50, Some((128, 6, 50)))),
    ("workload-low", (100, 90, Some((128, 6, 50)))),
];

/// Makes and keeps the objects.
pub struct FlowControl(pub Live);

#[async_trait]
impl Bootstrap for FlowControl {
    fn name(&self) -> &'static str {
        "priority-and-fairness-config-producer"
    }

    fn every(&self) -> Option<Duration> {
        Some(KEEP_EVERY)
    }

    async fn bootstrap(&self, client: &kube::Client) -> Result<(), BoxError> {
        let mut steps = Vec::new();
        for (plural, wanted) in [(LEVELS, levels()), (SCHEMAS, schemas())] {
            let found = self.0.list(GROUP, plural, "").await?;
            for object in wanted {
                let name = meta::name(&object);
                steps.extend(plan(plural, &object, found.iter().find(|found| meta::name(found) == name)));
            }
        }
        objects::write(client, steps).await
    }
}

/// Keeps the status of FlowSchemas, for as long as the server runs.
pub async fn follow(state: Arc<State>, client: kube::Client) {
    let live = Live::new(state.store.clone());
    let mut changes = state.flow.changes();
    loop {
        let pause = match look(&live, &client).await {
            Ok(true) => LOOK_EVERY,
            Ok(false) => LOOK_SOON,
            Err(error) => {
                tracing::debug!("the status of FlowSchemas: {error}; trying again");
                LOOK_SOON
            }
        };
        if let Ok(changed) = tokio::time::timeout(pause, changes.changed()).await {
            // Objects that are read anew have another sender.
            if changed.is_err() {
                changes = state.flow.changes();
            }
            tokio::time::sleep(SETTLE).await;
        }
    }
}

/// Writes what has changed; says whether there are FlowSchemas at all.
async fn look(live: &Live, client: &kube::Client) -> Result<bool, BoxError> {
    let schemas = live.list(GROUP, SCHEMAS, "").await?;
    let levels = live.list(GROUP, LEVELS, "").await?;
    let names: HashSet<&str> = levels.iter().map(meta::name).collect();
    let now = Timestamp::now();
    objects::write(client, schemas.iter().filter_map(|schema| judged(schema, &names, now)).collect()).await?;
    Ok(!schemas.is_empty())
}

/// The FlowSchema with another status, where it should have one.
fn judged(schema: &Value, levels: &HashSet<&str>, now: Timestamp) -> Option<Step> {
    let level = text(schema, "/spec/priorityLevelConfiguration/name");
    let (status, reason, what) = match levels.contains(level) {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {what}");
    let mut conditions = schema["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let old = conditions.iter().position(|condition| condition["type"] == "Dangling");
    let is = |condition: &Value, field: &str, value: &str| condition[field] == value;
    let mut since = now;
    if let Some(old) = old.map(|old| &conditions[old]) {
        if is(old, "status", status) && is(old, "reason", reason) && is(old, "message", &message) {
            return None;
        }
        if is(old, "status", status) {
            since = text(old, "/lastTransitionTime").parse().unwrap_or(now);
        }
    }
    let condition = json!({
        "type": "Dangling",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": meta::format_time(since),
    });
    match old {
        Some(old) => conditions[old] = condition,
        None => conditions.push(condition),
    }
    let mut object = schema.clone();
    object["status"] = json!({"conditions": conditions});
    Some(Step::Update { path: format!("/apis/{GROUP}/v1/{SCHEMAS}/{}/status", meta::name(schema)), object })
}

/// What is to be done for an object to be as it should.
fn plan(plural: &str, wanted: &Value, found: Option<&Value>) -> Option<Step> {
    let collection = format!("/apis/{GROUP}/v1/{plural}");
    let Some(found) = found else { return Some(Step::Create { collection, object: wanted.clone() }) };
    let name = meta::name(wanted);
    let is_ours = match meta::annotation(found, AUTOUPDATE) {
        Some(value) => value == "true",
        // Nobody has changed it since it was made.
        None => meta::generation(found) == 1,
    };
    let mut object = found.clone();
    if MANDATORY.contains(&name) {
        object["spec"] = mandatory_spec(wanted, found);
    } else if is_ours {
        object["spec"] = wanted["spec"].clone();
    }
    (object != *found).then(|| Step::Update { path: format!("{collection}/{name}"), object })
}

/// What a mandatory object is; how many shares exempt requests count for is an administrator's to say.
fn mandatory_spec(wanted: &Value, found: &Value) -> Value {
    let mut spec = wanted["spec"].clone();
    if let (Some(own), Some(shares)) = (spec.get("exempt").cloned(), found["spec"].get("exempt"))
        && own.is_object()
        && shares.is_object()
    {
        spec["exempt"] = shares.clone();
    }
    spec
}

/// The FlowSchemas and the PriorityLevelConfigurations that count even before they are stored.
pub fn mandatory() -> (Vec<Value>, Vec<Value>) {
    let mut found = (schemas(), levels());
    let is_mandatory = |object: &Value| MANDATORY.contains(&meta::name(object));
    found.0.retain(is_mandatory);
    found.1.retain(is_mandatory);
    found
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}},
        "spec": spec,
    })
}

/// All PriorityLevelConfigurations of a fresh server.
pub fn levels() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let mut levels = vec![object("PriorityLevelConfiguration", "exempt", exempt)];
    for (name, (shares, lendable, queues)) in LIMITED {
        let response = match queues {
            None => json!({"type": "Reject"}),
            Some((queues, hand, length)) => json!({
                "type": "Queue",
                "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length},
            }),
        };
        let limited =
            json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
        let spec = json!({"type": "Limited", "limited": limited});
        levels.push(object("PriorityLevelConfiguration", name, spec));
    }
    levels
}

fn groups(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

fn users(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "User", "user": {"name": name}})).collect()
}

/// Every service account of kube-system.
fn system_accounts() -> Vec<Value> {
    vec![json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}})]
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster_scope: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if cluster_scope {
        rule["clusterScope"] = true.into();
    }
    rule
}

/// Everything that these may ask for.
fn everything(subjects: Vec<Value>) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn some(subjects: Vec<Value>, rules: &[Value]) -> Value {
    json!({"subjects": subjects, "resourceRules": rules})
}

/// All FlowSchemas of a fresh server.
pub fn schemas() -> Vec<Value> {
    const BY_USER: &str = "ByUser";
    const BY_NAMESPACE: &str = "ByNamespace";
    let everyone = || groups(&["system:unauthenticated", "system:authenticated"]);
    let nodes = || groups(&["system:nodes"]);
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let probes = json!({
        "subjects": everyone(),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    });
    let leaders = [users(&["system:kube-controller-manager", "system:kube-scheduler"]), system_accounts()].concat();
    let reports = [resources(&["*"], "", &["nodes", "nodes/status"], true), leases(&["*"])];
    let all = [
        ("exempt", "exempt", 1, "", everything(groups(&["system:masters"]))),
        ("probes", "exempt", 2, "", probes),
        (
            "system-leader-election",
            "leader-election",
            100,
            BY_USER,
            some(leaders, &[leases(&["get", "create", "update"])]),
        ),
        ("system-node-high", "node-high", 400, BY_USER, some(nodes(), &reports)),
        ("system-nodes", "system", 500, BY_USER, everything(nodes())),
        (
            "kube-controller-manager",
            "workload-high",
            800,
            BY_NAMESPACE,
            everything(users(&["system:kube-controller-manager"])),
        ),
        ("kube-scheduler", "workload-high", 800, BY_NAMESPACE, everything(users(&["system:kube-scheduler"]))),
        ("kube-system-service-accounts", "workload-high", 900, BY_NAMESPACE, everything(system_accounts())),
        ("service-accounts", "workload-low", 9000, BY_USER, everything(groups(&["system:serviceaccounts"]))),
        ("global-default", "global-default", 9900, BY_USER, everything(everyone())),
        ("catch-all", "catch-all", 10000, BY_USER, everything(everyone())),
    ];
    all.into_iter()
        .map(|(name, level, precedence, distinguisher, rules)| {
            let mut spec = json!({
                "priorityLevelConfiguration": {"name": level},
                "matchingPrecedence": precedence,
                "rules": [rules],
            });
            if !distinguisher.is_empty() {
                spec["distinguisherMethod"] = json!({"type": distinguisher});
            }
            object("FlowSchema", name, spec)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(objects: Vec<Value>, name: &str) -> Value {
        objects.into_iter().find(|object| meta::name(object) == name).expect("is there")
    }

    fn kept(object: &Value) -> Value {
        let mut found = object.clone();
        found["metadata"]["generation"] = json!(3);
        found["metadata"]["resourceVersion"] = json!("7");
        found
    }

    #[test]
    fn defaults_change_nothing_of_what_is_wanted() {
        for (plural, objects) in [(LEVELS, levels()), (SCHEMAS, schemas())] {
            let resource = api::registry().get(GROUP, "v1", plural).expect("is served");
            for object in objects {
                let mut complete = object.clone();
                let unknown = crate::rest::decode::complete(resource, &mut complete).expect("is well-formed");
                assert_eq!((complete, unknown), (object.clone(), Vec::new()));
                assert_eq!(plan(plural, &object, Some(&kept(&object))), None);
                assert!(matches!(plan(plural, &object, None), Some(Step::Create { .. })));
            }
        }
    }

    #[test]
    fn suggestions_are_kept_until_an_administrator_takes_them_over_and_mandates_always() {
        let suggested = named(levels(), "workload-low");
        let mut found = kept(&suggested);
        found["spec"]["limited"]["nominalConcurrencyShares"] = json!(1);
        let Some(Step::Update { path, object }) = plan(LEVELS, &suggested, Some(&found)) else {
            panic!("is put right")
        };
        assert_eq!(path, format!("/apis/{GROUP}/v1/{LEVELS}/workload-low"));
        assert_eq!(object["spec"], suggested["spec"]);
        found["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(plan(LEVELS, &suggested, Some(&found)), None);
        let mandatory = named(schemas(), "catch-all");
        let mut found = kept(&mandatory);
        found["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        found["spec"]["matchingPrecedence"] = json!(1);
        assert!(plan(SCHEMAS, &mandatory, Some(&found)).is_some());
        // But for how much exempt requests count.
        let exempt = named(levels(), "exempt");
        let mut found = kept(&exempt);
        found["spec"]["exempt"]["lendablePercent"] = json!(50);
        assert_eq!(plan(LEVELS, &exempt, Some(&found)), None);
    }

    #[test]
    fn a_schema_says_whether_its_level_exists() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let schema = named(schemas(), "probes");
        let judge = |schema: &Value, levels: &[&str], now| match judged(schema, &levels.iter().copied().collect(), now)
        {
            Some(Step::Update { object, .. }) => Some(object),
            _ => None,
        };
        let found = judge(&schema, &["exempt"], now).expect("a condition");
        let condition = &found["status"]["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Found")));
        assert_eq!(
            condition["message"],
            "This FlowSchema references the PriorityLevelConfiguration object named \"exempt\" and it exists"
        );
        assert_eq!(judge(&found, &["exempt"], now), None);
        let gone = judge(&found, &[], now).expect("another condition");
        assert_eq!(gone["status"]["conditions"][0]["status"], "True");
        assert_eq!(gone["status"]["conditions"].as_array().map(Vec::len), Some(1));
    }
}
