//! Sets with pods that are there, missing, unready, old or too many.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn set(more: Value, reached: i32) -> StatefulSet {
    let mut spec = json!({"replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"a": "b"}},
        "podManagementPolicy": "OrderedReady", "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c"}], "volumes": [{"name": "data", "emptyDir": {}}]}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "n", "uid": "u"}, "spec": spec,
        "status": {"replicas": 0, "currentReplicas": reached}}))
    .unwrap()
}

/// `0` is ready and new, `0o` old, `0u` unready, `0f` failed, `0t` about to go.
fn pod(text: &str) -> Arc<Pod> {
    let number: String = text.chars().take_while(char::is_ascii_digit).collect();
    let has = |mark: char| text.contains(mark);
    let ready = if has('u') || has('f') { "False" } else { "True" };
    let mut pod = json!({"metadata": {"name": format!("db-{number}"), "uid": text,
        "labels": {HASH_LABEL: if has('o') { "db-old" } else { "db-new" }}},
        "status": {"phase": if has('f') { "Failed" } else { "Running" }, "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T11:00:00Z"}]}});
    if has('t') {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:59:59Z");
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn look(set: &StatefulSet, pods: &str) -> Plan {
    let pods: Vec<_> = pods.split_whitespace().map(pod).collect();
    plan(&Observed { set, pods: &pods, current: "db-old", update: "db-new", now: now() })
}

/// What is made and what goes: `+1 -2`.
fn steps(plan: &Plan) -> String {
    let made = plan
        .create
        .iter()
        .map(|(ordinal, revision)| format!("+{ordinal}{}", if revision == "db-old" { "o" } else { "" }));
    let gone = plan.delete.iter().map(|pod| format!("-{}", pod.name_any().trim_start_matches("db-")));
    made.chain(gone).collect::<Vec<_>>().join(" ")
}

#[test]
fn pods_come_and_go_in_order_or_all_at_once() {
    let parallel = || json!({"podManagementPolicy": "Parallel"});
    let started_at_5 = |partition: i32| {
        json!({"ordinals": {"start": 5},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}})
    };
    let updating = |more: Value| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": more}});
    for (spec, pods, expected) in [
        (json!({}), "", "+0"),
        (json!({}), "0u", ""),
        (json!({}), "0", "+1"),
        (json!({}), "0 1f 2", "-1"),
        (json!({}), "0 1t 2", ""),
        (parallel(), "", "+0 +1 +2"),
        (parallel(), "1u", "+0 +2"),
        (json!({"replicas": 1}), "0 1 2", "-2"),
        (json!({"replicas": 1}), "0 1 2t", ""),
        (json!({"replicas": 1}), "0u 1 2", ""),
        (json!({"replicas": 0, "podManagementPolicy": "Parallel"}), "0 1 2", "-2 -1 -0"),
        (json!({"ordinals": {"start": 2}, "replicas": 2}), "", "+2"),
        (json!({"ordinals": {"start": 2}, "replicas": 1}), "0 2", "-0"),
        (json!({}), "0o 1o 2o", "-2"),
        (json!({}), "0o 1o 2", "-1"),
        (json!({}), "0o 1o 2u", ""),
        (json!({}), "0o 1uo 2", ""),
        (updating(json!({"partition": 2})), "0o 1o 2o", "-2"),
        (updating(json!({"partition": 2})), "0o 1o 2", ""),
        (updating(json!({"maxUnavailable": 2})), "0o 1o 2o", "-2 -1"),
        // The partition is a place, counted from the first ordinal.
        (started_at_5(2), "5o 6o 7o", "-7"),
        (started_at_5(2), "5o 6o 7", ""),
        (json!({"updateStrategy": {"type": "OnDelete"}}), "0o 1o 2o", ""),
    ] {
        assert_eq!(steps(&look(&set(spec.clone(), 0), pods)), expected, "{spec} {pods:?}");
    }
}

#[test]
fn a_pod_that_is_made_during_an_update_is_what_its_place_asks_for() {
    let partitioned = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
    assert_eq!(steps(&look(&set(partitioned, 1), "1 2")), "+0o");
    let numbered = json!({"ordinals": {"start": 5},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
    assert_eq!(steps(&look(&set(numbered.clone(), 1), "6 7")), "+5o");
    assert_eq!(steps(&look(&set(numbered, 1), "5o 7")), "+6");
    assert_eq!(steps(&look(&set(json!({}), 2), "0o 2")), "+1o");
    assert_eq!(steps(&look(&set(json!({}), 1), "0o 2")), "+1");
}

#[test]
fn the_status_counts_and_a_finished_update_is_the_new_state() {
    let status = look(&set(json!({}), 0), "0o 1u 2").status;
    assert_eq!((status.replicas, status.ready_replicas, status.current_replicas), (3, Some(2), Some(1)));
    assert_eq!((status.updated_replicas, status.current_revision.as_deref()), (Some(2), Some("db-old")));
    let done = look(&set(json!({}), 0), "0 1 2").status;
    assert_eq!((done.current_replicas, done.current_revision.as_deref()), (Some(3), Some("db-new")));
    for pods in ["", "2", "1 2", "0 1 2 3"] {
        let status = look(&set(json!({}), 0), pods).status;
        assert_eq!(status.current_revision.as_deref(), Some("db-old"), "{pods:?} are not the three that are wanted");
    }
}

#[test]
fn a_claim_that_goes_with_its_pod_keeps_its_other_owners() {
    let owners = |all: &[(&str, &str)]| -> Vec<OwnerReference> {
        let of = |(kind, uid): &(&str, &str)| OwnerReference {
            api_version: "v1".into(),
            kind: kind.to_string(),
            name: "x".into(),
            uid: uid.to_string(),
            ..OwnerReference::default()
        };
        all.iter().map(of).collect()
    };
    let (set, member) = (set(json!({}), 0), pod("1"));
    for (has, wanted) in [
        ([].as_slice(), ["1"].as_slice()),
        (&[("Backup", "b"), ("StatefulSet", "u")], &["b", "1"]),
        (&[("Pod", "1"), ("Backup", "b")], &["1", "b"]),
    ] {
        let given = pod::owners_with(&set, &member, &owners(has));
        let uids: Vec<_> = given.iter().map(|owner| owner.uid.as_str()).collect();
        assert_eq!(uids, wanted, "{has:?}");
    }
}

#[test]
fn a_pod_has_its_own_name_host_and_claims() {
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}});
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let set = set(json!({"volumeClaimTemplates": [claim], "persistentVolumeClaimRetentionPolicy": policy}), 0);
    let made = pod::make(&set, &set.spec.template, 1, "db-new");
    let spec = made.spec.clone().unwrap();
    assert_eq!(
        (made.name_any().as_str(), spec.hostname.as_deref(), spec.subdomain.as_deref()),
        ("db-1", Some("db-1"), Some("db"))
    );
    let volumes = spec.volumes.unwrap();
    let source = volumes[0].persistent_volume_claim.as_ref().unwrap();
    assert_eq!((volumes.len(), source.claim_name.as_str()), (1, "data-db-1"));
    let (claim, _) = &pod::claims(&set, 1)[0];
    assert_eq!((claim.name_any().as_str(), claim.labels()["a"].as_str()), ("data-db-1", "b"));
    assert_eq!(claim.metadata.owner_references.as_ref().unwrap()[0].kind, "StatefulSet");
    assert_eq!(pod::claims_that_go(&set, &made), ["data-db-1"]);
}
