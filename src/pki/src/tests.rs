use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn wanted(more: &[&str]) -> Wanted {
    let more = more.iter().map(|name| San::parse(name));
    Wanted {
        cluster_name: "lab".to_owned(),
        server_sans: server_sans("cluster.local", IpAddr::from([10, 43, 0, 1]), more),
    }
}

fn made(wanted: &Wanted) -> Bundle {
    let mut bundle = Bundle::new();
    let mut random = StdRng::seed_from_u64(7);
    for step in plan(wanted, &bundle, now()).unwrap() {
        carry_out(&step, wanted, &mut bundle, now(), &mut random).unwrap();
    }
    bundle
}

fn reasons(wanted: &Wanted, have: &Bundle, at: Timestamp) -> Vec<(Item, String)> {
    plan(wanted, have, at).unwrap().into_iter().map(|step| (step.item, step.reason)).collect()
}

#[test]
fn a_new_cluster_gets_every_file_once_and_then_nothing() {
    let wanted = wanted(&["10.88.0.2", "cp1"]);
    let bundle = made(&wanted);
    let names: Vec<&str> = bundle.keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(reasons(&wanted, &bundle, now()), []);
}

#[test]
fn the_server_certificate_has_every_name_and_one_year() {
    let wanted = wanted(&["10.88.0.2", "cp1", "API.example.org"]);
    let bundle = made(&wanted);
    let server = inspect("apiserver.crt", &bundle["apiserver.crt"]).unwrap();
    for name in ["kubernetes", "kubernetes.default.svc.cluster.local", "localhost", "cp1", "api.example.org"] {
        assert!(server.dns_names.iter().any(|dns| dns == name), "{name}");
    }
    for address in ["127.0.0.1", "::1", "10.43.0.1", "10.88.0.2"] {
        assert!(server.ip_addresses.contains(&address.parse().unwrap()), "{address}");
    }
    assert!(server.server_auth && !server.client_auth && !server.is_ca);
    assert_eq!(server.not_after, "2027-01-01T00:00:00Z".parse().unwrap());
    let ca = inspect("ca.crt", &bundle["ca.crt"]).unwrap();
    assert!(ca.is_ca);
    assert_eq!((ca.common_name.as_str(), server.issuer.as_str()), ("lab-ca", "lab-ca"));
}

#[test]
fn rustls_accepts_the_server_certificate_for_its_names() {
    let bundle = made(&wanted(&["10.88.0.2"]));
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    use rustls_pki_types::pem::PemObject;
    let der = |name: &str| rustls_pki_types::CertificateDer::from_pem_slice(bundle[name].as_bytes()).unwrap();
    roots.add(der("ca.crt")).unwrap();
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let time =
        rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(now().as_second().unsigned_abs()));
    use rustls::client::danger::ServerCertVerifier;
    for (name, good) in [("10.88.0.2", true), ("kubernetes.default", true), ("10.88.0.3", false)] {
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        assert_eq!(verifier.verify_server_cert(&der("apiserver.crt"), &[], &name, &[], time).is_ok(), good, "{name:?}");
    }
}

#[test]
fn only_what_must_be_renewed_is() {
    let wanted_now = wanted(&["cp1"]);
    let bundle = made(&wanted_now);
    let later = |days: i64| now() + SignedDuration::from_hours(24 * days);
    assert_eq!(reasons(&wanted_now, &bundle, later(200)), []);
    let items: Vec<Item> = plan(&wanted_now, &bundle, later(260)).unwrap().iter().map(|step| step.item).collect();
    assert_eq!(items, [Item::ApiServer, Item::KubeletClient, Item::FrontProxyClient]);
    let added = wanted(&["cp1", "10.0.0.9"]);
    assert_eq!(reasons(&added, &bundle, now()), [(Item::ApiServer, "`10.0.0.9` is not among its names".to_owned())]);
    let mut damaged = bundle.clone();
    damaged.insert("apiserver-kubelet-client.key".to_owned(), damaged["apiserver.key"].clone());
    let expected = "its key does not belong to its certificate".to_owned();
    assert_eq!(reasons(&wanted_now, &damaged, now()), [(Item::KubeletClient, expected)]);
    let other = made(&wanted_now);
    let mut foreign = bundle.clone();
    for name in ["ca.crt", "ca.key"] {
        foreign.insert(name.to_owned(), other[name].clone());
    }
    let items: Vec<Item> = plan(&wanted_now, &foreign, now()).unwrap().iter().map(|step| step.item).collect();
    assert_eq!(items, [Item::ApiServer, Item::KubeletClient]);
}

#[test]
fn the_certificate_for_agents_is_in_no_group_and_one_that_was_is_replaced() {
    let wanted = wanted(&[]);
    let mut bundle = made(&wanted);
    let client = inspect("client", &bundle["apiserver-kubelet-client.crt"]).unwrap();
    assert_eq!((client.common_name.as_str(), client.organizations.len()), ("kube-apiserver-kubelet-client", 0));
    let authority = Authority::from_pem("ca.crt", &bundle["ca.crt"], &bundle["ca.key"]).unwrap();
    let profile = Profile {
        common_name: client.common_name,
        organizations: vec![MASTERS_GROUP.to_owned()],
        sans: vec![],
        usage: Usage::Client,
        lifetime: LEAF_LIFETIME,
    };
    let old = authority.issue(&profile, now(), &mut StdRng::seed_from_u64(1)).unwrap();
    bundle.insert("apiserver-kubelet-client.crt".to_owned(), old.certificate_pem);
    bundle.insert("apiserver-kubelet-client.key".to_owned(), old.key_pem);
    let expected = "its subject is not the wanted one".to_owned();
    assert_eq!(reasons(&wanted, &bundle, now()), [(Item::KubeletClient, expected)]);
}

#[test]
fn half_an_authority_stops_instead_of_making_a_new_one() {
    let wanted = wanted(&[]);
    let mut bundle = made(&wanted);
    bundle.remove("ca.key");
    assert!(matches!(plan(&wanted, &bundle, now()), Err(Error::Half { present: "ca.crt", missing: "ca.key" })));
}

#[test]
fn a_request_gets_what_the_signer_grants_and_not_what_it_asks_for() {
    let bundle = made(&wanted(&[]));
    let authority = Authority::from_pem("ca.crt", &bundle["ca.crt"], &bundle["ca.key"]).unwrap();
    let key = generate_key().unwrap();
    let asked = [San::parse("evil.example"), San::parse("10.0.0.1")];
    let pem = new_request(&key, "system:node:w1", &["system:nodes".to_owned()], &asked).unwrap();
    let request = parse_request(&pem).unwrap();
    assert_eq!((request.common_name.as_str(), request.dns_names.len()), ("system:node:w1", 1));
    assert_eq!(request.organizations, ["system:nodes"]);
    let profile = Profile {
        common_name: request.common_name,
        organizations: request.organizations,
        sans: vec![],
        usage: Usage::Client,
        lifetime: LEAF_LIFETIME,
    };
    let signed = authority.sign_request(&pem, &profile, now(), &mut StdRng::seed_from_u64(1)).unwrap();
    let inspection = inspect("signed", &signed).unwrap();
    assert!(inspection.client_auth && !inspection.server_auth && !inspection.is_ca);
    assert_eq!(inspection.sans(), []);
    assert_eq!(inspection.organizations, ["system:nodes"]);
    assert_eq!(node_of(&signed).as_deref(), Some("w1"));
    assert_eq!(node_of(authority.certificate_pem()), None);
}

#[test]
fn a_damaged_request_is_refused() {
    let key = generate_key().unwrap();
    let pem = new_request(&key, "x", &[], &[]).unwrap();
    for bad in ["", "nonsense", &pem[..pem.len() / 2], &pem.replace("CERTIFICATE REQUEST", "CERTIFICATE")] {
        assert!(parse_request(bad).is_err(), "{bad}");
    }
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let issued = Authority::generate("x", now(), &mut StdRng::seed_from_u64(1)).unwrap();
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}

#[test]
fn a_kubeconfig_is_yaml_that_quotes_what_it_must() {
    let config = Kubeconfig {
        cluster: "lab".into(),
        user: ADMIN_USER.into(),
        server: "https://10.88.0.2:6443".into(),
        ca_pem: "CA".into(),
        auth: UserAuth::Token("a\"b".into()),
    };
    let text = config.to_yaml();
    assert!(text.contains("server: \"https://10.88.0.2:6443\"\n"), "{text}");
    assert!(text.contains("token: \"a\\\"b\"\n") && text.contains("certificate-authority-data: Q0E=\n"), "{text}");
}
