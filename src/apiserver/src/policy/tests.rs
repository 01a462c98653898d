//! Policy as a whole: users come in by their credentials, and what they may do follows from what is in the store.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use jiff::SignedDuration;
use serde_json::{Value, json};
use stdx::clock::ManualClock;

use super::*;
use crate::admission::testing::Cluster;
use crate::audit::Trail;
use crate::authn::keys::tests::write_pair;
use crate::plugin::{Connection, Decision, Review, Warnings};
use crate::request::{Attributes, Query, User};
use crate::status::{Result as Answer, Status};

struct Server {
    cluster: Cluster,
    plugins: Plugins,
    clock: ManualClock,
    _keys: tempfile::TempDir,
}

impl Server {
    /// A server over a store that has the default roles and what `objects` says, as (resource, object).
    async fn with(objects: Vec<(&str, Value)>) -> Self {
        let cluster = Cluster::new();
        for item in defaults::all().expect("the tables are sound") {
            cluster.put(item.resource, item.object).await;
        }
        for (resource, object) in objects {
            cluster.put(resource, object).await;
        }
        let keys = tempfile::tempdir().expect("a folder");
        let (private, public) = write_pair(keys.path());
        let settings = Settings {
            service_account_key: private,
            service_account_public_keys: vec![public],
            cluster_domain: "cluster.local".to_string(),
            server_url: "https://10.0.0.1:6443".to_string(),
            access: Default::default(),
        };
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().expect("a time"));
        let plugins = plugins_at(&settings, cluster.live.store().clone(), clock.clone()).await.expect("plugins");
        Self { cluster, plugins, clock, _keys: keys }
    }

    async fn login(&self, token: &str) -> Answer<User> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        Ok(self.plugins.authenticate(&Connection::default(), &headers, "/").await?)
    }

    async fn may(&self, user: &User, verb: &str, path: &str) -> bool {
        matches!(self.plugins.authorizer.authorize(user, &asked(verb, path)).await, Decision::Allow(_))
    }

    async fn review(&self, what: (&str, &str), user: &User, parent: Option<&Value>, object: Value) -> Answer<Value> {
        let reviewer = &self.plugins.reviewers[&(what.0.to_string(), what.1.to_string())];
        let (query, warnings) = (Query::default(), Warnings::default());
        let of = |pointer| parent.map(|parent| crate::live::text(parent, pointer)).unwrap_or_default();
        let (namespace, name) = (of("/metadata/namespace"), of("/metadata/name"));
        let review =
            Review { user, namespace, name, query: &query, parent, warnings: &warnings, audit: &Trail::default() };
        reviewer.review(&review, object).await
    }

    async fn token(&self, spec: Value) -> Answer<Value> {
        let account = self.cluster.live.get("", "serviceaccounts", "ns", "sa").await?.expect("is there");
        let object = json!({"metadata": {}, "spec": spec});
        self.review(("", "serviceaccounts/token"), &User::new("x", &[]), Some(&account), object).await
    }
}

/// `group/namespace/resource[/subresource]:name[?fieldSelector]`, the core group and no namespace as `-`; or a URL.
fn asked(verb: &str, path: &str) -> Attributes {
    if path.starts_with('/') {
        return Attributes { verb: verb.into(), path: path.into(), ..Attributes::default() };
    }
    let (path, selector) = path.split_once('?').unwrap_or((path, ""));
    let (place, name) = path.split_once(':').unwrap_or((path, ""));
    let parts: Vec<&str> = place.split('/').map(|part| if part == "-" { "" } else { part }).collect();
    Attributes {
        verb: verb.into(),
        group: parts[0].into(),
        namespace: parts[1].into(),
        resource: parts[2].into(),
        subresource: parts.get(3).copied().unwrap_or_default().into(),
        name: name.into(),
        is_resource: true,
        field_selector: selector.into(),
        ..Attributes::default()
    }
}

fn object(kind: (&str, &str), namespace: &str, name: &str) -> Value {
    json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}")}})
}

fn pod(name: &str, node: &str, secret: &str) -> Value {
    let mut pod = object(("v1", "Pod"), "ns", name);
    pod["spec"] =
        json!({"nodeName": node, "serviceAccountName": "sa", "volumes": [{"secret": {"secretName": secret}}]});
    pod
}

fn token_of(answer: &Value) -> String {
    crate::live::text(answer, "/status/token").to_string()
}

#[tokio::test]
async fn a_bound_token_names_its_pod_and_ends_with_it() {
    let account = object(("v1", "ServiceAccount"), "ns", "sa");
    let node = object(("v1", "Node"), "", "w1");
    let server = Server::with(vec![("serviceaccounts", account), ("nodes", node), ("pods", pod("p", "w1", "s"))]).await;
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "uid-p"});
    let answer = server.token(json!({"boundObjectRef": bound, "expirationSeconds": 600})).await.expect("a token");
    assert_eq!(answer["status"]["expirationTimestamp"], "2026-01-01T00:10:00Z");
    let token = token_of(&answer);
    let user = server.login(&token).await.expect("holds");
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:ns:sa", "uid-sa"));
    for group in ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"] {
        assert!(user.in_group(group), "{group}");
    }
    for (key, value) in [("pod-name", "p"), ("pod-uid", "uid-p"), ("node-name", "w1"), ("node-uid", "uid-w1")] {
        assert_eq!(user.extra[&format!("authentication.kubernetes.io/{key}")], [value]);
    }
    server.cluster.delete("/registry/pods/ns/p").await;
    assert_eq!(server.login(&token).await.expect_err("the pod is gone").code(), 401);
    server.cluster.put("pods", pod("p", "w1", "s")).await;
    server.login(&token).await.expect("a pod of that uid is there again");
    server.clock.advance(SignedDuration::from_secs(700));
    assert_eq!(server.login(&token).await.expect_err("has expired").code(), 401);
}

#[tokio::test]
async fn a_token_ends_with_its_account_and_is_for_its_audience() {
    let server = Server::with(vec![("serviceaccounts", object(("v1", "ServiceAccount"), "ns", "sa"))]).await;
    let ours = token_of(&server.token(json!({})).await.expect("a token"));
    let other = token_of(&server.token(json!({"audiences": ["vault"]})).await.expect("a token"));
    server.login(&ours).await.expect("is for us");
    assert_eq!(server.login(&other).await.expect_err("is for another").code(), 401);
    let admin = User::new("x", &["system:masters"]);
    let review = async |token: &str, audiences: Value| {
        let object = json!({"spec": {"token": token, "audiences": audiences}});
        server.review(("authentication.k8s.io", "tokenreviews"), &admin, None, object).await.expect("a review")
    };
    let found = review(&other, json!(["vault", "x"])).await;
    assert_eq!((&found["status"]["authenticated"], &found["status"]["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(found["status"]["user"]["username"], "system:serviceaccount:ns:sa");
    assert!(review(&other, json!(null)).await["status"].get("authenticated").is_none());
    assert!(review("rubbish", json!(null)).await["status"]["error"].is_string());
    server
        .cluster
        .put("serviceaccounts", {
            let mut account = object(("v1", "ServiceAccount"), "ns", "sa");
            account["metadata"]["uid"] = json!("another");
            account
        })
        .await;
    assert_eq!(server.login(&ours).await.expect_err("another account").code(), 401);
}

#[tokio::test]
async fn token_requests_are_checked() {
    let account = object(("v1", "ServiceAccount"), "ns", "sa");
    let server = Server::with(vec![("serviceaccounts", account), ("pods", pod("p", "w1", "s"))]).await;
    for (spec, code, part) in [
        (json!({"expirationSeconds": 599}), 422, "may not specify a duration less than 10 minutes"),
        (json!({"expirationSeconds": 1i64 << 33}), 422, "larger than 2^32"),
        (json!({"boundObjectRef": {"kind": "Pod", "name": "gone"}}), 404, "pods \"gone\" not found"),
        (json!({"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "x"}}), 409, "does not match the UID"),
        (json!({"boundObjectRef": {"kind": "ConfigMap", "name": "p"}}), 400, "cannot bind token"),
    ] {
        let refused = server.token(spec.clone()).await.expect_err("is refused");
        assert_eq!(refused.code(), code, "{spec}");
        assert!(refused.message().contains(part), "{}", refused.message());
    }
}

#[tokio::test]
async fn a_host_joins_with_a_bootstrap_token_and_may_only_ask_for_its_certificate() {
    let data = [
        ("token-id", "abcdef"),
        ("token-secret", "0123456789abcdef"),
        ("usage-bootstrap-authentication", "true"),
        ("expiration", "2026-01-01T00:10:00Z"),
    ];
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| (key.to_string(), BASE64_STANDARD.encode(value).into())).collect();
    let mut secret = object(("v1", "Secret"), "kube-system", "bootstrap-token-abcdef");
    secret["type"] = json!("bootstrap.kubernetes.io/token");
    secret["data"] = json!(data);
    let server = Server::with(vec![("secrets", secret)]).await;
    let user = server.login("abcdef.0123456789abcdef").await.expect("holds");
    assert_eq!(user.name, "system:bootstrap:abcdef");
    let csr = "certificates.k8s.io/-/certificatesigningrequests";
    for (verb, path, expected) in [
        ("create", csr, true),
        ("get", csr, true),
        ("create", "certificates.k8s.io/-/certificatesigningrequests/nodeclient", true),
        ("approve", "certificates.k8s.io/-/signers:kubernetes.io", false),
        ("list", "-/-/nodes", false),
        ("get", "-/kube-system/secrets:bootstrap-token-abcdef", false),
    ] {
        assert_eq!(server.may(&user, verb, path).await, expected, "{verb} {path}");
    }
    assert_eq!(server.login("abcdef.0123456789abcdee").await.expect_err("wrong").code(), 401);
    server.clock.advance(SignedDuration::from_secs(601));
    assert_eq!(server.login("abcdef.0123456789abcdef").await.expect_err("expired").code(), 401);
}

#[tokio::test]
async fn agents_reach_what_their_pods_refer_to_and_nothing_else() {
    let mut mine = pod("p", "w1", "mine");
    let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}});
    mine["spec"]["volumes"].as_array_mut().expect("volumes").push(claim);
    let server = Server::with(vec![
        ("pods", mine),
        ("pods", pod("q", "w2", "theirs")),
        ("secrets", object(("v1", "Secret"), "ns", "mine")),
    ])
    .await;
    let agent = User::new("system:node:w1", &["system:nodes"]);
    for (verb, path, expected) in [
        ("get", "-/ns/secrets:mine", true),
        ("watch", "-/ns/secrets:mine", true),
        ("get", "-/ns/secrets:theirs", false),
        ("list", "-/ns/secrets", false),
        ("list", "-/-/secrets", false),
        ("update", "-/ns/secrets:mine", false),
        ("create", "-/ns/serviceaccounts/token:sa", true),
        ("create", "-/ns/serviceaccounts/token:other", false),
        ("list", "-/-/pods?spec.nodeName=w1", true),
        ("watch", "-/-/pods?spec.nodeName=w1", true),
        ("list", "-/-/pods?spec.nodeName=w2", false),
        ("list", "-/-/pods", false),
        ("list", "-/ns/pods:p?metadata.name=p,spec.nodeName=w1", true),
        ("watch", "-/ns/pods:p?metadata.name=p,spec.nodeName=w1", true),
        ("watch", "-/ns/pods:p?metadata.name=p", false),
        ("watch", "-/ns/pods:later?metadata.name=later", false),
        ("watch", "-/ns/pods:later", false),
        ("list", "-/ns/pods:later", false),
        ("get", "-/ns/pods:later", true),
        ("get", "-/ns/persistentvolumeclaims:data", true),
        ("patch", "-/ns/persistentvolumeclaims/status:data", true),
        ("update", "-/ns/persistentvolumeclaims/status:data", true),
        ("get", "-/ns/persistentvolumeclaims/status:data", false),
        ("patch", "-/ns/persistentvolumeclaims/status:other", false),
        ("patch", "-/other/persistentvolumeclaims/status:data", false),
        ("patch", "-/ns/persistentvolumeclaims/status", false),
        ("get", "-/ns/pods:p", true),
        ("get", "-/ns/pods:q", false),
        ("patch", "-/ns/pods/status:p", true),
        ("delete", "-/ns/pods:p", true),
        ("create", "-/ns/pods/binding:p", false),
        ("create", "-/-/nodes", true),
        ("patch", "-/-/nodes/status:w1", true),
        ("patch", "-/-/nodes/status:w2", false),
        ("delete", "-/-/nodes:w1", false),
        ("list", "-/-/nodes", true),
        ("update", "coordination.k8s.io/kube-node-lease/leases:w1", true),
        ("update", "coordination.k8s.io/kube-node-lease/leases:w2", false),
        ("get", "coordination.k8s.io/kube-system/leases:w1", false),
        ("list", "-/-/services", true),
        ("watch", "discovery.k8s.io/-/endpointslices", true),
        ("create", "certificates.k8s.io/-/certificatesigningrequests", true),
        ("create", "certificates.k8s.io/-/certificatesigningrequests/selfnodeclient", true),
        ("create", "authentication.k8s.io/-/tokenreviews", true),
        ("create", "authorization.k8s.io/-/subjectaccessreviews", true),
        ("create", "-/ns/events", true),
        ("create", "apps/ns/deployments", false),
        ("get", "rbac.authorization.k8s.io/-/clusterroles:admin", false),
    ] {
        assert_eq!(server.may(&agent, verb, path).await, expected, "{verb} {path}");
    }
    server.cluster.delete("/registry/pods/ns/p").await;
    let gone = async {
        while server.may(&agent, "get", "-/ns/secrets:mine").await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the secret goes with the pod");
}

#[tokio::test]
async fn default_roles_let_everyone_do_what_is_theirs() {
    let server = Server::with(Vec::new()).await;
    let manager = User::new("system:kube-controller-manager", &[]);
    let scheduler = User::new("system:kube-scheduler", &[]);
    let somebody = User::new("somebody", &[]);
    let to_agents = User::new("kube-apiserver-kubelet-client", &[]);
    let aggregator = User::new("system:kube-aggregator", &[]);
    let gitops = User::new("system:rkctl-gitops", &[]);
    let anonymous = User::anonymous();
    for (user, verb, path, expected) in [
        (&anonymous, "get", "/healthz", true),
        (&anonymous, "get", "/version", true),
        (&anonymous, "get", "/api", false),
        (&anonymous, "list", "-/default/pods", false),
        (&somebody, "get", "/api", true),
        (&somebody, "get", "/openapi/v3", true),
        (&somebody, "create", "authorization.k8s.io/-/selfsubjectaccessreviews", true),
        (&somebody, "list", "-/default/pods", false),
        (&scheduler, "create", "-/default/pods/binding:p", true),
        (&scheduler, "watch", "-/-/pods", true),
        (&scheduler, "get", "-/default/secrets:s", false),
        (&to_agents, "create", "-/-/nodes/proxy:w1", true),
        (&to_agents, "get", "-/-/nodes/stats:w1", true),
        (&to_agents, "get", "-/-/nodes/metrics:w1", true),
        (&to_agents, "get", "-/default/secrets:s", false),
        (&to_agents, "create", "-/default/pods", false),
        (&to_agents, "update", "-/-/nodes:w1", false),
        (&manager, "watch", "-/-/secrets", true),
        (&manager, "create", "-/default/pods", false),
        (&manager, "delete", "-/default/secrets:s", false),
        (&aggregator, "get", "/apis/metrics.k8s.io/v1beta1", true),
        (&aggregator, "list", "-/default/pods", false),
        (&gitops, "delete", "rbac.authorization.k8s.io/-/clusterrolebindings:b", true),
    ] {
        assert_eq!(server.may(user, verb, path).await, expected, "{} {verb} {path}", user.name);
    }
    let master = User::new("root", &["system:masters"]);
    assert!(server.may(&master, "delete", "-/-/nodes:w1").await);
}

#[tokio::test]
async fn each_controller_may_do_what_is_its_own_and_no_more() {
    let server = Server::with(Vec::new()).await;
    for (account, verb, path, expected) in [
        ("replicaset-controller", "create", "-/default/pods", true),
        ("replicaset-controller", "patch", "apps/default/replicasets/status:r", true),
        ("replicaset-controller", "get", "-/default/secrets:s", false),
        ("replicaset-controller", "delete", "-/-/nodes:w1", false),
        ("deployment-controller", "create", "-/default/pods", false),
        ("deployment-controller", "patch", "apps/default/deployments/status:d", true),
        ("certificate-controller", "approve", "certificates.k8s.io/-/signers:kubernetes.io/kubelet-serving", true),
        ("certificate-controller", "create", "-/default/pods", false),
        ("token-cleaner", "delete", "-/kube-system/secrets:s", true),
        ("token-cleaner", "delete", "-/default/secrets:s", false),
        ("generic-garbage-collector", "delete", "apps/default/deployments:d", true),
        ("generic-garbage-collector", "create", "rbac.authorization.k8s.io/-/clusterrolebindings", false),
        ("service-account-token-controller", "patch", "-/default/secrets:s", true),
        ("service-account-token-controller", "create", "-/default/secrets", false),
        ("attachdetach-controller", "patch", "-/-/nodes/status:w1", false),
    ] {
        let user = User::service_account("kube-system", account);
        assert_eq!(server.may(&user, verb, path).await, expected, "{account} {verb} {path}");
    }
    let elsewhere = User::service_account("default", "generic-garbage-collector");
    assert!(!server.may(&elsewhere, "delete", "apps/default/deployments:d").await);
}

#[tokio::test]
async fn a_new_binding_counts_and_reviews_tell() {
    let server = Server::with(Vec::new()).await;
    let ann = User::new("ann", &[]);
    assert!(!server.may(&ann, "list", "-/dev/pods").await);
    let mut binding = object(("rbac.authorization.k8s.io/v1", "RoleBinding"), "dev", "ann");
    binding["roleRef"] = json!({"kind": "ClusterRole", "name": "system:aggregate-to-view"});
    binding["subjects"] = json!([{"kind": "User", "name": "ann"}]);
    server.cluster.put("rolebindings", binding).await;
    let counts = async {
        while !server.may(&ann, "list", "-/dev/pods").await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counts).await.expect("the binding counts");
    assert!(!server.may(&ann, "list", "-/prod/pods").await);
    let spec = json!({"user": "ann", "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "dev"}});
    let what = ("authorization.k8s.io", "subjectaccessreviews");
    let found = server.review(what, &ann, None, json!({"spec": spec})).await.expect("a review");
    assert_eq!(found["status"]["allowed"], true);
    let rules = ("authorization.k8s.io", "selfsubjectrulesreviews");
    let found = server.review(rules, &ann, None, json!({"spec": {"namespace": "dev"}})).await.expect("a review");
    assert_eq!(found["status"]["incomplete"], false);
    let listed = found["status"]["resourceRules"].as_array().expect("a list");
    assert!(listed.iter().any(|rule| rule["resources"].as_array().is_some_and(|list| list.contains(&json!("pods")))));
}

#[tokio::test]
async fn aggregated_roles_gather_their_rules() {
    let server = Server::with(Vec::new()).await;
    let gathered = async {
        loop {
            let role = server.cluster.live.get("rbac.authorization.k8s.io", "clusterroles", "", "view").await;
            let role = role.expect("readable").expect("is there");
            if !crate::live::items(&role, "/rules").is_empty() {
                return role;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let role = tokio::time::timeout(Duration::from_secs(10), gathered).await.expect("rules within ten seconds");
    assert_eq!(role["kind"], "ClusterRole");
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    use crate::admission::testing::{create, run};
    const GROUP: &str = "rbac.authorization.k8s.io";
    let rule = |verb: &str| json!([{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]);
    let mut role = object((&format!("{GROUP}/v1"), "Role"), "dev", "getter");
    role["rules"] = rule("get");
    let mut binding = object((&format!("{GROUP}/v1"), "RoleBinding"), "dev", "ann");
    binding["roleRef"] = json!({"kind": "Role", "name": "getter"});
    binding["subjects"] = json!([{"kind": "User", "name": "ann"}]);
    let server = Server::with(vec![("roles", role.clone()), ("rolebindings", binding.clone())]).await;
    let plugin = server.plugins.admission.iter().find(|plugin| plugin.name() == "RBACEscalation").expect("is there");
    let mut asked = create(GROUP, "roles", "dev");
    run(plugin.as_ref(), &asked, Some(role.clone())).await.expect("has as much");
    role["rules"] = rule("delete");
    let refused: Status = run(plugin.as_ref(), &asked, Some(role.clone())).await.expect_err("has not");
    assert_eq!(
        refused.message(),
        "roles.rbac.authorization.k8s.io \"getter\" is forbidden: user \"ann\" (groups=[\"system:authenticated\"]) is \
         attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
    );
    let bind = create(GROUP, "rolebindings", "dev");
    run(plugin.as_ref(), &bind, Some(binding.clone())).await.expect("has what the role has");
    binding["roleRef"] = json!({"kind": "ClusterRole", "name": "cluster-admin"});
    assert_eq!(run(plugin.as_ref(), &bind, Some(binding)).await.expect_err("has not").code(), 403);
    asked.user = User::new("root", &["system:masters"]);
    run(plugin.as_ref(), &asked, Some(role)).await.expect("administrators may");
}

#[tokio::test]
async fn the_discovery_documents_name_issuer_and_keys() {
    let server = Server::with(Vec::new()).await;
    let read = |path: &str| -> Value { serde_json::from_slice(&server.plugins.documents[path].bytes).expect("JSON") };
    let configuration = read("/.well-known/openid-configuration");
    assert_eq!(configuration["issuer"], "https://kubernetes.default.svc.cluster.local");
    assert_eq!(configuration["jwks_uri"], "https://10.0.0.1:6443/openid/v1/jwks");
    assert_eq!(read("/openid/v1/jwks")["keys"][0]["alg"], "ES256");
}
