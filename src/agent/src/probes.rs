//! Probes of running containers: one task for each, whose results become what a pod's worker remembers.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use client::events::EventType;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::task::JoinHandle;

use crate::pod::find_container;
use crate::pod::observed::{Instance, Phase};
use crate::pod::worker::Worker;

pub mod grpc;
pub mod http;

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whether the container has come up; the others wait for it.
    Startup,
    /// Whether it gets requests.
    Readiness,
    /// Whether it is started anew.
    Liveness,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Readiness => "Readiness",
            Kind::Liveness => "Liveness",
        }
    }
}

/// The probes of one pod; they end with it.
#[derive(Default)]
pub struct Probes {
    tasks: HashMap<(String, Kind), JoinHandle<()>>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

impl Probes {
    /// Begins probes of containers that run now and ends those of containers that do not.
    pub fn sync(&mut self, worker: &Arc<Worker>) {
        let (pod, observed) = (worker.pod(), worker.observed());
        let running = |id: &str| observed.containers.iter().any(|c| c.id == id && c.phase == Phase::Running);
        self.tasks.retain(|(id, _), task| {
            let keep = running(id);
            if !keep {
                task.abort();
            }
            keep
        });
        for instance in observed.containers.iter().filter(|instance| instance.phase == Phase::Running) {
            let Some(container) = find_container(&pod, &instance.name) else { continue };
            let probes = [
                (Kind::Startup, &container.startup_probe),
                (Kind::Readiness, &container.readiness_probe),
                (Kind::Liveness, &container.liveness_probe),
            ];
            for (kind, probe) in probes {
                let Some(probe) = probe else { continue };
                let key = (instance.id.clone(), kind);
                self.tasks.entry(key).or_insert_with(|| {
                    let task = Task {
                        worker: Arc::downgrade(worker),
                        container: container.clone(),
                        id: instance.id.clone(),
                        kind,
                        probe: probe.clone(),
                    };
                    tokio::spawn(task.run(until_first(instance, probe)))
                });
            }
        }
    }
}

/// How long until the initial delay after the container's start is over.
fn until_first(instance: &Instance, probe: &Probe) -> Duration {
    let delay = Duration::from_secs(u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0));
    let age = instance.started_at().map(|at| jiff::Timestamp::now().duration_since(at));
    delay.saturating_sub(age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default())
}

struct Task {
    worker: Weak<Worker>,
    container: Container,
    id: String,
    kind: Kind,
    probe: Probe,
}

impl Task {
    async fn run(self, delay: Duration) {
        tokio::time::sleep(delay).await;
        let at_least_one =
            |value: Option<i32>, default: i32| u64::try_from(value.unwrap_or(default)).unwrap_or(1).max(1);
        let period = Duration::from_secs(at_least_one(self.probe.period_seconds, 10));
        let success_threshold = at_least_one(self.probe.success_threshold, 1);
        let failure_threshold = at_least_one(self.probe.failure_threshold, 3);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut streak = (true, 0);
        loop {
            ticks.tick().await;
            let Some(worker) = self.worker.upgrade() else { return };
            if self.waits_for_startup(&worker) {
                continue;
            }
            let outcome = self.once(&worker).await;
            let success = outcome.is_ok();
            streak = if streak.0 == success { (success, streak.1 + 1) } else { (success, 1) };
            if let Err(message) = &outcome {
                let text = format!("{} probe failed: {message}", self.kind.name());
                worker.host().events.pod(
                    &worker.pod(),
                    Some(&self.container.name),
                    EventType::Warning,
                    "Unhealthy",
                    &text,
                );
            }
            let threshold = if success { success_threshold } else { failure_threshold };
            if streak.1 >= threshold && self.conclude(&worker, success) {
                return;
            }
        }
    }

    fn waits_for_startup(&self, worker: &Worker) -> bool {
        self.kind != Kind::Startup && self.container.startup_probe.is_some() && !worker.has_started(&self.id)
    }

    /// Notes a result; true where the probe has done its work.
    fn conclude(&self, worker: &Worker, success: bool) -> bool {
        let id = self.id.clone();
        match (self.kind, success) {
            (Kind::Startup, true) => {
                worker.remember(|memory| {
                    memory.started.insert(id.clone());
                });
                true
            }
            (Kind::Readiness, true) => {
                worker.remember_if(|memory| memory.ready.insert(id));
                false
            }
            (Kind::Readiness, false) => {
                worker.remember_if(|memory| memory.ready.remove(&id));
                false
            }
            (Kind::Liveness, true) => false,
            (Kind::Startup | Kind::Liveness, false) => {
                let kind = self.kind.name().to_lowercase();
                let reason = format!("Container {} failed {kind} probe, will be restarted", self.container.name);
                let grace = self.probe.termination_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
                worker.remember(|memory| {
                    memory.condemned.insert(id.clone(), reason);
                    memory.grace.extend(grace.map(|grace| (id, Duration::from_secs(grace))));
                });
                true
            }
        }
    }

    async fn once(&self, worker: &Worker) -> Result<(), String> {
        let limit = Duration::from_secs(u64::try_from(self.probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1));
        let pod = worker.pod();
        let address = address(&pod, worker);
        match tokio::time::timeout(limit, self.ask(worker, &address, limit)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        }
    }

    async fn ask(&self, worker: &Worker, address: &str, limit: Duration) -> Result<(), String> {
        if let Some(exec) = &self.probe.exec {
            let command = exec.command.clone().unwrap_or_default();
            let output = worker.host().runtime.exec_sync(&self.id, command, limit).await;
            let output = output.map_err(|error| stdx::error::chain(&error))?;
            if output.exit_code == 0 {
                return Ok(());
            }
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            return Err(text.chars().take(1024).collect());
        }
        if let Some(get) = &self.probe.http_get {
            let target = http::Target::of(get, &self.container, address)?;
            let status = http::get(&target, limit).await?;
            return if (200..400).contains(&status) {
                Ok(())
            } else {
                Err(format!("HTTP probe failed with statuscode: {status}"))
            };
        }
        if let Some(socket) = &self.probe.tcp_socket {
            let port = http::port(&socket.port, &self.container)?;
            let host = socket.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(address);
            let connected = tokio::net::TcpStream::connect((host, port)).await;
            return connected.map(drop).map_err(|error| format!("dial tcp {host}:{port}: {error}"));
        }
        if let Some(grpc) = &self.probe.grpc {
            let port = u16::try_from(grpc.port).map_err(|_| format!("port {} is not a port", grpc.port))?;
            return grpc::check(address, port, grpc.service.as_deref().unwrap_or_default()).await;
        }
        Err("the probe is none of exec, httpGet, tcpSocket and grpc".into())
    }
}

fn address(pod: &Pod, worker: &Worker) -> String {
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let ips = worker.observed().ready_sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    match ips.into_iter().next() {
        Some(ip) if !host_network => ip,
        _ => worker.host().host_ips.first().map(ToString::to_string).unwrap_or_else(|| "127.0.0.1".into()),
    }
}
