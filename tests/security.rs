//! The operator's files about access to the API: an issuer of tokens on a host of its own, what is written of those who
//! come with them, and files that the server could not use.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;
use testkit::kubectl::Kubectl;

use crate::harness::{PATIENCE, SPARE, Scene, drills};

drills![stop_at_files_that_the_server_cannot_use, believe_the_tokens_of_an_issuer_and_write_who_came];

const LOOK: Duration = Duration::from_secs(60);
const ISSUER_PORT: u16 = 8443;

/// What the inventory says of access, taken back with the drill, and the issuer ended.
struct Settings<'a> {
    scene: &'a Scene,
}

impl<'a> Settings<'a> {
    /// Writes files beside the inventory and names them in it.
    fn set(scene: &'a Scene, files: &[(&str, &str, String)]) -> Self {
        let mut security = json!({});
        for (key, name, text) in files {
            std::fs::write(scene.cluster.file(name), text).expect("a file of ours");
            security[*key] = json!(name);
        }
        scene.cluster.change_spec(|spec| spec["security"] = security);
        Self { scene }
    }
}

impl Drop for Settings<'_> {
    fn drop(&mut self) {
        let _gone = self.scene.cluster.try_host(SPARE, "systemctl stop issuer; rm -rf /root/issuer");
        self.scene.cluster.change_spec(|spec| {
            spec.as_object_mut().expect("a spec").remove("security");
        });
        let _up = self.scene.cluster.try_up();
    }
}

/// The server's process, which is another one after a restart.
fn server(scene: &Scene) -> String {
    scene.cluster.host("cp1", "systemctl show --value -p MainPID rkctl-server")
}

fn stop_at_files_that_the_server_cannot_use(scene: &Scene) {
    let before = server(scene);
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n";
    let settings = Settings::set(
        scene,
        &[("authorizationConfig", "authorization.yaml", format!("{head}- {{type: Node, name: n}}\n"))],
    );
    for verb in ["plan", "up"] {
        let ran = scene.cluster.rkctl(verb, &[], LOOK);
        assert!(!ran.status.success(), "{}", ran.report());
        for words in [
            "spec.security.authorizationConfig",
            "authorization.yaml: authorizers: type RBAC is missing",
            "put the file right",
        ] {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.report());
        }
    }
    drop(settings);
    assert_eq!(server(scene), before, "it goes on as it was");
}

/// An issuer over HTTPS: its authority as PEM.
fn issuer(scene: &Scene) -> String {
    let address = scene.cluster.address(SPARE);
    let url = format!("https://{address}:{ISSUER_PORT}");
    let script = format!(
        r#"set -e
rm -rf /root/issuer; mkdir -p /root/issuer/.well-known; cd /root/issuer
openssl req -x509 -newkey rsa:2048 -nodes -keyout tls.key -out tls.crt -days 2 -subj /CN=issuer -addext subjectAltName=IP:{address} 2>/dev/null
openssl genrsa -out sign.key 2048 2>/dev/null
n=$(openssl rsa -in sign.key -noout -modulus | cut -d= -f2 | perl -ne 'chomp; print pack("H*", $_)' | base64 -w0 | tr '+/' '-_' | tr -d =)
printf '{{"issuer":"{url}","jwks_uri":"{url}/keys"}}' >.well-known/openid-configuration
printf '{{"keys":[{{"kty":"RSA","alg":"RS256","use":"sig","kid":"one","n":"%s","e":"AQAB"}}]}}' "$n" >keys
systemd-run --quiet --collect --unit=issuer --working-directory=/root/issuer \
  openssl s_server -quiet -accept {ISSUER_PORT} -cert tls.crt -key tls.key -WWW
cat tls.crt"#
    );
    scene.cluster.host(SPARE, &script)
}

/// A token of the issuer for ann.
fn token(scene: &Scene) -> String {
    let url = format!("https://{}:{ISSUER_PORT}", scene.cluster.address(SPARE));
    let script = format!(
        r#"set -e
cd /root/issuer
enc() {{ base64 -w0 | tr '+/' '-_' | tr -d =; }}
head=$(printf '{{"alg":"RS256","kid":"one"}}' | enc)
claims=$(printf '{{"iss":"{url}","sub":"ann","aud":"kubernetes","groups":["dev"],"exp":%s}}' $(($(date +%s) + 600)) | enc)
printf '%s.%s.%s' "$head" "$claims" "$(printf '%s.%s' "$head" "$claims" | openssl dgst -sha256 -sign sign.key -binary | enc)""#
    );
    scene.cluster.host(SPARE, &script).trim().to_owned()
}

/// A kubeconfig with a token and nothing else.
fn kubeconfig(scene: &Scene, token: &str) -> PathBuf {
    let authority = scene.cluster.file("cluster-ca.crt");
    std::fs::write(&authority, scene.cluster.host("cp1", "cat /etc/rkctl/pki/ca.crt")).expect("a file of ours");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://{}:6443", scene.cluster.address("cp1")), "certificate-authority": authority}}],
        "users": [{"name": "ann", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "ann"}}]});
    let path = scene.cluster.file("ann.kubeconfig");
    std::fs::write(&path, config.to_string()).expect("a file of ours");
    path
}

fn believe_the_tokens_of_an_issuer_and_write_who_came(scene: &Scene) {
    let authority = serde_json::to_string(&issuer(scene)).expect("a string");
    let url = format!("https://{}:{ISSUER_PORT}", scene.cluster.address(SPARE));
    let authentication = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {{url: '{url}', \
         audiences: [kubernetes], certificateAuthority: {authority}}}\n  claimMappings:\n    username: {{claim: sub, prefix: \
         'oidc:'}}\n    groups: {{claim: groups, prefix: 'oidc:'}}\n"
    );
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
                  - {level: Metadata, users: ['oidc:ann']}\n- {level: None}\n";
    let _settings = Settings::set(
        scene,
        &[
            ("authenticationConfig", "authentication.yaml", authentication),
            ("auditPolicy", "audit-policy.yaml", policy.to_owned()),
        ],
    );
    scene.cluster.up();
    let ann = Kubectl::new(kubeconfig(scene, &token(scene)));
    let me: Value = ann.json("auth whoami -o json");
    assert_eq!(me["status"]["userInfo"]["username"], "oidc:ann", "{me}");
    let refused = ann.err("get pods");
    assert!(refused.contains("User \"oidc:ann\" cannot list resource \"pods\""), "{refused}");
    scene.kubectl.ok("create rolebinding dev --clusterrole=view --group=oidc:dev");
    let namespace = scene.kubectl.ok("get rolebinding dev -o jsonpath={.metadata.namespace}");
    let own = ann.namespace(&namespace);
    eventually(PATIENCE, "the role permits it", || own.run("get pods").status.success());
    let line = eventually(PATIENCE, "it is written who came", || {
        let log = scene.cluster.host("cp1", "cat /var/log/rkctl/audit.log");
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.into_iter().find(|event| event["responseStatus"]["code"] == 403)
    });
    assert_eq!((&line["user"]["username"], &line["objectRef"]["resource"]), (&json!("oidc:ann"), &json!("pods")));
    let forged = scene.cluster.file("forged.kubeconfig");
    let text = std::fs::read_to_string(scene.cluster.file("ann.kubeconfig")).expect("a file of ours");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    let own = config["users"][0]["user"]["token"].as_str().expect("a token").to_owned();
    let (body, _) = own.rsplit_once('.').expect("a signature");
    config["users"][0]["user"]["token"] = json!(format!("{body}.{}", "A".repeat(342)));
    std::fs::write(&forged, config.to_string()).expect("a file of ours");
    let refused = Kubectl::new(forged).err("get pods");
    assert!(refused.contains("Unauthorized") || refused.contains("must be logged in"), "{refused}");
}
