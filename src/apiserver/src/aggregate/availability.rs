//! The `Available` condition of APIServices: of local ones always true, of others found out by asking the server
//! behind them for its discovery document.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all, select_all, select_ok};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use http::Request;
use jiff::Timestamp;
use machinery::meta;
use serde_json::{Value, json};
use store::{RangeOptions, Watch, WatchItem};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agenda::{Agenda, RETRY_EVERY};
use super::{DEFAULT_PORT, local, openapi, probe};
use crate::state::State;
use crate::status::{Result, Status};
use crate::storage;
use crate::stream::place;

/// A change of an APIService, or of what it leads to, is seldom alone.
const SETTLE: Duration = Duration::from_millis(100);
/// A server that takes longer to answer is not available.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// One lost request is no outage, and one of several servers that is lost neither.
const ATTEMPTS: usize = 3;

/// Keeps the conditions up until the server ends.
pub fn start(state: &Arc<State>, client: kube::Client, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let (state, shutdown) = (state.clone(), shutdown.clone());
    tasks.spawn(async move { shutdown.run_until_cancelled(run(&state, &client)).await });
}

/// The looks that are under way, each at one APIService: a server that does not answer holds up no other's.
type Looks = FuturesUnordered<BoxFuture<'static, (String, Result<bool>)>>;

async fn run(state: &Arc<State>, client: &kube::Client) {
    let Some(resource) = api::registry().get("apiregistration.k8s.io", "v1", "apiservices") else { return };
    let prefix = storage::prefix(resource, "");
    let mut agenda = Agenda::default();
    let mut looks = Looks::new();
    let mut kept: Option<Vec<Box<dyn Watch>>> = None;
    loop {
        // Watched before it is read, so that nothing is missed in between; and watched on while it is read again.
        if kept.is_none() {
            match watches(state, &prefix).await {
                Ok(watches) => kept = Some(watches),
                Err(store::Error::Closed) => return,
                Err(_) => {
                    tokio::time::sleep(RETRY_EVERY).await;
                    continue;
                }
            }
            agenda.hurry_all(Instant::now());
        }
        let mut served = state.customs.changes();
        let objects = match round(state, client, &prefix).await {
            Ok(objects) => objects,
            Err(status) => {
                tracing::debug!("looking after APIServices: {status}; trying again");
                tokio::time::sleep(RETRY_EVERY).await;
                continue;
            }
        };
        agenda.take(&objects, Instant::now());
        let Some(watches) = kept.as_mut() else { continue };
        loop {
            for object in agenda.start(&objects, Instant::now()) {
                looks.push(look(state.clone(), client.clone(), object.clone()).boxed());
            }
            let next = agenda.next().map(tokio::time::Instant::from_std);
            tokio::select! {
                Some((name, looked)) = looks.next() => agenda.end(&name, &looked, Instant::now()),
                () = async { tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)).await }, if next.is_some() => {}
                changed = changed(watches, &agenda) => match changed {
                    Changed::Behind(places) => agenda.hurry(&places, Instant::now() + SETTLE),
                    Changed::Services => break,
                    Changed::Unknown => {
                        kept = None;
                        break;
                    }
                },
                // Its sender lives as long as the server.
                _ = served.changed() => break,
            }
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Watches of APIServices, and of what may be behind them.
async fn watches(state: &State, prefix: &str) -> std::result::Result<Vec<Box<dyn Watch>>, store::Error> {
    let behind = ["services", "endpoints"].into_iter().filter_map(|plural| api::registry().get("", "v1", plural));
    let prefixes = std::iter::once(prefix.to_string()).chain(behind.map(|resource| storage::prefix(resource, "")));
    let mut watches = Vec::new();
    for prefix in prefixes {
        watches.push(state.store.watch(&prefix, None).await?);
    }
    Ok(watches)
}

enum Changed {
    /// APIServices.
    Services,
    /// Nobody knows what: a watch has ended.
    Unknown,
    /// What is behind some of them, as `namespace/name`.
    Behind(Vec<String>),
}

/// Waits for a change that matters.
async fn changed(watches: &mut [Box<dyn Watch>], agenda: &Agenda) -> Changed {
    loop {
        let next = watches.iter_mut().map(|watch| watch.next());
        let (item, at, _) = select_all(next).await;
        let event = match item {
            Ok(WatchItem::Progress(_)) => continue,
            Ok(WatchItem::Event(event)) => event,
            Err(_) => return Changed::Unknown,
        };
        if at == 0 {
            return Changed::Services;
        }
        let Some(entry) = event.current.as_ref().or(event.previous.as_ref()) else { continue };
        // /registry/endpoints/NAMESPACE/NAME
        let place = entry.key.splitn(4, '/').nth(3).and_then(|rest| rest.split_once('/').map(|_| rest.to_string()));
        if let Some(place) = place.filter(|place| agenda.leads_to(place)) {
            return Changed::Behind(vec![place]);
        }
    }
}

/// Puts the local APIServices right and answers with all there are.
async fn round(state: &Arc<State>, client: &kube::Client, prefix: &str) -> Result<Vec<Value>> {
    let range = state.store.range(prefix, RangeOptions::default()).await.map_err(storage::failure)?;
    let objects = range.entries.iter().map(storage::decode).collect::<Result<Vec<_>>>()?;
    state.kept.retain(&objects.iter().map(meta::name).collect());
    let wanted = local::wanted(&state.customs.served());
    let left_over = objects.iter().filter(|object| local::is_left_over(object, &wanted));
    let removed = join_all(left_over.map(|object| remove(client, object))).await;
    let missing = wanted.into_iter().filter(|wanted| {
        let name = meta::name(wanted);
        !objects.iter().any(|object| meta::name(object) == name)
    });
    let made = join_all(missing.map(|object| create(client, object))).await;
    // A webhook may refuse one of them: the others are looked after all the same.
    for status in removed.into_iter().chain(made).filter_map(Result::err) {
        tracing::warn!("the APIService of a group that is served here is not as it should be: {status}");
    }
    Ok(objects)
}

/// Looks at one APIService and writes what was found; says whether it is available.
async fn look(state: Arc<State>, client: kube::Client, object: Value) -> (String, Result<bool>) {
    let verdict = judge(&state, &object).await;
    let is_available = verdict.status == "True";
    state.kept.judged(&object, is_available, verdict.reason);
    let written = write(&client, &object, &verdict).await;
    if is_available && object["spec"]["service"].is_object() {
        openapi::fetch(&state, &object).await;
    }
    (meta::name(&object).to_string(), written.map(|()| is_available))
}

/// What the condition says.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn available(reason: &'static str, message: &str) -> Self {
        Self { status: "True", reason, message: message.to_string() }
    }

    fn refused(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }
}

async fn judge(state: &Arc<State>, object: &Value) -> Verdict {
    if !object["spec"]["service"].is_object() {
        return Verdict::available("Local", "Local APIServices are always available");
    }
    match ask(state, object).await {
        Ok(list) => {
            state.kept.keep(object, list);
            Verdict::available("Passed", "all checks passed")
        }
        Err(refused) => {
            state.kept.keep(object, None);
            refused
        }
    }
}

/// Asks the server behind an APIService for its resources.
async fn ask(state: &Arc<State>, object: &Value) -> std::result::Result<Option<Value>, Verdict> {
    let spec = &object["spec"];
    let (namespace, name) = (meta::text_at(spec, &["service", "namespace"]), meta::text_at(spec, &["service", "name"]));
    let service = place::read(state, "services", namespace, name).await.ok();
    let endpoints = place::read(state, "endpoints", namespace, name).await.ok();
    if let Some(refused) = reachable(spec, service.as_ref(), endpoints.as_ref()) {
        return Err(refused);
    }
    let path = format!("/apis/{}/{}", meta::text_at(spec, &["group"]), meta::text_at(spec, &["version"]));
    let attempt = async || match tokio::time::timeout(ANSWER_WITHIN, probe(state, object, &path)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    };
    let attempts = (0..ATTEMPTS).map(|_| Box::pin(attempt()));
    match select_ok(attempts).await {
        Ok((list, _)) => Ok(list),
        Err(why) => {
            let message = format!("failing or missing response from https://{name}.{namespace}.svc{path}: {why}");
            Err(Verdict::refused("FailedDiscoveryCheck", message))
        }
    }
}

/// What keeps requests from any server behind the service; `None` where one can be asked.
fn reachable(spec: &Value, service: Option<&Value>, endpoints: Option<&Value>) -> Option<Verdict> {
    let (namespace, name) = (meta::text_at(spec, &["service", "namespace"]), meta::text_at(spec, &["service", "name"]));
    let port = spec["service"]["port"].as_u64().unwrap_or(DEFAULT_PORT);
    let Some(service) = service else {
        let message = format!("service/{name} in {namespace:?} is not present");
        return Some(Verdict::refused("ServiceNotFound", message));
    };
    let listed = service["spec"]["ports"].as_array().into_iter().flatten().find(|listed| listed["port"] == port);
    let Some(listed) = listed else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Some(Verdict::refused("ServicePortError", message));
    };
    let Some(endpoints) = endpoints else {
        let message = format!("cannot find endpoints for service/{name} in {namespace:?}");
        return Some(Verdict::refused("EndpointsNotFound", message));
    };
    if place::endpoints(service, endpoints, &port.to_string()).is_empty() {
        let port_name = meta::text_at(listed, &["name"]);
        let message =
            format!("endpoints for service/{name} in {namespace:?} have no addresses with port name {port_name:?}");
        return Some(Verdict::refused("MissingEndpoints", message));
    }
    None
}

/// The conditions with the verdict among them; `None` where they say so already.
fn conditions(object: &Value, verdict: &Verdict, now: Timestamp) -> Option<Vec<Value>> {
    let mut all: Vec<Value> = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let at = all.iter().position(|condition| condition["type"] == "Available");
    let before = at.map(|at| all[at].clone()).unwrap_or_default();
    let says = |field: &str, text: &str| before[field] == *text;
    if says("status", verdict.status) && says("reason", verdict.reason) && says("message", &verdict.message) {
        return None;
    }
    let since = if says("status", verdict.status) && before["lastTransitionTime"].is_string() {
        before["lastTransitionTime"].clone()
    } else {
        meta::format_time(now).into()
    };
    let condition = json!({"type": "Available", "status": verdict.status, "reason": verdict.reason,
        "message": verdict.message, "lastTransitionTime": since});
    match at {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
    Some(all)
}

async fn write(client: &kube::Client, object: &Value, verdict: &Verdict) -> Result<()> {
    let Some(conditions) = conditions(object, verdict, Timestamp::now()) else { return Ok(()) };
    let name = meta::name(object);
    if verdict.status == "False" {
        tracing::info!("APIService {name} is not available: {}", verdict.message);
    }
    let patch = json!({"metadata": {"uid": meta::uid(object)}, "status": {"conditions": conditions}});
    let request = Request::patch(format!("/apis/apiregistration.k8s.io/v1/apiservices/{name}/status"));
    send(client, request.header("content-type", "application/merge-patch+json"), &patch).await
}

async fn remove(client: &kube::Client, object: &Value) -> Result<()> {
    let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{}", meta::name(object));
    let options = json!({"preconditions": {"uid": meta::uid(object)}});
    send(client, Request::delete(path).header("content-type", "application/json"), &options).await
}

async fn create(client: &kube::Client, object: Value) -> Result<()> {
    let request = Request::post("/apis/apiregistration.k8s.io/v1/apiservices");
    send(client, request.header("content-type", "application/json"), &object).await
}

async fn send(client: &kube::Client, request: http::request::Builder, body: &Value) -> Result<()> {
    let request = request.body(body.to_string().into_bytes()).map_err(|error| Status::internal(error.to_string()))?;
    match client.request::<Value>(request).await {
        // Deleted, or made by another server, meanwhile.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        sent => sent.map(drop).map_err(|error| Status::internal(stdx::error::chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_without_a_server_behind_it_is_told_by_what_is_missing() {
        let spec = json!({"service": {"namespace": "n", "name": "m", "port": 443}});
        let service = |port: u64| json!({"spec": {"ports": [{"name": "https", "port": port}]}});
        let ready = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "https", "port": 1}]}]});
        let reason = |service: Option<&Value>, endpoints: Option<&Value>| {
            reachable(&spec, service, endpoints).map(|verdict| (verdict.reason, verdict.message))
        };
        assert_eq!(reason(None, None), Some(("ServiceNotFound", "service/m in \"n\" is not present".to_string())));
        assert_eq!(reason(Some(&service(80)), None).map(|found| found.0), Some("ServicePortError"));
        assert_eq!(reason(Some(&service(443)), None).map(|found| found.0), Some("EndpointsNotFound"));
        assert_eq!(
            reason(Some(&service(443)), Some(&json!({}))),
            Some((
                "MissingEndpoints",
                "endpoints for service/m in \"n\" have no addresses with port name \"https\"".to_string()
            ))
        );
        assert_eq!(reason(Some(&service(443)), Some(&ready)), None);
    }

    #[test]
    fn a_condition_is_written_when_it_says_something_new() {
        let verdict = Verdict::available("Passed", "all checks passed");
        let now = Timestamp::UNIX_EPOCH;
        let first = conditions(&json!({}), &verdict, now).expect("nothing was there");
        assert_eq!(first[0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        let object = json!({"status": {"conditions": first}});
        let later = now + Duration::from_secs(60);
        assert_eq!(conditions(&object, &verdict, later), None);
        let other = Verdict::available("Local", "x");
        let second = conditions(&object, &other, later).expect("another reason");
        assert_eq!((&second[0]["reason"], &second[0]["lastTransitionTime"]), (&json!("Local"), &first_time(&object)));
        let refused = Verdict::refused("MissingEndpoints", "y".to_string());
        let third = conditions(&object, &refused, later).expect("another status");
        assert_eq!(third[0]["lastTransitionTime"], "1970-01-01T00:01:00Z");
    }

    fn first_time(object: &Value) -> Value {
        object["status"]["conditions"][0]["lastTransitionTime"].clone()
    }
}
