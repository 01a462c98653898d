//! Figures in Prometheus' text form.

use std::fmt::Write;

use super::stats::{Cpu, Memory, Summary};
use crate::pods::Pods;

/// `/metrics/resource`: node, pods and containers under the names that metrics collectors know.
pub fn resource(summary: &Summary) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, lines: Vec<(String, f64, Option<i64>)>| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value, time) in lines {
            let time = time.map(|time| format!(" {time}")).unwrap_or_default();
            let _ = writeln!(out, "{name}{labels} {value}{time}");
        }
    };
    let cpu = |cpu: &Cpu| cpu.usage_core_nano_seconds as f64 / 1e9;
    let memory = |memory: &Memory| memory.working_set_bytes as f64;
    let containers = |value: &dyn Fn(&super::stats::ContainerStats) -> (f64, Option<i64>)| {
        let of = |pod: &super::stats::PodStats| -> Vec<(String, f64, Option<i64>)> {
            let labels = |container: &str| {
                let (namespace, name) = (&pod.pod_ref.namespace, &pod.pod_ref.name);
                format!("{{container={container:?},namespace={namespace:?},pod={name:?}}}")
            };
            pod.containers
                .iter()
                .map(|container| {
                    let (value, time) = value(container);
                    (labels(&container.name), value, time)
                })
                .collect()
        };
        summary.pods.iter().flat_map(of).collect::<Vec<_>>()
    };
    let pods = |value: &dyn Fn(&super::stats::PodStats) -> (f64, Option<i64>)| {
        let of = |pod: &super::stats::PodStats| {
            let (figure, time) = value(pod);
            (format!("{{namespace={:?},pod={:?}}}", pod.pod_ref.namespace, pod.pod_ref.name), figure, time)
        };
        summary.pods.iter().map(of).collect::<Vec<_>>()
    };
    let at = |time: jiff::Timestamp| Some(time.as_millisecond());
    family(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
        containers(&|c| (cpu(&c.cpu), at(c.cpu.time))),
    );
    family(
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
        containers(&|c| (memory(&c.memory), at(c.memory.time))),
    );
    family(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds",
        containers(&|c| (c.start_time.as_millisecond() as f64 / 1e3, None)),
    );
    let node = &summary.node;
    family(
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
        vec![(String::new(), cpu(&node.cpu), at(node.cpu.time))],
    );
    family(
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
        vec![(String::new(), memory(&node.memory), at(node.memory.time))],
    );
    family(
        "pod_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the pod in core-seconds",
        pods(&|p| (cpu(&p.cpu), at(p.cpu.time))),
    );
    family(
        "pod_memory_working_set_bytes",
        "gauge",
        "Current working set of the pod in bytes",
        pods(&|p| (memory(&p.memory), at(p.memory.time))),
    );
    family(
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
        vec![(String::new(), 0.0, None)],
    );
    out
}

/// `/metrics`: of the agent itself.
pub fn own(pods: &Pods) -> String {
    let workers = pods.workers();
    let observed: Vec<_> = workers.iter().map(|worker| worker.observed()).collect();
    let sandboxes = observed.iter().filter(|observed| observed.ready_sandbox().is_some()).count();
    let running = observed
        .iter()
        .flat_map(|observed| &observed.containers)
        .filter(|instance| instance.phase == crate::pod::observed::Phase::Running)
        .count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = crate::machine::meminfo(&status, "VmRSS").unwrap_or(0);
    let mut out = String::new();
    let gauges = [
        ("kubelet_running_pods", "Number of pods that have a running pod sandbox", sandboxes as f64),
        ("kubelet_running_containers", "Number of containers currently running", running as f64),
        ("kubelet_active_pods", "The number of pods the kubelet considers active", workers.len() as f64),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", resident as f64),
    ];
    for (name, help, value) in gauges {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    out
}
