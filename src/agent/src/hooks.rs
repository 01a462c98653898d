//! Lifecycle hooks: what a container wants done after its start and before its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::probes::http;

/// For hooks that have no bound of their own; the runtime's calls still have one.
pub const UNLIMITED: Duration = Duration::from_secs(24 * 3600);
/// The longest an HTTP hook may take.
const HTTP_LIMIT: Duration = Duration::from_secs(30);

/// Runs a hook within `limit`; the error is text for an event.
pub async fn run(
    runtime: &dyn cri::Runtime,
    container: &Container,
    hook: &LifecycleHandler,
    id: &str,
    pod_ip: &str,
    limit: Duration,
) -> Result<(), String> {
    match tokio::time::timeout(limit, one(runtime, container, hook, id, pod_ip, limit)).await {
        Ok(result) => result,
        Err(_) => Err(format!("the hook did not end within {} s", limit.as_secs())),
    }
}

async fn one(
    runtime: &dyn cri::Runtime,
    container: &Container,
    hook: &LifecycleHandler,
    id: &str,
    pod_ip: &str,
    limit: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let output = runtime.exec_sync(id, command, limit).await.map_err(|error| stdx::error::chain(&error))?;
        if output.exit_code == 0 {
            return Ok(());
        }
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        return Err(format!("command exited with {}: {}", output.exit_code, text.trim()));
    }
    if let Some(get) = &hook.http_get {
        let target = http::Target::of(get, container, pod_ip)?;
        // A hook is asked for, not judged: any answer is one.
        return http::get(&target, HTTP_LIMIT.min(limit)).await.map(drop);
    }
    if let Some(sleep) = &hook.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    Err("the hook is none of exec, httpGet and sleep".into())
}
