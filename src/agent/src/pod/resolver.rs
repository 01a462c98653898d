//! The resolver configuration and the hosts file of pods.

use std::net::IpAddr;
use std::path::Path;

use cri::v1;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// glibc's and Kubernetes' bound on name servers.
const NAMESERVERS_MAX: usize = 3;
/// Kubernetes' bound on search domains.
const SEARCHES_MAX: usize = 32;
/// Where systemd-resolved keeps the servers that it asks itself; `/etc/resolv.conf` names only its own address then.
/// Source: systemd-resolved.service(8).
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// What a pod gets that has no server to ask: the runtime fills an empty configuration with the host's.
const NO_SEARCH: &str = ".";

/// The host's `resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostResolver {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

impl HostResolver {
    /// The host's configuration as it is now, for pods on its network or on one of their own. Where it names only the
    /// host's own loopback, the latter get that of the servers behind systemd-resolved: their loopback is their own.
    pub fn read(path: &Path, on_host: bool) -> Self {
        let parse = |path: &Path| std::fs::read_to_string(path).ok().map(|text| Self::parse(&text));
        let own = parse(path).unwrap_or_default();
        if on_host { own } else { Self::choose(own, || parse(Path::new(BEHIND_RESOLVED))) }
    }

    fn choose(own: Self, behind: impl FnOnce() -> Option<Self>) -> Self {
        if own.servers.is_empty() || !own.servers.iter().all(|server| is_loopback(server)) {
            return own;
        }
        behind().filter(|behind| behind.servers.iter().any(|server| !is_loopback(server))).unwrap_or(own)
    }

    /// Reads the text of a `resolv.conf`; the last `search` line wins, as in glibc.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace().map(str::to_string);
            match words.next().as_deref() {
                Some("nameserver") => resolver.servers.extend(words.next()),
                Some("search" | "domain") => resolver.searches = words.filter(|domain| domain != ".").collect(),
                Some("options") => resolver.options.extend(words),
                _ => {}
            }
        }
        resolver
    }
}

/// The resolver configuration of a pod; never an empty one, for which the runtime would copy the host's.
pub fn dns_config(pod: &Pod, host: &HostResolver, cluster_dns: &[IpAddr], cluster_domain: &str) -> v1::DnsConfig {
    let Some(spec) = pod.spec.as_ref() else { return v1::DnsConfig::default() };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut dns = match effective_policy(spec) {
        "None" => v1::DnsConfig::default(),
        "ClusterFirst" if !cluster_dns.is_empty() => {
            let mut searches = vec![
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_string(),
            ];
            searches.extend(host.searches.iter().cloned());
            v1::DnsConfig {
                servers: cluster_dns.iter().map(ToString::to_string).collect(),
                searches,
                options: vec!["ndots:5".into()],
            }
        }
        _ => v1::DnsConfig {
            servers: reachable(spec, host),
            searches: host.searches.clone(),
            options: host.options.clone(),
        },
    };
    if let Some(extra) = &spec.dns_config {
        dns.servers.extend(extra.nameservers.iter().flatten().cloned());
        dns.searches.extend(extra.searches.iter().flatten().cloned());
        for option in extra.options.iter().flatten() {
            let Some(name) = option.name.as_deref() else { continue };
            dns.options.retain(|present| present.split(':').next() != Some(name));
            dns.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.to_string(),
            });
        }
    }
    unique(&mut dns.servers, NAMESERVERS_MAX);
    unique(&mut dns.searches, SEARCHES_MAX);
    if dns.servers.is_empty() && dns.searches.is_empty() && dns.options.is_empty() {
        dns.searches.push(NO_SEARCH.to_owned());
    }
    dns
}

/// The host's servers that a pod reaches: those on the host's loopback only from the host's network.
fn reachable(spec: &PodSpec, host: &HostResolver) -> Vec<String> {
    let on_host = spec.host_network == Some(true);
    host.servers.iter().filter(|server| on_host || !is_loopback(server)).cloned().collect()
}

/// Whether a server of a `resolv.conf` is this host itself; a link may follow an IPv6 address.
fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or_default().parse::<IpAddr>();
    address.is_ok_and(|address| address.to_canonical().is_loopback() || address.is_unspecified())
}

fn effective_policy(spec: &PodSpec) -> &str {
    match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "ClusterFirstWithHostNet" => "ClusterFirst",
        "ClusterFirst" if spec.host_network == Some(true) => "Default",
        policy => policy,
    }
}

fn unique(list: &mut Vec<String>, max: usize) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|entry| seen.insert(entry.clone()));
    list.truncate(max);
}

/// The pod's host name and, where it has a subdomain, its fully qualified name.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = pod.spec.as_ref();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let wanted = spec.and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty()).unwrap_or(name);
    // The kernel takes 64 bytes; a name cut at a dot or dash would not be a name.
    let host: String = wanted.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_string();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref()).filter(|subdomain| !subdomain.is_empty());
    let full = subdomain.map(|subdomain| format!("{host}.{subdomain}.{namespace}.svc.{cluster_domain}"));
    (host, full)
}

/// The hosts file of a pod with a network of its own.
pub fn hosts_file(pod: &Pod, ips: &[String], cluster_domain: &str) -> String {
    let mut text = String::from("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n");
    text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n");
    text.push_str("fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
    let (host, full) = hostname(pod, cluster_domain);
    for ip in ips {
        match &full {
            Some(full) => text.push_str(&format!("{ip}\t{full}\t{host}\n")),
            None => text.push_str(&format!("{ip}\t{host}\n")),
        }
    }
    text.push_str(&aliases(pod));
    text
}

/// The hosts file of a pod on the host's network: the host's own and the pod's aliases.
pub fn host_network_hosts_file(pod: &Pod, host: &str) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{host}{}", aliases(pod))
}

fn aliases(pod: &Pod) -> String {
    let aliases = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.clone().unwrap_or_default().join("\t")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": spec })).unwrap()
    }

    fn host() -> HostResolver {
        HostResolver::parse("# a comment\nnameserver 9.9.9.9\nsearch example.org\noptions edns0\n")
    }

    #[test]
    fn policies_choose_the_servers() {
        let cluster = ["10.43.0.10".parse().unwrap()];
        let dns = |spec| dns_config(&pod(spec), &host(), &cluster, "cluster.local");
        let first = dns(json!({}));
        assert_eq!(first.servers, ["10.43.0.10"]);
        assert_eq!(first.searches, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"]);
        assert_eq!(first.options, ["ndots:5"]);
        assert_eq!(dns(json!({ "dnsPolicy": "Default" })).servers, ["9.9.9.9"]);
        assert_eq!(dns(json!({ "hostNetwork": true })).servers, ["9.9.9.9"]);
        assert_eq!(dns(json!({ "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet" })).servers, ["10.43.0.10"]);
        let own =
            json!({ "nameservers": ["1.1.1.1"], "searches": ["a.b"], "options": [{ "name": "ndots", "value": "2" }] });
        let none = dns(json!({ "dnsPolicy": "None", "dnsConfig": own }));
        assert_eq!(
            (none.servers, none.searches, none.options),
            (vec!["1.1.1.1".into()], vec!["a.b".into()], vec!["ndots:2".into()])
        );
    }

    #[test]
    fn a_stub_resolver_on_the_hosts_loopback_is_no_server_of_pods() {
        let stub = || HostResolver::parse("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.org\n");
        let behind = || HostResolver::parse("nameserver 9.9.9.9\nsearch example.org\n");
        let only_itself = || HostResolver::parse("nameserver 127.0.0.1\n");
        assert_eq!(HostResolver::choose(stub(), || Some(behind())), behind());
        assert_eq!(HostResolver::choose(stub(), || Some(only_itself())), stub());
        assert_eq!(HostResolver::choose(stub(), || None), stub());
        let mixed = HostResolver::parse("nameserver 127.0.0.1\nnameserver 9.9.9.9\n");
        assert_eq!(HostResolver::choose(mixed.clone(), || panic!("nobody asks")), mixed);

        let dns = |spec: serde_json::Value, host: &str| {
            let config = dns_config(&pod(spec), &HostResolver::parse(host), &[], "cluster.local");
            (config.servers, config.searches, config.options)
        };
        let default = || json!({ "dnsPolicy": "Default" });
        assert_eq!(dns(default(), "nameserver 127.0.0.1\nnameserver 9.9.9.9\n").0, ["9.9.9.9"]);
        for host in
            ["nameserver 127.0.0.53\n", "nameserver ::1\n", "nameserver ::ffff:127.0.0.1\n", "nameserver 0.0.0.0\n", ""]
        {
            assert_eq!(
                dns(default(), host),
                (vec![], vec![".".to_owned()], vec![]),
                "{host:?}: not the host's own file"
            );
        }
        // On the host's network its loopback is the pod's.
        assert_eq!(dns(json!({ "hostNetwork": true }), "nameserver 127.0.0.53\n").0, ["127.0.0.53"]);
    }

    #[test]
    fn pods_on_the_hosts_network_ask_the_hosts_own_stub() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nameserver 127.0.0.53\noptions edns0 trust-ad\n").unwrap();
        let host = HostResolver::read(file.path(), true);
        let config = dns_config(&pod(json!({ "hostNetwork": true })), &host, &[], "cluster.local");
        assert_eq!(
            (config.servers, config.options),
            (vec!["127.0.0.53".into()], vec!["edns0".into(), "trust-ad".into()])
        );
    }

    #[test]
    fn the_hosts_file_names_the_pod_and_its_aliases() {
        let pod = pod(
            json!({ "hostname": "h", "subdomain": "s", "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["a", "b"] }] }),
        );
        let text = hosts_file(&pod, &["10.42.0.2".into()], "cluster.local");
        assert!(text.starts_with("# Kubernetes-managed hosts file."), "{text}");
        assert!(text.contains("10.42.0.2\th.s.shop.svc.cluster.local\th\n"), "{text}");
        assert!(text.ends_with("1.2.3.4\ta\tb\n"), "{text}");
    }
}
