//! exec, attach, port-forward and logs of pods, through the agent of their node.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use machinery::field::{FieldError, FieldErrors, Path};
use machinery::meta;
use serde_json::Value;
use url::form_urlencoded;

use super::connect::Trust;
use super::forward::{Forward, REFUSAL_BYTES_MAX, Redirects, forward, open_spdy, refusal, upgrade_of, wants_upgrade};
use super::translate::{self, Wanted};
use super::websocket::{self, Speak};
use super::{options, place, tunnel};
use crate::body::{self, Body};
use crate::handler::LongRunning;
use crate::handler::authorize::authorize_as;
use crate::request::{Query, is_true};
use crate::rest::target::Target;
use crate::state::State;
use crate::status::{Result, Status};

/// What runtimes' streaming servers speak over SPDY: exec and attach, and port-forward.
const SPDY_STREAMS: &str = "v4.channel.k8s.io";
const SPDY_FORWARD: &str = "portforward.k8s.io";

/// Answers exec, attach and portforward.
///
/// # Errors
/// 400 where no upgrade is asked for or its protocol is not spoken, 404, and what admission answers.
pub async fn connect(
    target: &Target<'_>,
    name: &str,
    request: Request<Body>,
    running: Option<LongRunning>,
) -> Result<Response<Body>> {
    if request.method() == Method::GET {
        // WebSockets begin with a GET; whoever may only look must not act by one.
        authorize_as(target.context, "create").await?;
    }
    if !wants_upgrade(&target.context.headers) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    check_streams(name, &target.context.query)?;
    let query = &options::admit(target).await?.query;
    let speak = websocket::choose(name, &target.context.headers)?;
    let pod = place::read(target.state(), "pods", target.namespace, target.name).await?;
    let container = if name == "portforward" { String::new() } else { container(&pod, query.get("container"))? };
    let node = node_of(&pod)?;
    let to = place::agent(target.state(), node).await?;
    let path = agent_path(name, target.namespace, target.name, &container);
    let to = to_agent(to, with_query(path, agent_query(name, query)));
    let protocol = match speak {
        Speak::PassOn => return forward(&target.context.state, request, to, running).await,
        Speak::Streams(protocol) => {
            let wanted = wanted(&pod, name, &container, query);
            return streams(&target.context.state, request, to, protocol, wanted, running).await;
        }
        Speak::Tunnel(protocol) => protocol,
    };
    let answer = websocket::accept(&target.context.headers, &protocol)?;
    let (client, headers) = upgrade_of(request)?;
    let runtime = open_spdy(&target.context.state, &headers, to, SPDY_FORWARD).await?;
    let shutdown = target.context.state.shutdown.clone();
    tokio::spawn(async move {
        let _running = running;
        let Ok(client) = websocket::open(client).await else { return };
        if let Some(Err(error)) = shutdown.run_until_cancelled(tunnel::carry(client, runtime)).await {
            tracing::debug!("a tunnel ended: {error}");
        }
    });
    Ok(answer)
}

/// Answers exec and attach in the newest WebSocket protocol. What the agent refuses is told within it, so that
/// clients do not ask again in an older one.
async fn streams(
    state: &Arc<State>,
    request: Request<Body>,
    to: Forward,
    protocol: &str,
    wanted: Wanted,
    running: Option<LongRunning>,
) -> Result<Response<Body>> {
    let answer = websocket::accept(request.headers(), protocol)?;
    let (client, headers) = upgrade_of(request)?;
    let runtime = open_spdy(state, &headers, to, SPDY_STREAMS).await;
    let shutdown = state.shutdown.clone();
    tokio::spawn(async move {
        let _running = running;
        let Ok(client) = websocket::open(client).await else { return };
        let work = async {
            match runtime {
                Ok(runtime) => translate::translate(client, runtime, wanted).await,
                Err(status) => translate::refuse(client, &status).await.map_err(std::io::Error::other),
            }
        };
        if let Some(Err(error)) = shutdown.run_until_cancelled(work).await {
            tracing::debug!("a stream ended: {error}");
        }
    });
    Ok(answer)
}

/// A command or a container is attached to by one stream at least.
fn check_streams(name: &str, query: &Query) -> Result<()> {
    let is_any = ["stdin", "stdout", "stderr"].iter().any(|stream| query.flag(stream));
    match name {
        "exec" | "attach" if !is_any => {
            Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"))
        }
        _ => Ok(()),
    }
}

/// The streams that a client asks for. Whether a container that runs has a terminal is its own matter.
fn wanted(pod: &Value, name: &str, container: &str, query: &Query) -> Wanted {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let mut every = lists.iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    let mut has_terminal =
        || every.any(|found| meta::text_at(found, &["name"]) == container && found["tty"] == Value::Bool(true));
    let tty = if name == "attach" { has_terminal() } else { query.flag("tty") };
    Wanted { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr: query.flag("stderr"), tty }
}

fn node_of(pod: &Value) -> Result<&str> {
    match meta::text_at(pod, &["spec", "nodeName"]) {
        "" => Err(Status::bad_request(format!("pod {} does not have a host assigned", meta::name(pod)))),
        node => Ok(node),
    }
}

/// The container that is meant; a pod with one needs no name.
fn container(pod: &Value, wanted: Option<&str>) -> Result<String> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.map(|container| meta::text_at(container, &["name"]).to_string()).collect()
    };
    let main = names("containers");
    match (wanted.unwrap_or_default(), main.as_slice()) {
        ("", [only]) => Ok(only.clone()),
        ("", many) => {
            let name = meta::name(pod);
            let choices = many.join(" ");
            Err(Status::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{choices}]"
            )))
        }
        (wanted, _) => {
            let every = [main.clone(), names("initContainers"), names("ephemeralContainers")].concat();
            if every.iter().any(|name| name == wanted) {
                return Ok(wanted.to_string());
            }
            Err(Status::bad_request(format!("container {wanted} is not valid for pod {}", meta::name(pod))))
        }
    }
}

/// The agent's path, as kubelet serves it.
fn agent_path(name: &str, namespace: &str, pod: &str, container: &str) -> String {
    match name {
        "portforward" => format!("/portForward/{namespace}/{pod}"),
        "log" => format!("/containerLogs/{namespace}/{pod}/{container}"),
        name => format!("/{name}/{namespace}/{pod}/{container}"),
    }
}

/// The agent's query: kubelet has names of its own for the streams. Of a connection it has what admission was shown and
/// nothing else, whatever the client adds or says twice.
fn agent_query(name: &str, query: &Query) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    match name {
        "exec" | "attach" => {
            for command in query.all("command").filter(|_| name == "exec") {
                out.append_pair("command", command);
            }
            for (stream, own) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
                if query.flag(stream) {
                    out.append_pair(own, "1");
                }
            }
        }
        "portforward" => {
            // WebSocket clients of older protocols name their ports here.
            out.extend_pairs(query.all("ports").map(|ports| ("port", ports)));
        }
        _ => {
            for (key, value) in query.0.iter().filter(|(key, _)| key != "container") {
                match key.as_str() {
                    "follow" | "previous" | "timestamps" => {
                        out.append_pair(key, if is_true(value) { "true" } else { "false" })
                    }
                    _ => out.append_pair(key, value),
                };
            }
        }
    }
    out.finish()
}

fn with_query(path: String, query: String) -> String {
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// Answers with the log of a container; with `follow` for as long as it grows.
///
/// # Errors
/// 400, 404, and what the agent answers.
pub async fn log(target: &Target<'_>, running: Option<LongRunning>) -> Result<Response<Body>> {
    let query = &target.context.query;
    let wrong = log_errors(query);
    if !wrong.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", target.name, &wrong));
    }
    let pod = place::read(target.state(), "pods", target.namespace, target.name).await?;
    let container = container(&pod, query.text("container"))?;
    if meta::text_at(&pod, &["spec", "nodeName"]).is_empty() {
        // Nothing has run yet, so nothing was logged.
        return Ok(body::text(StatusCode::OK, ""));
    }
    let to = place::agent(target.state(), node_of(&pod)?).await?;
    let path = agent_path("log", target.namespace, target.name, &container);
    let path_and_query = with_query(path, agent_query("log", query));
    let mut request = Request::new(body::empty());
    *request.method_mut() = Method::GET;
    let answer = forward(&target.context.state, request, to_agent(to, path_and_query), running).await?;
    let code = answer.status();
    if code.is_success() {
        return Ok(answer);
    }
    let text = body::read(answer.into_body(), REFUSAL_BYTES_MAX).await?;
    Err(refusal(code, String::from_utf8_lossy(&text).trim_end()))
}

/// What is wrong with the options of a log, before anybody is asked for it.
fn log_errors(query: &Query) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (name, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        if let Some(given) = query.text(name).and_then(|text| text.parse::<i64>().ok()).filter(|given| *given < least) {
            errors.push(FieldError::invalid(&Path::new(name), given, why));
        }
    }
    if query.text("sinceSeconds").is_some() && query.text("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden(&Path::new(""), why));
    }
    errors
}

fn to_agent(to: SocketAddr, path_and_query: String) -> Forward {
    Forward { to, trust: Trust::Agent, path_and_query, headers: Vec::new(), redirects: Redirects::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_of_logs_are_checked() {
        for (query, expected) in [
            ("tailLines=0&limitBytes=1&sinceSeconds=1", vec![]),
            ("tailLines=-1", vec!["tailLines"]),
            ("limitBytes=0", vec!["limitBytes"]),
            ("sinceSeconds=0", vec!["sinceSeconds"]),
            ("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", vec!["<nil>"]),
        ] {
            let errors = log_errors(&Query::parse(query));
            assert_eq!(errors.iter().map(|error| error.path.to_string()).collect::<Vec<_>>(), expected, "{query}");
        }
    }

    #[test]
    fn agents_are_asked_in_their_own_words() {
        let query = Query::parse("container=c&command=ls&command=-l+a&stdin=true&stdout=true&tty=false");
        assert_eq!(agent_query("exec", &query), "command=ls&command=-l+a&input=1&output=1");
        // What admission was not shown, the agent is not asked for.
        let query = Query::parse("stdout=true&input=1&stdin=False&stdin=true&port=80");
        assert_eq!(agent_query("exec", &query), "output=1");
        assert_eq!(agent_query("portforward", &Query::parse("port=80&ports=81")), "port=81");
        assert_eq!(agent_path("exec", "n", "p", "c"), "/exec/n/p/c");
        assert_eq!(agent_path("portforward", "n", "p", ""), "/portForward/n/p");
        assert_eq!(agent_query("portforward", &Query::parse("ports=80&ports=443")), "port=80&port=443");
        // As Python writes them.
        let query = Query::parse("command=ls&stdin=False&stdout=True&stderr=True&tty=False");
        assert_eq!(agent_query("exec", &query), "command=ls&output=1&error=1");
        assert_eq!(agent_query("log", &Query::parse("follow=True&previous=False")), "follow=true&previous=false");
        let query = Query::parse("container=c&follow=true&tailLines=5");
        assert_eq!(
            with_query(agent_path("log", "n", "p", "c"), agent_query("log", &query)),
            "/containerLogs/n/p/c?follow=true&tailLines=5"
        );
    }

    #[test]
    fn a_stream_is_asked_for_at_least() {
        for (name, query, expected) in [
            ("exec", "command=ls", false),
            ("exec", "command=ls&stdout=false&stdin=0", false),
            ("exec", "command=ls&stderr=1", true),
            ("attach", "stdin=true", true),
            ("attach", "tty=true", false),
            ("portforward", "", true),
        ] {
            assert_eq!(check_streams(name, &Query::parse(query)).is_ok(), expected, "{name} {query}");
        }
    }

    #[test]
    fn a_container_is_chosen_or_asked_for() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&pod, Some("i")).expect("there"), "i");
        assert_eq!(
            container(&pod, None).expect_err("two").message(),
            "a container name must be specified for pod p, choose one of: [a b]"
        );
        assert_eq!(container(&pod, Some("x")).expect_err("none").message(), "container x is not valid for pod p");
    }

    #[test]
    fn a_terminal_is_asked_for_or_the_containers_own() {
        let pod = json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "t", "tty": true}]}});
        let query = Query::parse("stdin=true&stdout=1&stderr=false&tty=true");
        let asked = Wanted { stdin: true, stdout: true, stderr: false, tty: true };
        assert_eq!(wanted(&pod, "exec", "a", &query), asked);
        assert_eq!(wanted(&pod, "attach", "a", &query), Wanted { tty: false, ..asked });
        assert_eq!(wanted(&pod, "attach", "t", &Query::parse("stdin=true&stdout=1")), asked);
    }
}
