//! Ingress on port 80 of the nodes.

use testkit::eventually;

use crate::harness::{HOSTS, PATIENCE, Scene, deployment, drills, get, service};

drills![routes_by_host_and_path];

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
