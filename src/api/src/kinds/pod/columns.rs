//! What `kubectl get pods` shows.

use jiff::Timestamp;
use machinery::meta;
use serde_json::Value;

use crate::read;
use crate::resource::Column;
use crate::table::{NONE, age, age_column, has_condition, name, name_column, since, text, text_or, time_at, wide};

pub(super) fn columns() -> Vec<Column<'static>> {
    vec![
        name_column(),
        text("Ready", "How many containers are ready, of how many."),
        text("Status", "Where the pod stands, or what keeps it from running."),
        text("Restarts", "How often containers were restarted, and when last."),
        age_column(),
        wide("IP", "The pod's address."),
        wide("Node", "The node it runs on."),
        wide("Nominated Node", "The node where room is being made for it."),
        wide("Readiness Gates", "How many of its gates are open."),
    ]
}

pub(super) fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let seen = Seen::of(object);
    let restarts = match (seen.restarts, seen.last_restart) {
        (0, _) => "0".to_string(),
        (count, None) => count.to_string(),
        (count, last) => format!("{count} ({} ago)", since(last, now)),
    };
    let address = match read::list(object, "status.podIPs").first() {
        Some(first) => text_or(first, "ip", NONE),
        None => text_or(object, "status.podIP", NONE),
    };
    vec![
        name(object),
        format!("{}/{}", seen.ready, seen.total).into(),
        seen.reason.into(),
        restarts.into(),
        age(object, now),
        address.into(),
        text_or(object, "spec.nodeName", NONE).into(),
        text_or(object, "status.nominatedNodeName", NONE).into(),
        gates(object).into(),
    ]
}

/// An init container that runs beside the others.
fn is_sidecar(container: &Value) -> bool {
    read::text(container, "restartPolicy") == "Always"
}

fn gates(object: &Value) -> String {
    let gates = read::list(object, "spec.readinessGates");
    if gates.is_empty() {
        return NONE.to_string();
    }
    let open = gates.iter().filter(|gate| has_condition(object, read::text(gate, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}

/// What the container statuses come to.
struct Seen {
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    reason: String,
}

impl Seen {
    fn of(object: &Value) -> Self {
        let sidecars: Vec<&Value> =
            read::list(object, "spec.initContainers").iter().filter(|container| is_sidecar(container)).collect();
        let phase = read::text(object, "status.phase");
        let mut seen = Self {
            ready: 0,
            total: read::list(object, "spec.containers").len() + sidecars.len(),
            restarts: 0,
            last_restart: None,
            reason: text_or(object, "status.reason", phase),
        };
        let conditions = read::list(object, "status.conditions");
        if conditions.iter().any(|found| found["type"] == "PodScheduled" && found["reason"] == "SchedulingGated") {
            seen.reason = "SchedulingGated".to_string();
        }
        let initializing = seen.add_init_containers(object, &sidecars);
        if !initializing || has_condition(object, "Initialized") {
            seen.add_containers(object, &sidecars);
        }
        if meta::is_terminating(object) {
            if read::text(object, "status.reason") == "NodeLost" {
                seen.reason = "Unknown".to_string();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                seen.reason = "Terminating".to_string();
            }
        }
        seen
    }

    fn add_restarts(&mut self, status: &Value) {
        self.restarts += read::int(status, "restartCount");
        let ended = time_at(status, "lastState.terminated.finishedAt");
        self.last_restart = self.last_restart.max(ended);
    }

    /// Whether an init container still keeps the pod from starting.
    fn add_init_containers(&mut self, object: &Value, sidecars: &[&Value]) -> bool {
        let statuses = read::list(object, "status.initContainerStatuses");
        for (at, status) in statuses.iter().enumerate() {
            self.add_restarts(status);
            let terminated = read::at(status, "state.terminated");
            if !terminated.is_null() && read::int(terminated, "exitCode") == 0 {
                continue;
            }
            let sidecar = sidecars.iter().any(|container| container["name"] == status["name"]);
            if sidecar && read::flag(status, "started") {
                self.ready += usize::from(read::flag(status, "ready"));
                continue;
            }
            let waiting = read::text(status, "state.waiting.reason");
            self.reason = if !terminated.is_null() {
                format!("Init:{}", end_of(terminated))
            } else if !matches!(waiting, "" | "PodInitializing") {
                format!("Init:{waiting}")
            } else {
                format!("Init:{at}/{}", read::list(object, "spec.initContainers").len())
            };
            return true;
        }
        false
    }

    fn add_containers(&mut self, object: &Value, sidecars: &[&Value]) {
        // Only sidecars among the init containers can still restart now.
        (self.restarts, self.last_restart) = (0, None);
        for status in read::list(object, "status.initContainerStatuses") {
            if sidecars.iter().any(|container| container["name"] == status["name"]) {
                self.add_restarts(status);
            }
        }
        let mut is_running = false;
        for status in read::list(object, "status.containerStatuses").iter().rev() {
            self.add_restarts(status);
            let waiting = read::text(status, "state.waiting.reason");
            let terminated = read::at(status, "state.terminated");
            if !waiting.is_empty() {
                self.reason = waiting.to_string();
            } else if !terminated.is_null() {
                self.reason = end_of(terminated);
            } else if read::flag(status, "ready") && read::is_set(status, "state.running") {
                is_running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && is_running {
            self.reason = if has_condition(object, "Ready") { "Running" } else { "NotReady" }.to_string();
        }
    }
}

fn end_of(terminated: &Value) -> String {
    match (read::text(terminated, "reason"), read::int(terminated, "signal")) {
        ("", 0) => format!("ExitCode:{}", read::int(terminated, "exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(status: Value) -> [String; 3] {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
        let cells = cells(&pod, "2026-01-01T01:00:00Z".parse().expect("a time"));
        [1, 2, 3].map(|at: usize| cells[at].as_str().unwrap_or_default().to_string())
    }

    #[test]
    fn rows_tell_how_a_pod_is() {
        let running = |name: &str| json!({"name": name, "ready": true, "state": {"running": {}}});
        let cases = [
            (json!({"phase": "Pending"}), ["0/2", "Pending", "0"]),
            (json!({"phase": "Running", "containerStatuses": [running("a"), running("b")]}), ["2/2", "Running", "0"]),
            (
                json!({"phase": "Running", "containerStatuses": [running("a"), {"name": "b", "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}}]}),
                ["1/2", "CrashLoopBackOff", "3 (5m ago)"],
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
                ["0/2", "Init:0/1", "0"],
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 2}}}]}),
                ["0/2", "Init:ExitCode:2", "0"],
            ),
            (json!({"phase": "Failed", "reason": "Evicted"}), ["0/2", "Evicted", "0"]),
            (
                json!({"phase": "Succeeded", "containerStatuses": [
                    {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
                ["0/2", "Completed", "0"],
            ),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
                ["0/2", "SchedulingGated", "0"],
            ),
        ];
        for (status, expected) in cases {
            assert_eq!(row(status.clone()), expected, "{status}");
        }
    }
}
