//! CONNECT as admission sees it: what a query stands for, as an object with the types of its kind: PodExecOptions,
//! PodAttachOptions, PodPortForwardOptions, PodProxyOptions, ServiceProxyOptions, NodeProxyOptions.

use machinery::gvk::GroupVersionKind;
use serde_json::{Map, Value};

use crate::plugin::Operation;
use crate::request::Query;
use crate::rest::target::{Facts, Target};
use crate::status::{Result, Status};

/// Resource, name and `proxy`: what of a path's parts is not the tail.
pub const PARTS: usize = 3;

/// What a parameter of the query is.
#[derive(Clone, Copy)]
enum Field {
    /// Whatever is there and neither `false` nor `0` means yes.
    Flag(&'static str),
    Text(&'static str),
    Texts(&'static str),
    /// Numbers of ports, several to a parameter where commas divide them.
    Ports(&'static str),
}

const ATTACH: [Field; 5] =
    [Field::Flag("stdin"), Field::Flag("stdout"), Field::Flag("stderr"), Field::Flag("tty"), Field::Text("container")];

/// The fields of a kind, besides the path of proxies.
fn fields(kind: &str) -> Vec<Field> {
    match kind {
        "PodExecOptions" => ATTACH.into_iter().chain([Field::Texts("command")]).collect(),
        "PodAttachOptions" => ATTACH.to_vec(),
        "PodPortForwardOptions" => vec![Field::Ports("ports")],
        _ => Vec::new(),
    }
}

/// A connection as admission leaves it.
pub struct Connection {
    /// What is asked for, of streams.
    pub query: Query,
    /// What is asked of the other end in place of what the client asks, of proxies.
    pub path: Option<String>,
}

/// Asks admission whether a connection may be made, and how.
///
/// # Errors
/// What refuses it; 400 for a query that its options cannot be read of.
pub async fn admit(target: &Target<'_>) -> Result<Connection> {
    let context = target.context;
    let kind = target.body_kind();
    let path =
        (target.subresource_name() == "proxy").then(|| tail(&context.info.parts, context.raw_path.ends_with('/')));
    let asked = read(&kind, &context.query, path)?;
    let mut options = asked.clone();
    let facts = Facts {
        operation: Operation::Connect,
        kind: &kind,
        subresource: target.subresource_name(),
        name: target.name,
        old: None,
        // A connection has no options besides itself.
        options: &Value::Null,
        dry_run: false,
    };
    target.admit(&facts, &mut options).await?;
    target.validate_admission(&facts, Some(&options)).await?;
    if options == asked {
        return Ok(Connection { query: context.query.clone(), path: None });
    }
    let path = options["path"].as_str().unwrap_or_default();
    Ok(Connection { query: write(&kind, &options), path: Some(encoded(path)) })
}

/// The query that options stand for.
pub fn write(kind: &GroupVersionKind, options: &Value) -> Query {
    let mut query = Vec::new();
    for field in fields(&kind.kind) {
        let (Field::Flag(name) | Field::Text(name) | Field::Texts(name) | Field::Ports(name)) = field;
        let values = match &options[name] {
            Value::Array(values) => values.as_slice(),
            Value::Null => &[],
            one => std::slice::from_ref(one),
        };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        query.extend(values.iter().map(|value| (name.to_string(), text(value))));
    }
    Query(query)
}

/// A path as a URL has it.
pub fn encoded(path: &str) -> String {
    let mut url = String::from(if path.starts_with('/') { "" } else { "/" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => url.push(byte.into()),
            _ if b"/-._~!$&'()*+,;=:@".contains(&byte) => url.push(byte.into()),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// What stands behind `proxy`, with the slash before it, and the one after it where the request has one.
pub fn tail(parts: &[String], ends_with_slash: bool) -> String {
    let mut path = parts.get(PARTS..).unwrap_or_default().join("/");
    if !path.is_empty() && !path.starts_with('/') {
        path.insert(0, '/');
    }
    if ends_with_slash && !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// The options; what is empty is not there.
///
/// # Errors
/// 400 for ports that are none.
pub fn read(kind: &GroupVersionKind, query: &Query, path: Option<String>) -> Result<Value> {
    let mut options = Map::new();
    options.insert("apiVersion".to_string(), kind.group_version.to_string().into());
    options.insert("kind".to_string(), kind.kind.as_str().into());
    for field in fields(&kind.kind) {
        let (name, value) = match field {
            Field::Flag(name) => (name, query.flag(name).then_some(Value::Bool(true))),
            Field::Text(name) => (name, query.text(name).map(Value::from)),
            Field::Texts(name) => (name, list(query.all(name).map(Value::from).collect())),
            Field::Ports(name) => (name, list(ports(query, name)?)),
        };
        options.extend(value.map(|value| (name.to_string(), value)));
    }
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        options.insert("path".to_string(), path.into());
    }
    Ok(Value::Object(options))
}

fn list(values: Vec<Value>) -> Option<Value> {
    (!values.is_empty()).then_some(Value::Array(values))
}

/// Nothing passes for a port here that the other end may take for another.
fn ports(query: &Query, name: &str) -> Result<Vec<Value>> {
    let given = query.all(name).flat_map(|ports| ports.split(',')).filter(|port| !port.is_empty());
    let number = |port: &str| {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse::<u16>().ok().filter(|_| is_number).map(Value::from)
    };
    given.map(|port| number(port).ok_or_else(|| Status::bad_request(format!("invalid port {port:?}")))).collect()
}

#[cfg(test)]
mod tests {
    use machinery::gvk::GroupVersion;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_is_read_as_the_options_it_stands_for() {
        for (kind, query, path, expected) in [
            (
                "PodExecOptions",
                "command=ls&command=-l&stdin=false&stdout=true&tty=0&container=c&ports=1",
                None,
                json!({"stdout": true, "container": "c", "command": ["ls", "-l"]}),
            ),
            (
                "PodAttachOptions",
                "stdin=&stderr=1&tty=true&command=x",
                None,
                json!({"stdin": true, "stderr": true, "tty": true}),
            ),
            ("PodPortForwardOptions", "ports=80&ports=81,82&stdin=1", None, json!({"ports": [80, 81, 82]})),
            ("ServiceProxyOptions", "path=other", Some("/a/b"), json!({"path": "/a/b"})),
            ("NodeProxyOptions", "", Some(""), json!({})),
        ] {
            let of_kind = GroupVersionKind { group_version: GroupVersion::new("", "v1"), kind: kind.to_string() };
            let mut expected = expected;
            expected["apiVersion"] = json!("v1");
            expected["kind"] = json!(kind);
            let options = read(&of_kind, &Query::parse(query), path.map(str::to_string));
            assert_eq!(options.expect("options"), expected, "{kind} {query}");
        }
        for ports in ["x", "+80", "70000", "80,-1"] {
            let kind = GroupVersionKind {
                group_version: GroupVersion::new("", "v1"),
                kind: "PodPortForwardOptions".to_string(),
            };
            let query = Query(vec![("ports".to_string(), ports.to_string())]);
            assert_eq!(read(&kind, &query, None).expect_err("no port").code(), 400, "{ports}");
        }
    }

    #[test]
    fn what_admission_changes_is_what_is_asked_for() {
        let kind = GroupVersionKind { group_version: GroupVersion::new("", "v1"), kind: "PodExecOptions".to_string() };
        let query = Query::parse("command=sh&command=-c&stdin=true&stdout=true&container=c");
        let mut options = read(&kind, &query, None).expect("options");
        options["stdin"] = json!(false);
        options["tty"] = json!(true);
        let changed = write(&kind, &options);
        assert!(!changed.flag("stdin") && changed.flag("tty") && changed.flag("stdout") && !changed.flag("stderr"));
        assert_eq!(changed.all("command").collect::<Vec<_>>(), ["sh", "-c"]);
        assert_eq!(changed.get("container"), Some("c"));
        assert_eq!((encoded("/a b/ü"), encoded("")), ("/a%20b/%C3%BC".to_string(), "/".to_string()));
    }

    #[test]
    fn a_path_is_what_is_asked_of_the_other_end() {
        for (parts, slash, expected) in [
            (&["pods", "p", "proxy"][..], false, ""),
            (&["pods", "p", "proxy"], true, "/"),
            (&["pods", "p", "proxy", "a", "b"], false, "/a/b"),
            (&["pods", "p", "proxy", "a", "b"], true, "/a/b/"),
        ] {
            let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            assert_eq!(tail(&parts, slash), expected, "{parts:?}");
        }
    }
}
