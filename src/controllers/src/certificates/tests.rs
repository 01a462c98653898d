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
    // Whether they may is asked by the name of what they would have to be allowed.
    let (any, own) = (&["nodeclient"][..], &["selfnodeclient", "nodeclient"][..]);
    for (what, user, groups, usages, pem, asked) in [
        ("joins with a token", token.0, token.1, USAGES, w1(), any),
        ("renews", node.0, node.1, USAGES, w1(), own),
        ("another node", "system:node:w2", node.1, USAGES, w1(), any),
        ("a person", "jane", &["devs"][..], USAGES, w1(), any),
        ("a server's usage", token.0, token.1, SERVER, w1(), &[]),
        ("more groups", token.0, token.1, USAGES, pem("system:node:w1", &["system:nodes", "system:masters"], &[]), &[]),
        ("no node's name", token.0, token.1, USAGES, pem("admin", &["system:nodes"], &[]), &[]),
        ("with names", token.0, token.1, USAGES, pem("system:node:w1", &["system:nodes"], &["w1"]), &[]),
        ("damaged", token.0, token.1, USAGES, "x".to_string(), &[]),
    ] {
        let judged = judge::approval(&request(signer, user, groups, usages, pem), &[], &Reserved::default());
        let permissions = match &judged {
            Approval::Ask(permissions) => permissions.iter().map(|permission| permission.subresource).collect(),
            _ => Vec::new(),
        };
        assert_eq!(permissions, asked, "{what}: {judged:?}");
    }
}

fn node(name: &str, addresses: &[&str], labels: Value) -> Arc<Node> {
    let typed = |address: &&str| {
        let type_ = if address.parse::<std::net::IpAddr>().is_ok() { "InternalIP" } else { "Hostname" };
        json!({"type": type_, "address": address})
    };
    let addresses: Vec<Value> = addresses.iter().map(typed).collect();
    let node = json!({"metadata": {"name": name, "labels": labels}, "status": {"addresses": addresses}});
    Arc::new(serde_json::from_value(node).unwrap())
}

fn cluster() -> Reserved {
    let names = ["kubernetes", "kubernetes.default.svc", "localhost", "127.0.0.1", "10.43.0.1", "10.0.0.10", "cp1"];
    Reserved {
        server: names.iter().chain(&["api.example.org"]).map(|name| pki::San::parse(name)).collect(),
        networks: vec!["10.43.0.0/16".parse().unwrap(), "10.42.0.0/16".parse().unwrap()],
        domain: "cluster.local".to_string(),
    }
}

/// What comes of the request of a node's agent for these names, where that node's status lists all of them.
fn serve(name: &str, sans: &[&str], labels: Value, others: &[Arc<Node>]) -> Approval {
    let user = format!("system:node:{name}");
    let asked = request("kubelet-serving", &user, &["system:nodes"], SERVER, pem(&user, &["system:nodes"], sans));
    let nodes: Vec<Arc<Node>> = others.iter().cloned().chain([node(name, sans, labels)]).collect();
    judge::approval(&asked, &nodes, &cluster())
}

#[test]
fn nodes_serve_under_what_is_theirs_whatever_they_list() {
    let controller = json!({"node-role.kubernetes.io/control-plane": ""});
    let others = [
        node("cp1", &["10.0.0.10", "cp1"], controller.clone()),
        node("w2", &["10.0.0.2", "fd00::2", "w2", "w2.example.org"], json!({})),
    ];
    for (name, sans, approved) in [
        ("w1", &["w1", "10.0.0.1"][..], true),
        ("w1", &["W1", "w1.example.org", "10.0.0.1", "fd00::1"], true),
        ("w1.example.org", &["w1.example.org", "w1", "10.0.0.1"], true),
        ("w1.cluster.local", &["w1.cluster.local"], true),
        // The API server's and the cluster's own.
        ("w1", &["w1", "10.0.0.10"], false),
        ("w1", &["w1", "::ffff:10.0.0.10"], false),
        ("w1", &["w1", "10.43.0.1"], false),
        ("w1", &["w1", "10.43.9.9"], false),
        ("w1", &["w1", "10.42.1.1"], false),
        ("w1", &["w1", "127.0.0.1"], false),
        ("w1", &["w1", "::1"], false),
        ("w1", &["w1", "169.254.169.254"], false),
        ("w1", &["w1", "fe80::1"], false),
        ("w1", &["w1", "0.0.0.0"], false),
        ("w1", &["w1", "224.0.0.1"], false),
        ("w1", &["kubernetes"], false),
        ("w1", &["cp1"], false),
        ("kubernetes", &["kubernetes"], false),
        ("kubernetes.default", &["kubernetes.default"], false),
        ("localhost", &["localhost"], false),
        ("web.shop.svc", &["web.shop.svc"], false),
        ("web.shop.svc.cluster.local", &["web.shop.svc.cluster.local"], false),
        ("web.shop.pod.cluster.local", &["web.shop.pod.cluster.local"], false),
        ("api.example.org", &["api.example.org"], false),
        // What is another node's.
        ("w1", &["w1", "10.0.0.2"], false),
        ("w1", &["w1", "fd00:0::2"], false),
        ("w1", &["w2"], false),
        ("w2.example.org", &["w2.example.org"], false),
        // What is nobody's that is known.
        ("w1", &["w1", "example.org"], false),
        ("w1", &["*.example.org"], false),
    ] {
        let judged = serve(name, sans, json!({}), &others);
        assert_eq!(matches!(judged, Approval::Approve(_)), approved, "{name} {sans:?}: {judged:?}");
        assert!(approved || matches!(judged, Approval::Later(_)), "{name} {sans:?}: {judged:?}");
    }
}

#[test]
fn nodes_on_the_hosts_of_the_api_server_serve_under_their_addresses_and_no_more() {
    let controller = || json!({"node-role.kubernetes.io/control-plane": ""});
    assert!(matches!(serve("localhost", &["localhost", "10.0.0.10"], controller(), &[]), Approval::Approve(_)));
    for (sans, labels, approved) in [
        (&["cp1", "10.0.0.10"][..], controller(), true),
        (&["cp1", "10.0.0.10"], json!({}), false),
        (&["cp1", "10.43.0.1"], controller(), false),
        (&["cp1", "127.0.0.1"], controller(), false),
        (&["kubernetes"], controller(), false),
        (&["api.example.org"], controller(), false),
        (&["cp1", "10.0.0.2"], controller(), false),
    ] {
        let judged = serve("cp1", sans, labels, &[node("w2", &["10.0.0.2", "w2"], json!({}))]);
        assert_eq!(matches!(judged, Approval::Approve(_)), approved, "{sans:?}: {judged:?}");
    }
}

#[test]
fn requests_wait_for_what_a_node_has_not_listed_and_are_its_own() {
    let w1 = "system:node:w1";
    let ask = |sans: &[&str], user: &str, groups: &[&str]| {
        request("kubelet-serving", user, groups, SERVER, pem(w1, &["system:nodes"], sans))
    };
    let judge = |asked: &CertificateSigningRequest, nodes: &[Arc<Node>]| judge::approval(asked, nodes, &cluster());
    let asked = ask(&["w1", "10.0.0.1"], w1, &["system:nodes"]);
    let (bare, listed) = (node("w1", &["w1"], json!({})), node("w1", &["w1", "10.0.0.1"], json!({})));
    assert!(matches!(judge(&asked, &[]), Approval::Later(_)));
    assert!(matches!(judge(&asked, std::slice::from_ref(&bare)), Approval::Later(_)));
    assert!(matches!(judge(&asked, std::slice::from_ref(&listed)), Approval::Approve(_)));
    assert!(judge::waits_for_nodes(&asked) && !judge::waits_for_nodes(&approved(asked)));
    assert!(judge::matters(&bare, &listed) && !judge::matters(&listed, &listed));
    assert!(judge::matters(&bare, &node("w1", &["w1"], json!({"node-role.kubernetes.io/control-plane": ""}))));
    let nodes = [listed];
    assert_eq!(judge(&ask(&["w1"], "system:node:w2", &["system:nodes"]), &nodes), Approval::NotOurs);
    assert_eq!(judge(&ask(&["w1"], w1, &["devs"]), &nodes), Approval::NotOurs);
    assert_eq!(judge(&ask(&[], w1, &["system:nodes"]), &nodes), Approval::NotOurs);
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
