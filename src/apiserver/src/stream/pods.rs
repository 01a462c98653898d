//! exec, attach, port-forward and logs of pods, through the agent of their node.

use std::net::SocketAddr;

use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use machinery::field::{FieldError, FieldErrors, Path};
use machinery::meta;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::connect::Trust;
use super::forward::{Forward, Redirects, forward, wants_upgrade};
use super::place;
use crate::body::{self, Body};
use crate::handler::LongRunning;
use crate::handler::authorize::authorize_as;
use crate::plugin::Operation;
use crate::request::Query;
use crate::rest::target::{Facts, Target};
use crate::status::{Result, Status};

/// The WebSocket protocols that container runtimes' streaming servers speak. For others the upgrade is refused, and
/// clients fall back to SPDY.
const WEBSOCKET_PROTOCOLS: [&str; 5] =
    ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io", "portforward.k8s.io"];

/// Longer than any refusal of an agent.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Answers exec, attach and portforward.
///
/// # Errors
/// 400 where no upgrade is asked for or its protocol is not spoken, 404, and what admission answers.
pub async fn tunnel(
    target: &Target<'_>,
    name: &str,
    request: Request<Body>,
    running: Option<LongRunning>,
) -> Result<Response<Body>> {
    let query = &target.context.query;
    if request.method() == Method::GET {
        // WebSockets begin with a GET; whoever may only look must not act by one.
        authorize_as(target.context, "create").await?;
    }
    if !wants_upgrade(&target.context.headers) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    check_websocket(&target.context.headers)?;
    let pod = place::read(target.state(), "pods", target.namespace, target.name).await?;
    let container = if name == "portforward" { String::new() } else { container(&pod, query.get("container"))? };
    admit(target, query).await?;
    let node = node_of(&pod)?;
    let to = place::agent(target.state(), node).await?;
    let path = agent_path(name, target.namespace, target.name, &container);
    let path_and_query = with_query(path, agent_query(name, query));
    forward(&target.context.state, request, to_agent(to, path_and_query), running).await
}

fn check_websocket(headers: &HeaderMap) -> Result<()> {
    let is_websocket = headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_websocket {
        return Ok(());
    }
    let offered: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if offered.is_empty() || offered.iter().any(|protocol| WEBSOCKET_PROTOCOLS.contains(protocol)) {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "none of the WebSocket protocols {} is spoken here; use one of {} or SPDY/3.1",
        offered.join(", "),
        WEBSOCKET_PROTOCOLS.join(", ")
    )))
}

async fn admit(target: &Target<'_>, query: &Query) -> Result<()> {
    let mut options = Map::new();
    for (key, value) in &query.0 {
        options.insert(key.clone(), value.as_str().into());
    }
    let options = Value::Object(options);
    let kind = target.body_kind();
    let facts = Facts {
        operation: Operation::Connect,
        kind: &kind,
        subresource: target.subresource_name(),
        name: target.name,
        old: None,
        options: &options,
        dry_run: false,
    };
    target.validate_admission(&facts, Some(&options)).await
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

/// The agent's query: kubelet has names of its own for the streams.
fn agent_query(name: &str, query: &Query) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (key, value) in &query.0 {
        match (name, key.as_str()) {
            (_, "container") => {}
            ("exec" | "attach", "stdin" | "stdout" | "stderr" | "tty") => {
                let own = match key.as_str() {
                    "stdin" => "input",
                    "stdout" => "output",
                    "stderr" => "error",
                    other => other,
                };
                if !matches!(value.as_str(), "false" | "0") {
                    out.append_pair(own, "1");
                }
            }
            _ => drop(out.append_pair(key, value)),
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

/// What an agent says where it has no log, as clients understand it: its words are the reason that people look for.
fn refusal(code: StatusCode, text: &str) -> Status {
    match code {
        StatusCode::BAD_REQUEST => Status::bad_request(text),
        StatusCode::NOT_FOUND => Status::new(404, "NotFound", text),
        StatusCode::INTERNAL_SERVER_ERROR => Status::internal(text),
        code => Status::new(code.as_u16(), "", text),
    }
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
        assert_eq!(agent_path("exec", "n", "p", "c"), "/exec/n/p/c");
        assert_eq!(agent_path("portforward", "n", "p", ""), "/portForward/n/p");
        let query = Query::parse("container=c&follow=true&tailLines=5");
        assert_eq!(
            with_query(agent_path("log", "n", "p", "c"), agent_query("log", &query)),
            "/containerLogs/n/p/c?follow=true&tailLines=5"
        );
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
    fn websockets_that_runtimes_do_not_speak_are_refused() {
        let check = |protocols: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(UPGRADE, http::HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_PROTOCOL, http::HeaderValue::from_static(protocols));
            check_websocket(&headers).is_ok()
        };
        assert!(
            check("v5.channel.k8s.io, v4.channel.k8s.io")
                && !check("v5.channel.k8s.io")
                && !check("SPDY/3.1+portforward.k8s.io")
        );
        assert!(check_websocket(&HeaderMap::new()).is_ok());
    }
}
