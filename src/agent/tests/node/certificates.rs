//! Volumes with certificates of the pod's own and with roots to trust, and a signer that answers as each case wants.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::{ClusterTrustBundle, PodCertificateRequest};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair, SanType,
};
use serde_json::{Value, json};
use stdx::pem;

use crate::PATIENCE;
use crate::bench::Bench;
use crate::lives::{BUSYBOX, condition, phase, waits_for};

/// What should take a second or two may take this long on a busy machine; polling each minute would be later.
const SOON: Duration = Duration::from_secs(20);
const SIGNER: &str = "example.com/own";

fn requests(bench: &Bench) -> Api<PodCertificateRequest> {
    Api::namespaced(bench.client.clone(), "default")
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

/// The request of a pod that nobody has answered yet.
async fn asked(bench: &Bench, pod: &str) -> PodCertificateRequest {
    testkit::eventually_async(PATIENCE, &format!("{pod} asks for a certificate"), async || {
        let all = requests(bench).list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let open =
            |found: &PodCertificateRequest| found.status.as_ref().is_none_or(|status| status.conditions.is_none());
        let found = all.items.into_iter().find(|found| found.spec.pod_name == pod && open(found));
        found.ok_or_else(|| "no request".to_string())
    })
    .await
}

async fn answer(bench: &Bench, request: &PodCertificateRequest, status: Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    requests(bench)
        .patch_status(&request.name_any(), &PatchParams::default(), &patch)
        .await
        .expect("the answer is taken");
}

fn decision(type_: &str, reason: &str) -> Value {
    json!([{ "type": type_, "status": "True", "reason": reason, "message": "words", "lastTransitionTime": Timestamp::now().to_string() }])
}

/// Signs for as long as is asked, with a name made of the namespace and of what the pod's author wrote.
async fn sign(bench: &Bench, request: &PodCertificateRequest, issuer: &Issuer<'static, KeyPair>, root: &str) {
    let der = request.spec.stub_pkc_s10_request.0.clone();
    let mut csr = CertificateSigningRequestParams::from_der(&der.into()).expect("a request");
    let begin = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let end = begin + SignedDuration::from_secs(i64::from(request.spec.max_expiration_seconds.expect("a life")));
    let at = |time: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(time.as_second().unsigned_abs());
    let notes = request.spec.unverified_user_annotations.clone().unwrap_or_default();
    let path = notes.get("spiffe/path-overriding").cloned().unwrap_or_else(|| "/pod".to_string());
    let name = format!("spiffe://cluster.local{path}");
    csr.params = CertificateParams::default();
    csr.params.subject_alt_names = vec![SanType::URI(name.as_str().try_into().unwrap())];
    (csr.params.not_before, csr.params.not_after) = (at(begin), at(end));
    let leaf = csr.signed_by(issuer).expect("a certificate").pem();
    let status = json!({ "conditions": decision("Issued", "Signed"), "certificateChain": format!("# leaf\n{leaf}# root\n{root}"),
        "notBefore": begin.to_string(), "notAfter": end.to_string(),
        "beginRefreshAt": (begin + end.duration_since(begin) / 2).to_string() });
    answer(bench, request, status).await;
}

fn pod(sources: Value, print: &str) -> Value {
    json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [{ "name": "app", "image": BUSYBOX, "command": ["sh", "-c", print],
            "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }],
        "volumes": [{ "name": "v", "projected": { "sources": sources } }],
    })
}

async fn ended(bench: &Bench, name: &str) -> Pod {
    bench.until(name, "it succeeds", |pod| ["Succeeded", "Failed"].contains(&phase(pod))).await
}

fn parsed(chain: &str) -> Vec<Vec<u8>> {
    pem::blocks(chain).into_iter().filter(|block| block.label == pem::CERTIFICATE).map(|block| block.data).collect()
}

/// How long a certificate lives, and its names.
fn told(der: &[u8]) -> (i64, Vec<String>) {
    let (_, read) = x509_parser::parse_x509_certificate(der).expect("a certificate");
    let validity = read.validity();
    let names = read.subject_alternative_name().unwrap().map(|names| names.value.general_names.clone());
    let names = names.into_iter().flatten().map(|name| name.to_string()).collect();
    (validity.not_after.timestamp() - validity.not_before.timestamp(), names)
}

async fn events_of(bench: &Bench, pod: &str, reason: &str) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(bench.client.clone(), "default");
    let selector = format!("involvedObject.name={pod},reason={reason}");
    let found = events.list(&ListParams::default().fields(&selector)).await.expect("events");
    found.into_iter().filter_map(|event| event.message).collect()
}

// conformance: projected podCertificate: default lifetime 24 h; requested 1 h honoured
// conformance: userAnnotations passed to the signer (SPIFFE path)
pub async fn a_pod_gets_a_certificate_for_a_key_of_its_own(bench: &Bench) {
    let (root, issuer) = authority("own");
    let source = |change: Value| {
        let mut source = json!({ "signerName": SIGNER, "keyType": "ECDSAP256" });
        change.as_object().unwrap().iter().for_each(|(field, value)| source[field] = value.clone());
        json!({ "podCertificate": source })
    };
    let both = source(json!({ "credentialBundlePath": "both.pem" }));
    let apart = source(json!({ "keyPath": "key.pem", "certificateChainPath": "chain.pem", "keyType": "ED25519",
        "maxExpirationSeconds": 3600, "userAnnotations": { "spiffe/path-overriding": "/custom-workload" } }));
    let print =
        "cat /v/both.pem; echo ====; cat /v/key.pem; echo ====; cat /v/chain.pem; stat -L -c %a /v/both.pem /v/key.pem";
    let created = bench.run("certified", pod(json!([both, apart]), print)).await;
    for _ in 0..2 {
        let request = asked(bench, "certified").await;
        assert_eq!(request.spec.pod_uid, created.uid().unwrap());
        assert_eq!(request.owner_references()[0].uid, created.uid().unwrap());
        sign(bench, &request, &issuer, &root).await;
    }
    let pod = ended(bench, "certified").await;
    assert_eq!(phase(&pod), "Succeeded");
    let log = bench.log(&created, "app");
    let [both, key, rest] = log.splitn(3, "====\n").collect::<Vec<_>>()[..] else { panic!("{log}") };
    let blocks: Vec<&str> = pem::blocks(both).iter().map(|block| block.label).collect();
    assert_eq!(blocks, ["PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"], "and nothing between them");
    assert!(!both.contains('#') && rest.ends_with("644\n644\n"), "{log}");
    for (key, chain, life, name) in [(both, both, 86_400, "/pod"), (key, rest, 3600, "/custom-workload")] {
        let pair = KeyPair::from_pem(&pem::encode(pem::PRIVATE_KEY, &pem::blocks(key)[0].data)).expect("a key");
        let chain = parsed(chain);
        assert_eq!(chain[1], parsed(&root)[0], "the root comes last");
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        assert_eq!(
            leaf.public_key().subject_public_key.data,
            rcgen::PublicKeyData::der_bytes(&pair),
            "of the pod's key"
        );
        let (found, names) = told(&chain[0]);
        assert_eq!(found, life);
        assert!(names.iter().any(|found| found.contains(&format!("spiffe://cluster.local{name}"))), "{names:?}");
    }
    assert_eq!(events_of(bench, "certified", "Failed").await, Vec::<String>::new());
    bench.delete("certified").await;
}

pub async fn a_refused_certificate_is_told_and_its_pod_waits(bench: &Bench) {
    let source =
        json!({ "podCertificate": { "signerName": SIGNER, "keyType": "ED25519", "credentialBundlePath": "c" } });
    for (name, type_, reason) in [("denied", "Denied", "UnsupportedKeyType"), ("failing", "Failed", "Broken")] {
        bench.run(name, pod(json!([source]), "true")).await;
        let request = asked(bench, name).await;
        answer(bench, &request, json!({ "conditions": decision(type_, reason) })).await;
        let words = format!("reason={reason:?}, message=\"words\"");
        testkit::eventually_async(SOON, &format!("{name} is told of"), async || {
            let told = events_of(bench, name, type_).await;
            if told.iter().any(|message| message.ends_with(&words)) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
        let pod = bench.within(SOON, name, "it waits", |pod| waits_for(pod, "ContainerCreating")).await;
        assert_eq!(phase(&pod), "Pending");
        bench.delete(name).await;
    }
}

pub async fn a_request_that_somebody_deletes_is_made_again(bench: &Bench) {
    let (root, issuer) = authority("again");
    let source =
        json!({ "podCertificate": { "signerName": SIGNER, "keyType": "ECDSAP384", "credentialBundlePath": "c" } });
    bench.run("asks-again", pod(json!([source]), "grep -c CERTIFICATE /v/c")).await;
    let first = asked(bench, "asks-again").await;
    requests(bench).delete(&first.name_any(), &DeleteParams::default()).await.expect("it is deleted");
    let second = testkit::eventually_async(SOON, "another is made", async || {
        let found = asked(bench, "asks-again").await;
        if found.uid() == first.uid() { Err("the first one") } else { Ok(found) }
    })
    .await;
    sign(bench, &second, &issuer, &root).await;
    assert_eq!(phase(&ended(bench, "asks-again").await), "Succeeded");
    bench.delete("asks-again").await;
}

fn bundles(bench: &Bench) -> Api<ClusterTrustBundle> {
    Api::all(bench.client.clone())
}

async fn publish(bench: &Bench, name: &str, signer: Option<&str>, alive: &str, roots: &[&str]) {
    let object = json!({ "metadata": { "name": name, "labels": { "alive": alive } },
        "spec": { "signerName": signer, "trustBundle": roots.concat() } });
    let object = serde_json::from_value(object).expect("a bundle");
    bundles(bench).create(&PostParams::default(), &object).await.expect("the bundle is taken");
}

// conformance: mount one by name; several volumes; >100 volumes
// conformance: label match combined; empty selector takes all; optional with no match starts; optional with nil selector starts
// conformance: pod blocked when optional=false and: named bundle missing; query matches none
pub async fn pods_trust_the_roots_that_they_select(bench: &Bench) {
    let roots: Vec<String> = ["a", "b", "c", "late"].map(|name| authority(name).0).into();
    let [a, b, c, late] = &roots[..] else { panic!("four roots") };
    publish(bench, "plain", None, "true", &[c]).await;
    publish(bench, "example.com:roots:one", Some("example.com/roots"), "true", &[a, b]).await;
    publish(bench, "example.com:roots:two", Some("example.com/roots"), "false", &[b, c]).await;
    let named = |name: &str, optional: bool| json!({ "name": name, "optional": optional });
    let chosen = |selector: Value, optional: bool| json!({ "signerName": "example.com/roots", "labelSelector": selector, "optional": optional });
    let none = json!({ "matchLabels": { "alive": "unknown" } });
    let cases: Vec<(Value, Vec<&String>)> = vec![
        (named("plain", false), vec![c]),
        (named("none", true), vec![]),
        (chosen(json!({ "matchLabels": { "alive": "true" } }), false), vec![a, b]),
        (chosen(json!({}), false), vec![a, b, c]),
        (chosen(none.clone(), true), vec![]),
        (chosen(Value::Null, true), vec![]),
    ];
    let mut sources: Vec<Value> = Vec::new();
    for (index, (source, _)) in cases.iter().enumerate() {
        let mut source = source.clone();
        source["path"] = json!(format!("{index}.pem"));
        sources.push(json!({ "clusterTrustBundle": source }));
    }
    sources.extend(
        (0..120).map(|n| json!({ "clusterTrustBundle": { "name": "plain", "path": format!("many-{n}.pem") } })),
    );
    let count = cases.len();
    let print = format!(
        "for n in $(seq 0 {}); do cat /v/$n.pem; echo ====; done; cat /v/many-119.pem; ls /v | wc -l",
        count - 1
    );
    let created = bench.run("trusting", pod(json!(sources), &print)).await;
    let pod_ended = ended(bench, "trusting").await;
    assert_eq!(phase(&pod_ended), "Succeeded");
    let log = bench.log(&created, "app");
    let parts: Vec<&str> = log.split("====\n").collect();
    for (part, (source, wanted)) in parts.iter().zip(&cases) {
        let mut wanted: Vec<Vec<u8>> = wanted.iter().flat_map(|root| parsed(root)).collect();
        wanted.sort();
        assert_eq!(parsed(part), wanted, "{source}");
    }
    assert_eq!(parsed(parts[count]), parsed(c));
    assert!(parts[count].ends_with(&format!("{}\n", count + 120)), "{}", parts[count]);
    bench.delete("trusting").await;

    for (name, mut source, words) in [
        ("missing", named("late", false), "\"late\" not found"),
        ("unmatched", chosen(none, false), "matched zero ClusterTrustBundles"),
    ] {
        source["path"] = json!("roots.pem");
        let follow = "while true; do sleep 1; done";
        bench.run(name, pod(json!([{ "clusterTrustBundle": source }]), follow)).await;
        testkit::eventually_async(PATIENCE, &format!("{name} is told of"), async || {
            let told = events_of(bench, name, "FailedMount").await;
            if told.iter().any(|message| message.contains(words)) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
        let pod = bench.until(name, "it waits", |pod| waits_for(pod, "ContainerCreating")).await;
        let ready = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .find(|found| found.type_ == "Ready");
        let ready = ready.expect("a condition");
        assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("False", Some("ContainersNotReady")));
        assert_eq!(ready.message.as_deref(), Some("containers with unready status: [app]"));
    }
    // It comes, and changes while the pod runs.
    publish(bench, "late", None, "true", &[late]).await;
    let running = bench.within(SOON, "missing", "it runs", |pod| condition(pod, "Ready") == "True").await;
    let file = bench.volume(&running, "projected", "v").join("roots.pem");
    assert_eq!(parsed(&std::fs::read_to_string(&file).unwrap()), parsed(late));
    let patch = Patch::Merge(json!({ "spec": { "trustBundle": a } }));
    bundles(bench).patch("late", &PatchParams::default(), &patch).await.expect("the bundle is exchanged");
    let wanted = parsed(a);
    testkit::eventually_async(SOON, "the file is exchanged", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| parsed(&text) == wanted)
    })
    .await;
    tokio::join!(bench.delete("missing"), bench.delete("unmatched"));
}
