//! Follows the definitions: serves what they say, writes into their status what became of them, and has the objects of
//! deleted ones removed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::{Method, Request};
use machinery::meta;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{FINALIZER, GROUP, PLURAL, cleanup, conditions};
use crate::state::State;
use crate::{follow, live};

/// How soon it is tried again where something failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Keeps the definitions until the server ends.
pub fn start(state: &Arc<State>, client: kube::Client, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let (state, shutdown) = (state.clone(), shutdown.clone());
    tasks.spawn(async move {
        let mut keeper = Keeper { state, client, cleaning: HashMap::new() };
        shutdown.run_until_cancelled(keeper.run()).await;
        keeper.cleaning.into_values().for_each(|task| task.abort());
    });
}

struct Keeper {
    state: Arc<State>,
    client: kube::Client,
    /// By uid.
    cleaning: HashMap<String, JoinHandle<()>>,
}

impl Keeper {
    async fn run(&mut self) {
        let prefix = live::prefix(GROUP, PLURAL, "");
        loop {
            let watch = self.state.store.watch(&prefix, None).await;
            let is_settled = self.round().await;
            if !follow::changed(watch, is_settled, RETRY_AFTER).await {
                return;
            }
        }
    }

    /// Looks at every definition once; says whether all is as it should be.
    async fn round(&mut self) -> bool {
        let judged = match self.state.customs.refresh(self.state.store.as_ref()).await {
            Ok(judged) => judged,
            Err(status) => {
                tracing::warn!("reading the CustomResourceDefinitions: {status}; trying again");
                return false;
            }
        };
        let client = &self.client;
        let writes = judged.iter().filter(|(object, status)| object["status"] != *status);
        let written = join_all(writes.map(|(object, status)| write(client, object, status))).await;
        self.cleaning.retain(|_, task| !task.is_finished());
        for (object, status) in &judged {
            let is_held = meta::finalizers(object).any(|finalizer| finalizer == FINALIZER);
            if meta::is_terminating(object) && is_held && !self.cleaning.contains_key(meta::uid(object)) {
                let has_objects = cleanup::has_objects(object, conditions::is_true(status, "Established"));
                let work = cleanup::run(self.state.clone(), self.client.clone(), object.clone(), has_objects);
                self.cleaning.insert(meta::uid(object).to_string(), tokio::spawn(work));
            }
        }
        written.into_iter().all(|is_written| is_written)
    }
}

/// Writes a status; says whether it is written, or changed meanwhile and so looked at again anyway.
async fn write(client: &kube::Client, object: &Value, status: &Value) -> bool {
    let name = meta::name(object);
    let mut new = object.clone();
    new["status"] = status.clone();
    let path = format!("/apis/{GROUP}/v1/{PLURAL}/{name}/status");
    let request = Request::builder()
        .method(Method::PUT)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(new.to_string().into_bytes());
    let Ok(request) = request else { return false };
    match client.request::<Value>(request).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => true,
        Err(error) => {
            tracing::warn!("writing the status of {name}: {}; trying again", stdx::error::chain(&error));
            false
        }
    }
}
