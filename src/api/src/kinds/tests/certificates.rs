//! Bundles of roots, certificates of pods, and the volumes that show them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use machinery::meta;
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, RsaKeySize, SanType, SignatureAlgorithm};

use super::*;

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("a key")
}

fn certificate(edit: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    edit(&mut params);
    params.self_signed(&key(&rcgen::PKCS_ED25519)).expect("a certificate").pem()
}

fn root(name: &str) -> String {
    certificate(|params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
    })
}

fn bundle(name: &str, signer: &str, text: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": text}})
}

#[test]
fn bundles_hold_roots_once_and_are_named_by_their_signer() {
    let refused = |index: &str| vec![format!("spec.trustBundle: Invalid value: \"<value omitted>\": {index}")];
    let (a, b) = (root("a"), root("b"));
    let with_headers = a.replacen("-----\n", "-----\nA: b\n\n", 1);
    let none: Vec<String> = Vec::new();
    for (name, signer, text, expected) in [
        ("plain", "", a.clone(), none.clone()),
        ("example.com:own:v1", "example.com/own", format!("before\n{a}between\n{b}"), none.clone()),
        ("plain", "", String::new(), refused("at least one trust anchor must be provided")),
        ("plain", "", format!("{a}{b}{a}"), refused("duplicate trust anchor (indices [0 2])")),
        ("plain", "", certificate(|_| {}), refused("entry 0 does not have the CA bit set")),
        ("plain", "", with_headers, refused("entry 0 has PEM block headers")),
        ("plain", "", stdx::pem::encode("PRIVATE KEY", b"x"), refused("entry 0 has bad block type: PRIVATE KEY")),
        ("plain", "", format!("{a}{}", stdx::pem::encode("CERTIFICATE", b"x")), refused("entry 1 does not parse as X.509")),
        (
            "a:b",
            "",
            a.clone(),
            vec!["metadata.name: Invalid value: \"a:b\": ClusterTrustBundle without signer name must not have \":\" in its name".to_string()],
        ),
        (
            "plain",
            "example.com/own",
            a.clone(),
            vec!["metadata.name: Invalid value: \"plain\": ClusterTrustBundle for signerName example.com/own must be named with prefix example.com:own:".to_string()],
        ),
        ("own:v1", "own", a.clone(), vec![
            "spec.signerName: Invalid value: \"own\": must be a fully qualified domain and path of the form 'example.com/signer-name'".to_string(),
        ]),
    ] {
        assert_eq!(create("clustertrustbundles", bundle(name, signer, &text)).1, expected, "{name} {signer}");
    }
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(
        create("clustertrustbundles", bundle("plain", "", &large)).1,
        ["spec.trustBundle: Too long: may not be more than 1048576 bytes"]
    );
}

#[test]
fn a_bundle_keeps_its_signer_and_may_be_exchanged() {
    let own = || bundle("example.com:own:v1", "example.com/own", &root("a"));
    let exchanged = update("clustertrustbundles", own(), |object| object["spec"]["trustBundle"] = json!(root("b")));
    assert_eq!(exchanged, Vec::<String>::new());
    let broken = update("clustertrustbundles", own(), |object| object["spec"]["trustBundle"] = json!("x"));
    assert_eq!(
        broken,
        ["spec.trustBundle: Invalid value: \"<value omitted>\": at least one trust anchor must be provided"]
    );
    let moved =
        update("clustertrustbundles", own(), |object| object["spec"]["signerName"] = json!("example.com/other"));
    assert_eq!(
        moved.last().map(String::as_str),
        Some("spec.signerName: Invalid value: \"example.com/other\": field is immutable")
    );
}

fn request_of(key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    STANDARD.encode(params.serialize_request(key).expect("a request").der())
}

fn spec(request: &str) -> Value {
    json!({"signerName": "example.com/own", "podName": "p", "podUID": "pu", "serviceAccountName": "default",
        "serviceAccountUID": "su", "nodeName": "n", "nodeUID": "nu", "stubPKCS10Request": request})
}

#[test]
fn every_key_that_nodes_make_can_be_asked_for() {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).expect("a key");
    for (name, key, taken) in [
        ("ED25519", key(&rcgen::PKCS_ED25519), true),
        ("ECDSAP256", key(&rcgen::PKCS_ECDSA_P256_SHA256), true),
        ("ECDSAP384", key(&rcgen::PKCS_ECDSA_P384_SHA384), true),
        ("ECDSAP521", key(&rcgen::PKCS_ECDSA_P521_SHA512), true),
        ("RSA3072", rsa(RsaKeySize::_3072), true),
        ("RSA4096", rsa(RsaKeySize::_4096), true),
        ("RSA2048", rsa(RsaKeySize::_2048), false),
    ] {
        let (object, errors) = create("podcertificaterequests", json!({"spec": spec(&request_of(&key))}));
        assert_eq!(errors.is_empty(), taken, "{name}: {errors:?}");
        assert_eq!(object["spec"]["maxExpirationSeconds"], 86_400, "the default");
    }
}

/// A key that says of itself what another one would.
struct Said {
    key: KeyPair,
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl rcgen::PublicKeyData for Said {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl rcgen::SigningKey for Said {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        rcgen::SigningKey::sign(&self.key, bytes)
    }
}

#[test]
fn a_key_is_of_the_kind_that_its_signature_is_of_and_nothing_follows_it() {
    use rcgen::PublicKeyData;
    let made = |key: &Said| {
        let params = CertificateParams::default();
        params.serialize_request(key).expect("a request").der().to_vec()
    };
    let refusal = |request: &[u8]| {
        let errors = create("podcertificaterequests", json!({"spec": spec(&STANDARD.encode(request))})).1;
        errors.first().cloned().unwrap_or_default()
    };
    // The bits of an Ed25519 key that calls itself a point of P-256, with a signature that says what it is: the last of
    // a request, behind its algorithm, is not signed.
    let ed25519 = key(&rcgen::PKCS_ED25519);
    let bits = ed25519.der_bytes().to_vec();
    let request = made(&Said { key: ed25519, bits, algorithm: &rcgen::PKCS_ECDSA_P256_SHA256 });
    let ecdsa = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let at = request.windows(ecdsa.len()).rposition(|window| window == ecdsa).expect("the algorithm");
    let mut changed = request[..at].to_vec();
    changed.extend_from_slice(&[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70]);
    changed.extend_from_slice(&request[at + ecdsa.len()..]);
    assert_eq!(changed[..2], [0x30, 0x81], "its length is one byte");
    changed[2] -= 5;
    assert!(refusal(&changed).ends_with("could not verify the signature with the request's own key"));
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072).expect("a key");
    let bits = [rsa.der_bytes(), &[0]].concat();
    let longer = made(&Said { key: rsa, bits, algorithm: &rcgen::PKCS_RSA_SHA256 });
    assert!(!refusal(&longer).is_empty(), "a byte follows the key");
    let good = made(&Said {
        bits: key(&rcgen::PKCS_ED25519).der_bytes().to_vec(),
        key: key(&rcgen::PKCS_ED25519),
        algorithm: &rcgen::PKCS_ED25519,
    });
    assert!(refusal(&[good.as_slice(), &[0]].concat()).contains("nothing may follow"));
}

#[test]
fn a_request_names_everything_and_shows_that_the_key_is_there() {
    let good = request_of(&key(&rcgen::PKCS_ED25519));
    let mut forged = STANDARD.decode(&good).expect("base64");
    *forged.last_mut().expect("a signature") ^= 1;
    let omitted = |why: &str| vec![format!("spec.stubPKCS10Request: Invalid value: \"<value omitted>\": {why}")];
    let range = |seconds: i64, longest: i64| {
        vec![format!("spec.maxExpirationSeconds: Invalid value: {seconds}: must be in the range [3600, {longest}]")]
    };
    let one = |error: &str| vec![error.to_string()];
    let own = "kubernetes.io/own";
    for (change, expected) in [
        (json!({"stubPKCS10Request": ""}), omitted("must be a valid PKCS#10 certificate signing request in DER")),
        (
            json!({"stubPKCS10Request": STANDARD.encode(&forged)}),
            omitted("could not verify the signature with the request's own key"),
        ),
        (json!({"maxExpirationSeconds": 3599}), range(3599, 7_862_400)),
        (json!({"maxExpirationSeconds": 3600}), Vec::new()),
        (json!({"maxExpirationSeconds": 7_862_400}), Vec::new()),
        (json!({"maxExpirationSeconds": 7_862_401}), range(7_862_401, 7_862_400)),
        (json!({"maxExpirationSeconds": 86_401, "signerName": own}), range(86_401, 86_400)),
        (json!({"podUID": ""}), one("spec.podUID: Invalid value: \"\": must not be empty")),
        (json!({"nodeUID": "x".repeat(129)}), one("spec.nodeUID: Too long: may not be more than 128 bytes")),
        (json!({"signerName": ""}), one("spec.signerName: Required value")),
        (json!({"unverifiedUserAnnotations": {"example.com/a": "b"}}), Vec::new()),
        (
            json!({"unverifiedUserAnnotations": {"a": "b"}}),
            one(
                "spec.unverifiedUserAnnotations: Invalid value: \"a\": must be a domain-prefixed key (such as \"acme.io/foo\")",
            ),
        ),
        (
            json!({"unverifiedUserAnnotations": {"a.b/c": "x".repeat(256 << 10)}}),
            one("spec.unverifiedUserAnnotations: Too long: may not be more than 262144 bytes"),
        ),
    ] {
        let mut spec = spec(&good);
        for (field, value) in change.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        assert_eq!(create("podcertificaterequests", json!({"spec": spec})).1, expected, "{change}");
    }
    let changed = update("podcertificaterequests", json!({"spec": spec(&good)}), |object| {
        object["spec"]["podName"] = json!("other");
    });
    assert!(changed.iter().any(|error| error.starts_with("spec: Invalid value: ")), "{changed:?}");
}

/// A chain for the key and the status that tells of it, with changes.
fn issued(key: &KeyPair, life: SignedDuration, edit: impl FnOnce(&mut CertificateParams, &mut Value)) -> Value {
    let begin = Timestamp::from_second(Timestamp::now().as_second()).expect("a time");
    let mut params = CertificateParams::default();
    let at = |time: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(time.as_second().unsigned_abs())
    };
    (params.not_before, params.not_after) = (at(begin), at(begin + life));
    let condition = json!({"type": "Issued", "status": "True", "reason": "Signed", "message": "",
        "lastTransitionTime": meta::format_time(begin)});
    let mut status = json!({"notBefore": meta::format_time(begin), "notAfter": meta::format_time(begin + life),
        "beginRefreshAt": meta::format_time(begin + life / 2), "conditions": [condition]});
    edit(&mut params, &mut status);
    if status.get("certificateChain").is_none() {
        status["certificateChain"] = json!(params.self_signed(key).expect("a certificate").pem());
    }
    status
}

/// What is wrong with the status of a request for the key whose status was `old`.
fn judged(key: &KeyPair, old: &Value, new: &Value) -> Vec<String> {
    let resource = resource("podcertificaterequests");
    let (mut before, errors) = create("podcertificaterequests", json!({"spec": spec(&request_of(key))}));
    assert_eq!(errors, Vec::<String>::new());
    before["status"] = old.clone();
    let mut object = before.clone();
    object["status"] = new.clone();
    object["metadata"]["labels"] = json!({"by": "the signer"});
    resource.behaviour.prepare_subresource_update("status", &mut object, &before);
    assert_eq!(object["metadata"], before["metadata"], "metadata is not the signer's to change");
    let errors = crate::metadata::validate_subresource_update(resource, "status", &object, &before);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_certificate_is_issued_for_the_key_and_for_no_longer_than_asked() {
    let own = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let hours = SignedDuration::from_hours;
    let none = json!({});
    let good = issued(&own, hours(24), |_, _| {});
    assert_eq!(judged(&own, &none, &good), Vec::<String>::new());
    let foreign = issued(&key(&rcgen::PKCS_ECDSA_P256_SHA256), hours(24), |_, _| {});
    let named = |name: &str| {
        let name = SanType::DnsName(name.try_into().expect("a name"));
        issued(&own, hours(24), |params, _| params.subject_alt_names.push(name))
    };
    let told = |field: &'static str, value: Value| issued(&own, hours(24), |_, status| status[field] = value);
    for (status, expected) in [
        (foreign, "leaf certificate was not issued to the requested public key"),
        (issued(&own, SignedDuration::from_mins(59), |_, _| {}), "leaf certificate lifetime must be >= 1 hour"),
        (issued(&own, hours(25), |_, _| {}), "leaf certificate lifetime must be <= spec.maxExpirationSeconds (86400)"),
        (named("a..b"), "leaf certificate's DNSName should not contain '..'"),
        (named("a."), "leaf certificate's DNSName should not start or end with '.'"),
        (told("certificateChain", json!("x")), "issued certificate chain must contain at least one certificate"),
        (
            told("notAfter", json!("2030-01-01T00:00:00Z")),
            "must be set to the NotAfter time encoded in the leaf certificate",
        ),
        (told("beginRefreshAt", good["notBefore"].clone()), "must be at least 10 minutes after status.notBefore"),
        (told("beginRefreshAt", good["notAfter"].clone()), "must be at least 10 minutes before status.notAfter"),
        (told("beginRefreshAt", Value::Null), "must be present and in the range [notbefore+10min, notafter-10min]"),
    ] {
        let errors = judged(&own, &none, &status);
        assert!(errors.len() == 1 && errors[0].ends_with(expected), "{expected}: {errors:?}");
    }
}

#[test]
fn what_became_of_a_request_stays() {
    let own = key(&rcgen::PKCS_ED25519);
    let issued = issued(&own, SignedDuration::from_hours(1), |_, _| {});
    let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let denied = json!({"conditions": [condition("Denied", "True")]});
    let mut retold = issued.clone();
    retold["conditions"][0]["message"] = json!("told otherwise");
    let mut half = denied.clone();
    half["notBefore"] = json!("2026-01-01T00:00:00Z");
    let none = json!({});
    for (old, new, expected) in [
        (&none, denied.clone(), ""),
        (&none, json!({"conditions": [condition("Failed", "True")]}), ""),
        (&none, none.clone(), ""),
        (&issued, retold, ""),
        (&issued, denied.clone(), "immutable after PodCertificateRequest is issued, denied, or failed"),
        (&denied, none.clone(), "immutable after PodCertificateRequest is issued, denied, or failed"),
        (&none, half, "non-condition status fields must be empty when denying or failing the PodCertificateRequest"),
        (
            &none,
            json!({"certificateChain": "x"}),
            "status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"",
        ),
        (&none, json!({"conditions": [condition("Denied", "False")]}), "supported values: \"True\""),
        (
            &none,
            json!({"conditions": [condition("Own", "True")]}),
            "supported values: \"Issued\", \"Denied\", \"Failed\"",
        ),
        (
            &none,
            json!({"conditions": [condition("Denied", "True"), condition("Failed", "True")]}),
            "There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"",
        ),
    ] {
        let errors = judged(&own, old, &new);
        match expected {
            "" => assert_eq!(errors, Vec::<String>::new(), "{new}"),
            expected => assert!(errors.len() == 1 && errors[0].ends_with(expected), "{expected}: {errors:?}"),
        }
    }
}

#[test]
fn a_certificate_begins_when_it_is_issued() {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
    for (begin, taken) in [("11:55:01", true), ("12:04:59", true), ("11:55:00", false), ("12:05:00", false)] {
        let object = json!({"status": {"notBefore": format!("2026-01-01T{begin}Z")}});
        let errors = crate::kinds::certificates::pod_request::begins_now(&object, now);
        assert_eq!(errors.is_empty(), taken, "{begin}: {errors:?}");
    }
}

// conformance: >91 d rejected; <1 h rejected
#[test]
fn volumes_ask_for_what_can_be_had() {
    let whole = json!({"signerName": "example.com/own", "keyType": "ED25519", "credentialBundlePath": "both.pem"});
    let certificate = |change: Value| {
        let mut source = whole.clone();
        for (field, value) in change.as_object().into_iter().flatten() {
            source[field] = value.clone();
        }
        json!({"podCertificate": source})
    };
    let bundle = |source: Value| json!({"clusterTrustBundle": source});
    let at = |path: &str, rest: &str| vec![format!("spec.volumes[0].projected.sources[0].{path}: {rest}")];
    let files = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
    let key_types =
        "supported values: \"RSA3072\", \"RSA4096\", \"ECDSAP256\", \"ECDSAP384\", \"ECDSAP521\", \"ED25519\"";
    let life = "podCertificate.maxExpirationSeconds";
    for (source, expected) in [
        (certificate(json!({})), Vec::new()),
        (certificate(json!({"maxExpirationSeconds": 7_862_400})), Vec::new()),
        (
            certificate(json!({"maxExpirationSeconds": 7_862_401})),
            at(life, "Invalid value: 7862401: if provided, maxExpirationSeconds must be <= 7862400"),
        ),
        (
            certificate(json!({"maxExpirationSeconds": 3599})),
            at(life, "Invalid value: 3599: if provided, maxExpirationSeconds must be >= 3600"),
        ),
        (
            certificate(json!({"maxExpirationSeconds": 86_401, "signerName": "kubernetes.io/own"})),
            at(life, "Invalid value: 86401: if provided, maxExpirationSeconds must be <= 86400"),
        ),
        (
            certificate(json!({"keyType": "RSA1024"})),
            at("podCertificate.keyType", &format!("Unsupported value: \"RSA1024\": {key_types}")),
        ),
        (certificate(json!({"credentialBundlePath": null})), at("podCertificate", &format!("Required value: {files}"))),
        (certificate(json!({"credentialBundlePath": null, "keyPath": "k", "certificateChainPath": "c"})), Vec::new()),
        (
            certificate(json!({"keyPath": "both.pem"})),
            vec!["spec.volumes[0].projected: Invalid value: \"both.pem\": conflicting duplicate paths".to_string()],
        ),
        (
            certificate(json!({"keyPath": "../k"})),
            at("podCertificate.keyPath", "Invalid value: \"../k\": must not contain '..'"),
        ),
        (bundle(json!({"name": "b", "path": "p"})), Vec::new()),
        (bundle(json!({"name": "example.com:own:v1", "path": "p"})), Vec::new()),
        (bundle(json!({"signerName": "example.com/own", "labelSelector": {}, "path": "p"})), Vec::new()),
        (
            bundle(json!({"path": "p"})),
            at("clusterTrustBundle", "Required value: either name or signerName must be specified"),
        ),
        (bundle(json!({"name": "b"})), at("clusterTrustBundle.path", "Required value")),
    ] {
        let volumes = json!([{"name": "v", "projected": {"sources": [source]}}]);
        let (_, errors) =
            create("pods", json!({"spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}}));
        assert_eq!(errors, expected, "{source}");
    }
}
