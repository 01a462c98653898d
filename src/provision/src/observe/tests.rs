use super::*;

#[test]
fn what_the_script_prints_is_read() {
    let text = "clock\t1700000000.250000000\nuid\t0\narch\tx86_64\nos-id\tdebian\nsystemd\tyes\ntool\tnft\n\
                capabilities\t000001ffffffffff\naddress\t10.88.0.3\nlocal-address\t10.88.0.3\n\
                disk-free-kib\t/var/lib\t1024\nswap\t/dev/sda2\nmodule\tvxlan\tloadable\n\
                sysctl\tnet.ipv4.ip_forward\t0\twritable\nsysctl\tx.y\t\tmissing\n\
                file\t/etc/a\tabc\t644\t1700000001\nlink\t/etc/b\t/etc/a\n\
                unit\tcontainerd\tactive\tenabled\t1700000000\t2\n\
                listens\ttcp\t6443\thaproxy\nhosts\t# BEGIN rkctl\nhosts\t10.88.0.3 w1\nhosts\t# END rkctl\n\
                nft-chain\tinet\tfilter\tinput\tinput\tyes\tno\n\
                ca\t-----BEGIN|x|\npki\t[]\ncluster\t{\"ready\":true,\"nodes\":{},\"addons\":{},\"dnsAnswers\":null}\n\
                server-config\tpodCIDR\t10.42.0.0/16\nagent-config\tnodeName\tw1\nserver-state\tyes\n\
                something\tnew\nend\tyes\n";
    let facts = HostFacts::parse(text);
    assert!(facts.complete && facts.systemd && facts.may_lower_oom_score());
    assert_eq!(facts.clock.unwrap().as_millisecond(), 1_700_000_000_250);
    assert_eq!(facts.modules["vxlan"], Module::Loadable);
    assert_eq!(facts.sysctls["net.ipv4.ip_forward"], Sysctl { value: Some("0".into()), writable: true });
    assert_eq!(facts.sysctls["x.y"].value, None);
    assert_eq!((facts.sha256("/etc/a"), facts.sha256("/etc/b")), (Some("abc"), None));
    assert!(facts.unit("containerd").is_active() && facts.unit("containerd").restarts == 2);
    assert_eq!(facts.listeners[&("tcp".to_owned(), 6443)], "haproxy");
    assert_eq!(facts.hosts_block.len(), 3);
    assert!(facts.nft_chains[0].refuses && !facts.nft_chains[0].opened);
    assert_eq!(facts.ca_pem.as_deref(), Some("-----BEGIN\nx\n"));
    assert_eq!(facts.pki_due, Some(vec![]));
    assert_eq!(facts.server_config.pod_cidr.as_deref(), Some("10.42.0.0/16"));
    assert_eq!(facts.agent_config.node_name.as_deref(), Some("w1"));
    assert!(facts.server_state && facts.cluster.unwrap().ready);
}

#[test]
fn an_answer_that_was_cut_off_is_not_complete() {
    assert!(!HostFacts::parse("uid\t0\narch\tx86").complete);
}

#[test]
fn a_clock_that_is_none_is_not_read() {
    let clock = |text: &str| HostFacts::parse(&format!("clock\t{text}\n")).clock.map(|clock| clock.as_millisecond());
    for (text, expected) in [
        ("1.5", Some(1000)),
        ("1.500000000", Some(1500)),
        ("1.%N", Some(1000)),
        ("1.-99", Some(1000)),
        ("", None),
        ("9223372036854775.999", None),
    ] {
        assert_eq!(clock(text), expected, "{text:?}");
    }
}

#[test]
fn the_script_runs_under_a_plain_shell_and_comes_to_its_end() {
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", SCRIPT, "sh", "/etc/passwd", "/nonexistent", "/etc/mtab", "/etc/hostname"])
        .output()
        .unwrap();
    let facts = HostFacts::parse(&String::from_utf8_lossy(&output.stdout));
    assert!(facts.complete, "{}", String::from_utf8_lossy(&output.stderr));
    let hash = std::process::Command::new("sha256sum").arg("/etc/passwd").output().unwrap();
    let hash = String::from_utf8_lossy(&hash.stdout).into_owned();
    assert_eq!(facts.sha256("/etc/passwd"), hash.split_whitespace().next());
    assert!(facts.modified_s("/etc/hostname").unwrap() > 0 && matches!(facts.files["/etc/mtab"], Found::Link(_)));
    assert_eq!(facts.files.len(), 3);
    assert!(!facts.kernel.is_empty() && facts.uid.is_some() && facts.clock.is_some());
}
