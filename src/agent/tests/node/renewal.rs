//! The agent's certificates: asked for anew in time, and used.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::PATIENCE;
use crate::bench::Bench;
use crate::server::{FIRST_LIFE, NODE};

/// The agent finds certificates that end within [`FIRST_LIFE`]; it is to have others by then, and to go on.
pub async fn certificates_are_renewed_and_used_when_the_old_ones_have_ended(bench: &Bench) {
    let folder = bench.folder.path().join("agent");
    let begun = Timestamp::now();
    let client = renewed(bench, &folder, "client", "kubernetes.io/kube-apiserver-client-kubelet").await;
    assert_eq!(pki::inspect("client", &client).unwrap().common_name, format!("system:node:{NODE}"));
    let serving = renewed(bench, &folder, "serving", "kubernetes.io/kubelet-serving").await;
    let shown = serving_certificate(bench).await;
    assert_eq!(
        shown,
        CertificateDer::from_pem_slice(serving.as_bytes()).unwrap(),
        "the agent's server shows the new one"
    );

    // The API knows the old certificate no more, on connections that began with it as well. A second or two are lost
    // in whole seconds.
    let ended = begun + FIRST_LIFE + Duration::from_secs(3);
    let leases: Api<Lease> = Api::namespaced(bench.client.clone(), "kube-node-lease");
    testkit::eventually_async(FIRST_LIFE + PATIENCE, "the node lives on after the old certificate's end", async || {
        let lease = leases.get(NODE).await.map_err(|error| error.to_string())?;
        let renewed = lease.spec.and_then(|spec| spec.renew_time).map(|time| time.0);
        if renewed.is_some_and(|at| at > ended) { Ok(()) } else { Err(format!("{renewed:?} after {ended}")) }
    })
    .await;
}

/// Waits until a certificate is another than the first, and finds the request it comes from.
async fn renewed(bench: &Bench, folder: &Path, name: &str, signer: &str) -> String {
    let file = folder.join(format!("{name}.crt"));
    let long_lived = |pem: &str| {
        let found = pki::inspect(name, pem).ok()?;
        (found.not_after > Timestamp::now() + 2 * FIRST_LIFE).then_some(())
    };
    let pem = testkit::eventually_async(FIRST_LIFE, &format!("{name}.crt is renewed"), async || {
        std::fs::read_to_string(&file).ok().filter(|pem| long_lived(pem).is_some())
    })
    .await;
    for end in ["crt", "key"] {
        let mode = std::fs::metadata(folder.join(format!("{name}.{end}"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}.{end}");
    }
    let requests = Api::<CertificateSigningRequest>::all(bench.client.clone());
    let requests = requests.list(&ListParams::default()).await.unwrap().items;
    let of_file = |request: &&CertificateSigningRequest| {
        let signed = request.status.as_ref().and_then(|status| status.certificate.as_ref());
        signed.is_some_and(|signed| signed.0 == pem.as_bytes())
    };
    let request = requests.iter().find(of_file).expect("the certificate was asked for");
    assert_eq!(request.spec.signer_name, signer);
    assert_eq!(
        request.spec.username.as_deref(),
        Some(format!("system:node:{NODE}").as_str()),
        "by the old certificate"
    );
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref()).unwrap();
    assert!(conditions.iter().any(|condition| condition.type_ == "Approved"), "{conditions:?}");
    pem
}

/// What the agent's own server shows to a client that trusts the cluster's CA alone.
async fn serving_certificate(bench: &Bench) -> CertificateDer<'static> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(bench.folder.path().join("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    testkit::eventually_async(PATIENCE, "the agent's server answers", async || {
        let stream = tokio::net::TcpStream::connect(bench.serving).await.map_err(|error| error.to_string())?;
        let name = ServerName::from(bench.serving.ip());
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
        shown.map(CertificateDer::into_owned).ok_or_else(|| "no certificate".to_string())
    })
    .await
}
