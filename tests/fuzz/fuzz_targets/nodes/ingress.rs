//! Hosts and paths of requests against Ingresses: what is found is of a rule that names the host, and the same whatever
//! the case of the host and its port.
#![no_main]

use std::sync::Arc;

use ingress::routes::Table;
use k8s_openapi::api::networking::v1::Ingress;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// A line of rules is `host path exact|prefix`; the service is named by its line.
fn ingress(rules: &str) -> Arc<Ingress> {
    let rules: Vec<Value> = rules
        .lines()
        .enumerate()
        .filter_map(|(at, line)| {
            let mut words = line.split(' ');
            let (host, path) = (words.next()?, words.next()?);
            let type_ = if words.next() == Some("exact") { "Exact" } else { "Prefix" };
            let backend = json!({"service": {"name": format!("s{at}"), "port": {"number": 80}}});
            Some(json!({"host": host, "http": {"paths": [{"path": path, "pathType": type_, "backend": backend}]}}))
        })
        .collect();
    let object = json!({"metadata": {"name": "i", "namespace": "n"}, "spec": {"rules": rules}});
    Arc::new(serde_json::from_value(object).expect("an Ingress"))
}

fuzz_target!(|data: &[u8]| {
    let Some([rules, host, path]) = fuzz::parts::<3>(data) else { return };
    let table = Table::build(&[ingress(rules)]);
    assert!(table.hosts() <= rules.lines().count());
    let found = table.find(host, path).map(|backend| backend.service.clone());
    let again = |host: &str| table.find(host, path).map(|backend| backend.service.clone());
    assert_eq!(again(&host.to_ascii_uppercase()), found);
    if !host.contains(':') {
        assert_eq!(again(&format!("{host}:8080")), found);
    }
    if let Some(found) = found {
        let line: usize = found[1..].parse().expect("a line");
        let rule = rules.lines().nth(line).expect("a rule");
        let mut words = rule.split(' ');
        let (_, prefix) = (words.next(), words.next().unwrap_or_default());
        assert!(path.starts_with(prefix.trim_end_matches('/')), "{path:?} by {rule:?}");
    }
});
