use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use inventory::Cluster;
use sha2::{Digest, Sha256};

use super::*;
use crate::cluster_facts::{AddonFacts, ClusterFacts, Managed, NodeFacts};
use crate::observe::{Configured, Found, HostFacts, Module, NftChain, PkiDue, Sysctl, Unit};

mod belonging;

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
fn what_becomes_of_the_objects_of_a_repository_that_is_left_is_told_before() {
    let following = |path: &str| {
        let url = "https://git.example.test/x.git";
        cluster(&format!("{LAB}  gitops: {{url: '{url}', path: {path}, interval: 1m}}\n"))
    };
    let facts = converged(&following("one"));
    let notices = |cluster: &Cluster| {
        let plan = planned(cluster, &facts);
        plan.notices.iter().map(|notice| format!("{}: {}", notice.host, notice.message)).collect::<Vec<_>>()
    };
    assert_eq!(notices(&following("one")), Vec::<String>::new());
    assert_eq!(
        notices(&following("two")),
        ["cp1: the cluster is to follow two of https://git.example.test/x.git at main instead of one of \
          https://git.example.test/x.git at main: objects of the old one that the new one does not have are pruned"]
    );
    let left = notices(&cluster(LAB));
    assert!(left.len() == 1 && left[0].contains("no longer: its objects stay"), "{left:?}");
    let again = carried_out(&facts, &planned(&cluster(LAB), &facts));
    assert_eq!(planned(&cluster(LAB), &again).notices, [], "it is told while there is something to decide");
}

#[test]
fn files_about_access_go_to_the_server_and_leave_it_with_the_inventorys() {
    let with = cluster(&format!("{LAB}  security: {{auditPolicy: policy.yaml}}\n"));
    let path = "/etc/rkctl/access/audit-policy.yaml";
    let release = Release { git_files: [(path.to_owned(), "a".repeat(64))].into(), ..release() };
    let plan = plan(&with, &observed(&fleet(&with)), &release, Timestamp::UNIX_EPOCH).unwrap();
    let wanted = Action::Secrets { folder: crate::secrets::ACCESS_DIR };
    assert!(plan.steps.iter().any(|step| step.id == "access-files" && step.action == wanted), "{plan:?}");
    let config = plan.steps.iter().find_map(|step| match &step.action {
        Action::Write { path, content, .. } if path == "/etc/rkctl/server.yaml" => Some(content),
        _ => None,
    });
    assert!(config.unwrap().contains(path), "{config:?}");
    let without = cluster(LAB);
    let mut facts = converged(&without);
    let found = Found::File { sha256: "0".repeat(64), mode: 0o600, modified_s: 1000 };
    facts.get_mut("cp1").unwrap().files.insert(path.to_owned(), found);
    assert_eq!(ids(&planned(&without, &facts)), [("cp1", "access-files")]);
}

#[test]
fn credentials_that_the_inventory_no_longer_has_leave_the_host() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    let secret = Found::File { sha256: "0".repeat(64), mode: 0o600, modified_s: 1000 };
    for name in ["ssh_key", "known_hosts"] {
        facts.get_mut("cp1").unwrap().files.insert(format!("/etc/rkctl/gitops/{name}"), secret.clone());
    }
    let plan = planned(&cluster, &facts);
    assert_eq!(ids(&plan), [("cp1", "gitops-auth")]);
    let Action::Run { args, .. } = &plan.steps[0].action else { panic!("{plan:?}") };
    assert_eq!(args.as_slice(), ["/etc/rkctl/gitops/known_hosts", "/etc/rkctl/gitops/ssh_key"]);
    facts.get_mut("cp1").unwrap().files.retain(|path, _| !args.contains(path));
    assert_eq!(ids(&planned(&cluster, &facts)), []);
}

#[test]
fn a_change_that_was_not_followed_by_a_restart_is_noticed() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    let Some(Found::File { modified_s, .. }) = facts.get_mut("w1").unwrap().files.get_mut("/etc/rkctl/agent.yaml")
    else {
        panic!("no agent.yaml");
    };
    *modified_s = 3000;
    assert_eq!(ids(&planned(&cluster, &facts)), [("w1", "agent"), ("w1", "node-ready")]);
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
fn certificates_that_are_due_are_renewed_and_the_server_starts_anew() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    facts.get_mut("cp1").unwrap().pki_due =
        Some(vec![PkiDue { file: "apiserver.crt".into(), reason: "it ends".into() }]);
    assert_eq!(ids(&planned(&cluster, &facts)), [("cp1", "certificates"), ("cp1", "server"), ("cp1", "server-ready")]);
}

#[test]
fn a_prepared_kernel_stays_and_an_unprepared_one_is_prepared_once() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    let w1 = facts.get_mut("w1").unwrap();
    w1.swaps.push("/dev/sda2".into());
    w1.modules.insert("vxlan".into(), Module::Loadable);
    w1.sysctls.insert("net.ipv4.ip_forward".into(), Sysctl { value: Some("0".into()), writable: true });
    w1.sysctls.insert("fs.inotify.max_user_watches".into(), Sysctl { value: Some("9999999".into()), writable: true });
    let plan = planned(&cluster, &facts);
    assert_eq!(ids(&plan), [("w1", "swap"), ("w1", "modules"), ("w1", "sysctl"), ("w1", "sysctl-file")]);
    assert_eq!(
        (plan.steps[2].before.as_str(), plan.steps[2].after.as_str()),
        ("net.ipv4.ip_forward=0", "net.ipv4.ip_forward=1")
    );
    assert_eq!(ids(&planned(&cluster, &carried_out(&facts, &plan))), []);
}

#[test]
fn what_a_host_cannot_do_is_reported_with_what_follows() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    let w1 = facts.get_mut("w1").unwrap();
    w1.sysctls.insert("fs.inotify.max_user_instances".into(), Sysctl { value: Some("128".into()), writable: false });
    let plan = planned(&cluster, &facts);
    assert_eq!(ids(&plan), []);
    let notice = &plan.notices[0];
    assert_eq!(notice.message, "fs.inotify.max_user_instances is 128 instead of 8192");
    assert!(notice.remedy.contains("this host does not let it be set"), "{notice:?}");
}

#[test]
fn a_host_that_cannot_be_worked_on_is_a_problem_with_a_remedy() {
    let cluster = cluster(LAB);
    for (name, spoil) in [
        ("run as root", (|facts: &mut HostFacts| facts.uid = Some(1000)) as fn(&mut HostFacts)),
        ("this rkctl is for x86_64", |facts| facts.arch = "aarch64".into()),
        ("systemd is not", |facts| facts.systemd = false),
        ("port 10250/tcp is in use by kubelet", |facts| {
            facts.listeners.insert(("tcp".into(), 10250), "kubelet".into());
        }),
        ("port 8472/udp is in use by tunneld", |facts| {
            facts.listeners.insert(("udp".into(), 8472), "tunneld".into());
        }),
        ("port 80/tcp is in use by nginx", |facts| {
            facts.listeners.insert(("tcp".into(), 80), "nginx".into());
        }),
        ("port 443/tcp is in use by nginx", |facts| {
            facts.listeners.insert(("tcp".into(), 443), "nginx".into());
        }),
        ("/var/lib has 1 MiB free", |facts| _ = facts.disk_free_kib.insert("/var/lib".into(), 1024)),
        ("clock is 60.0 s ahead", |facts| {
            facts.asked_at = Some(Timestamp::UNIX_EPOCH);
            facts.clock = Timestamp::from_second(60).ok();
        }),
        ("SELinux is enforcing", |facts| {
            facts.selinux = Some("enforcing".into());
            facts.selinux_lacks.push("container-selinux".into());
        }),
    ] {
        let mut facts = fleet(&cluster);
        spoil(facts.get_mut("w1").unwrap());
        let plan = planned(&cluster, &facts);
        assert_eq!(plan.problems.len(), 1, "{name}: {:?}", plan.problems);
        assert!(plan.problems[0].message.contains(name), "{name}: {:?}", plan.problems);
        assert!(!plan.steps.iter().any(|step| step.host == "w1"), "{name}");
        assert!(plan.steps.iter().any(|step| step.host == "w2"), "{name}: other hosts are finished");
    }
}

#[test]
fn a_port_that_nothing_of_ours_needs_may_be_in_use() {
    let without = format!("{}  addons: {{ingress: {{enabled: false}}}}\n", LAB);
    let facts = |cluster: &Cluster, listeners: &[(&str, u16, &str)]| {
        let mut facts = fleet(cluster);
        for (protocol, port, who) in listeners {
            facts.get_mut("w1").unwrap().listeners.insert(((*protocol).to_owned(), *port), (*who).to_owned());
        }
        facts
    };
    let nginx = [("tcp", 80, "nginx"), ("tcp", 443, "nginx")];
    let cluster_without = cluster(&without);
    assert_eq!(planned(&cluster_without, &facts(&cluster_without, &nginx)).problems, []);
    // The kernel's own socket is that of a VXLAN link: ours, or one that shares the port.
    let lab = cluster(LAB);
    assert_eq!(planned(&lab, &facts(&lab, &[("udp", 8472, "the kernel")])).problems, []);

    // What has come to a node since then holds nothing up, and is told.
    let mut joined = converged(&lab);
    joined.get_mut("w1").unwrap().listeners.insert(("tcp".into(), 80), "nginx".into());
    let plan = planned(&lab, &joined);
    assert_eq!((plan.problems.len(), plan.notices.len()), (0, 1), "{plan:?}");
    assert!(plan.notices[0].message.contains("port 80/tcp is in use by nginx"), "{plan:?}");
}

#[test]
fn what_is_not_to_be_prepared_is_observed_and_reported() {
    let spec = LAB.replace("spec:", "spec:\n  defaults: {prepare: {hostname: false, hosts: false}}");
    let cluster = cluster(&spec);
    let mut facts = fleet(&cluster);
    facts.get_mut("w1").unwrap().hostname = "debian".into();
    let plan = planned(&cluster, &facts);
    assert!(!plan.steps.iter().any(|step| ["hostname", "hosts-file"].contains(&step.id)), "{plan:?}");
    let of_w1: Vec<&str> =
        plan.notices.iter().filter(|notice| notice.host == "w1").map(|notice| notice.message.as_str()).collect();
    assert_eq!(
        of_w1,
        ["the host's name is debian, not w1", "/etc/hosts does not have 10.88.0.2 cp1, 10.88.0.3 w1"],
        "{plan:?}"
    );
    assert!(plan.notices.iter().all(|notice| notice.remedy.contains("`prepare.host")), "{plan:?}");
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
fn firewalls_are_opened_exactly_and_only_where_there_is_one() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    facts.get_mut("w1").unwrap().units.insert("firewalld".into(), unit());
    let plan = planned(&cluster, &facts);
    assert_eq!(ids(&plan), [("w1", "firewalld"), ("w1", "firewalld")]);
    let Action::Write { content, .. } = &plan.steps[0].action else { panic!() };
    for line in [
        r#"<port port="30000-32767" protocol="udp"/>"#,
        r#"<source address="10.88.0.2"/><port port="8472" protocol="udp"/><accept/>"#,
        r#"<source address="10.42.0.0/16"/><accept/>"#,
    ] {
        assert!(content.contains(line), "{line}\n{content}");
    }
    assert!(!content.contains(r#"address="10.88.0.3""#) && !content.contains("6443"), "{content}");
    assert_eq!(ids(&planned(&cluster, &carried_out(&facts, &plan))), []);

    let mut facts = converged(&cluster);
    facts.get_mut("cp1").unwrap().units.insert("nftables".into(), unit());
    let chain = |hook: &str| NftChain {
        family: "inet".into(),
        table: "filter".into(),
        chain: hook.into(),
        hook: hook.into(),
        refuses: true,
        opened: false,
    };
    facts.get_mut("cp1").unwrap().nft_chains = vec![chain("input"), chain("forward")];
    let plan = planned(&cluster, &facts);
    assert_eq!(ids(&plan), [("cp1", "nftables"); 4]);
    let Action::Write { content, .. } = &plan.steps[0].action else { panic!() };
    assert!(content.contains("add rule inet filter rkctl-input tcp dport 6443 accept"), "{content}");
    assert!(content.contains("rkctl-input ip saddr { 10.88.0.3, 10.88.0.4 } udp dport 8472 accept"), "{content}");
    assert_eq!(ids(&planned(&cluster, &carried_out(&facts, &plan))), []);

    let mut facts = converged(&cluster);
    facts.get_mut("w2").unwrap().ufw_enabled = true;
    let plan = planned(&cluster, &facts);
    assert_eq!(ids(&plan), [("w2", "ufw"), ("w2", "ufw-services")]);
    assert!(
        plan.steps[0].after.contains("allow proto tcp from 10.88.0.2 to 0.0.0.0/0 port 10250"),
        "{:?}",
        plan.steps[0]
    );
    assert_eq!(ids(&planned(&cluster, &carried_out(&facts, &plan))), [("w2", "ufw")], "the rules are not kept here");
}

#[test]
fn a_network_manager_is_told_to_leave_the_links_of_pods_alone() {
    let cluster = cluster(LAB);
    for (manager, path) in [
        ("systemd-networkd", "/etc/systemd/network/05-rkctl.network"),
        ("NetworkManager", "/etc/NetworkManager/conf.d/90-rkctl.conf"),
    ] {
        let mut facts = converged(&cluster);
        facts.get_mut("w1").unwrap().units.insert(manager.into(), unit());
        let plan = planned(&cluster, &facts);
        assert_eq!(ids(&plan), [("w1", "links")], "{manager}");
        let Action::Write { path: written, content, .. } = &plan.steps[0].action else { panic!() };
        assert!(written == path && content.contains("rk*"), "{content}");
        assert_eq!(ids(&planned(&cluster, &carried_out(&facts, &plan))), [], "{manager}");
    }
}

#[test]
fn where_the_control_plane_does_not_answer_its_workers_are_not_held_to_be_wrong() {
    let cluster = cluster(LAB);
    let mut observed = observed(&converged(&cluster));
    observed.insert("cp1".into(), Observation::Failed { cause: "no route".into() });
    let plan = plan(&cluster, &observed, &release(), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(ids(&plan), []);
}

#[test]
fn missing_programs_are_installed_by_the_hosts_own_package_manager() {
    let cluster = cluster(LAB);
    let mut facts = fleet(&cluster);
    facts.get_mut("w1").unwrap().tools.remove("conntrack");
    facts.get_mut("w1").unwrap().package_manager = Some("dnf".into());
    let plan = planned(&cluster, &facts);
    let step = plan.steps.iter().find(|step| step.id == "packages").unwrap();
    assert_eq!((step.host.as_str(), step.title.as_str()), ("w1", "install conntrack-tools"));
}

#[test]
fn configuration_is_yaml_with_what_was_wanted() {
    let cluster = cluster(LAB);
    let plan = planned(&cluster, &fleet(&cluster));
    let content = |host: &str, wanted: &str| {
        let step = plan.steps.iter().find(|step| step.host == host && step.title.ends_with(wanted)).unwrap();
        let Action::Write { content, mode, .. } = &step.action else { panic!() };
        assert_eq!(*mode, 0o600);
        serde_yaml::from_str::<serde_json::Value>(content).unwrap_or_else(|error| panic!("{error}\n{content}"))
    };
    let server = content("cp1", "server.yaml");
    assert_eq!(server["advertiseAddress"], "10.88.0.2");
    assert_eq!(server["apiSANs"], serde_json::json!(["10.88.0.2", "cp1"]));
    assert_eq!(server["nodePortRange"], "30000-32767");
    let agent = content("w1", "agent.yaml");
    assert_eq!((&agent["nodeName"], &agent["nodeIP"]), (&"w1".into(), &"10.88.0.3".into()));
    assert_eq!(agent["servers"], serde_json::json!(["https://10.88.0.2:6443"]));
    assert_eq!(agent["clusterDNS"], "10.43.0.10");
    assert_eq!(content("cp1", "agent.yaml")["taints"][0]["key"], "node-role.kubernetes.io/control-plane");
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
fn the_runtime_is_configured_for_what_the_host_can_do() {
    let cluster = cluster(LAB);
    let mut facts = fleet(&cluster);
    let w1 = facts.get_mut("w1").unwrap();
    (w1.cgroup, w1.capabilities) = (1, 0);
    let plan = planned(&cluster, &facts);
    let config = |host: &str| {
        let step = plan.steps.iter().find(|step| step.host == host && step.id == "runtime-config").unwrap();
        let Action::Run { input, .. } = &step.action else { panic!() };
        input.clone()
    };
    assert!(config("w1").contains("restrict_oom_score_adj = true") && config("w1").contains("SystemdCgroup = false"));
    assert!(!config("w2").contains("restrict_oom_score_adj") && config("w2").contains("SystemdCgroup = true"));
    assert!(config("w2").contains("sandbox_image = \"rkctl.local/pause:0.1.0\""));
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
