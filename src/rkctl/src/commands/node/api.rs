//! The API as a control-plane host's own administrator sees it, for what `rkctl up` calls there.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Node;
use tokio::time::Instant;

use crate::config::ADMIN_KUBECONFIG;

/// Long enough for a slow disk, short enough to be asked again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two looks at something that is waited for.
pub const POLL: Duration = Duration::from_millis(100);

/// A client with the administrator's kubeconfig of this host.
pub async fn client() -> anyhow::Result<kube::Client> {
    let kubeconfig = kube::config::Kubeconfig::read_from(Path::new(ADMIN_KUBECONFIG))
        .with_context(|| format!("read {ADMIN_KUBECONFIG}: is this a control-plane host?"))?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .with_context(|| format!("understand {ADMIN_KUBECONFIG}"))?;
    config.connect_timeout = Some(REQUEST_TIMEOUT);
    config.read_timeout = Some(REQUEST_TIMEOUT);
    // kube asks fifteen times, for minutes, where a server is not available; an aggregated API that is down would
    // hold up whoever only wants to know what is served.
    config.default_retry = false;
    kube::Client::try_from(config).context("make a client of the API")
}

/// What `/readyz` says: nothing where it is ready, else why it is not.
pub async fn unready(client: &kube::Client) -> Option<String> {
    let request = match http::Request::get("/readyz?verbose").body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return Some(error.to_string()),
    };
    match client.request_text(request).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => {
            let failed: Vec<&str> = status.message.lines().filter(|line| line.starts_with("[-]")).collect();
            Some(if failed.is_empty() { status.message.clone() } else { failed.join(", ") })
        }
        Err(error) => Some(stdx::error::chain(&error)),
    }
}

/// Looks again and again until `look` answers something or the time is over; then says what was missing last.
pub async fn wait_for<T, F, Fut>(limit: Duration, what: &str, mut look: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + limit;
    let mut missing = "nothing was answered".to_owned();
    loop {
        // A look that hangs must not hide what the one before it saw.
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => missing = seen,
            Err(_) => bail!("{what} after {} s: {missing}", limit.as_secs()),
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + POLL)).await;
    }
}

/// Whether a node is ready, and what it says where it is not.
pub fn readiness(node: &Node) -> Result<(), String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    match conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready") {
        Some(ready) if ready.status == "True" => Ok(()),
        Some(ready) => Err(ready.message.clone().unwrap_or_else(|| format!("Ready is {}", ready.status))),
        None => Err("it has not told its state yet".to_owned()),
    }
}

/// Reads `30s`, `10m` of a command line.
pub fn duration(text: &str) -> Result<Duration, String> {
    inventory::duration::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_missing_last_is_told_even_where_a_look_hangs() {
        let mut looks = 0;
        let look = || {
            looks += 1;
            let hangs = looks > 2;
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Err::<(), _>("the pod is not there".to_owned())
            }
        };
        let error = wait_for(Duration::from_secs(1), "it is not ready", look).await.unwrap_err();
        assert_eq!(error.to_string(), "it is not ready after 1 s: the pod is not there");
    }
}
