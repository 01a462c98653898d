//! From the file to the cluster: defaults, groups, ranges, and the checks that need the whole file.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::check;
use crate::cluster::{
    Addon, Addons, Api, Cluster, Datastore, GitAuth, GitOps, Network, Options, Registry, Security, State, Upgrade,
};
use crate::error::{Place, Problems};
use crate::file::{AddonFile, ClusterFile, GitOpsFile, NetworkFile, SecurityFile, SpecFile};
use crate::secret::{SecretRef, expand_path};
use crate::yaml::At;

mod hosts;

/// The file's version and kind.
const API_VERSION: &str = "rkctl.dev/v1";
const KIND: &str = "Cluster";

const DEFAULT_POD_CIDR: &str = "10.42.0.0/16";
const DEFAULT_SERVICE_CIDR: &str = "10.43.0.0/16";
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
const DEFAULT_GIT_INTERVAL: Duration = Duration::from_secs(60);
/// A repository asked more often than this is a burden to its server.
const MIN_GIT_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_PARALLEL: usize = 10;
/// More connections than this at a time exhaust an ordinary operator's machine.
const MAX_PARALLEL: u32 = 256;

/// Fills in what the file leaves out; mistakes go to `problems`.
pub(crate) fn resolve(file: &ClusterFile, directory: &Path, problems: &mut Problems) -> Cluster {
    let spec = &file.spec;
    check_header(file, problems);
    let name = match &file.metadata {
        Some(metadata) => checked(&metadata.name, problems, check::dns_label),
        None => "cluster".to_owned(),
    };
    let hosts = hosts::resolve(spec, directory, problems);
    let controllers = hosts.iter().filter(|h| h.state == State::Present && h.role.is_control_plane()).count();
    if controllers == 0 && !hosts.is_empty() {
        problems.add(spec.hosts.place, "no host has role `controller` or `single`; give it to one of them");
    }
    let network = network(&spec.network, &hosts, problems);
    Cluster {
        name,
        version: spec.version.as_ref().map(|version| version.value.clone()),
        api: api(spec, problems),
        datastore: datastore(spec, controllers, problems),
        network,
        addons: Addons {
            dns: addon(&spec.addons.dns),
            ingress: addon(&spec.addons.ingress),
            metrics: addon(&spec.addons.metrics),
        },
        gitops: spec.gitops.as_ref().map(|gitops| git(gitops, directory, problems)),
        registry: Registry {
            mirrors: spec
                .registry
                .mirrors
                .iter()
                .map(|(name, urls)| (name.clone(), urls.iter().map(|url| mirror(url, problems)).collect()))
                .collect(),
        },
        security: security(&spec.security, directory, problems),
        upgrade: Upgrade {
            drain_timeout: duration(&spec.upgrade.drain_timeout, DEFAULT_DRAIN_TIMEOUT, Duration::ZERO, problems),
        },
        options: options(spec, problems),
        hosts,
    }
}

fn check_header(file: &ClusterFile, problems: &mut Problems) {
    for (given, wanted, key) in [(&file.api_version, API_VERSION, "apiVersion"), (&file.kind, KIND, "kind")] {
        if let Some(given) = given
            && given.value != wanted
        {
            problems.add(given.place, format!("{key} is `{}`; this version reads `{wanted}`", given.value));
        }
    }
}

/// The value, with a problem where it has not the right form.
fn checked(at: &At<String>, problems: &mut Problems, check: fn(&str) -> Result<(), String>) -> String {
    if let Err(message) = check(&at.value) {
        problems.add(at.place, message);
    }
    at.value.clone()
}

fn duration(at: &Option<At<String>>, default: Duration, least: Duration, problems: &mut Problems) -> Duration {
    let Some(at) = at else { return default };
    match crate::duration::parse(&at.value) {
        Ok(duration) if duration >= least => duration,
        Ok(_) => {
            let least = crate::duration::format(least);
            problems.add(at.place, format!("`{}` is too short; the least is {least}", at.value));
            default
        }
        Err(message) => {
            problems.add(at.place, message);
            default
        }
    }
}

fn secret(at: &Option<At<String>>, directory: &Path, problems: &mut Problems) -> Option<SecretRef> {
    let at = at.as_ref()?;
    SecretRef::parse(&at.value, directory).map_err(|message| problems.add(at.place, message)).ok()
}

fn security(file: &SecurityFile, directory: &Path, problems: &mut Problems) -> Security {
    let mut path = |at: &Option<At<String>>| {
        let at = at.as_ref()?;
        if at.value.trim().is_empty() {
            problems.add(at.place, "it is empty; name a file, or leave it out");
        }
        Some(expand_path(&at.value, directory))
    };
    Security {
        encrypt_secrets: file.encrypt_secrets.as_ref().is_some_and(|at| at.value),
        audit_policy: path(&file.audit_policy),
        authentication_config: path(&file.authentication_config),
        token_webhook_config: path(&file.token_webhook_config),
        authorization_config: path(&file.authorization_config),
        encryption_config: path(&file.encryption_config),
        connections_per_address: file.connections_per_address.as_ref().and_then(|at| {
            let figure = NonZeroU32::new(at.value);
            if figure.is_none() {
                problems.add(at.place, "connectionsPerAddress must be at least 1; leave it out for the server's own");
            }
            figure
        }),
    }
}

fn addon(file: &AddonFile) -> Addon {
    Addon { enabled: file.enabled.unwrap_or(true) }
}

fn mirror(url: &At<String>, problems: &mut Problems) -> String {
    if !url.value.starts_with("https://") && !url.value.starts_with("http://") {
        problems.add(url.place, format!("`{}` is not a URL; write `https://HOST`", url.value));
    }
    url.value.clone()
}

fn api(spec: &SpecFile, problems: &mut Problems) -> Api {
    let endpoint = spec.api.endpoint.as_ref().map(|at| {
        let (host, port) = match at.value.rsplit_once(':') {
            Some((host, port)) if at.value.parse::<IpAddr>().is_err() => (host, Some(port)),
            _ => (at.value.as_str(), None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if at.value.contains("://") {
            problems.add(at.place, "an endpoint is `HOST` or `HOST:PORT`, without `https://`");
        } else if let Err(message) = check::host_or_ip(host) {
            problems.add(at.place, message);
        } else if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            problems.add(at.place, format!("`{}` has no valid port", at.value));
        }
        at.value.clone()
    });
    Api { endpoint, sans: spec.api.sans.iter().map(|san| checked(san, problems, check::host_or_ip)).collect() }
}

fn datastore(spec: &SpecFile, controllers: usize, problems: &mut Problems) -> Datastore {
    match &spec.datastore.r#type {
        Some(at) => {
            if at.value == Datastore::Embedded && controllers > 1 {
                problems.add(
                    at.place,
                    format!("{controllers} control-plane hosts cannot share the embedded datastore; use `etcd`"),
                );
            }
            at.value
        }
        None if controllers > 1 => Datastore::Etcd,
        None => Datastore::Embedded,
    }
}

fn cidr(at: &Option<At<String>>, default: &str, longest: u8, problems: &mut Problems) -> (Ipv4Net, Place) {
    let fallback: Ipv4Net = default.parse().expect("the default CIDRs are written here and right");
    let Some(at) = at else { return (fallback, Place::default()) };
    match at.value.parse::<Ipv4Net>() {
        Ok(net) if net.trunc() != net => {
            problems.add(at.place, format!("`{}` has bits behind its mask; did you mean `{}`?", at.value, net.trunc()));
        }
        Ok(net) if net.prefix_len() > longest => {
            problems.add(at.place, format!("`{}` is too small; at least a /{longest} is needed", at.value));
        }
        Ok(net) => return (net, at.place),
        Err(_) => problems.add(at.place, format!("`{}` is not an IPv4 CIDR; write it like `{default}`", at.value)),
    }
    (fallback, at.place)
}

fn network(file: &NetworkFile, hosts: &[crate::cluster::Host], problems: &mut Problems) -> Network {
    // One /24 a node for pods; services need room for the API's and DNS' fixed addresses and some more.
    let (pod_cidr, pod_place) = cidr(&file.pod_cidr, DEFAULT_POD_CIDR, 23, problems);
    let (service_cidr, service_place) = cidr(&file.service_cidr, DEFAULT_SERVICE_CIDR, 26, problems);
    if pod_cidr.contains(&service_cidr) || service_cidr.contains(&pod_cidr) {
        let place = if service_place.line > 0 { service_place } else { pod_place };
        problems.add(place, format!("podCIDR {pod_cidr} and serviceCIDR {service_cidr} overlap"));
    }
    for host in hosts {
        for (net, place, key) in [(pod_cidr, pod_place, "podCIDR"), (service_cidr, service_place, "serviceCIDR")] {
            if let Some(IpAddr::V4(address)) = host.node_ip()
                && net.contains(&address)
            {
                let name = &host.name;
                problems.add(place, format!("{key} {net} contains the address {address} of the host `{name}`"));
            }
        }
    }
    let nodes = 1u64 << 24u8.saturating_sub(pod_cidr.prefix_len());
    if hosts.len() as u64 > nodes {
        problems.add(pod_place, format!("podCIDR {pod_cidr} has room for {nodes} nodes, there are {}", hosts.len()));
    }
    let cluster_domain = match &file.cluster_domain {
        Some(domain) => checked(domain, problems, check::dns_name),
        None => "cluster.local".to_owned(),
    };
    Network { pod_cidr, service_cidr, cluster_domain }
}

fn git(file: &GitOpsFile, directory: &Path, problems: &mut Problems) -> GitOps {
    let url = &file.url.value;
    let known = ["https://", "ssh://", "file://"].iter().any(|scheme| url.starts_with(scheme));
    let scp_like = !url.contains("://") && url.split_once(':').is_some_and(|(host, _)| host.contains('@'));
    if has_secret(url) {
        // Not repeated: it is the secret.
        problems.add(file.url.place, "a secret does not belong in the URL: give auth.username and auth.password");
    } else if !known && !scp_like {
        let message = format!("`{url}` is not a repository; write https://, ssh://, git@host:path or file://");
        problems.add(file.url.place, message);
    }
    let path = file.path.as_ref().map_or("", |at| at.value.as_str());
    let path = path.trim_start_matches("./").trim_matches('/');
    if path.split('/').any(|part| part == "..") {
        let place = file.path.as_ref().map(|at| at.place).unwrap_or_default();
        problems.add(place, "the path leaves the repository");
    }
    let auth = GitAuth {
        ssh_key: secret(&file.auth.ssh_key, directory, problems),
        known_hosts: secret(&file.auth.known_hosts, directory, problems),
        username: file.auth.username.clone(),
        password: secret(&file.auth.password, directory, problems),
    };
    if (scp_like || url.starts_with("ssh://")) && (auth.ssh_key.is_none() || auth.known_hosts.is_none()) {
        problems.add(file.url.place, "a repository over ssh needs auth.sshKey and auth.knownHosts");
    }
    GitOps {
        url: url.clone(),
        reference: file.r#ref.as_ref().map_or_else(|| "main".to_owned(), |at| at.value.clone()),
        path: if path == "." { String::new() } else { path.to_owned() },
        interval: duration(&file.interval, DEFAULT_GIT_INTERVAL, MIN_GIT_INTERVAL, problems),
        auth,
    }
}

/// Whether a URL has a password in it, or a user where that is as good as one.
fn has_secret(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| scheme != "ssh" || user.contains(':'))
}

fn options(spec: &SpecFile, problems: &mut Problems) -> Options {
    let parallel = match &spec.options.parallel {
        Some(at) if at.value == 0 || at.value > MAX_PARALLEL => {
            problems.add(at.place, format!("parallel must be 1 to {MAX_PARALLEL}"));
            DEFAULT_PARALLEL
        }
        Some(at) => at.value as usize,
        None => DEFAULT_PARALLEL,
    };
    Options { parallel, unreachable: spec.options.unreachable.unwrap_or_default() }
}
