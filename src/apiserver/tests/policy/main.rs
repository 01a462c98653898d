//! The real server with a cluster's real policy, driven over TLS by the real kubectl with the credentials people and
//! hosts have.

mod audit;
mod certificates;
mod conversion;
mod hooks;
mod identity;
mod login;
mod outside;
mod pod_security;
mod policies;
mod support;
mod webhooks;

use serde_json::{Value, json};
use support::{Cluster, eventually};

fn json_of(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn users_see_kubernetes_own_refusals_until_a_binding_lets_them() {
    let cluster = Cluster::start().await;
    let (admin, ann) = (cluster.certificate("admin", &["system:masters"]), cluster.certificate("ann", &["developers"]));
    assert!(cluster.succeeds(&admin, &["get", "namespaces", "-o", "name"]).await.contains("namespace/kube-system"));
    assert_eq!(
        cluster.fails(&ann, &["get", "pods"]).await.trim(),
        "Error from server (Forbidden): pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" \
         in the namespace \"default\""
    );
    assert_eq!(
        cluster.fails(&ann, &["get", "deployment", "x"]).await.trim(),
        "Error from server (Forbidden): deployments.apps \"x\" is forbidden: User \"ann\" cannot get resource \
         \"deployments\" in API group \"apps\" in the namespace \"default\""
    );
    let binding = |name: &str, kind: &str, role: &str, subject: (&str, &str)| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": subject.0, "name": subject.1}]})
    };
    cluster.create(&admin, &binding("devs", "ClusterRole", "view", ("Group", "developers"))).await;
    eventually("ann may list pods", || async { cluster.output(&ann, &["get", "pods"]).await.2.then_some(()) }).await;
    cluster.succeeds(&ann, &["get", "pods"]).await;
    cluster.fails(&ann, &["get", "secrets"]).await;
    cluster.fails(&ann, &["get", "pods", "-n", "kube-system"]).await;
    let rules =
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": rules,
        "metadata": {"name": "binder", "namespace": "default"}});
    cluster.create(&admin, &role).await;
    cluster.create(&admin, &binding("binder", "Role", "binder", ("User", "ann"))).await;
    let me = cluster.file("me.json", &binding("me", "ClusterRole", "cluster-admin", ("User", "ann")));
    let grab = ["create", "-f", &me];
    let refused = eventually("ann may create bindings", || async {
        let refused = cluster.fails(&ann, &grab).await;
        refused.contains("not currently held").then_some(refused)
    })
    .await;
    assert!(refused.contains("rolebindings.rbac.authorization.k8s.io \"me\" is forbidden"), "{refused}");
    cluster.stop().await;
}

/// By its labels a role gives its rules to others.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_roles_and_bindings_of_rights_that_they_do_not_have() {
    let cluster = Cluster::start().await;
    let (admin, ann) = (cluster.certificate("admin", &["system:masters"]), cluster.certificate("ann", &[]));
    let rights = "--resource=clusterroles,clusterrolebindings";
    for arguments in [
        &["create", "clusterrole", "labeller", "--verb=get,patch", rights][..],
        &["create", "clusterrole", "strong", "--verb=get", "--resource=secrets"],
        &["create", "clusterrolebinding", "strong", "--clusterrole=strong", "--user=bob"],
        &["create", "clusterrolebinding", "labeller", "--clusterrole=labeller", "--user=ann"],
    ] {
        cluster.succeeds(&admin, arguments).await;
    }
    let own = ["label", "clusterrole", "labeller", "a=b"];
    eventually("ann may label her role", || async { cluster.output(&ann, &own).await.2.then_some(()) }).await;
    let aggregated = "rbac.authorization.k8s.io/aggregate-to-view=true";
    for arguments in [["label", "clusterrole", "strong", aggregated], ["label", "clusterrolebinding", "strong", "a=b"]]
    {
        let refused = cluster.fails(&ann, &arguments).await;
        assert!(refused.contains("not currently held"), "{arguments:?}: {refused}");
    }
    // The roles that gather others are worth everything, whatever changes of them.
    let gathering = cluster.fails(&ann, &["label", "clusterrole", "view", "a=b"]).await;
    assert!(gathering.contains("not currently held"), "{gathering}");
    // What the garbage collector changes is nobody's gain.
    let finalizers = r#"{"metadata":{"finalizers":["example.com/x"]}}"#;
    for resource in ["clusterrole", "clusterrolebinding"] {
        cluster.succeeds(&ann, &["patch", resource, "strong", "-p", finalizers]).await;
    }
    cluster.stop().await;
}

/// What a request turns out to be counts, and not its method alone.
#[tokio::test(flavor = "multi_thread")]
async fn patches_and_updates_create_for_those_who_may_create() {
    let cluster = Cluster::start().await;
    let (admin, ann) = (cluster.certificate("admin", &["system:masters"]), cluster.certificate("ann", &[]));
    let may = |verbs: Value| {
        let rules = json!([{"apiGroups": ["", "coordination.k8s.io"], "resources": ["configmaps", "leases"], "verbs": verbs},
            {"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get"]}]);
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules,
            "metadata": {"name": "writer"}})
    };
    cluster.create(&admin, &may(json!(["get", "patch", "update"]))).await;
    cluster.succeeds(&admin, &["create", "clusterrolebinding", "ann", "--clusterrole=writer", "--user=ann"]).await;
    let map = cluster.file("map.json", &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}));
    let apply = ["apply", "--server-side", "-f", &map];
    let refusal = eventually("ann may patch", || async {
        let (_, errors, _) = cluster.output(&ann, &apply).await;
        (!errors.contains("cannot patch")).then_some(errors)
    })
    .await;
    assert!(refusal.contains("cannot create resource \"configmaps\""), "{refusal}");
    // A WebSocket begins as a GET, and acts.
    let exec = ["get", "--raw", "/api/v1/namespaces/default/pods/p/exec?command=ls"];
    let refusal = cluster.fails(&ann, &exec).await;
    assert!(refusal.contains("cannot create resource \"pods/exec\""), "{refusal}");
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}});
    let lease = cluster.file("lease.json", &lease);
    let place = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let put = ["replace", "--raw", place, "-f", &lease];
    let refusal = cluster.fails(&ann, &put).await;
    assert!(refusal.contains("cannot create resource \"leases\""), "{refusal}");
    let updated = cluster.file("role.json", &may(json!(["get", "create", "patch", "update"])));
    cluster.succeeds(&admin, &["replace", "-f", &updated]).await;
    eventually("ann may create", || async { cluster.output(&ann, &apply).await.2.then_some(()) }).await;
    cluster.succeeds(&ann, &put).await;
    // The lock of an election is not overwritten by who has not read it.
    let refusal = cluster.fails(&ann, &put).await;
    assert!(refusal.contains("metadata.resourceVersion: Invalid value: 0: must be specified"), "{refusal}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_accounts_log_in_with_tokens_and_pods_get_theirs() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let metadata = json!({"name": "default", "namespace": "default"});
    cluster.create(&admin, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let answer = cluster.post(&admin, path, &request).await;
    let account = cluster.token(answer["status"]["token"].as_str().expect("a token"));
    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let whoami = cluster.post(&account, reviews, &who).await;
    let info = &whoami["status"]["userInfo"];
    assert_eq!(info["username"], "system:serviceaccount:default:default");
    for group in ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"] {
        assert!(info["groups"].as_array().is_some_and(|groups| groups.contains(&json!(group))), "{info}");
    }
    let refused = cluster.fails(&account, &["get", "nodes"]).await;
    assert!(
        refused.contains("User \"system:serviceaccount:default:default\" cannot list resource \"nodes\""),
        "{refused}"
    );
    let web = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "web", "image": "web"}]}});
    cluster.create(&admin, &web).await;
    let pod = json_of(&cluster.succeeds(&admin, &["get", "pod", "web", "-o", "json"]).await);
    let spec = &pod["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert!(spec["volumes"][0]["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-")), "{spec}");
    let mount = &spec["containers"][0]["volumeMounts"][0]["mountPath"];
    assert_eq!(mount, "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!((&spec["priority"], spec["tolerations"].as_array().map(Vec::len)), (&json!(0), Some(2)));
    cluster.succeeds(&admin, &["delete", "serviceaccount", "default"]).await;
    let gone = cluster.fails(&account, &["get", "--raw", "/version"]).await;
    assert!(gone.contains("Unauthorized") || gone.contains("logged in"), "{gone}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_admission_adds_counts_for_the_class_of_service_and_belongs_to_no_one() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    cluster.succeeds(&admin, &["create", "serviceaccount", "default"]).await;
    let limits = json!([{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}}]);
    let metadata = json!({"name": "limits", "namespace": "default"});
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits}});
    cluster.create(&admin, &range).await;
    cluster.succeeds(&admin, &["run", "web", "--image=web"]).await;
    let pod = json_of(&cluster.succeeds(&admin, &["get", "pod", "web", "-o", "json", "--show-managed-fields"]).await);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"]["cpu"], "1", "{pod}");
    assert_eq!(pod["status"]["qosClass"], "Guaranteed", "{pod}");
    let owned = pod["metadata"]["managedFields"].to_string();
    assert!(owned.contains("f:image"), "{owned}");
    for field in ["f:limits", "f:volumes", "f:tolerations", "f:priority", "f:serviceAccount", "f:status"] {
        assert!(!owned.contains(field), "{field}: {owned}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_with_a_bootstrap_token_and_its_agent_is_held_to_its_node() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let data =
        json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"});
    let metadata = json!({"name": "bootstrap-token-abcdef", "namespace": "kube-system"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data,
        "type": "bootstrap.kubernetes.io/token"});
    cluster.create(&admin, &secret).await;
    let host = cluster.token("abcdef.0123456789abcdef");
    cluster.fails(&host, &["get", "nodes"]).await;
    let file = cluster.csr_file("node-csr", "system:node:w1", "system:nodes");
    cluster.succeeds(&host, &["create", "-f", &file]).await;
    let csr = json_of(&cluster.succeeds(&host, &["get", "csr", "node-csr", "-o", "json"]).await);
    assert_eq!(csr["spec"]["username"], "system:bootstrap:abcdef");
    let mut approved = csr.clone();
    approved["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "Test"}]);
    let approval = "/apis/certificates.k8s.io/v1/certificatesigningrequests/node-csr/approval";
    let file = cluster.file("approved.json", &approved);
    let denied = cluster.fails(&host, &["replace", "--raw", approval, "-f", &file]).await;
    assert!(denied.contains("forbidden"), "{denied}");
    cluster.succeeds(&admin, &["replace", "--raw", approval, "-f", &file]).await;
    let agent = cluster.certificate("system:node:w1", &["system:nodes"]);
    let node = cluster.file("n.json", &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1"}}));
    let other = cluster.file("o.json", &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w2"}}));
    cluster.succeeds(&agent, &["create", "-f", &node]).await;
    let refused = cluster.fails(&agent, &["create", "-f", &other]).await;
    assert!(refused.contains("node \"w1\" is not allowed to modify node \"w2\""), "{refused}");
    cluster.fails(&agent, &["label", "node", "w1", "node-role.kubernetes.io/control-plane="]).await;
    cluster.succeeds(&agent, &["get", "pods", "-A", "--field-selector=spec.nodeName=w1"]).await;
    cluster.fails(&agent, &["get", "pods", "-A"]).await;
    let secrets = cluster.fails(&agent, &["get", "secret", "bootstrap-token-abcdef", "-n", "kube-system"]).await;
    assert!(secrets.contains("no relationship found between node 'w1' and this object"), "{secrets}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anonymous_see_health_and_version_and_administrators_act_for_others() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    assert_eq!(cluster.get_anonymously("/healthz").await, (200, "ok".to_string()));
    assert_eq!(cluster.get_anonymously("/version").await.0, 200);
    let (code, refused) = cluster.get_anonymously("/api").await;
    let status = json_of(&refused);
    let message = "forbidden: User \"system:anonymous\" cannot get path \"/api\"";
    assert_eq!((code, status["message"].as_str()), (403, Some(message)));
    cluster.fails(&cluster.token("rubbish"), &["get", "--raw", "/healthz"]).await;
    let refused = cluster.fails(&admin, &["get", "pods", "--as=bob"]).await;
    assert!(refused.contains("User \"bob\" cannot list resource \"pods\""), "{refused}");
    cluster.succeeds(&admin, &["get", "pods", "--as=bob", "--as-group=system:masters"]).await;
    let bob = cluster.certificate("bob", &[]);
    let refused = cluster.fails(&bob, &["get", "pods", "--as=admin"]).await;
    let first = "User \"bob\" cannot impersonate-on:user-info:list resource \"pods\"";
    assert!(refused.contains(first), "{refused}");
    let keys = json_of(&cluster.succeeds(&admin, &["get", "--raw", "/openid/v1/jwks"]).await);
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_limits_and_namespaces_are_kept() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"configmaps": "1"}}});
    cluster.create(&admin, &quota).await;
    let map = |name: &str, namespace: &str| {
        let metadata = json!({"name": name, "namespace": namespace});
        cluster.file("map.json", &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    };
    cluster.succeeds(&admin, &["create", "-f", &map("a", "default")]).await;
    let refused = cluster.fails(&admin, &["create", "-f", &map("b", "default")]).await;
    let figures = "exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1";
    assert!(refused.contains(figures), "{refused}");
    cluster.succeeds(&admin, &["annotate", "configmap", "a", "x=y"]).await;
    let refused = cluster.fails(&admin, &["create", "-f", &map("a", "nowhere")]).await;
    assert!(refused.contains("namespaces \"nowhere\" not found"), "{refused}");
    let refused = cluster.fails(&admin, &["delete", "namespace", "kube-system"]).await;
    assert!(refused.contains("this namespace may not be deleted"), "{refused}");
    let classes = cluster.succeeds(&admin, &["get", "priorityclasses", "-o", "name"]).await;
    assert!(classes.contains("system-node-critical") && classes.contains("system-cluster-critical"), "{classes}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_holds_under_many_clients_at_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"count/secrets": "5"}}});
    cluster.create(&admin, &quota).await;
    let round = async || {
        let creates: Vec<_> = (0..30)
            .map(|_| {
                let (client, secret) = (cluster.client.clone(), json!({"metadata": {"generateName": "s-"}}));
                tokio::spawn(async move {
                    let request = http::Request::post("/api/v1/namespaces/default/secrets")
                        .header("content-type", "application/json")
                        .body(secret.to_string().into_bytes())
                        .expect("a request");
                    client.request::<Value>(request).await
                })
            })
            .collect();
        let mut created = Vec::new();
        for create in creates {
            match create.await.expect("ends") {
                Ok(secret) => created.push(secret["metadata"]["name"].as_str().expect("a name").to_string()),
                Err(kube::Error::Api(status)) => assert!(status.message.contains("exceeded quota: q"), "{status:?}"),
                Err(error) => panic!("{error}"),
            }
        }
        created
    };
    let created = round().await;
    assert_eq!(created.len(), 5);
    let mut delete = vec!["delete", "secret"];
    delete.extend(created.iter().take(2).map(String::as_str));
    cluster.succeeds(&admin, &delete).await;
    assert_eq!(round().await.len(), 2, "what was refused holds no place");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectls_own_commands_for_access_work() {
    let cluster = Cluster::start().await;
    let (admin, ann) = (cluster.certificate("admin", &["system:masters"]), cluster.certificate("ann", &[]));
    cluster.succeeds(&admin, &["create", "serviceaccount", "robot"]).await;
    let token = cluster.succeeds(&admin, &["create", "token", "robot", "--duration=20m"]).await;
    let robot = cluster.token(token.trim());
    let whoami = json_of(&cluster.succeeds(&robot, &["auth", "whoami", "-o", "json"]).await);
    assert_eq!(whoami["status"]["userInfo"]["username"], "system:serviceaccount:default:robot");
    assert_eq!(cluster.output(&robot, &["auth", "can-i", "get", "pods"]).await.0.trim(), "no");
    let bind = ["create", "rolebinding", "robot", "--clusterrole=edit", "--serviceaccount=default:robot"];
    cluster.succeeds(&admin, &bind).await;
    eventually("the robot may create pods", || async {
        (cluster.output(&robot, &["auth", "can-i", "create", "pods"]).await.0.trim() == "yes").then_some(())
    })
    .await;
    assert!(cluster.succeeds(&robot, &["auth", "can-i", "--list"]).await.contains("deployments.apps"));
    assert_eq!(cluster.output(&admin, &["auth", "can-i", "*", "*", "--all-namespaces"]).await.0.trim(), "yes");
    let file = cluster.csr_file("mine", "system:node:w1", "system:nodes");
    cluster.succeeds(&admin, &["create", "-f", &file]).await;
    cluster
        .succeeds(
            &admin,
            &[
                "create",
                "clusterrole",
                "approver",
                "--verb=get,list,update",
                "--resource=certificatesigningrequests,certificatesigningrequests/approval",
            ],
        )
        .await;
    cluster
        .succeeds(&admin, &["create", "clusterrolebinding", "approver", "--clusterrole=approver", "--user=ann"])
        .await;
    let refused = eventually("ann reaches the approval", || async {
        let refused = cluster.fails(&ann, &["certificate", "approve", "mine"]).await;
        refused.contains("not permitted").then_some(refused)
    })
    .await;
    assert!(refused.contains("user not permitted to approve requests with signerName"), "{refused}");
    cluster.succeeds(&admin, &["certificate", "approve", "mine"]).await;
    let csr = json_of(&cluster.succeeds(&admin, &["get", "csr", "mine", "-o", "json"]).await);
    assert_eq!(csr["status"]["conditions"][0]["type"], "Approved");
    cluster.stop().await;
}
