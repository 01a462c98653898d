//! An inventory that no longer speaks of the cluster that is there.

use super::*;

/// The plan's one problem, with no step beside it.
fn refused(plan: &Plan) -> (&str, &str, &str) {
    assert_eq!((plan.problems.len(), ids(plan)), (1, vec![]), "{:?}", plan.problems);
    let problem = &plan.problems[0];
    (&problem.host, &problem.message, &problem.remedy)
}

#[test]
fn what_addresses_and_names_were_given_out_from_does_not_change_while_the_cluster_is_there() {
    for (network, key, made_with) in [
        ("{serviceCIDR: 10.53.0.0/16}", "network.serviceCIDR is 10.53.0.0/16", "10.43.0.0/16"),
        ("{podCIDR: 10.52.0.0/16}", "network.podCIDR is 10.52.0.0/16", "10.42.0.0/16"),
        ("{clusterDomain: other.lan}", "network.clusterDomain is other.lan", "cluster.local"),
    ] {
        let changed = cluster(&format!("{LAB}  network: {network}\n"));
        let facts = converged(&cluster(LAB));
        let plan = planned(&changed, &facts);
        let (host, message, remedy) = refused(&plan);
        assert!(
            host == "cp1" && message.contains(key) && remedy.contains(&format!("put {made_with} back")),
            "{plan:?}"
        );

        // The control plane does not answer: its agents know.
        let mut silent = observed(&facts);
        silent.insert("cp1".into(), Observation::Failed { cause: "no route".into() });
        let plan = super::plan(&changed, &silent, &release(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(refused(&plan).0, "w1");

        // Nothing was given out yet where the server never ran.
        let begun = fleet(&cluster(LAB));
        let mut begun = carried_out(&begun, &planned(&cluster(LAB), &begun));
        for facts in begun.values_mut() {
            (facts.server_state, facts.joined) = (false, false);
        }
        assert_eq!(planned(&changed, &begun).problems, []);
    }
}

#[test]
fn a_control_plane_is_not_moved_to_another_host() {
    let fresh = "{name: cp2, role: controller, address: 10.88.0.9}";
    let worker = LAB.replace("role: controller", "role: worker");
    let absent = LAB.replace("role: controller", "role: controller, state: absent");
    let mut facts = converged(&cluster(LAB));
    facts.insert("cp2".into(), bare("cp2", "10.88.0.9"));
    for (text, becomes) in [(worker, "makes a worker"), (absent, "makes absent")] {
        let plan = planned(&cluster(&format!("{text}    - {fresh}\n")), &facts);
        let (host, message, remedy) = refused(&plan);
        assert!(host == "cp1" && message.contains(becomes) && remedy.contains("make cp1 the controller"), "{plan:?}");
    }
    // A worker is given the role.
    let text = LAB
        .replace("role: controller", "role: worker")
        .replace("{name: 'w[1:2]', role: worker", "{name: 'w[1:2]', role: controller");
    assert_eq!(refused(&planned(&cluster(&text), &facts)).0, "cp1");
}

#[test]
fn a_fresh_controller_does_not_take_the_members_of_another_cluster() {
    let facts = converged(&cluster(LAB));
    // The controller of the inventory is another host, and the old one is not in it.
    let other =
        cluster(&LAB.replace(
            "name: cp1, role: controller, address: 10.88.0.2",
            "name: cp2, role: controller, address: 10.88.0.9",
        ));
    let mut seen = facts.clone();
    seen.insert("cp2".into(), bare("cp2", "10.88.0.9"));
    let plan = planned(&other, &seen);
    let (host, message, remedy) = refused(&plan);
    assert!(host == "cp2" && message.contains("w1, w2 belong to a cluster"), "{message}");
    assert!(remedy.contains("rkctl reset --host w1 --host w2"), "{remedy}");

    // It does not answer: agents keep the control plane they know.
    let mut silent = observed(&facts);
    silent.insert("cp2".into(), Observation::Failed { cause: "no route".into() });
    let plan = super::plan(&other, &silent, &release(), Timestamp::UNIX_EPOCH).unwrap();
    assert!(!plan.steps.iter().any(|step| step.id == "agent-config"), "{:?}", ids(&plan));

    // Reset, they are free.
    for name in ["w1", "w2"] {
        seen.insert(name.into(), bare(name, &cluster(LAB).host(name).unwrap().address));
    }
    assert_eq!(planned(&other, &seen).problems, []);
}

#[test]
fn a_second_control_plane_of_the_same_name_is_told_and_the_others_are_finished() {
    let mut facts = converged(&cluster(LAB));
    let w1 = facts.get_mut("w1").unwrap();
    (w1.server_state, w1.cluster_name) = (true, Some("lab".into()));
    facts.get_mut("w2").unwrap().units.clear();
    let plan = planned(&cluster(LAB), &facts);
    assert!(plan.problems[0].message.contains("has a control plane of its own"), "{:?}", plan.problems);
    assert!(plan.problems[0].remedy.contains("rkctl reset --host w1"), "{:?}", plan.problems);
    assert!(plan.steps.iter().all(|step| step.host == "w2") && !plan.steps.is_empty(), "{:?}", ids(&plan));
}

#[test]
fn a_node_is_not_renamed() {
    let facts = converged(&cluster(LAB));
    let renamed = |old: &str, new: &str| {
        let mut facts = facts.clone();
        let host = facts.remove(old).unwrap();
        facts.insert(new.into(), host);
        let hosts = "    - {name: cp1, role: controller, address: 10.88.0.2}
    - {name: w1, address: 10.88.0.3}
    - {name: w2, address: 10.88.0.4}
";
        let hosts = hosts.replace(&format!("name: {old},"), &format!("name: {new},"));
        planned(&cluster(&format!("metadata: {{name: lab}}\nspec:\n  hosts:\n{hosts}")), &facts)
    };
    for (old, new) in [("w1", "worker1"), ("cp1", "control1")] {
        let plan = renamed(old, new);
        let (host, message, remedy) = refused(&plan);
        assert!(host == new && message.contains(&format!("is the node {old}")), "{message}");
        assert!(remedy.contains(&format!("put the name {old} back")), "{remedy}");
        assert_eq!(plan.notices, []);
    }
}

#[test]
fn a_certificate_tells_the_name_whatever_the_configuration_says() {
    let mut facts = converged(&cluster(LAB));
    facts.get_mut("w1").unwrap().joined_as = Some("old".into());
    let plan = planned(&cluster(LAB), &facts);
    let (host, message, _) = refused(&plan);
    assert!(host == "w1" && message.contains("is the node old, and the inventory calls it w1"), "{message}");
    facts.get_mut("w1").unwrap().joined_as = Some("w1".into());
    assert_eq!(planned(&cluster(LAB), &facts).problems, []);
}
