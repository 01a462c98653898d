use super::*;

const OWN: &str = "https://kubernetes.default.svc.cluster.local";

fn parse(text: &str) -> Result<Configuration, String> {
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    Configuration::parse(&format!("{head}{text}"), OWN, None)
}

#[test]
fn an_issuer_that_stays_keeps_its_keys() {
    let before = parse(&jwt(ISSUER, MAPPINGS)).expect("a configuration");
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    let is_kept = |text: &str| {
        let after = Configuration::parse(&format!("{head}{text}"), OWN, Some(&before)).expect("a configuration");
        Arc::ptr_eq(&after.issuers[0].keys, &before.issuers[0].keys)
    };
    assert!(is_kept(&format!("{}anonymous: {{enabled: false}}\n", jwt(ISSUER, MAPPINGS))));
    assert!(is_kept(&jwt("url: https://a.example, audiences: [another]", MAPPINGS)));
    assert!(!is_kept(&jwt(&format!("{ISSUER}, discoveryURL: 'https://b.example/oidc'"), MAPPINGS)));
}

fn jwt(issuer: &str, rest: &str) -> String {
    format!("jwt:\n- issuer: {{{issuer}}}\n{rest}")
}

const ISSUER: &str = "url: https://a.example, audiences: [kube]";
const MAPPINGS: &str = "  claimMappings: {username: {claim: sub, prefix: ''}}\n";

#[test]
fn issuers_and_who_may_come_without_credentials_are_read() {
    let configuration =
        parse(&format!("{}anonymous: {{enabled: true, conditions: [{{path: /livez}}]}}\n", jwt(ISSUER, MAPPINGS)))
            .expect("a configuration");
    assert_eq!(configuration.issuers.len(), 1);
    assert_eq!(configuration.issuers[0].discovery, "https://a.example/.well-known/openid-configuration");
    assert!(configuration.anonymous.allows("/livez") && !configuration.anonymous.allows("/livez/ping"));
    assert_eq!(parse("").expect("empty").anonymous, Anonymous::Always);
    assert_eq!(parse("anonymous: {enabled: false}").expect("none").anonymous, Anonymous::Never);
    let elsewhere = format!("{ISSUER}, discoveryURL: 'https://b.example/oidc'");
    let configuration = parse(&jwt(&elsewhere, MAPPINGS)).expect("a configuration");
    assert_eq!(configuration.issuers[0].discovery, "https://b.example/oidc");
}

#[test]
fn what_cannot_be_used_is_refused_by_the_field_that_has_it() {
    let mapped = |mappings: &str| jwt(ISSUER, &format!("  claimMappings: {mappings}\n"));
    let ruled = |rules: &str| jwt(ISSUER, &format!("{MAPPINGS}  {rules}\n"));
    for (text, why) in [
        ("jwts: []".to_string(), "jwts"),
        ("anonymous: {enabled: false, conditions: [{path: /livez}]}".to_string(), "anonymous.conditions"),
        (jwt("url: 'http://a', audiences: [k]", MAPPINGS), "scheme must be https"),
        (jwt("url: 'https://u@a', audiences: [k]", MAPPINGS), "username or password"),
        (jwt("url: 'https://a?b', audiences: [k]", MAPPINGS), "query"),
        (jwt("url: '', audiences: [k]", MAPPINGS), "jwt[0].issuer.url: Required"),
        (jwt(&format!("url: '{OWN}', audiences: [k]"), MAPPINGS), "service accounts"),
        (jwt("url: 'https://a'", MAPPINGS), "audiences"),
        (jwt("url: 'https://a', audiences: [a, b]", MAPPINGS), "MatchAny for multiple"),
        (jwt("url: 'https://a', audiences: [a], audienceMatchPolicy: All", MAPPINGS), "single audience"),
        (jwt("url: 'https://a', audiences: [a], egressSelectorType: cluster", MAPPINGS), "egress"),
        (jwt("url: 'https://a', audiences: [a], certificateAuthority: x", MAPPINGS), "certificateAuthority"),
        (jwt("url: 'https://a', audiences: [a], discoveryURL: 'https://a/'", MAPPINGS), "different from URL"),
        (jwt(ISSUER, ""), "claimMappings.username: Required"),
        (mapped("{username: {claim: sub}}"), "prefix is required"),
        (mapped("{username: {claim: sub, prefix: a, expression: b}}"), "can't both"),
        (mapped("{username: {expression: 'claims.'}}"), "claimMappings.username.expression"),
        (mapped("{username: {expression: user.name}}"), "undeclared reference"),
        (mapped("{username: {expression: claims.email}}"), "email_verified must be used"),
        (
            mapped("{username: {claim: sub, prefix: ''}, extra: [{key: team, valueExpression: claims.t}]}"),
            "extra[0].key",
        ),
        (
            mapped("{username: {claim: sub, prefix: ''}, extra: [{key: a.k8s.io/t, valueExpression: claims.t}]}"),
            "reserved",
        ),
        (mapped("{username: {claim: sub, prefix: ''}, extra: [{key: acme.io/t}]}"), "valueExpression: Required"),
        (ruled("claimValidationRules: [{}]"), "claim or expression is required"),
        (ruled("claimValidationRules: [{claim: a, message: b}]"), "message"),
        (ruled("claimValidationRules: [{expression: claims.a}]"), "must evaluate to bool"),
        (ruled("claimValidationRules: [{claim: a}, {claim: a}]"), "Duplicate"),
        (ruled("userValidationRules: [{expression: user.nme == ''}]"), "userValidationRules[0].expression"),
    ] {
        let refusal = parse(&text).map(|_| ()).expect_err(&text);
        assert!(refusal.contains(why), "{text}: {refusal}");
    }
    let twice = format!("{}- issuer: {{{ISSUER}}}\n{MAPPINGS}", jwt(ISSUER, MAPPINGS));
    assert!(parse(&twice).map(|_| ()).expect_err("twice").contains("jwt[1].issuer.url: Duplicate"));
    let verified = mapped("{username: {expression: \"claims.email_verified ? claims.email : ''\"}}");
    assert!(parse(&verified).is_ok());
}
