use super::*;
use crate::admission::testing::Cluster;

fn parts() -> (Parts, Cluster) {
    let cluster = Cluster::new();
    let caller = Arc::new(Caller::new(cluster.live.clone(), false));
    (
        Parts {
            node: Arc::new(Always(Decision::NoOpinion(String::new()))),
            rbac: Arc::new(Administrators),
            caller,
            remote: Remote::load,
        },
        cluster,
    )
}

fn read(authorizers: &str) -> Result<Configured, String> {
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n";
    parse(&format!("{head}{authorizers}"), &parts().0)
}

const RBAC: &str = "- {type: RBAC, name: rbac}\n";

#[tokio::test]
async fn authorizers_are_those_of_the_file_after_the_administrators() {
    let configured = read(&format!("- {{type: Node, name: node}}\n{RBAC}- {{type: AlwaysAllow, name: all}}\n"));
    let configured = configured.expect("a configuration");
    assert!(!configured.asks_webhooks);
    let decision = configured.chain.authorize(&User::new("ann", &[]), &Attributes::default()).await;
    assert_eq!(decision, Decision::Allow(String::new()));
    let denied = read(&format!("- {{type: AlwaysDeny, name: none}}\n{RBAC}")).expect("a configuration");
    let decision = denied.chain.authorize(&User::new("ann", &[]), &Attributes::default()).await;
    assert_eq!(decision, Decision::NoOpinion("Everything is forbidden.".to_string()));
    let decision = denied.chain.authorize(&User::new("root", &["system:masters"]), &Attributes::default()).await;
    assert!(matches!(decision, Decision::Allow(_)));
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_by_the_field_that_has_it() {
    let webhook = |changes: &str| {
        let mut fields = vec![
            ("timeout", "3s"),
            ("subjectAccessReviewVersion", "v1"),
            ("failurePolicy", "Deny"),
            ("connectionInfo", "{type: KubeConfigFile, kubeConfigFile: /nowhere/k}"),
        ];
        let changed: Vec<(&str, &str)> = changes.split(';').filter_map(|change| change.split_once('=')).collect();
        fields.retain(|(name, _)| !changed.iter().any(|(changed, _)| changed == name));
        fields.extend(changed.into_iter().filter(|(_, value)| !value.is_empty()));
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{RBAC}- {{type: Webhook, name: w, webhook: {{{}}}}}\n", fields.join(", "))
    };
    for (text, why) in [
        ("  []".to_string(), "at least one"),
        ("- {type: Node, name: n}".to_string(), "RBAC is missing"),
        ("- {type: ABAC, name: n}".to_string(), "Unsupported value: \"ABAC\""),
        ("- {name: n}".to_string(), "type: Required"),
        ("- {type: RBAC}".to_string(), "name: Required"),
        ("- {type: RBAC, name: A}".to_string(), "name is invalid"),
        (format!("{RBAC}{RBAC}"), "authorizers[1].type: Duplicate"),
        (format!("{RBAC}- {{type: Node, name: rbac}}"), "name: Duplicate"),
        (format!("{RBAC}- {{type: Webhook, name: w}}"), "required when type=Webhook"),
        (webhook(""), "/nowhere/k"),
        (webhook("timeout="), "timeout: Required"),
        (webhook("timeout=31s"), "<= 30s"),
        (webhook("timeout=soon"), "no duration"),
        (webhook("failurePolicy="), "failurePolicy: Required"),
        (webhook("failurePolicy=Ignore"), "Unsupported value: \"Ignore\""),
        (webhook("subjectAccessReviewVersion=v2"), "Unsupported value: \"v2\""),
        (webhook("unauthorizedTTL=0s"), "must be > 0s"),
        (webhook("connectionInfo={type: KubeConfigFile, kubeConfigFile: k}"), "absolute"),
        (webhook("connectionInfo={type: InClusterConfig}"), "itself"),
        (webhook("matchConditions=[{expression: 'true'}]"), "matchConditionSubjectAccessReviewVersion"),
    ] {
        let refusal = read(&text).map(|_| ()).expect_err(&text);
        assert!(refusal.contains(why), "{text}: {refusal}");
    }
}

#[test]
fn conditions_look_at_the_review() {
    let condition = |text: &str| {
        let env = Env::new().with_variable("request", review_type());
        env.compile(text).map(|program| program.result_type().clone()).map_err(|error| error.to_string())
    };
    for text in [
        "has(request.resourceAttributes) && request.resourceAttributes.namespace == 'kube-system'",
        "!('system:serviceaccounts' in request.groups)",
        "request.resourceAttributes.labelSelector.requirements.exists(r, r.key == 'a')",
    ] {
        assert_eq!(condition(text), Ok(Type::Bool), "{text}");
    }
    assert!(condition("request.nobody == 'a'").is_err());
}
