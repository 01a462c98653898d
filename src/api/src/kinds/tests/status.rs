//! What is refused of a status, kind by kind.

use super::*;

/// What is wrong with `new` as the status of an object of this body, whose status was `old`.
fn errors(plural: &str, body: &Value, old: &Value, new: &Value) -> Vec<String> {
    let (mut before, _) = create(plural, body.clone());
    before["status"] = old.clone();
    let mut object = before.clone();
    object["status"] = new.clone();
    let resource = resource(plural);
    let mut object = complete(resource, object);
    resource.behaviour.prepare_subresource_update("status", &mut object, &before);
    let errors = crate::metadata::validate_subresource_update(resource, "status", &object, &before);
    errors.iter().map(ToString::to_string).collect()
}

fn refused(plural: &str, body: Value, cases: &[(Value, Value, &[&str])]) {
    for (old, new, expected) in cases {
        assert_eq!(&errors(plural, &body, old, new), expected, "{plural} {old} {new}");
    }
}

const NEGATIVE: &str = "Invalid value: -1: must be greater than or equal to 0";

#[test]
fn the_numbers_of_workloads() {
    let negative = |field: &str| format!("status.{field}: {NEGATIVE}");
    let greater = |field: &str| format!("status.{field}: Invalid value: 2: cannot be greater than status.replicas");
    for plural in ["deployments", "replicasets", "replicationcontrollers", "statefulsets"] {
        let body =
            if plural == "replicationcontrollers" { json!({"spec": {"template": template()}}) } else { workload() };
        let ready = if plural == "statefulsets" { "status.readyReplicas" } else { "readyReplicas" };
        let more = format!("status.availableReplicas: Invalid value: 2: cannot be greater than {ready}");
        refused(
            plural,
            body,
            &[
                (json!({}), json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 2}), &[]),
                (json!({}), json!({"replicas": -1}), &[&negative("replicas")]),
                (json!({}), json!({"observedGeneration": -1}), &[&negative("observedGeneration")]),
                (json!({}), json!({"replicas": 1, "readyReplicas": 2}), &[&greater("readyReplicas")]),
                (json!({}), json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}), &[&more]),
            ],
        );
    }
    for plural in ["deployments", "daemonsets", "statefulsets"] {
        let wrong = "status.collisionCount: Invalid value: 1: cannot be decremented";
        refused(
            plural,
            workload(),
            &[
                (json!({"collisionCount": 1}), json!({"collisionCount": 2}), &[]),
                (json!({"collisionCount": 2}), json!({"collisionCount": 1}), &[wrong]),
            ],
        );
    }
    refused("daemonsets", workload(), &[(json!({}), json!({"numberReady": -1}), &[&negative("numberReady")])]);
    let current = greater("currentReplicas");
    refused("statefulsets", workload(), &[(json!({}), json!({"replicas": 1, "currentReplicas": 2}), &[&current])]);
}

#[test]
fn what_pods_may_report() {
    let pod = |policy: &str| json!({"spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]}});
    let ended = |code: i64| json!({"qosClass": "BestEffort", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": code}}}]});
    let runs = json!({"containerStatuses": [{"name": "c", "state": {"running": {}}}]});
    let again = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
    refused("pods", pod("Always"), &[(ended(0), runs.clone(), &[])]);
    refused("pods", pod("OnFailure"), &[(ended(1), runs.clone(), &[]), (ended(0), runs.clone(), &[again])]);
    refused("pods", pod("Never"), &[(ended(1), runs.clone(), &[again]), (ended(1), ended(2), &[])]);
    let one_family = "status.podIPs: Invalid value: [{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family";
    refused(
        "pods",
        pod("Always"),
        &[
            (json!({}), json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}), &[]),
            (json!({}), json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}), &[one_family]),
            (
                json!({}),
                json!({"podIPs": [{"ip": "x"}]}),
                &[
                    "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
            (
                json!({}),
                json!({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]}),
                &["status.hostIPs[0].ip: Invalid value: \"10.0.0.2\": must be equal to `hostIP`"],
            ),
            (
                json!({"qosClass": "BestEffort"}),
                json!({"qosClass": "Burstable"}),
                &["status.qosClass: Invalid value: \"Burstable\": field is immutable"],
            ),
            (
                json!({}),
                json!({"containerStatuses": [{"name": "c", "restartCount": -1}]}),
                &["status.containerStatuses[0].restartCount: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                json!({}),
                json!({"conditions": [{"type": "example.com/mine", "status": "True"}, {"type": "Ready"}]}),
                &[],
            ),
        ],
    );
    let wrong = errors("pods", &pod("Always"), &json!({}), &json!({"conditions": [{"type": "a b", "status": "True"}]}));
    assert!(wrong.len() == 1 && wrong[0].starts_with("status.conditions[0].Type: Invalid value: \"a b\""), "{wrong:?}");
    let wrong = errors("pods", &pod("Always"), &json!({}), &json!({"nominatedNodeName": "A_"}));
    assert!(wrong.len() == 1 && wrong[0].starts_with("status.nominatedNodeName: Invalid value: \"A_\""), "{wrong:?}");
}

#[test]
fn what_nodes_may_report() {
    let address = json!({"type": "InternalIP", "address": "10.0.0.1"});
    refused(
        "nodes",
        json!({}),
        &[
            (json!({}), json!({"capacity": {"cpu": "2", "pods": "110"}, "addresses": [address]}), &[]),
            (
                json!({}),
                json!({"capacity": {"cpu": "-1"}, "allocatable": {"cpu": "1", "example.com/gpu": "500m"}}),
                &[
                    "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                    "status.allocatable.example.com/gpu: Invalid value: \"500m\": must be an integer",
                ],
            ),
            (
                json!({}),
                json!({"addresses": [address, address]}),
                &["status.addresses[1]: Duplicate value: {\"address\":\"10.0.0.1\",\"type\":\"InternalIP\"}"],
            ),
        ],
    );
}

#[test]
fn what_jobs_may_report() {
    let mut pods = template();
    pods["spec"]["restartPolicy"] = json!("Never");
    let job = json!({"spec": {"template": pods, "completions": 2, "parallelism": 1}});
    let condition = |type_: &str| json!({"type": type_, "status": "True"});
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z");
    let complete =
        json!({"startTime": early, "completionTime": late, "succeeded": 2, "conditions": [condition("Complete")]});
    let with = |field: &str, value: Value| {
        let mut status = complete.clone();
        status[field] = value;
        status
    };
    let mut without = complete.clone();
    crate::edit::remove(&mut without, "completionTime");
    refused(
        "jobs",
        job.clone(),
        &[
            (json!({}), json!({"startTime": early, "active": 1, "ready": 1}), &[]),
            (json!({}), complete.clone(), &[]),
            (
                json!({}),
                json!({"active": -1, "ready": -1}),
                &[&format!("status.active: {NEGATIVE}"), &format!("status.ready: {NEGATIVE}")],
            ),
            (
                json!({}),
                json!({"ready": 1}),
                &["status.ready: Invalid value: 1: cannot set more ready pods than active"],
            ),
            (
                json!({}),
                with("active", json!(1)),
                &["status.active: Invalid value: 1: active>0 is invalid for finished job"],
            ),
            (
                json!({}),
                without,
                &["status.completionTime: Required value: completionTime is required for Complete jobs"],
            ),
            (
                json!({}),
                json!({"completionTime": late}),
                &[
                    "status.completionTime: Invalid value: \"2026-01-01T00:00:09Z\": cannot set completionTime when there is no Complete=True condition",
                ],
            ),
            (
                json!({}),
                with("startTime", json!("2026-01-02T00:00:00Z")),
                &[
                    "status.completionTime: Invalid value: \"2026-01-01T00:00:09Z\": completionTime cannot be set before startTime",
                ],
            ),
            (
                json!({"succeeded": 2}),
                json!({"succeeded": 1}),
                &["status.succeeded: Invalid value: 1: cannot decrease the succeeded counter"],
            ),
            (
                json!({"failed": 2}),
                json!({"failed": 1}),
                &["status.failed: Invalid value: 1: cannot decrease the failed counter"],
            ),
            (
                json!({"startTime": early}),
                json!({"startTime": late}),
                &["status.startTime: Required value: startTime cannot be modified for unsuspended job"],
            ),
            (
                json!({}),
                json!({"uncountedTerminatedPods": {"succeeded": ["a", ""], "failed": ["a"]}}),
                &[
                    "status.uncountedTerminatedPods.succeeded[1]: Invalid value: \"\": must not be empty",
                    "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
                ],
            ),
            (
                complete.clone(),
                json!({"startTime": early, "succeeded": 2}),
                &[
                    "status.conditions: Invalid value: \"Complete\": cannot disable the terminal Complete=True condition",
                    "status.completionTime: Invalid value: null: completionTime cannot be mutated",
                ],
            ),
        ],
    );
    let suspended = |value: &str| json!([{"type": "Suspended", "status": value}]);
    let resumed = errors(
        "jobs",
        &job,
        &json!({"startTime": early, "conditions": suspended("True")}),
        &json!({"startTime": late, "conditions": suspended("False")}),
    );
    assert!(resumed.is_empty(), "a Job that goes on begins anew: {resumed:?}");
    let mut idle = job.clone();
    idle["spec"]["suspend"] = json!(true);
    let mut never_began = complete.clone();
    crate::edit::remove(&mut never_began, "startTime");
    let needed = ["status.startTime: Required value: startTime is required for finished job"];
    for (completions, wanted) in [(0, [].as_slice()), (2, needed.as_slice())] {
        idle["spec"]["completions"] = json!(completions);
        assert_eq!(errors("jobs", &idle, &json!({}), &never_began), wanted, "{completions}");
    }
    let mut indexed = job;
    indexed["spec"]["completionMode"] = json!("Indexed");
    for (text, is_right) in
        [("0-1", true), ("0,1", true), ("", true), ("1,0", false), ("2", false), ("a", false), ("1-0", false)]
    {
        let wrong = errors("jobs", &indexed, &json!({}), &json!({"completedIndexes": text}));
        assert_eq!(wrong.is_empty(), is_right, "{text}: {wrong:?}");
    }
}

#[test]
fn what_other_kinds_may_report() {
    let ports = json!({"ports": [{"port": 80}]});
    let balanced = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    let at = |place: Value| json!({"loadBalancer": {"ingress": [place]}});
    refused(
        "services",
        json!({"spec": ports}),
        &[(
            json!({}),
            at(json!({"ip": "1.2.3.4"})),
            &["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is LoadBalancer"],
        )],
    );
    let host =
        "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address";
    let address = "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    let mode = "status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set";
    refused(
        "services",
        balanced,
        &[
            (json!({}), at(json!({"ip": "1.2.3.4"})), &[]),
            (json!({}), at(json!({"ip": "x"})), &[address]),
            (json!({}), at(json!({"hostname": "1.2.3.4"})), &[host]),
            (json!({}), at(json!({"hostname": "a.b", "ipMode": "VIP"})), &[mode]),
        ],
    );
    let backend = json!({"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}});
    refused("ingresses", backend, &[(json!({}), at(json!({"ip": "x"})), &[address])]);
    refused(
        "namespaces",
        json!({}),
        &[
            (json!({}), json!({"phase": "Active"}), &[]),
            (
                json!({}),
                json!({"phase": "Terminating"}),
                &["status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"],
            ),
        ],
    );
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    refused(
        "persistentvolumeclaims",
        claim,
        &[
            (json!({}), json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}), &[]),
            (
                json!({}),
                json!({"capacity": {"storage": "-1"}}),
                &["status.capacity[storage]: Invalid value: \"-1\": must be a valid resource quantity"],
            ),
            (
                json!({}),
                json!({"allocatedResourceStatuses": {"storage": "Never"}}),
                &["status.allocatedResourceStatuses[storage]: Unsupported value: \"Never\": supported values: \
             \"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizePending\", \
             \"NodeResizeInProgress\", \"NodeResizeInfeasible\""],
            ),
        ],
    );
    refused(
        "resourcequotas",
        json!({}),
        &[(
            json!({}),
            json!({"used": {"pods": "-1"}}),
            &["status.used[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
        )],
    );
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let scaler = json!({"spec": {"maxReplicas": 3, "scaleTargetRef": target}});
    refused(
        "horizontalpodautoscalers",
        scaler,
        &[(json!({}), json!({"desiredReplicas": -1}), &[&format!("status.desiredReplicas: {NEGATIVE}")])],
    );
    let condition = json!({"type": "DisruptionAllowed", "status": "Maybe", "reason": "1", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let wrong = errors(
        "poddisruptionbudgets",
        &json!({"spec": {"minAvailable": 1}}),
        &json!({}),
        &json!({"conditions": [condition], "currentHealthy": -1}),
    );
    let starts: Vec<&str> = wrong.iter().map(|error| error.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        starts,
        ["status.conditions[0].status", "status.conditions[0].reason", "status.currentHealthy"],
        "{wrong:?}"
    );
}

#[test]
fn a_certificate_is_made_once_and_is_one() {
    use base64::Engine;
    let pem = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let behaviour = &resource("certificatesigningrequests").behaviour;
    let check = |old: Value, new: Value| -> Vec<String> {
        let (old, new) = (json!({"status": old}), json!({"status": new}));
        behaviour.validate_subresource_update("status", &new, &old).iter().map(ToString::to_string).collect()
    };
    let invalid = |why: &str| vec![format!("status.certificate: Invalid value: \"<certificate data>\": {why}")];
    assert_eq!(
        check(json!({}), json!({"certificate": pem("x")})),
        invalid("must contain at least one CERTIFICATE PEM block")
    );
    let key = pem("-----BEGIN PRIVATE KEY-----\nYQ==\n-----END PRIVATE KEY-----\n");
    assert_eq!(
        check(json!({}), json!({"certificate": key})),
        invalid("only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\"")
    );
    let changed = check(json!({"certificate": pem("a")}), json!({"certificate": pem("b")}));
    assert_eq!(changed[0], "status.certificate: Forbidden: updates may not modify existing certificate content");
    assert!(check(json!({"certificate": pem("a")}), json!({"certificate": pem("a")})).is_empty());
    assert_eq!(
        check(json!({}), json!({"conditions": [{"type": "Mine", "status": "No"}, {"type": "Yours"}]})),
        [
            "status.conditions[0].status: Unsupported value: \"No\": supported values: \"True\", \"False\", \"Unknown\"",
            "status.conditions[1].status: Required value",
        ]
    );
}
