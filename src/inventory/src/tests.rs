use std::path::Path;

use super::*;

mod schema;

fn problems_of(text: &str) -> Vec<String> {
    match parse(text, Path::new("hosts.yaml")) {
        Ok(cluster) => panic!("accepted: {cluster:?}"),
        Err(Error::Invalid { problems }) => problems.iter().map(Problem::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

fn good(text: &str) -> Cluster {
    parse(text, Path::new("/inv/hosts.yaml")).unwrap_or_else(|error| panic!("{error}"))
}

/// What follows `spec:` with one good host, so that a test shows only what it is about.
fn with_spec(rest: &str) -> String {
    format!("spec:\n  hosts:\n    - address: 10.0.0.1\n{rest}")
}

#[test]
fn one_line_with_one_address_is_a_whole_cluster() {
    let cluster = good("spec: {hosts: [{address: 10.0.0.5}]}");
    assert_eq!(cluster.name, "cluster");
    let host = &cluster.hosts[0];
    assert_eq!((host.name.as_str(), host.role, host.ssh.user.as_deref()), ("host-10-0-0-5", Role::Single, None));
    assert_eq!(cluster.datastore, Datastore::Embedded);
    assert_eq!(cluster.network.kubernetes_ip().to_string(), "10.43.0.1");
    assert_eq!(cluster.network.dns_ip().to_string(), "10.43.0.10");
    assert_eq!(cluster.api_url(), "https://10.0.0.5:6443");
    assert!(cluster.addons.dns.enabled && cluster.addons.ingress.enabled && cluster.addons.metrics.enabled);
}

#[test]
fn every_example_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../inventories");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        load(&path).unwrap_or_else(|error| panic!("{error}"));
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let supported = load_for("0.1.0", &path);
        assert_eq!(supported.is_ok(), name != "ha", "{name}: {supported:?}");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["ha", "lab", "minimal", "vagrant"]);
}

#[test]
fn settings_are_inherited_from_defaults_then_groups_then_the_host() {
    let cluster = good(
        "spec:
  defaults:
    labels: {tier: base, site: a}
    ssh: {user: admin, port: 2222}
  groups:
    fast: {labels: {tier: fast}, taints: ['dedicated=x:NoSchedule'], ssh: {port: 22}, agent: {evictionHard: {nodefs.available: 2%}}}
    gpu: {labels: {tier: gpu}}
  hosts:
    - {name: cp1, role: controller, address: 10.0.0.1}
    - {name: g1, address: 10.0.0.2, groups: [fast, gpu], labels: {site: b}, taints: ['dedicated=y:NoSchedule']}
",
    );
    let host = cluster.host("g1").unwrap();
    assert_eq!(host.role, Role::Worker);
    assert_eq!((host.labels["tier"].as_str(), host.labels["site"].as_str()), ("gpu", "b"));
    assert_eq!(host.taints.iter().map(Taint::to_string).collect::<Vec<_>>(), ["dedicated=y:NoSchedule"]);
    assert_eq!((host.ssh.user.as_deref(), host.ssh.port), (Some("admin"), Some(22)));
    assert_eq!(host.r#become.method, Escalation::Sudo);
    assert_eq!(host.agent.eviction_hard["nodefs.available"], "2%");
    assert_eq!(host.agent.image_gc_high_threshold_percent, 85);
    assert_eq!(cluster.host("cp1").unwrap().ssh.port, Some(2222));
}

#[test]
fn ranges_make_hosts_with_their_addresses() {
    let cluster = good(
        "spec:
  hosts:
    - {name: cp1, role: controller, address: 10.0.0.1}
    - name: w[01:20]
      address: 10.0.1.[1:20]
",
    );
    assert_eq!(cluster.hosts.len(), 21);
    let last = cluster.hosts.last().unwrap();
    assert_eq!((last.name.as_str(), last.address.as_str()), ("w20", "10.0.1.20"));
    assert_eq!(cluster.hosts[1].name, "w01");
}

#[test]
fn an_unknown_key_is_an_error_with_its_place_and_a_suggestion() {
    let found = problems_of("spec:\n  hosts:\n    - adress: 10.0.0.1\n");
    assert_eq!(found, ["hosts.yaml:3:7: unknown key `adress`; did you mean `address`?"]);
    let found = problems_of(&with_spec("  netwrok: {}\n"));
    assert_eq!(found, ["hosts.yaml:4:3: unknown key `netwrok`; did you mean `network`?"]);
    let found = problems_of("spec:\n  hosts:\n    - address: 10.0.0.1\n      role: controler\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("hosts.yaml:4:") && found[0].ends_with("did you mean `controller`?"), "{}", found[0]);
}

#[test]
fn a_value_of_another_kind_is_told_by_its_key_and_what_it_takes() {
    let mut otherwise = Vec::new();
    let mut told = |text: &str, expected: &str| {
        let found = problems_of(text);
        // The place is said once.
        if found.len() != 1 || !found[0].contains(expected) || found[0].contains(" at line ") {
            otherwise.push(format!("{text:?}: {expected}\nbut: {found:?}"));
        }
    };
    for (text, expected) in [
        ("", "the file is empty; the least is `spec: {hosts: [{address: ADDRESS}]}`"),
        ("# nothing\n---\n", "the file is empty"),
        ("spec: {hosts: 5}", "hosts.yaml:1:15: `hosts` takes a list of hosts, each with its `address`"),
        ("spec: {hosts: [", "hosts.yaml:1:15: unclosed bracket"),
        ("spec: {hosts: [{address: 10.0.0.1}]}\n---\nspec: {}\n", "a second document begins here"),
    ] {
        told(text, expected);
    }
    for (spec, expected) in [
        (
            "      taints: [{key: a, effect: X}]",
            "hosts.yaml:4:16: `taints` takes a list of texts as kubectl writes them",
        ),
        ("      taints:\n        - key: a", "`taints` takes a list of texts as kubectl writes them"),
        ("      ssh: {port: 70000}", "hosts.yaml:4:19: `port` takes a whole number from 1 to 65535"),
        ("      ssh: root", "hosts.yaml:4:12: `ssh` takes keys with values"),
        ("      groups: fast", "`groups` takes a list"),
        ("      prepare: {swap: 7}", "`swap` takes `true` or `false`"),
        (
            "  gitops: {url: 'file:///x', ref: {branch: x}}",
            "hosts.yaml:4:35: `ref` takes the name of a branch or a tag",
        ),
        ("  addons: {dns: false}", "hosts.yaml:4:17: `dns` takes keys with values: `{enabled: false}` leaves it out"),
        ("  options: {parallel: many}", "`parallel` takes a whole number"),
    ] {
        told(&with_spec(spec), expected);
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    for (text, expected) in [
        ("apiVersion: v1\nspec: {hosts: [{address: 10.0.0.1}]}", "hosts.yaml:1:13: apiVersion is `v1`; this version"),
        ("metadata: {name: My_Lab}\nspec: {hosts: [{address: 10.0.0.1}]}", "hosts.yaml:1:18: `My_Lab` is not a DNS"),
        ("spec: {hosts: []}", "hosts.yaml:1:15: there is no host"),
        ("spec:\n  hosts:\n    - address: 10.0.0.300", "hosts.yaml:3:16: `10.0.0.300` is not an IP address"),
        ("spec:\n  hosts:\n    - {address: 10.0.0.1}\n    - {address: 10.0.0.2}", "hosts.yaml:3:5: no host has role"),
        (
            "spec:\n  hosts:\n    - {name: a, role: single, address: 10.0.0.1}\n    - {name: a, address: 10.0.0.2}",
            "hosts.yaml:4:14: the name `a` is taken by the host of line 3",
        ),
        (
            "spec:\n  hosts:\n    - {name: a, role: single, address: 10.0.0.1}\n    - {name: b, address: 10.0.0.1}",
            "hosts.yaml:4:26: the host `a` has the address `10.0.0.1` too",
        ),
        (
            "spec:\n  hosts:\n    - {role: single, address: '10.0.0.[1:2]', name: 'w[1:3]'}",
            "hosts.yaml:3:53: name stands for 3 hosts, address for 2",
        ),
    ] {
        let found = problems_of(text);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{expected}\nin {found:#?}");
    }
    for (spec, expected) in [
        (
            "  network: {podCIDR: 10.0.0.0/8}",
            "hosts.yaml:4:22: podCIDR 10.0.0.0/8 and serviceCIDR 10.43.0.0/16 overlap",
        ),
        ("  network: {podCIDR: 10.0.0.0/16}", "hosts.yaml:4:22: podCIDR 10.0.0.0/16 contains the address 10.0.0.1"),
        ("  network: {podCIDR: 10.42.1.0/16}", "hosts.yaml:4:22: `10.42.1.0/16` has bits behind its mask"),
        ("  network: {clusterDomain: a..b}", "hosts.yaml:4:28: `a..b` is not a DNS name"),
        ("  gitops: {url: 'github'}", "hosts.yaml:4:17: `github` is not a repository"),
        ("  gitops: {url: 'ssh://git@h/x'}", "hosts.yaml:4:17: a repository over ssh needs auth.sshKey"),
        ("  gitops: {url: 'file:///x', interval: 5}", "hosts.yaml:4:40: `5` is not a duration"),
        ("  options: {parallel: 0}", "hosts.yaml:4:23: parallel must be 1 to 256"),
        (
            "  security: {connectionsPerAddress: 0}",
            "hosts.yaml:4:37: connectionsPerAddress must be at least 1; leave it out for the server's own",
        ),
        ("  api: {endpoint: 'https://x'}", "hosts.yaml:4:19: an endpoint is `HOST` or `HOST:PORT`"),
        (
            "  defaults: {agent: {evictionHard: {nodefs.free: 1%}}}",
            "hosts.yaml:4:50: evictionHard names \"nodefs.free\": use one of memory.available",
        ),
        (
            "  defaults: {agent: {evictionHard: {nodefs.available: few}}}",
            "hosts.yaml:4:55: evictionHard nodefs.available is \"few\": use an amount such as 100Mi",
        ),
        (
            "  defaults: {agent: {imageGCHighThresholdPercent: 101}}",
            "hosts.yaml:4:51: imageGCHighThresholdPercent must be 10 to 100",
        ),
        ("  defaults: {taints: ['a=b:NoShedule']}", "hosts.yaml:4:23: unknown effect `NoShedule`; did you mean `NoSch"),
        ("  defaults: {labels: {'a/b/c': d}}", "hosts.yaml:4:32: `a/b/c` is not a key"),
    ] {
        let found = problems_of(&with_spec(spec));
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{expected}\nin {found:#?}");
    }
    let two = problems_of(&with_spec("  network: {clusterDomain: a..b}\n  options: {parallel: 0}\n"));
    assert_eq!(two.len(), 2, "{two:#?}");
}

#[test]
fn a_group_that_is_not_there_is_named_with_its_likely_meaning() {
    let text = "spec:\n  groups: {workers: {}}\n  hosts:\n    - {address: 10.0.0.1, groups: [worker]}\n";
    assert_eq!(problems_of(text), ["hosts.yaml:4:36: there is no group `worker`; did you mean `workers`?"]);
}

#[test]
fn a_secret_in_plain_text_is_refused_and_never_repeated() {
    let found = problems_of(&with_spec("      ssh: {password: hunter2}\n"));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("hosts.yaml:4:23: a secret must be a reference"), "{}", found[0]);
    assert!(!found[0].contains("hunter2"));
    let cluster = good(&with_spec("      ssh: {password: 'env:PASS', passphrase: 'file:secrets/key'}\n"));
    assert_eq!(cluster.hosts[0].ssh.password, Some(SecretRef::Env("PASS".into())));
    assert_eq!(cluster.hosts[0].ssh.passphrase, Some(SecretRef::File("/inv/secrets/key".into())));
}

#[test]
fn what_this_version_cannot_do_is_said_with_the_remedy() {
    let refusals = |text: &str| match check(text, Path::new("hosts.yaml"), Some("0.1.0")) {
        Err(Error::Invalid { problems }) => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"),
        other => panic!("{other:?}"),
    };
    let one = "  hosts: [{address: 192.0.2.1}]\n";
    for (text, wanted) in [
        (
            "spec:\n  hosts:\n    - {role: controller, address: 192.0.2.1}\n    - {address: 192.0.2.5, role: single}\n",
            "hosts.yaml:4:34: the inventory has 2 control-plane hosts",
        ),
        (
            "spec:\n  hosts:\n    - {name: 'cp[1:3]', role: controller, address: '192.0.2.[1:3]'}\n",
            "hosts.yaml:3:31: the inventory has 3 control-plane hosts",
        ),
        (&format!("spec:\n  datastore: {{type: etcd}}\n{one}"), "hosts.yaml:2:21: spec.datastore.type `etcd` is not"),
        (&format!("spec:\n  version: 9.9.9\n{one}"), "hosts.yaml:2:12: spec.version is 9.9.9, this is rkctl 0.1.0"),
        (&format!("spec:\n  security: {{encryptSecrets: true}}\n{one}"), "hosts.yaml:2:30: spec.security.encrypt"),
        (
            "spec:\n  hosts: [{address: '2001:db8::1'}]\n",
            "hosts.yaml:2:21: nodes have IPv4 addresses: set `privateAddress` to the IPv4 address",
        ),
        (
            "spec:\n  hosts: [{address: cp1.example.test, privateAddress: '2001:db8::1'}]\n",
            "hosts.yaml:2:55: nodes have IPv4 addresses",
        ),
        (
            &format!("spec:\n  registry: {{mirrors: {{example.test: ['https://m.example.test']}}}}\n{one}"),
            "hosts.yaml:2:39: spec.registry.mirrors is not supported yet",
        ),
    ] {
        let found = refusals(text);
        assert!(found.starts_with(wanted) && found.lines().count() == 1, "{wanted}\n{found}");
        good(text);
    }
    assert!(check(&format!("spec:\n  version: 0.1.0\n{one}"), Path::new("x"), Some("0.1.0")).is_ok());
    // Commands may go over IPv6 where the node has an IPv4 address.
    let both = "spec:\n  hosts: [{address: '2001:db8::1', privateAddress: 192.0.2.1}]\n";
    assert!(check(both, Path::new("x"), Some("0.1.0")).is_ok());
}

#[test]
fn what_is_no_text_or_no_yaml_is_told_with_its_place_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts.yaml");
    let latin = b"spec:\n  hosts:\n    - {address: 192.0.2.1, labels: {town: M\xfcnchen}}\n".as_slice();
    let wide = b"\xff\xfes\0p\0e\0c\0".as_slice();
    for (bytes, wanted) in [
        (latin, ":3:44: this byte is not UTF-8: save the file in that encoding"),
        (wide, ":1:1: this byte is not UTF-8"),
        (b"spec:\n\thosts:\n", ":2:2: a tab cannot indent: use blanks"),
        (b"spec: &a\n  hosts: *a\n", ":2:10: this alias stands within what it stands for"),
        (b"- a\n- b\n", ":1:1: expected keys with values here"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let found = load(&path).unwrap_err().to_string();
        assert!(found.contains(wanted), "{wanted}\n{found}");
    }
    // It has no size and no end.
    assert!(matches!(load("/dev/zero"), Err(Error::TooLarge { .. })));
}

#[test]
fn a_password_in_the_url_of_a_repository_is_refused_and_never_repeated() {
    for url in ["https://me:hunter2@git.example.test/x.git", "https://hunter2@git.example.test/x.git"] {
        let found = problems_of(&with_spec(&format!("  gitops: {{url: '{url}'}}\n"))).join("\n");
        assert!(found.starts_with("hosts.yaml:4:17: a secret does not belong in the URL"), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    let key = "auth: {sshKey: 'file:k', knownHosts: 'file:h'}";
    let found = problems_of(&with_spec(&format!("  gitops: {{url: 'ssh://me:hunter2@h/x', {key}}}\n"))).join("\n");
    assert!(found.contains("a secret does not belong in the URL") && !found.contains("hunter2"), "{found}");
    good(&with_spec(&format!("  gitops: {{url: 'ssh://git@h/x', {key}}}\n")));
}
