//! What a request is: who asks, and what for. Parsed from method, path and query alone, as Kubernetes'
//! RequestInfoResolver does. Never reads a body and never decides.

use std::collections::BTreeMap;

use http::Method;
use percent_encoding::percent_decode_str;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// `system:admin`, `system:serviceaccount:NS:NAME`, `system:node:NAME`.
    pub name: String,
    /// The service account's uid; empty for most.
    pub uid: String,
    /// With `system:authenticated` or `system:unauthenticated`.
    pub groups: Vec<String>,
    /// What the authenticator adds, such as `authentication.kubernetes.io/pod-name`.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with groups; `system:authenticated` is added.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        if !groups.iter().any(|group| group == "system:authenticated") {
            groups.push("system:authenticated".to_string());
        }
        Self { name: name.into(), uid: String::new(), groups, extra: BTreeMap::new() }
    }

    /// A service account, with the groups of all and of its namespace.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
        Self::new(format!("system:serviceaccount:{namespace}:{name}"), &groups)
    }

    /// Whoever brings no credentials.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_string(),
            groups: vec!["system:unauthenticated".to_string()],
            ..Self::default()
        }
    }

    /// Is in the group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// Decoded query parameters in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; `+` is a space.
    pub fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter; `None` where it is missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean parameter, as Kubernetes reads it: present and neither `false` nor `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }
}

/// What a parameter that is there says: clients in Python write `True` and `False`.
pub fn is_true(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestInfo {
    /// Under `/api` or `/apis` with a version and a resource.
    pub is_resource: bool,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for paths that are no
    /// resource the method in lower case.
    pub verb: String,
    /// The path, percent-decoded.
    pub path: String,
    /// Empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// Empty for cluster-scoped resources and requests across namespaces. Of `/api/v1/namespaces/x` it is `x`.
    pub namespace: String,
    /// `pods`.
    pub resource: String,
    /// `status`, `log`.
    pub subresource: String,
    /// Empty for collections; from a `metadata.name=` field selector where a list names one.
    pub name: String,
    /// The segments of the path, each decoded by itself; empty ones are left out.
    pub segments: Vec<String>,
    /// The path segments from the resource on: `["pods", "web-0", "proxy", "a", "b"]`.
    pub parts: Vec<String>,
    /// The label selector of a list, watch or deletecollection, as the client wrote it.
    pub label_selector: String,
    /// The field selector, likewise.
    pub field_selector: String,
}

impl RequestInfo {
    /// Reads method, path (still percent-encoded) and query.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let lower = method.as_str().to_ascii_lowercase();
        // Segments are decoded one by one, so that an encoded slash stays within its segment.
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let mut info = Self { verb: lower, path: decoded, segments: segments.clone(), ..Self::default() };
        let (group, version, mut rest) = match segments.first().map(String::as_str) {
            Some("api") if segments.len() >= 3 => ("", &segments[1], &segments[2..]),
            Some("apis") if segments.len() >= 4 => (segments[1].as_str(), &segments[2], &segments[3..]),
            _ => return info,
        };
        // The old form of a watch: /api/v1/watch/namespaces/x/pods. Only a GET of a resource is one: whatever else
        // is asked for below `watch` would be judged by the right to read, and is no resource.
        let old_watch = rest[0] == "watch";
        if old_watch {
            rest = &rest[1..];
            let mut within = Self::default();
            within.take_namespace_and_resource(rest);
            let reads = matches!(*method, Method::GET | Method::HEAD);
            if !reads || within.resource.is_empty() || !within.subresource.is_empty() {
                return info;
            }
        }
        // Like this one, which served proxies before they were subresources and is served no more.
        if rest[0] == "proxy" {
            return info;
        }
        info.is_resource = true;
        (info.group, info.version) = (group.to_string(), version.clone());
        info.verb = match *method {
            _ if old_watch => "watch",
            Method::POST => "create",
            Method::GET | Method::HEAD => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        }
        .to_string();
        info.take_namespace_and_resource(rest);
        info.take_selectors(method, query);
        info
    }

    fn take_namespace_and_resource(&mut self, segments: &[String]) {
        let mut rest = segments;
        if rest.len() > 1 && rest[0] == "namespaces" {
            self.namespace = rest[1].clone();
            // What follows a namespace is a resource in it, except the namespace's own subresources.
            if rest.len() > 2 && !matches!(rest[2].as_str(), "status" | "finalize") {
                rest = &rest[2..];
            }
        }
        self.parts = rest.to_vec();
        self.resource = rest.first().cloned().unwrap_or_default();
        self.name = rest.get(1).cloned().unwrap_or_default();
        self.subresource = rest.get(2).cloned().unwrap_or_default();
    }

    fn take_selectors(&mut self, method: &Method, query: &Query) {
        if self.name.is_empty() {
            match (method, self.verb.as_str()) {
                (&Method::GET | &Method::HEAD, "get") => {
                    self.verb = if query.flag("watch") { "watch" } else { "list" }.to_string();
                }
                (&Method::DELETE, _) => self.verb = "deletecollection".to_string(),
                _ => {}
            }
        }
        if matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            self.label_selector = query.get("labelSelector").unwrap_or_default().to_string();
            self.field_selector = query.get("fieldSelector").unwrap_or_default().to_string();
            if self.name.is_empty()
                && let Some(name) = name_in_field_selector(&self.field_selector)
            {
                self.name = name;
            }
        }
    }

    /// Whether every server takes the path for what it is here, which is what is judged: none of its segments has an
    /// encoded slash, and none leads elsewhere.
    pub fn is_clear(&self) -> bool {
        !self.segments.iter().any(|segment| segment.contains('/') || matches!(segment.as_str(), "." | ".."))
    }

    /// What an authorizer judges.
    pub fn attributes(&self) -> Attributes {
        Attributes {
            verb: self.verb.clone(),
            namespace: self.namespace.clone(),
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            name: self.name.clone(),
            is_resource: self.is_resource,
            path: self.path.clone(),
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
        }
    }
}

/// The name in a selector that demands `metadata.name=X`, where X could be a name in a path.
fn name_in_field_selector(selector: &str) -> Option<String> {
    selector.split(',').find_map(|term| {
        let (field, value) = term.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value).trim();
        let sound = !value.is_empty() && value != "." && value != ".." && !value.contains(['/', '%']);
        (field.trim() == "metadata.name" && sound).then(|| value.to_string())
    })
}

/// What an authorizer judges, besides the user. Of SubjectAccessReviews it is made from their spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `get`, `list`, `create`, `bind`, `impersonate`.
    pub verb: String,
    /// Empty for cluster-scoped resources and across namespaces.
    pub namespace: String,
    /// Empty for the core group.
    pub group: String,
    /// `v1`; `*` where a review names none.
    pub version: String,
    /// `pods`.
    pub resource: String,
    /// `log`.
    pub subresource: String,
    /// Empty for collections.
    pub name: String,
    /// Otherwise `path` counts and nothing of the above but the verb.
    pub is_resource: bool,
    /// `/healthz`.
    pub path: String,
    /// As the client wrote it.
    pub label_selector: String,
    /// As the client wrote it.
    pub field_selector: String,
}

impl From<Attributes> for RequestInfo {
    fn from(attributes: Attributes) -> Self {
        Self {
            is_resource: attributes.is_resource,
            verb: attributes.verb,
            path: attributes.path,
            group: attributes.group,
            version: attributes.version,
            namespace: attributes.namespace,
            resource: attributes.resource,
            subresource: attributes.subresource,
            name: attributes.name,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
