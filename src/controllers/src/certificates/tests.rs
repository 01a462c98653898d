use k8s_openapi::ByteString;

use super::*;

fn pem(common_name: &str, organizations: &[&str], sans: &[&str]) -> String {
    let key = pki::generate_key().unwrap();
    let organizations: Vec<String> = organizations.iter().map(ToString::to_string).collect();
    let sans: Vec<pki::San> = sans.iter().map(|san| pki::San::parse(san)).collect();
    pki::new_request(&key, common_name, &organizations, &sans).unwrap()
}

fn request(signer: &str, user: &str, groups: &[&str], usages: &[&str], pem: String) -> CertificateSigningRequest {
    let mut request: CertificateSigningRequest = serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": {
        "request": "", "signerName": format!("kubernetes.io/{signer}"), "username": user, "groups": groups,
        "usages": usages}}))
    .unwrap();
    request.spec.request = ByteString(pem.into_bytes());
    request
}

fn approved(mut request: CertificateSigningRequest) -> CertificateSigningRequest {
    let condition = judge::condition("Approved", "x", "y", Timestamp::UNIX_EPOCH);
    request.status.get_or_insert_default().conditions = Some(vec![condition]);
    request
}

const USAGES: &[&str] = &["digital signature", "client auth"];
const SERVER: &[&str] = &["digital signature", "key encipherment", "server auth"];

#[test]
fn nodes_get_client_certificates_for_themselves_only() {
    let w1 = || pem("system:node:w1", &["system:nodes"], &[]);
    let signer = "kube-apiserver-client-kubelet";
    let token = ("system:bootstrap:abcdef", &["system:bootstrappers", "system:authenticated"][..]);
    let node = ("system:node:w1", &["system:nodes"][..]);
    for (what, user, groups, usages, pem, approve) in [
        ("joins with a token", token.0, token.1, USAGES, w1(), true),
        ("renews", node.0, node.1, USAGES, w1(), true),
        ("another node", "system:node:w2", node.1, USAGES, w1(), false),
        ("a name without the group", node.0, &["x"][..], USAGES, w1(), false),
        ("a person", "jane", &["devs"][..], USAGES, w1(), false),
        ("a server's usage", token.0, token.1, SERVER, w1(), false),
        (
            "more groups",
            token.0,
            token.1,
            USAGES,
            pem("system:node:w1", &["system:nodes", "system:masters"], &[]),
            false,
        ),
        ("no node's name", token.0, token.1, USAGES, pem("admin", &["system:nodes"], &[]), false),
        ("with names", token.0, token.1, USAGES, pem("system:node:w1", &["system:nodes"], &["w1"]), false),
        ("damaged", token.0, token.1, USAGES, "x".to_string(), false),
    ] {
        let judged = judge::approval(&request(signer, user, groups, usages, pem), None);
        assert_eq!(matches!(judged, Approval::Approve(_)), approve, "{what}: {judged:?}");
    }
}

#[test]
fn nodes_serve_under_their_own_names_only() {
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "w1"}, "status": {"addresses": [
        {"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "w1"}]}}))
    .unwrap();
    let ask = |sans: &[&str], user: &str| {
        request("kubelet-serving", user, &["system:nodes"], SERVER, pem("system:node:w1", &["system:nodes"], sans))
    };
    let judge = |sans: &[&str], user: &str, node: Option<&Node>| judge::approval(&ask(sans, user), node);
    assert!(matches!(judge(&["w1", "10.0.0.1"], "system:node:w1", Some(&node)), Approval::Approve(_)));
    assert!(matches!(judge(&["w1", "10.0.0.1"], "system:node:w1", None), Approval::Later(_)));
    assert!(matches!(judge(&["kubernetes.default"], "system:node:w1", Some(&node)), Approval::Later(_)));
    assert!(matches!(judge(&["10.0.0.2"], "system:node:w1", Some(&node)), Approval::Later(_)));
    assert_eq!(judge(&["w1"], "system:node:w2", Some(&node)), Approval::NotOurs);
    assert_eq!(judge(&[], "system:node:w1", Some(&node)), Approval::NotOurs);
}

#[test]
fn what_is_signed_is_the_signers_choice() {
    let now = Timestamp::now();
    let authority = pki::Authority::generate("ca", now, &mut rand::rng()).unwrap();
    let authority = pki::Authority::from_pem("ca", &authority.certificate_pem, &authority.key_pem).unwrap();
    let year = Duration::from_secs(365 * 24 * 3600);
    let mut ask =
        approved(request("kube-apiserver-client", "jane", &[], USAGES, pem("jane", &["devs"], &["evil.example"])));
    ask.spec.expiration_seconds = Some(60);
    let Signing::Sign(pem_text, profile) = judge::signing(&ask, year) else { panic!("is signed") };
    assert_eq!((profile.sans.len(), profile.usage, profile.lifetime.as_secs()), (0, pki::Usage::Client, 600));
    let signed = authority.sign_request(&pem_text, &profile, now, &mut rand::rng()).unwrap();
    let read = pki::inspect("certificate", &signed).unwrap();
    assert!(read.sans().is_empty());
    ask.status.as_mut().unwrap().certificate = Some(ByteString(signed.into_bytes()));
    assert!(matches!(judge::signing(&ask, year), Signing::Nothing), "signed once");
}

#[test]
fn what_breaks_a_signers_rules_is_refused_though_approved() {
    let year = Duration::from_secs(365 * 24 * 3600);
    let refuse =
        |request: CertificateSigningRequest| matches!(judge::signing(&approved(request), year), Signing::Refuse(_));
    let client = "kube-apiserver-client";
    assert!(refuse(request(client, "jane", &[], USAGES, pem("jane", &["system:masters"], &[]))));
    assert!(refuse(request(client, "jane", &[], &["server auth"], pem("jane", &[], &[]))));
    assert!(refuse(request(client, "jane", &[], USAGES, "x".to_string())));
    assert!(refuse(request("kubelet-serving", "jane", &[], USAGES, pem("system:node:w1", &["system:nodes"], &["w1"]))));
    let waiting = request(client, "jane", &[], USAGES, pem("jane", &[], &[]));
    assert!(matches!(judge::signing(&waiting, year), Signing::Nothing), "not approved");
    let mut denied = approved(waiting);
    let denial = judge::condition("Denied", "x", "y", Timestamp::UNIX_EPOCH);
    denied.status.as_mut().unwrap().conditions.as_mut().unwrap().push(denial);
    assert!(matches!(judge::signing(&denied, year), Signing::Nothing));
}

#[test]
fn requests_go_when_they_have_done_their_work() {
    let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
    let make = |type_: Option<&str>, issued: bool| {
        let mut request = request("kube-apiserver-client", "jane", &[], USAGES, String::new());
        request.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
        let status = request.status.get_or_insert_default();
        status.conditions = type_.map(|type_| vec![judge::condition(type_, "x", "y", at(1))]);
        status.certificate = issued.then(|| ByteString(b"x".to_vec()));
        request
    };
    for (what, request, lives, dies) in [
        ("nobody decides", make(None, false), 23, 25),
        ("issued", make(Some("Approved"), true), 2, 3),
        ("approved, not issued", make(Some("Approved"), false), 23, 25),
        ("denied", make(Some("Denied"), false), 2, 3),
    ] {
        assert!(!cleanup::is_old(&request, at(lives)), "{what}");
        assert!(cleanup::is_old(&request, at(dies)), "{what}");
    }
}
