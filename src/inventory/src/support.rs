//! What an inventory may ask for and this version cannot do yet. The file is right; `up` refuses it with the remedy.

use std::net::Ipv6Addr;

use crate::cluster::{Cluster, Datastore, State};
use crate::error::{Place, Problems};
use crate::file::{ClusterFile, HostFile};
use crate::hostlist;

/// Adds a problem for everything that rkctl of version `own` cannot carry out.
pub(crate) fn check(file: &ClusterFile, cluster: &Cluster, own: &str, problems: &mut Problems) {
    let spec = &file.spec;
    if let Some(version) = spec.version.as_ref().filter(|version| version.value != own) {
        let version_text = &version.value;
        problems.add(
            version.place,
            format!("spec.version is {version_text}, this is rkctl {own}: use rkctl {version_text}, or change it here"),
        );
    }
    let controllers = cluster.controllers().count();
    if controllers > 1 {
        problems.add(
            second_controller(&spec.hosts.value).unwrap_or(spec.hosts.place),
            format!(
                "the inventory has {controllers} control-plane hosts; several of them are not supported yet: leave \
                 role `controller` to one host and make the others workers"
            ),
        );
    }
    for place in spec.hosts.value.iter().filter_map(ipv6_node) {
        problems.add(
            place,
            "nodes have IPv4 addresses: set `privateAddress` to the IPv4 address that the other hosts reach it by",
        );
    }
    if let Some(at) = spec.datastore.r#type.as_ref().filter(|at| at.value == Datastore::Etcd) {
        problems.add(
            at.place,
            "spec.datastore.type `etcd` is not supported yet: leave spec.datastore out to use the embedded one",
        );
    }
    if let Some(urls) = spec.registry.mirrors.values().next() {
        let place = urls.first().map_or(Place::default(), |url| url.place);
        problems.add(place, "spec.registry.mirrors is not supported yet: configure containerd's certs.d on the hosts");
    }
    if let Some(at) = spec.security.encrypt_secrets.as_ref().filter(|at| at.value) {
        problems.add(
            at.place,
            "spec.security.encryptSecrets is not supported yet: name a file with the keys by encryptionConfig",
        );
    }
}

/// Where a host that is to be in the cluster gets a node's address that is of IPv6. Commands may go over it.
fn ipv6_node(entry: &HostFile) -> Option<Place> {
    let at = entry.private_address.as_ref().unwrap_or(&entry.address);
    let is_ipv6 = |address: &String| address.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_loopback());
    let has_one = hostlist::expand(&at.value).unwrap_or_default().iter().any(is_ipv6);
    (has_one && entry.state != Some(State::Absent)).then_some(at.place)
}

/// Where the file makes a second host a control plane.
fn second_controller(entries: &[HostFile]) -> Option<Place> {
    let mut count = 0;
    entries.iter().filter(|entry| entry.state != Some(State::Absent)).find_map(|entry| {
        let role = entry.role.as_ref().filter(|role| role.value.is_control_plane())?;
        count += hostlist::expand(&entry.address.value).map_or(0, |hosts| hosts.len());
        (count > 1).then_some(role.place)
    })
}
