use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use inventory::Cluster;
use sha2::{Digest, Sha256};

use super::*;
use crate::cluster_facts::{AddonFacts, ClusterFacts, Managed, NodeFacts};
use crate::observe::{Configured, Found, HostFacts, Module, NftChain, PkiDue, Sysctl, Unit};

mod belonging;
mod files;
mod host;

const LAB: &str = "
metadata: {name: lab}
spec:
  hosts:
    - {name: cp1, role: controller, address: 10.88.0.2}
    - {name: 'w[1:2]', role: worker, address: '10.88.0.[3:4]'}
";

fn cluster(text: &str) -> Cluster {
    inventory::parse(text, Path::new("hosts.yaml")).unwrap_or_else(|error| panic!("{error}"))
}

fn release() -> Release {
    Release {
        version: "0.1.0".into(),
        sha256: "b".repeat(64),
        arch: "x86_64".into(),
        git_files: BTreeMap::new(),
        addons: BTreeMap::from([("dns".to_owned(), "d1".to_owned())]),
    }
}

/// A host as its distribution made it.
fn bare(name: &str, address: &str) -> HostFacts {
    let mut facts = HostFacts {
        uid: Some(0),
        arch: "x86_64".into(),
        hostname: name.into(),
        hostname_file: name.into(),
        systemd: true,
        package_manager: Some("apt-get".into()),
        tools: ["containerd", "runc", "nft", "conntrack"].map(str::to_owned).into(),
        cgroup: 2,
        capabilities: u64::MAX,
        address: address.parse().ok(),
        complete: true,
        ..HostFacts::default()
    };
    for module in ["overlay", "br_netfilter", "nf_conntrack", "nf_tables", "vxlan"] {
        facts.modules.insert(module.to_owned(), Module::Present);
    }
    for (key, value) in [
        ("net.ipv4.ip_forward", "1"),
        ("net.bridge.bridge-nf-call-iptables", "1"),
        ("fs.inotify.max_user_instances", "8192"),
        ("fs.inotify.max_user_watches", "524288"),
    ] {
        facts.sysctls.insert(key.to_owned(), Sysctl { value: Some(value.into()), writable: true });
    }
    facts
}

fn fleet(cluster: &Cluster) -> BTreeMap<String, HostFacts> {
    cluster.hosts.iter().map(|host| (host.name.clone(), bare(&host.name, &host.address))).collect()
}

fn observed(facts: &BTreeMap<String, HostFacts>) -> BTreeMap<String, Observation> {
    facts.iter().map(|(name, facts)| (name.clone(), Observation::Answered(Box::new(facts.clone())))).collect()
}

fn planned(cluster: &Cluster, facts: &BTreeMap<String, HostFacts>) -> Plan {
    plan(cluster, &observed(facts), &release(), Timestamp::UNIX_EPOCH).unwrap()
}

fn unit() -> Unit {
    Unit { active: "active".into(), enabled: "enabled".into(), since_s: 2000, restarts: 0 }
}

/// Does to the facts what the plan's steps do to hosts: what is left of a plan then is what is not idempotent.
fn carried_out(facts: &BTreeMap<String, HostFacts>, plan: &Plan) -> BTreeMap<String, HostFacts> {
    let mut facts = facts.clone();
    let mut nodes: BTreeMap<String, NodeFacts> =
        facts["cp1"].cluster.clone().map(|cluster| cluster.nodes).unwrap_or_default();
    let mut addons = facts["cp1"].cluster.clone().map(|cluster| cluster.addons).unwrap_or_default();
    let file =
        |content: &[u8], mode| Found::File { sha256: hex::encode(Sha256::digest(content)), mode, modified_s: 1000 };
    for step in &plan.steps {
        let host = facts.get_mut(&step.host).unwrap();
        match &step.action {
            Action::Write { path, content, mode, .. } => {
                made_with(host, path, content);
                host.files.insert(path.clone(), file(content.as_bytes(), *mode));
            }
            Action::Run { args, input, .. } if step.id == "runtime-config" => {
                host.files.insert(args[0].clone(), file(input.as_bytes(), 0o644));
            }
            Action::Run { input, .. } if step.id == "hosts-file" => {
                host.hosts_block = input.lines().map(str::to_owned).collect();
            }
            Action::Run { .. } if step.id == "swap" => {
                host.swaps.clear();
                host.fstab_swaps.clear();
            }
            Action::Run { args, .. } if step.id == "sysctl" => {
                for setting in args {
                    let (key, value) = setting.split_once('=').unwrap();
                    host.sysctls.insert(key.into(), Sysctl { value: Some(value.into()), writable: true });
                }
            }
            Action::Run { args, .. } if step.id == "modules" => {
                host.modules.extend(args.iter().map(|name| (name.clone(), Module::Present)));
            }
            Action::Run { args, .. } if step.id == "cni-plugin" => {
                host.files.insert(args[1].clone(), Found::Link(args[0].clone()));
            }
            // ufw keeps them in its own words, which are not made here.
            Action::Run { .. } if step.id == "ufw" => {}
            Action::Run { input, .. } if step.id == "ufw-services" => {
                host.ufw_services = input.lines().map(str::to_owned).collect();
            }
            Action::Run { .. } if step.id == "nftables" => {
                host.nft_chains.iter_mut().for_each(|chain| chain.opened = true);
            }
            Action::CopyBinary { .. } => {
                let found = Found::File { sha256: release().sha256, mode: 0o755, modified_s: 1000 };
                host.files.insert(BINARY.into(), found);
            }
            Action::Certificates => {
                host.pki_due = Some(vec![]);
                host.files.insert("/etc/rkctl/pki/ca.crt".into(), file(b"ca", 0o644));
            }
            Action::FetchAuthority => _ = host.files.insert("/etc/rkctl/pki/ca.crt".into(), file(b"ca", 0o644)),
            Action::HandToken { .. } => host.joined = true,
            Action::Restart { unit: "rkctl-server" } => {
                host.server_state = true;
                host.units.insert("rkctl-server".into(), unit());
            }
            Action::Restart { unit: name } => _ = host.units.insert((*name).to_owned(), unit()),
            Action::AwaitNode => _ = nodes.entry(step.host.clone()).or_default(),
            Action::SetNode { settings, .. } => {
                let node = nodes.entry(settings.name.clone()).or_default();
                node.labels.extend(settings.set_labels.clone());
                node.labels.retain(|key, _| !settings.remove_labels.contains(key));
                node.taints.extend(settings.set_taints.clone());
                node.managed = settings.managed.clone();
            }
            Action::ApplyAddons { apply, .. } => addons.extend(
                apply
                    .iter()
                    .map(|name| (name.clone(), AddonFacts { hash: release().addons[name].clone(), ready: true })),
            ),
            Action::AwaitServer | Action::AwaitAddons(_) => {}
            other => panic!("{other:?} is not played"),
        }
    }
    nodes.values_mut().for_each(|node| node.ready = true);
    facts.get_mut("cp1").unwrap().cluster =
        Some(ClusterFacts { ready: true, nodes, addons, dns_answers: Some(true), ..ClusterFacts::default() });
    facts
}

/// Reads a configuration that was written as the script would.
fn made_with(host: &mut HostFacts, path: &str, content: &str) {
    let value = |key: &str| {
        let line = content.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let config = Configured {
        node_name: value("nodeName"),
        pod_cidr: value("podCIDR"),
        service_cidr: value("serviceCIDR"),
        cluster_domain: value("clusterDomain"),
        gitops: value("gitops").map(|text| serde_json::from_str(&text).unwrap()),
    };
    match path {
        "/etc/rkctl/server.yaml" => (host.server_config, host.cluster_name) = (config, value("clusterName")),
        "/etc/rkctl/agent.yaml" => host.agent_config = config,
        _ => {}
    }
}

fn converged(cluster: &Cluster) -> BTreeMap<String, HostFacts> {
    let facts = fleet(cluster);
    carried_out(&facts, &planned(cluster, &facts))
}

fn ids(plan: &Plan) -> Vec<(&str, &str)> {
    plan.steps.iter().map(|step| (step.host.as_str(), step.id)).collect()
}

#[test]
fn a_bare_cluster_is_planned_in_the_order_it_can_be_made() {
    let cluster = cluster(LAB);
    let plan = planned(&cluster, &fleet(&cluster));
    assert_eq!(plan.problems, []);
    let ids = ids(&plan);
    let at =
        |wanted: (&str, &str)| ids.iter().position(|id| *id == wanted).unwrap_or_else(|| panic!("{wanted:?}: {ids:?}"));
    for (earlier, later) in [
        (("cp1", "binary"), ("cp1", "certificates")),
        (("cp1", "server-config"), ("cp1", "certificates")),
        (("cp1", "certificates"), ("cp1", "server")),
        (("cp1", "server-ready"), ("w1", "authority")),
        (("w1", "binary"), ("w1", "token")),
        (("w1", "token"), ("w1", "agent")),
        (("w1", "agent"), ("w1", "node-ready")),
        (("w2", "node-ready"), ("cp1", "node-settings")),
        (("cp1", "addons"), ("cp1", "addons-ready")),
    ] {
        assert!(at(earlier) < at(later), "{earlier:?} before {later:?}: {ids:?}");
    }
    assert!(!ids.contains(&("w1", "server")) && !ids.contains(&("cp1", "authority")));
}

#[test]
fn a_converged_cluster_has_nothing_to_do() {
    let cluster = cluster(LAB);
    let plan = planned(&cluster, &converged(&cluster));
    assert_eq!((ids(&plan), &plan.notices, &plan.problems), (vec![], &vec![], &vec![]));
}

#[test]
fn a_new_label_is_one_step_and_a_label_that_leaves_is_removed() {
    let facts = converged(&cluster(LAB));
    let labelled = cluster(&LAB.replace("role: worker", "role: worker, labels: {disk: fast}"));
    let plan = planned(&labelled, &facts);
    assert_eq!(ids(&plan), [("cp1", "node-settings"); 2]);
    assert_eq!(plan.steps[0].after, "disk=fast");
    let facts = carried_out(&facts, &plan);
    assert_eq!(ids(&planned(&labelled, &facts)), []);
    let plan = planned(&cluster(LAB), &facts);
    let Action::SetNode { settings, .. } = &plan.steps[0].action else { panic!("{plan:?}") };
    assert_eq!(
        (settings.remove_labels.as_slice(), &settings.managed),
        (["disk".to_owned()].as_slice(), &Managed::default())
    );
}

#[test]
fn a_label_somebody_else_set_is_left_alone() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    let nodes = &mut facts.get_mut("cp1").unwrap().cluster.as_mut().unwrap().nodes;
    nodes.get_mut("w1").unwrap().labels.insert("theirs".into(), "x".into());
    assert_eq!(ids(&planned(&cluster, &facts)), []);
}

#[test]
fn a_node_that_is_in_the_cluster_is_set_where_its_host_does_not_answer() {
    let facts = converged(&cluster(LAB));
    let labelled = cluster(&LAB.replace("role: worker", "role: worker, labels: {a: b}"));
    let mut silent = observed(&facts);
    silent.insert("w2".into(), Observation::Failed { cause: "no route".into() });
    let plan = plan(&labelled, &silent, &release(), Timestamp::UNIX_EPOCH).unwrap();
    let joined = plan.steps.iter().map(|step| matches!(step.action, Action::SetNode { joined: true, .. }));
    assert_eq!(joined.collect::<Vec<_>>(), [true, true], "{plan:?}");
}

#[test]
fn a_fourth_host_changes_only_itself() {
    let mut facts = converged(&cluster(LAB));
    facts.insert("w3".into(), bare("w3", "10.88.0.5"));
    let more = cluster(&LAB.replace("w[1:2]", "w[1:3]").replace("[3:4]", "[3:5]"));
    let plan = planned(&more, &facts);
    let hosts: BTreeSet<&str> = plan.steps.iter().map(|step| step.host.as_str()).collect();
    assert_eq!(hosts, BTreeSet::from(["w3"]), "{:?}", ids(&plan));
}

#[test]
fn an_absent_host_is_drained_deleted_and_reset_in_this_order() {
    let facts = converged(&cluster(LAB));
    let text = LAB.replace(
        "- {name: 'w[1:2]', role: worker, address: '10.88.0.[3:4]'}",
        "- {name: w1, address: 10.88.0.3}\n    - {name: w2, address: 10.88.0.4, state: absent}",
    );
    let without = cluster(&text);
    assert_eq!(ids(&planned(&without, &facts)), [("cp1", "node-remove"), ("w2", "reset")]);
    let mut gone = facts.clone();
    gone.insert("w2".into(), bare("w2", "10.88.0.4"));
    gone.get_mut("cp1").unwrap().cluster.as_mut().unwrap().nodes.remove("w2");
    assert_eq!(ids(&planned(&without, &gone)), []);
}

#[test]
fn an_absent_host_that_is_dead_is_drained_shortly_and_only_told_then() {
    let mut facts = converged(&cluster(LAB));
    let without = cluster(&LAB.replace(
        "- {name: 'w[1:2]', role: worker, address: '10.88.0.[3:4]'}",
        "- {name: w1, address: 10.88.0.3}\n    - {name: w2, address: 10.88.0.4, state: absent}",
    ));
    let planned = |facts: &BTreeMap<String, HostFacts>| {
        let mut seen = observed(facts);
        seen.insert("w2".into(), Observation::Failed { cause: "no route".into() });
        plan(&without, &seen, &release(), Timestamp::UNIX_EPOCH).unwrap()
    };
    let leaving = planned(&facts);
    assert_eq!(ids(&leaving), [("cp1", "node-remove")]);
    let Action::RemoveNode { drain_timeout, .. } = &leaving.steps[0].action else { panic!("{leaving:?}") };
    assert!(drain_timeout.as_secs() < 60, "{drain_timeout:?}");
    // It may be what an addon waits for.
    let mut waiting = facts.clone();
    waiting.get_mut("cp1").unwrap().cluster.as_mut().unwrap().addons.get_mut("dns").unwrap().ready = false;
    assert_eq!(ids(&planned(&waiting)), [("cp1", "node-remove"), ("cp1", "addons-ready")]);
    facts.get_mut("cp1").unwrap().cluster.as_mut().unwrap().nodes.remove("w2");
    let gone = planned(&facts);
    assert_eq!((ids(&gone), gone.problems.len(), gone.notices.len()), (vec![], 0, 1));
    assert!(gone.notices[0].remedy.contains("take it out of the inventory"), "{:?}", gone.notices);
}

#[test]
fn a_unit_that_stopped_is_started_again() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    facts.get_mut("cp1").unwrap().units.get_mut("rkctl-server").unwrap().active = "failed".into();
    let plan = planned(&cluster, &facts);
    assert_eq!(ids(&plan), [("cp1", "server"), ("cp1", "server-ready")]);
    assert_eq!((plan.steps[0].before.as_str(), plan.steps[0].reason.as_str()), ("failed", "it is failed"));
}

#[test]
fn every_step_says_why_and_what_it_changes() {
    let wishes = LAB
        .replace("spec:", "spec:\n  addons: {ingress: {enabled: false}}\n  defaults: {labels: {tier: web}}")
        + "    - {name: w9, role: worker, address: 10.88.0.9, state: absent}\n";
    let cluster = cluster(&wishes);
    let mut spoilt = fleet(&cluster);
    for (name, facts) in &mut spoilt {
        facts.hostname = format!("was-{name}");
        facts.tools.clear();
        facts.swaps = vec!["/dev/sda2".into()];
        facts.sysctls.insert("net.ipv4.ip_forward".into(), Sysctl { value: Some("0".into()), writable: true });
        facts.modules.insert("vxlan".into(), Module::Loadable);
        facts.files.insert(BINARY.into(), Found::File { sha256: "c".repeat(64), mode: 0o755, modified_s: 1 });
        facts.units.insert("systemd-networkd".into(), unit());
    }
    // A firewall of each kind, and a credential that nobody needs any more.
    spoilt.get_mut("cp1").unwrap().units.insert("firewalld".into(), unit());
    spoilt.get_mut("cp1").unwrap().files.insert("/etc/rkctl/gitops/password".into(), Found::Link("x".into()));
    let policy = "/etc/rkctl/access/audit-policy.yaml";
    spoilt.get_mut("cp1").unwrap().files.insert(policy.into(), Found::Link("x".into()));
    spoilt.get_mut("w2").unwrap().ufw_enabled = true;
    let w1 = spoilt.get_mut("w1").unwrap();
    w1.units.insert("nftables".into(), unit());
    w1.nft_chains.push(NftChain {
        family: "inet".into(),
        table: "filter".into(),
        chain: "input".into(),
        hook: "input".into(),
        refuses: true,
        opened: false,
    });
    let first = planned(&cluster, &spoilt);
    let node = |ready| NodeFacts { ready, message: "the network is not ready".into(), ..NodeFacts::default() };
    let cp1 = spoilt.get_mut("cp1").unwrap();
    cp1.pki_due = Some(vec![PkiDue { file: "server.crt".into(), reason: "it expires soon".into() }]);
    cp1.cluster = Some(ClusterFacts {
        nodes: ["cp1", "w1", "w9"].map(|name| (name.to_owned(), node(name != "w1"))).into(),
        addons: BTreeMap::from([("ingress".to_owned(), AddonFacts { hash: "i".into(), ready: true })]),
        ..ClusterFacts::default()
    });
    let second = planned(&cluster, &spoilt);

    let steps: Vec<&Step> = first.steps.iter().chain(&second.steps).collect();
    let silent: Vec<_> = steps
        .iter()
        .filter(|step| step.reason.is_empty() || step.before.is_empty() || step.after.is_empty())
        .map(|step| (step.host.as_str(), step.id, step.before.as_str(), step.after.as_str()))
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
    let seen: BTreeSet<&str> = steps.iter().map(|step| step.id).collect();
    assert_eq!(seen, IDS.into_iter().collect(), "every kind of step is looked at here");
}

/// Every kind of step that this program knows.
const IDS: [&str; 35] = [
    "access-files",
    "addons",
    "addons-ready",
    "agent",
    "agent-config",
    "agent-unit",
    "authority",
    "binary",
    "certificates",
    "cni-plugin",
    "firewalld",
    "gitops-auth",
    "hostname",
    "hosts-file",
    "links",
    "modules",
    "modules-file",
    "nftables",
    "node-ready",
    "node-remove",
    "node-settings",
    "packages",
    "reset",
    "runtime",
    "runtime-config",
    "server",
    "server-config",
    "server-ready",
    "server-unit",
    "swap",
    "sysctl",
    "sysctl-file",
    "token",
    "ufw",
    "ufw-services",
];

#[test]
fn where_the_control_plane_does_not_answer_its_workers_are_not_held_to_be_wrong() {
    let cluster = cluster(LAB);
    let mut observed = observed(&converged(&cluster));
    observed.insert("cp1".into(), Observation::Failed { cause: "no route".into() });
    let plan = plan(&cluster, &observed, &release(), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(ids(&plan), []);
}

#[test]
fn a_host_that_is_reached_over_loopback_is_a_node_at_its_own_address() {
    let inventory = |more: &str| {
        cluster(&format!("metadata: {{name: one}}\nspec:\n  hosts:\n    - {{name: one, address: 127.0.0.1{more}}}\n"))
    };
    let facts = BTreeMap::from([("one".to_owned(), bare("one", "10.0.0.5"))]);
    let plan = planned(&inventory(""), &facts);
    let written = |wanted: &str| {
        let step = plan.steps.iter().find(|step| step.title.ends_with(wanted)).unwrap();
        let Action::Write { content, .. } = &step.action else { panic!() };
        serde_yaml::from_str::<serde_json::Value>(content).unwrap()
    };
    assert_eq!(written("server.yaml")["advertiseAddress"], "10.0.0.5");
    assert_eq!(written("agent.yaml")["nodeIP"], "10.0.0.5");
    for address in ["127.0.0.1", "169.254.1.1"] {
        let plan = planned(&inventory(&format!(", privateAddress: {address}")), &facts);
        assert!(plan.problems.iter().any(|problem| problem.message.contains("cannot reach the host at")), "{address}");
    }
}

#[test]
fn a_host_of_another_cluster_is_not_taken_over() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    facts.get_mut("cp1").unwrap().cluster_name = Some("theirs".into());
    let plan = planned(&cluster, &facts);
    assert!(
        plan.problems[0].message.contains("control plane of the cluster theirs, not of lab"),
        "{:?}",
        plan.problems
    );
    assert_eq!(ids(&plan), []);

    let mut facts = converged(&cluster);
    let other = Found::File { sha256: "0".repeat(64), mode: 0o644, modified_s: 1000 };
    facts.get_mut("w1").unwrap().files.insert("/etc/rkctl/pki/ca.crt".into(), other);
    let plan = planned(&cluster, &facts);
    assert!(plan.problems[0].message.contains("joined a cluster with another authority"), "{:?}", plan.problems);
    assert_eq!((plan.problems.len(), ids(&plan)), (1, vec![]));
}
