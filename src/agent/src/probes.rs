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

/// What a command printed is told of in an event up to this.
const MESSAGE_MAX_CHARS: usize = 1024;

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

/// How one question of a probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The container is well.
    Success,
    /// It is not; why.
    Failure(String),
    /// Nobody could ask it; why. It counts neither way.
    Unknown(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Outcome::Failure, |()| Outcome::Success)
    }
}

/// Like outcomes in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Streak {
    success: bool,
    length: u64,
}

impl Streak {
    /// The streak after an outcome; unchanged where that says nothing of the container.
    fn then(self, outcome: &Outcome) -> Self {
        let success = match outcome {
            Outcome::Success => true,
            Outcome::Failure(_) => false,
            Outcome::Unknown(_) => return self,
        };
        let length = if self.success == success { self.length + 1 } else { 1 };
        Self { success, length }
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
        let mut streak = Streak::default();
        loop {
            ticks.tick().await;
            let Some(worker) = self.worker.upgrade() else { return };
            // Whoever is being ended gets requests until it does not want them, but need not prove that it lives.
            let needless = || self.kind != Kind::Readiness && worker.is_ending();
            if needless() {
                return;
            }
            if self.waits_for_startup(&worker) {
                continue;
            }
            let outcome = self.once(&worker).await;
            if needless() {
                return;
            }
            self.tell(&worker, &outcome);
            streak = streak.then(&outcome);
            let threshold = if streak.success { success_threshold } else { failure_threshold };
            let counts = !matches!(outcome, Outcome::Unknown(_));
            if counts && streak.length >= threshold && self.conclude(&worker, streak.success) {
                return;
            }
        }
    }

    fn tell(&self, worker: &Worker, outcome: &Outcome) {
        let kind = self.kind.name();
        let text = match outcome {
            Outcome::Success => return,
            Outcome::Failure(message) => format!("{kind} probe failed: {message}"),
            Outcome::Unknown(message) => format!("{kind} probe errored and resulted in unknown state: {message}"),
        };
        let container = Some(self.container.name.as_str());
        worker.host().events.pod(&worker.pod(), container, EventType::Warning, "Unhealthy", &text);
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

    async fn once(&self, worker: &Worker) -> Outcome {
        let limit = Duration::from_secs(u64::try_from(self.probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1));
        if let Some(exec) = &self.probe.exec {
            // The runtime keeps the limit: it alone knows whether the command or itself was slow.
            return self.execute(worker, exec.command.clone().unwrap_or_default(), limit).await;
        }
        let pod = worker.pod();
        let address = address(&pod, worker);
        match tokio::time::timeout(limit, self.ask(&address, limit)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failure(format!("no answer within {} s", limit.as_secs())),
        }
    }

    async fn execute(&self, worker: &Worker, command: Vec<String>, limit: Duration) -> Outcome {
        let runtime = worker.host().runtime.as_ref();
        let answer = runtime.exec_sync(&self.id, command, limit).await;
        // A command whose output nobody closes may hang for ever, and so may the runtime.
        let runtime_hangs = matches!(answer, Err(cri::Error::Timeout { .. })) && runtime.version().await.is_err();
        judge(answer, runtime_hangs)
    }

    async fn ask(&self, address: &str, limit: Duration) -> Outcome {
        if let Some(get) = &self.probe.http_get {
            let target = match http::Target::of(get, &self.container, address) {
                Ok(target) => target,
                Err(message) => return Outcome::Unknown(message),
            };
            return match http::get(&target, limit).await {
                Ok(200..400) => Outcome::Success,
                Ok(status) => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
                Err(message) => Outcome::Failure(message),
            };
        }
        if let Some(socket) = &self.probe.tcp_socket {
            let port = match http::port(&socket.port, &self.container) {
                Ok(port) => port,
                Err(message) => return Outcome::Unknown(message),
            };
            let host = socket.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(address);
            let connected = tokio::net::TcpStream::connect((host, port)).await;
            return connected.map(drop).map_err(|error| format!("dial tcp {host}:{port}: {error}")).into();
        }
        if let Some(grpc) = &self.probe.grpc {
            let Ok(port) = u16::try_from(grpc.port) else {
                return Outcome::Unknown(format!("port {} is not a port", grpc.port));
            };
            return grpc::check(address, port, grpc.service.as_deref().unwrap_or_default()).await.into();
        }
        Outcome::Unknown("the probe is none of exec, httpGet, tcpSocket and grpc".into())
    }
}

/// What the runtime's answer says of the container. A command that took too long is a failure; anything else that
/// went wrong is the runtime's own trouble.
fn judge(answer: Result<cri::ExecOutput, cri::Error>, runtime_hangs: bool) -> Outcome {
    match answer {
        Ok(output) if output.exit_code == 0 => Outcome::Success,
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Outcome::Failure(text.chars().take(MESSAGE_MAX_CHARS).collect())
        }
        Err(error) if error.is_timeout() && !runtime_hangs => Outcome::Failure(stdx::error::chain(&error)),
        Err(error) => Outcome::Unknown(stdx::error::chain(&error)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_in_trouble_says_nothing_of_a_container() {
        let output = |exit_code| cri::ExecOutput { stdout: b"no".to_vec(), exit_code, ..Default::default() };
        let late = || cri::Error::Timeout { call: "ExecSync", limit: Duration::from_secs(11) };
        let told = |code| cri::Error::refused("ExecSync", code, "why");
        let failure = |message: &str| Outcome::Failure(message.into());
        assert_eq!(judge(Ok(output(0)), false), Outcome::Success);
        assert_eq!(judge(Ok(output(1)), false), failure("no"));
        assert_eq!(judge(Err(told(cri::Code::DeadlineExceeded)), false), failure("ExecSync: why"));
        assert!(matches!(judge(Err(late()), false), Outcome::Failure(_)), "the command hangs");
        for (error, runtime_hangs) in [
            (told(cri::Code::Unavailable), false),
            (told(cri::Code::Unknown), false),
            (told(cri::Code::NotFound), false),
            (late(), true),
        ] {
            let text = error.to_string();
            assert!(matches!(judge(Err(error), runtime_hangs), Outcome::Unknown(_)), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_neither_lengthens_nor_ends_a_streak() {
        let (success, failure, unknown) =
            (Outcome::Success, Outcome::Failure(String::new()), Outcome::Unknown(String::new()));
        let after = |outcomes: &[&Outcome]| {
            let streak = outcomes.iter().fold(Streak::default(), |streak, outcome| streak.then(outcome));
            (streak.success, streak.length)
        };
        assert_eq!(after(&[&failure, &unknown, &unknown, &unknown]), (false, 1));
        assert_eq!(after(&[&failure, &unknown, &failure]), (false, 2));
        assert_eq!(after(&[&failure, &success, &unknown]), (true, 1));
    }
}
