//! Ingress on ports 80 and 443 of the nodes.

use std::path::Path;

use testkit::eventually;

use crate::harness::{HOSTS, PATIENCE, Scene, deployment, drills, get, get_secure, service};

drills![routes_by_host_and_path, shows_the_certificate_of_a_secret];

const RULES: &str = "
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
    - host: shop.example.test
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: front, port: {number: 80}}}}
          - {path: /cgi-bin, pathType: Prefix, backend: {service: {name: back, port: {name: http}}}}
    - host: back.example.test
      http:
        paths: [{path: /, pathType: Prefix, backend: {service: {name: back, port: {number: 80}}}}]
";

fn routes_by_host_and_path(scene: &Scene) {
    let web = [("front", 1), ("back", 2)]
        .map(|(name, version)| format!("{}{}", deployment(name, 2, version), service(name, "ClusterIP")));
    scene.apply(&[&web.concat(), RULES].concat());
    scene.rolled_out("deployment/front");
    scene.rolled_out("deployment/back");
    for node in HOSTS {
        let address = scene.cluster.address(node);
        for (host, path, wanted) in [
            ("shop.example.test", "/", " v1 "),
            ("shop.example.test", "/cgi-bin/index.cgi", " v2 "),
            ("back.example.test", "/", " v2 "),
            ("BACK.example.test:80", "/cgi-bin/index.cgi", " v2 "),
        ] {
            let url = format!("http://{address}{path}");
            eventually(PATIENCE, &format!("{url} for {host} answers{wanted}"), || {
                let answer = get(&url, Some(host))?;
                if answer.contains(wanted) { Ok(()) } else { Err(answer) }
            });
        }
        let refused = get(&format!("http://{address}/"), Some("nobody.example.test")).unwrap_err();
        assert!(refused.contains("404"), "{refused}");
    }
    let table = scene.until("the Ingress says where it is", "get ingress shop", |said| {
        said.contains(scene.cluster.address("w1")).then(|| said.to_owned())
    });
    assert!(table.contains("shop.example.test,back.example.test"), "{table}");
    scene.kubectl.ok("delete ingress shop");
    let url = format!("http://{}/", scene.cluster.address("w1"));
    eventually(PATIENCE, "the deleted rules are forgotten", || match get(&url, Some("shop.example.test")) {
        Err(error) if error.contains("404") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

const SECURE: &str = "
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: secure}
spec:
  tls: [{hosts: [secure.example.test], secretName: secure}]
  rules:
    - host: secure.example.test
      http:
        paths: [{path: /, pathType: Prefix, backend: {service: {name: front, port: {number: 80}}}}]
";

fn shows_the_certificate_of_a_secret(scene: &Scene) {
    scene.apply(&[&deployment("front", 2, 1), &service("front", "ClusterIP"), SECURE].concat());
    scene.rolled_out("deployment/front");
    let directory = tempfile::tempdir().unwrap();
    for round in ["first", "replaced"] {
        let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        certify("secure.example.test", &certificate, &key);
        let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        let files = format!("--cert {certificate} --key {key}");
        let secret = scene.kubectl.ok(&format!("create secret tls secure {files} --dry-run=client --output yaml"));
        scene.apply(&secret);
        for node in HOSTS {
            let address = scene.cluster.address(node);
            eventually(PATIENCE, &format!("{node} shows the {round} certificate"), || {
                let answer = get_secure("secure.example.test", address, certificate)?;
                if answer.contains(" v1 ") { Ok(()) } else { Err(answer) }
            });
            let other = get_secure("other.example.test", address, certificate).unwrap_err();
            assert!(other.contains("certificate"), "a name that nobody claims is not vouched for: {other}");
        }
    }
    let table = scene.kubectl.ok("get ingress secure");
    assert!(table.contains("80, 443"), "{table}");
}

/// Writes a certificate for `name` that vouches for itself, and its key.
fn certify(name: &str, certificate: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(certificate, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
}
