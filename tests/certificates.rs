//! What pods know themselves and others by: certificates of a signer of the drill's own and the roots it publishes,
//! the tokens of their service accounts and the keys of the issuer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType,
};
use serde_json::{Value, json};
use testkit::eventually;
use testkit::images::{archive, tls};

use crate::harness::{HOSTS, PATIENCE, Scene, drills};

drills![speak_mutual_tls_with_what_signers_gave_them, check_their_own_tokens_by_the_issuers_keys];

/// Between looks for requests.
const LOOK: Duration = Duration::from_millis(500);

/// Brings the image with openssl to every host.
fn bring_tls(scene: &Scene) {
    let image = archive(&[tls()]);
    for host in HOSTS {
        scene.cluster.host_with(host, "ctr -n k8s.io images import -", &image);
    }
}

/// A signer outside of the cluster, as its administrator runs one.
struct Signer<'a> {
    scene: &'a Scene,
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

impl<'a> Signer<'a> {
    /// Publishes the signer's root too.
    fn begin(scene: &'a Scene) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "drill");
        let root = params.self_signed(&key).expect("a certificate").pem();
        let name = format!("drill.example.com/{}", scene.namespace);
        let signer = Self { scene, name, issuer: Issuer::new(params, key) };
        let bundle = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle",
            "metadata": {"name": signer.bundle()}, "spec": {"signerName": signer.name, "trustBundle": root}});
        scene.apply(&bundle.to_string());
        signer
    }

    fn bundle(&self) -> String {
        format!("{}:v1", self.name.replace('/', ":"))
    }

    /// Answers requests until it is told to end.
    fn answer(&self, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            let selector = format!("--field-selector=spec.signerName={}", self.name);
            let requests = self.scene.kubectl.json(&["get", "podcertificaterequests", &selector]);
            let open = |request: &&Value| request["status"]["conditions"].is_null();
            for request in requests["items"].as_array().into_iter().flatten().filter(open) {
                self.sign(request);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn sign(&self, request: &Value) {
        let spec = &request["spec"];
        let stub = STANDARD.decode(spec["stubPKCS10Request"].as_str().unwrap_or_default()).expect("base64");
        let mut csr = CertificateSigningRequestParams::from_der(&stub.into()).expect("a request");
        let account = spec["serviceAccountName"].as_str().unwrap_or_default();
        let own = format!("/ns/{}/sa/{account}", self.scene.namespace);
        let path = spec["unverifiedUserAnnotations"]["spiffe/path-overriding"].as_str().unwrap_or(&own);
        let name = format!("spiffe://cluster.local{path}");
        csr.params = CertificateParams::default();
        csr.params.subject_alt_names = vec![SanType::URI(name.as_str().try_into().expect("a name"))];
        csr.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let begin = Timestamp::from_second(Timestamp::now().as_second() - 60).expect("a time");
        let end = begin + SignedDuration::from_secs(spec["maxExpirationSeconds"].as_i64().expect("a life"));
        let at =
            |time: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(time.as_second().unsigned_abs());
        (csr.params.not_before, csr.params.not_after) = (at(begin), at(end));
        let chain = csr.signed_by(&self.issuer).expect("a certificate").pem();
        let condition = json!({"type": "Issued", "status": "True", "reason": "Drilled", "message": "",
            "lastTransitionTime": Timestamp::now().to_string()});
        let status = json!({"certificateChain": chain, "notBefore": begin.to_string(), "notAfter": end.to_string(),
            "beginRefreshAt": (begin + end.duration_since(begin) / 2).to_string(), "conditions": [condition]});
        let patch = json!({"status": status}).to_string();
        let request = request["metadata"]["name"].as_str().unwrap_or_default();
        let words = ["patch", "podcertificaterequest", request, "--subresource=status", "--type=merge", "-p", &patch];
        self.scene.kubectl.ok(&words);
    }
}

impl Drop for Signer<'_> {
    fn drop(&mut self) {
        let _gone = self.scene.kubectl.run(&["delete", "clustertrustbundle", &self.bundle()]);
    }
}

/// A pod with a certificate of the signer and its roots in /tls.
fn pod(name: &str, signer: &str, certificate: Value, command: &str) -> String {
    let mut certificate = certificate;
    certificate["signerName"] = json!(signer);
    certificate["credentialBundlePath"] = json!("bundle.pem");
    let roots = json!({"signerName": signer, "labelSelector": {}, "path": "roots.pem"});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "tls", "image": "rkctl.local/tls:1", "imagePullPolicy": "Never",
            "command": ["sh", "-c", command], "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}],
        "volumes": [{"name": "tls", "projected": {"sources": [
            {"podCertificate": certificate}, {"clusterTrustBundle": roots}]}}],
    }})
    .to_string()
}

const WAIT: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";
const SERVE: &str = "exec openssl s_server -accept 8443 -cert /tls/bundle.pem -key /tls/bundle.pem \
    -CAfile /tls/roots.pem -Verify 1 -verify_return_error -www -quiet";

// conformance: two pods make an mTLS connection with projected chain + ClusterTrustBundle
// conformance: userAnnotations passed to the signer (SPIFFE path)
fn speak_mutual_tls_with_what_signers_gave_them(scene: &Scene) {
    bring_tls(scene);
    let signer = Signer::begin(scene);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 443, "targetPort": 8443}]}});
    let plain = json!({"keyType": "ECDSAP256"});
    let named = json!({"keyType": "ED25519", "maxExpirationSeconds": 3600,
        "userAnnotations": {"spiffe/path-overriding": "/custom-workload"}});
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| signer.answer(&ended));
        let drilled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scene.apply(&service.to_string());
            scene.apply(&pod("server", &signer.name, plain.clone(), SERVE));
            scene.apply(&pod("client", &signer.name, plain.clone(), WAIT));
            scene.apply(&pod("named", &signer.name, named.clone(), WAIT));
            ["pod/server", "pod/client", "pod/named"].iter().for_each(|pod| scene.ready(pod));
        }));
        ended.store(true, Ordering::Relaxed);
        if let Err(failure) = drilled {
            std::panic::resume_unwind(failure);
        }
    });
    let ask = |options: &str| {
        format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 20 openssl s_client -connect server.{}.svc:443 {options} \
             -CAfile /tls/roots.pem -verify_return_error -quiet 2>&1",
            scene.namespace
        )
    };
    let own = ask("-cert /tls/bundle.pem -key /tls/bundle.pem");
    for (client, path) in
        [("client", format!("/ns/{}/sa/default", scene.namespace)), ("named", "/custom-workload".into())]
    {
        let wanted = format!("URI:spiffe://cluster.local{path}");
        eventually(PATIENCE, "the server knows its client", || {
            let ran = scene.sh(client, &own);
            if ran.stdout.contains(&wanted) { Ok(()) } else { Err(ran.report()) }
        });
    }
    let nobody = scene.sh("client", &ask("")).stdout;
    assert!(nobody.contains("certificate required") && !nobody.contains("HTTP/1.0 200"), "{nobody}");
    // The signer's root is not the cluster's.
    let stranger = own.replace("/tls/roots.pem", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
    let stranger = scene.sh("client", &stranger).stdout;
    assert!(stranger.contains("verify error") && !stranger.contains("HTTP/1.0 200"), "{stranger}");
}

/// Checks a token in /own/token by the keys that its issuer publishes, with nothing but openssl and a shell.
const CHECK: &str = r#"set -e
cd /tmp
account=/var/run/secrets/kubernetes.io/serviceaccount
get() {
  printf 'GET %s HTTP/1.0\r\nHost: kubernetes.default.svc\r\nAuthorization: Bearer %s\r\n\r\n' "$1" "$(cat $account/token)" |
    timeout 20 openssl s_client -connect kubernetes.default.svc:443 -servername kubernetes.default.svc \
      -verify_hostname kubernetes.default.svc -CAfile $account/ca.crt -verify_return_error -quiet 2>/dev/null
}
plain() { t=$(tr '_-' '/+'); while [ $(( ${#t} % 4 )) -ne 0 ]; do t="$t="; done; printf %s "$t" | base64 -d; }
field() { sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"; }
hex() { plain | xxd -p | tr -d '\n'; }
get /.well-known/openid-configuration >issuer
get /openid/v1/jwks | tr '}' '\n' >keys
header=$(cut -d. -f1 /own/token); claims=$(cut -d. -f2 /own/token); signature=$(cut -d. -f3 /own/token)
[ "$(printf %s "$claims" | plain | field iss)" = "$(field issuer <issuer)" ]
kid=$(printf %s "$header" | plain | field kid)
key=$(grep "\"$kid\"" keys)
x=$(printf %s "$key" | field x | hex); y=$(printf %s "$key" | field y | hex)
printf 3059301306072a8648ce3d020106082a8648ce3d03010703420004%s%s "$x" "$y" | xxd -r -p >key.der
both=$(printf %s "$signature" | hex)
printf 'asn1=SEQUENCE:s\n[s]\nr=INTEGER:0x%s\ns=INTEGER:0x%s\n' \
  "$(echo $both | cut -c1-64)" "$(echo $both | cut -c65-128)" >signature.cnf
openssl asn1parse -genconf signature.cnf -noout -out signature.der
printf %s "$header.$claims" >signed
openssl dgst -sha256 -verify key.der -keyform DER -signature signature.der signed
printf %s "$claims" | plain
"#;

// conformance: OIDC issuer discovery: pod verifies its own token through /.well-known and JWKS
// conformance: token, ca.crt and namespace mounted in pods
// conformance: projected serviceAccountToken volume (TokenRequest) is mounted
fn check_their_own_tokens_by_the_issuers_keys(scene: &Scene) {
    bring_tls(scene);
    let token = json!({"serviceAccountToken": {"path": "token", "audience": "drill", "expirationSeconds": 3600}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "checker"}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "tls", "image": "rkctl.local/tls:1", "imagePullPolicy": "Never",
            "command": ["sh", "-c", WAIT], "volumeMounts": [{"name": "own", "mountPath": "/own"}]}],
        "volumes": [{"name": "own", "projected": {"sources": [token]}}],
    }});
    scene.apply(&pod.to_string());
    scene.ready("pod/checker");
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let shown = scene.sh("checker", &format!("cd {folder} && ls && cat namespace && head -n 1 ca.crt")).ok();
    let expected = format!("ca.crt\nnamespace\ntoken\n{}-----BEGIN CERTIFICATE-----\n", scene.namespace);
    assert_eq!(shown, expected);
    let checked = eventually(PATIENCE, "the token is checked", || {
        let ran = scene.sh("checker", CHECK);
        if ran.status.success() { Ok(ran.stdout) } else { Err(ran.report()) }
    });
    let (verdict, claims) = checked.split_once('\n').unwrap_or_default();
    assert_eq!(verdict, "Verified OK");
    let claims: Value = serde_json::from_str(claims).unwrap_or_else(|error| panic!("{error}: {claims}"));
    assert_eq!(claims["sub"], format!("system:serviceaccount:{}:default", scene.namespace));
    assert_eq!(claims["aud"], json!(["drill"]));
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], "checker");
}
