//! Where a request goes: the table made of Ingresses, and the look-up in it. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend};

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend {
    /// Of the Ingress, and so of the service.
    pub namespace: String,
    /// The service.
    pub service: String,
    /// By number or by name.
    pub port: Port,
}

/// How an Ingress names a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// `number`.
    Number(u16),
    /// `name`.
    Name(String),
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathType {
    /// By whole elements: `/a` takes `/a` and `/a/b`, not `/ab`.
    Prefix,
    /// To the letter.
    Exact,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    path: String,
    type_: PathType,
    backend: Arc<Backend>,
}

/// The routes of one host, the best first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Host(Vec<Route>);

/// The table of all Ingresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// `shop.example.org`.
    exact: HashMap<String, Host>,
    /// `example.org` for `*.example.org`.
    wildcard: HashMap<String, Host>,
    /// Rules without a host.
    any: Host,
    /// `spec.defaultBackend` of the oldest Ingress that has one.
    default: Option<Arc<Backend>>,
}

impl Table {
    /// The table of these Ingresses. Where two claim the same host and path, the older one has it.
    pub fn build(ingresses: &[Arc<Ingress>]) -> Self {
        let mut table = Self::default();
        for ingress in by_age(ingresses) {
            table.add(ingress);
        }
        for host in table.exact.values_mut().chain(table.wildcard.values_mut()).chain([&mut table.any]) {
            // The longest path wins, an exact one before a prefix of the same length; the sort keeps older ones first.
            host.0.sort_by_key(|route| std::cmp::Reverse((route.path.len(), route.type_)));
        }
        table
    }

    fn add(&mut self, ingress: &Ingress) {
        let Some(spec) = &ingress.spec else { return };
        let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
        if self.default.is_none() {
            self.default = spec.default_backend.as_ref().and_then(|found| backend(namespace, found)).map(Arc::new);
        }
        for rule in spec.rules.iter().flatten() {
            let name = rule.host.as_deref().unwrap_or_default().to_ascii_lowercase();
            let host = match (name.as_str(), name.strip_prefix("*.")) {
                ("", _) => &mut self.any,
                (_, Some(domain)) => self.wildcard.entry(domain.to_string()).or_default(),
                _ => self.exact.entry(name).or_default(),
            };
            let paths = rule.http.iter().flat_map(|http| &http.paths);
            host.0.extend(paths.filter_map(|path| route(namespace, path)));
        }
    }

    /// Where a request for this host and path goes; `None` where nobody wants it.
    pub fn find(&self, host: &str, path: &str) -> Option<Arc<Backend>> {
        let host = host_name(host);
        let exact = self.exact.get(&host);
        let wildcard = || host.split_once('.').and_then(|(_, domain)| self.wildcard.get(domain));
        // The most specific host that is named decides; its rules are not mixed with those of a less specific one.
        let rules = exact.or_else(wildcard).unwrap_or(&self.any);
        let found = rules.0.iter().find(|route| route.matches(path)).map(|route| route.backend.clone());
        found.or_else(|| self.default.clone())
    }

    /// How many hosts are named.
    pub fn hosts(&self) -> usize {
        self.exact.len() + self.wildcard.len() + usize::from(!self.any.0.is_empty())
    }
}

/// The oldest first, which has what two claim, as Kubernetes' conventions have it; equally old ones by namespace and
/// name.
pub fn by_age(ingresses: &[Arc<Ingress>]) -> Vec<&Arc<Ingress>> {
    let mut ordered: Vec<&Arc<Ingress>> = ingresses.iter().collect();
    ordered.sort_by_key(|ingress| {
        let metadata = &ingress.metadata;
        (metadata.creation_timestamp.clone(), metadata.namespace.clone(), metadata.name.clone())
    });
    ordered
}

impl Route {
    fn matches(&self, path: &str) -> bool {
        match self.type_ {
            PathType::Exact => path == self.path,
            PathType::Prefix => {
                let prefix = self.path.trim_end_matches('/');
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

/// Without the port, lower case.
fn host_name(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn route(namespace: &str, path: &HTTPIngressPath) -> Option<Route> {
    let backend = Arc::new(backend(namespace, &path.backend)?);
    let type_ = if path.path_type == "Exact" { PathType::Exact } else { PathType::Prefix };
    Some(Route { path: path.path.clone().unwrap_or_else(|| "/".into()), type_, backend })
}

/// A backend that is no service is left out.
fn backend(namespace: &str, backend: &IngressBackend) -> Option<Backend> {
    let service = backend.service.as_ref()?;
    let port = service.port.as_ref()?;
    let port = match (port.number, &port.name) {
        (Some(number), _) => Port::Number(u16::try_from(number).ok()?),
        (None, Some(name)) => Port::Name(name.clone()),
        (None, None) => return None,
    };
    Some(Backend { namespace: namespace.to_string(), service: service.name.clone(), port })
}

/// Whether an Ingress is ours: its class, by field or by the older annotation, is one of `classes`.
pub fn is_ours(ingress: &Ingress, classes: &[String]) -> bool {
    let by_field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
    let annotations: Option<&BTreeMap<String, String>> = ingress.metadata.annotations.as_ref();
    let by_annotation = annotations.and_then(|annotations| annotations.get("kubernetes.io/ingress.class"));
    by_field.or(by_annotation).is_some_and(|class| classes.contains(class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ingress(name: &str, created: &str, spec: serde_json::Value) -> Arc<Ingress> {
        let metadata = json!({"name": name, "namespace": "default", "creationTimestamp": created});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
    }

    fn rule(host: &str, paths: &[(&str, &str, &str)]) -> serde_json::Value {
        let paths: Vec<_> = paths
            .iter()
            .map(|(path, type_, service)| {
                json!({"path": path, "pathType": type_, "backend": {"service": {"name": service, "port": {"number": 80}}}})
            })
            .collect();
        json!({"host": host, "http": {"paths": paths}})
    }

    fn table() -> Table {
        let rules = [
            rule(
                "shop.example.org",
                &[("/", "Prefix", "shop"), ("/cart", "Prefix", "cart"), ("/cart", "Exact", "exact")],
            ),
            rule("*.example.org", &[("/", "Prefix", "wild")]),
            rule("", &[("/any", "Prefix", "any")]),
        ];
        Table::build(&[ingress("a", "2026-01-01T00:00:00Z", json!({"rules": rules}))])
    }

    fn find(table: &Table, host: &str, path: &str) -> Option<String> {
        table.find(host, path).map(|backend| backend.service.clone())
    }

    #[test]
    fn the_most_specific_host_and_the_longest_path_win() {
        let table = table();
        for (host, path, service) in [
            ("shop.example.org", "/", Some("shop")),
            ("SHOP.example.org:80", "/cart/1", Some("cart")),
            ("shop.example.org", "/cart", Some("exact")),
            ("shop.example.org", "/cartoon", Some("shop")),
            ("other.example.org", "/x", Some("wild")),
            ("a.b.example.org", "/x", None),
            ("elsewhere.net", "/any/thing", Some("any")),
            ("elsewhere.net", "/", None),
        ] {
            assert_eq!(find(&table, host, path).as_deref(), service, "{host}{path}");
        }
    }

    #[test]
    fn the_older_ingress_keeps_a_path_and_the_default_backend_takes_the_rest() {
        let newer =
            ingress("a", "2026-02-01T00:00:00Z", json!({"rules": [rule("x.org", &[("/", "Prefix", "newer")])]}));
        let spec = json!({"rules": [rule("x.org", &[("/", "Prefix", "older")])],
            "defaultBackend": {"service": {"name": "rest", "port": {"name": "http"}}}});
        let older = ingress("b", "2026-01-01T00:00:00Z", spec);
        let table = Table::build(&[newer, older]);
        assert_eq!(find(&table, "x.org", "/").as_deref(), Some("older"));
        let rest = table.find("y.org", "/").unwrap();
        assert_eq!((rest.service.as_str(), &rest.port), ("rest", &Port::Name("http".into())));
    }

    #[test]
    fn only_ingresses_of_our_classes_are_served() {
        let classes = ["rkctl".to_string()];
        let with = |spec| ingress("a", "2026-01-01T00:00:00Z", spec);
        assert!(is_ours(&with(json!({"ingressClassName": "rkctl"})), &classes));
        assert!(!is_ours(&with(json!({"ingressClassName": "nginx"})), &classes));
        assert!(!is_ours(&with(json!({})), &classes));
    }
}
