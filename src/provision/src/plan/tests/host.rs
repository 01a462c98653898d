//! What a host has, lacks and is prepared with.

use super::*;

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
