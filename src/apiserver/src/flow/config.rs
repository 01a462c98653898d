//! FlowSchemas and PriorityLevelConfigurations as requests are judged by them: read from objects, the mandatory ones
//! there whatever is stored, and which of them a request belongs to. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use machinery::meta;
use serde_json::Value;

use super::dispatcher::LevelConfig;
use super::queues::Response;
use super::shares::Claim;
use crate::live::{items, text, texts};
use crate::request::{RequestInfo, User};

/// The precedence of a schema that says none.
const PRECEDENCE_DEFAULT: i64 = 1000;

/// What a flow is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl Subject {
    fn read(value: &Value) -> Option<Self> {
        match text(value, "/kind") {
            "User" => Some(Self::User(text(value, "/user/name").to_string())),
            "Group" => Some(Self::Group(text(value, "/group/name").to_string())),
            "ServiceAccount" => Some(Self::ServiceAccount {
                namespace: text(value, "/serviceAccount/namespace").to_string(),
                name: text(value, "/serviceAccount/name").to_string(),
            }),
            _ => None,
        }
    }

    fn matches(&self, user: &User) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.in_group(name),
            Self::ServiceAccount { namespace, name } => {
                let account = user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
                account.is_some_and(|(of, account)| of == namespace && (name == "*" || name == account))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster_scope: bool,
}

impl ResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        let resource_matches = || match info.subresource.as_str() {
            "" => contains(&self.resources, &info.resource),
            subresource => self.resources.iter().any(|own| {
                own == "*"
                    || own.strip_prefix(info.resource.as_str()).and_then(|rest| rest.strip_prefix('/'))
                        == Some(subresource)
            }),
        };
        let namespace_matches = || match info.namespace.as_str() {
            "" => self.cluster_scope,
            namespace => contains(&self.namespaces, namespace),
        };
        contains(&self.verbs, &info.verb)
            && contains(&self.groups, &info.group)
            && resource_matches()
            && namespace_matches()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NonResourceRule {
    verbs: Vec<String>,
    urls: Vec<String>,
}

impl NonResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        // A path stands for everything below it, with or without the star.
        let below = |url: &str| {
            let prefix = url.strip_suffix('*').unwrap_or(url).trim_end_matches('/');
            info.path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
        };
        contains(&self.verbs, &info.verb) && self.urls.iter().any(|url| url == "*" || *url == info.path || below(url))
    }
}

fn contains(own: &[String], wanted: &str) -> bool {
    own.iter().any(|one| one == "*" || one == wanted)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    others: Vec<NonResourceRule>,
}

impl Rule {
    fn read(value: &Value) -> Self {
        let resource = |rule: &Value| ResourceRule {
            verbs: texts(rule, "/verbs"),
            groups: texts(rule, "/apiGroups"),
            resources: texts(rule, "/resources"),
            namespaces: texts(rule, "/namespaces"),
            cluster_scope: rule["clusterScope"] == Value::Bool(true),
        };
        let other =
            |rule: &Value| NonResourceRule { verbs: texts(rule, "/verbs"), urls: texts(rule, "/nonResourceURLs") };
        Self {
            subjects: items(value, "/subjects").iter().filter_map(Subject::read).collect(),
            resources: items(value, "/resourceRules").iter().map(resource).collect(),
            others: items(value, "/nonResourceRules").iter().map(other).collect(),
        }
    }

    fn matches(&self, user: &User, info: &RequestInfo) -> bool {
        let is_asked = match info.is_resource {
            true => self.resources.iter().any(|rule| rule.matches(info)),
            false => self.others.iter().any(|rule| rule.matches(info)),
        };
        is_asked && self.subjects.iter().any(|subject| subject.matches(user))
    }
}

/// A FlowSchema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Its name.
    pub name: Arc<str>,
    /// Its uid, which answers carry; empty where it is not stored.
    pub uid: Arc<str>,
    /// Its level's name.
    pub level: Arc<str>,
    /// Its level's uid.
    pub level_uid: Arc<str>,
    precedence: i64,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

impl Schema {
    fn read(object: &Value) -> Self {
        let distinguisher = match text(object, "/spec/distinguisherMethod/type") {
            "ByUser" => Distinguisher::User,
            "ByNamespace" => Distinguisher::Namespace,
            _ => Distinguisher::Nothing,
        };
        Self {
            name: meta::name(object).into(),
            uid: meta::uid(object).into(),
            level: text(object, "/spec/priorityLevelConfiguration/name").into(),
            level_uid: "".into(),
            precedence: object["spec"]["matchingPrecedence"].as_i64().unwrap_or(PRECEDENCE_DEFAULT),
            distinguisher,
            rules: items(object, "/spec/rules").iter().map(Rule::read).collect(),
        }
    }

    /// What tells a request's flow from others of the schema.
    pub fn flow<'a>(&self, user: &'a User, info: &'a RequestInfo) -> &'a str {
        match self.distinguisher {
            Distinguisher::Nothing => "",
            Distinguisher::User => &user.name,
            Distinguisher::Namespace => &info.namespace,
        }
    }
}

fn level_config(object: &Value) -> LevelConfig {
    let spec = &object["spec"];
    let number =
        |value: &Value, otherwise: u32| value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(otherwise);
    if text(object, "/spec/type") == "Exempt" {
        let exempt = &spec["exempt"];
        let claim = Claim {
            shares: number(&exempt["nominalConcurrencyShares"], 0),
            lendable_percent: number(&exempt["lendablePercent"], 0),
            borrowing_limit_percent: None,
        };
        return LevelConfig { response: Response::Exempt, claim };
    }
    let limited = &spec["limited"];
    let queuing = &limited["limitResponse"]["queuing"];
    // As Kubernetes defaults them.
    let size = |field: &str, otherwise: u32| number(&queuing[field], otherwise).max(1) as usize;
    let response = match text(object, "/spec/limited/limitResponse/type") {
        "Queue" => Response::Queue {
            queues: size("queues", 64),
            hand: size("handSize", 8),
            length_limit: size("queueLengthLimit", 50),
        },
        _ => Response::Reject,
    };
    let claim = Claim {
        shares: number(&limited["nominalConcurrencyShares"], 30),
        lendable_percent: number(&limited["lendablePercent"], 0).min(100),
        borrowing_limit_percent: limited["borrowingLimitPercent"].as_u64().and_then(|n| u32::try_from(n).ok()),
    };
    LevelConfig { response, claim }
}

/// What requests are judged by at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    schemas: Vec<Schema>,
    /// The levels that there are, in order of their names.
    pub levels: Vec<(Arc<str>, LevelConfig)>,
}

impl Config {
    /// Reads the objects. Of a mandatory one that is not stored `mandatory` has the form; schemas without a level are
    /// passed over, as they say in their status.
    pub fn read<'a>(
        schemas: impl IntoIterator<Item = &'a Value>,
        levels: impl IntoIterator<Item = &'a Value>,
        mandatory: (&'a [Value], &'a [Value]),
    ) -> Self {
        let by_name = |own: &'a [Value], stored: &mut dyn Iterator<Item = &'a Value>| -> BTreeMap<&'a str, &'a Value> {
            let mut found: BTreeMap<&str, &Value> = own.iter().map(|object| (meta::name(object), object)).collect();
            found.extend(stored.map(|object| (meta::name(object), object)));
            found
        };
        let levels = by_name(mandatory.1, &mut levels.into_iter());
        let mut found: Vec<Schema> = by_name(mandatory.0, &mut schemas.into_iter())
            .values()
            .filter_map(|object| {
                let schema = Schema::read(object);
                let level = levels.get(&*schema.level)?;
                Some(Schema { level_uid: meta::uid(level).into(), ..schema })
            })
            .collect();
        found.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let levels = levels.into_iter().map(|(name, object)| (Arc::from(name), level_config(object))).collect();
        Self { schemas: found, levels }
    }

    /// The schema of a request: the first by precedence that matches; `None` where none does, which the mandatory ones
    /// leave to nobody.
    pub fn classify(&self, user: &User, info: &RequestInfo) -> Option<&Schema> {
        self.schemas.iter().find(|schema| schema.rules.iter().any(|rule| rule.matches(user, info)))
    }

    /// The pairs of level and schema.
    pub fn pairs(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.schemas.iter().map(|schema| (&schema.level, &schema.name))
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::bootstrap::flow_control::{levels, schemas};
    use crate::request::Query;

    fn info(method: Method, path: &str) -> RequestInfo {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        RequestInfo::parse(&method, path, &Query::parse(query))
    }

    #[test]
    fn requests_go_to_the_flows_of_a_fresh_cluster() {
        let (schemas, levels) = (schemas(), levels());
        let config = Config::read(&schemas, &levels, (&[], &[]));
        let admin = User::new("ann", &["system:masters"]);
        let node = User::new("system:node:w1", &["system:nodes"]);
        let manager = User::new("system:kube-controller-manager", &[]);
        let account = User::service_account("default", "app");
        let garbage = User::service_account("kube-system", "generic-garbage-collector");
        let pods = "/api/v1/namespaces/a/pods";
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/w1";
        for (user, method, path, schema, level, flow) in [
            (&admin, Method::GET, pods, "exempt", "exempt", ""),
            (&User::anonymous(), Method::GET, "/readyz", "probes", "exempt", ""),
            (&User::anonymous(), Method::GET, "/livez/etcd", "probes", "exempt", ""),
            (&User::anonymous(), Method::GET, "/version", "global-default", "global-default", "system:anonymous"),
            (&node, Method::PUT, lease, "system-node-high", "node-high", "system:node:w1"),
            (&node, Method::PATCH, "/api/v1/nodes/w1/status", "system-node-high", "node-high", "system:node:w1"),
            (&node, Method::GET, pods, "system-nodes", "system", "system:node:w1"),
            (&manager, Method::GET, pods, "kube-controller-manager", "workload-high", "a"),
            (
                &manager,
                Method::PUT,
                lease,
                "system-leader-election",
                "leader-election",
                "system:kube-controller-manager",
            ),
            (&garbage, Method::DELETE, pods, "kube-system-service-accounts", "workload-high", "a"),
            (&account, Method::GET, pods, "service-accounts", "workload-low", "system:serviceaccount:default:app"),
            (&User::new("bob", &[]), Method::GET, pods, "global-default", "global-default", "bob"),
        ] {
            let info = info(method, path);
            let found = config.classify(user, &info).expect("a schema");
            assert_eq!(
                (&*found.name, &*found.level, found.flow(user, &info)),
                (schema, level, flow),
                "{} {path}",
                user.name
            );
        }
        // Nobody is without a schema: whoever is in neither group goes to none but by mistake.
        let nobody = User { name: "x".to_string(), ..User::default() };
        assert_eq!(config.classify(&nobody, &info(Method::GET, pods)), None);
    }

    fn schema(name: &str, level: &str, precedence: i64, rules: Value) -> Value {
        json!({
            "metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rules]},
        })
    }

    #[test]
    fn subjects_and_rules_match_as_kubernetes_has_them() {
        let all =
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true});
        let user = |name: &str| json!({"kind": "User", "user": {"name": name}});
        let pods = "/api/v1/namespaces/a/pods";
        let cases = [
            (json!({"subjects": [user("bob")], "resourceRules": [all]}), pods, true),
            (json!({"subjects": [user("*")], "resourceRules": [all]}), pods, true),
            (json!({"subjects": [user("eve")], "resourceRules": [all]}), pods, false),
            (json!({"subjects": [{"kind": "Group", "group": {"name": "*"}}], "resourceRules": [all]}), pods, true),
            (json!({"subjects": [{"kind": "Group", "group": {"name": "devs"}}], "resourceRules": [all]}), pods, true),
            (
                json!({"subjects": [user("bob")], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}),
                pods,
                false,
            ),
            (
                json!({"subjects": [user("bob")], "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["a"]}]}),
                pods,
                true,
            ),
            (
                json!({"subjects": [user("bob")], "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["a"]}]}),
                pods,
                false,
            ),
            (
                json!({"subjects": [user("bob")], "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["b"]}]}),
                pods,
                false,
            ),
            (
                json!({"subjects": [user("bob")], "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}]}),
                "/api/v1/pods",
                false,
            ),
            (
                json!({"subjects": [user("bob")], "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"], "namespaces": ["a"]}]}),
                "/api/v1/namespaces/a/pods/p/log",
                true,
            ),
            (
                json!({"subjects": [user("bob")], "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["a"]}]}),
                "/api/v1/namespaces/a/pods/p/log",
                false,
            ),
            (
                json!({"subjects": [user("bob")], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/debug/*"]}]}),
                "/debug/x/y",
                true,
            ),
            (
                json!({"subjects": [user("bob")], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}),
                "/healthz/etcd",
                true,
            ),
            (
                json!({"subjects": [user("bob")], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}),
                "/healthzz",
                false,
            ),
        ];
        let bob = User::new("bob", &["devs"]);
        let levels = [json!({"metadata": {"name": "l"}, "spec": {"type": "Exempt"}})];
        for (rules, path, expected) in cases {
            let schemas = [schema("s", "l", 1, rules.clone())];
            let config = Config::read(&schemas, &levels, (&[], &[]));
            assert_eq!(config.classify(&bob, &info(Method::GET, path)).is_some(), expected, "{rules} {path}");
        }
    }

    #[test]
    fn the_first_by_precedence_and_name_counts_and_none_without_its_level() {
        let all = json!({"subjects": [{"kind": "Group", "group": {"name": "*"}}], "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]});
        let stored = [("c", "l", 5), ("b", "l", 5), ("a", "gone", 1), ("d", "l", 9)]
            .map(|(name, level, precedence)| schema(name, level, precedence, all.clone()));
        let levels = [json!({"metadata": {"name": "l", "uid": "uid-l"}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 7, "borrowingLimitPercent": 20, "limitResponse": {"type": "Queue", "queuing": {
            "queues": 4, "handSize": 2, "queueLengthLimit": 9}}}}})];
        let mandatory = (crate::bootstrap::flow_control::schemas(), crate::bootstrap::flow_control::levels());
        let config = Config::read(&stored, &levels, (&mandatory.0, &mandatory.1));
        let info = info(Method::GET, "/api/v1/nodes");
        let found = config.classify(&User::new("bob", &[]), &info).expect("a schema");
        assert_eq!((&*found.name, &*found.uid, &*found.level_uid), ("b", "uid-b", "uid-l"));
        let claim = Claim { shares: 7, lendable_percent: 0, borrowing_limit_percent: Some(20) };
        let response = Response::Queue { queues: 4, hand: 2, length_limit: 9 };
        assert!(config.levels.contains(&(Arc::from("l"), LevelConfig { response, claim })));
        // A server without stored objects has the mandatory ones.
        let bare = Config::read(&[], &[], (&mandatory.0, &mandatory.1));
        assert!(
            bare.classify(&User::new("ann", &["system:masters"]), &info).is_some_and(|found| &*found.level == "exempt")
        );
    }
}
