//! What is written into files: configuration, credentials, certificates.

use super::*;

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
fn the_server_is_told_of_keys_and_of_a_bound_on_connections() {
    let security = "  security: {encryptionConfig: keys.yaml, connectionsPerAddress: 500}\n";
    let with = cluster(&format!("{LAB}{security}"));
    let path = crate::secrets::ENCRYPTION_FILE;
    let release = Release { git_files: [(path.to_owned(), "a".repeat(64))].into(), ..release() };
    let plan = plan(&with, &observed(&fleet(&with)), &release, Timestamp::UNIX_EPOCH).unwrap();
    let config = plan.steps.iter().find_map(|step| match &step.action {
        Action::Write { path, content, .. } if path == "/etc/rkctl/server.yaml" => Some(content),
        _ => None,
    });
    let config: serde_json::Value = serde_yaml::from_str(config.unwrap()).unwrap();
    assert_eq!(config["datastore"]["encryptionConfigFile"], path);
    assert_eq!(config["limits"]["connectionsPerAddress"], 500);
    // Without its keys nothing that was encrypted could be read again.
    let without = cluster(LAB);
    let mut facts = converged(&without);
    let found = Found::File { sha256: "0".repeat(64), mode: 0o600, modified_s: 1000 };
    facts.get_mut("cp1").unwrap().files.insert(path.to_owned(), found);
    assert_eq!(ids(&planned(&without, &facts)), []);
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
fn certificates_that_are_due_are_renewed_and_the_server_starts_anew() {
    let cluster = cluster(LAB);
    let mut facts = converged(&cluster);
    facts.get_mut("cp1").unwrap().pki_due =
        Some(vec![PkiDue { file: "apiserver.crt".into(), reason: "it ends".into() }]);
    assert_eq!(ids(&planned(&cluster, &facts)), [("cp1", "certificates"), ("cp1", "server"), ("cp1", "server-ready")]);
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
