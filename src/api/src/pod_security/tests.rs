use serde_json::{Map, json};

use super::*;

fn at(level: Level, minor: Option<u32>) -> LevelVersion {
    LevelVersion { level, version: minor.map_or(Version::Latest, Version::Minor) }
}

/// What is said of a pod whose spec is that of a hardened one with `changes`, each a pointer and a value.
fn judge(policy: LevelVersion, metadata: &Value, changes: &[(&str, Value)]) -> String {
    let mut spec = hardened();
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        let parent = spec.pointer_mut(parent).expect("a parent");
        match value {
            Value::Null => drop(parent.as_object_mut().expect("an object").remove(field)),
            value => parent[field] = value.clone(),
        }
    }
    details(&evaluate(policy, metadata, &spec))
}

/// A pod that everything allows.
fn hardened() -> Value {
    let container = |name: &str| {
        json!({"name": name, "image": "i", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }})
    };
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [container("i")],
        "containers": [container("a"), container("b")],
        "volumes": [{"name": "e", "emptyDir": {}}],
    })
}

type Case<'a> = (&'a [(&'a str, Value)], &'a str);

fn table(level: Level, cases: &[Case<'_>]) {
    assert_eq!(judge(at(level, None), &json!({}), &[]), "");
    for (changes, expected) in cases {
        assert_eq!(&judge(at(level, None), &json!({}), changes), expected, "{changes:?}");
        assert_eq!(judge(at(Level::Privileged, None), &json!({}), changes), "", "{changes:?}");
    }
}

const A: &str = "/containers/0/securityContext";

fn in_a(field: &str) -> String {
    format!("{A}/{field}")
}

#[test]
fn what_leads_out_of_a_pod() {
    let port = |number: i64| json!([{"containerPort": 80, "hostPort": number}]);
    table(
        Level::Baseline,
        &[
            (
                &[("/hostNetwork", json!(true)), ("/hostIPC", json!(true))],
                "host namespaces (hostNetwork=true, hostIPC=true)",
            ),
            (&[("/hostPID", json!(true))], "host namespaces (hostPID=true)"),
            (
                &[(&in_a("privileged"), json!(true)), ("/initContainers/0/securityContext/privileged", json!(true))],
                "privileged (containers \"i\", \"a\" must not set securityContext.privileged=true)",
            ),
            (&[(&in_a("privileged"), json!(false))], ""),
            (
                &[(&in_a("capabilities"), json!({"add": ["NET_RAW", "CHOWN", "BPF"]}))],
                "non-default capabilities (container \"a\" must not include \"BPF\", \"NET_RAW\" in securityContext.capabilities.add)",
            ),
            (
                &[("/volumes", json!([{"name": "v", "hostPath": {}}, {"name": "w", "hostPath": {}}]))],
                "hostPath volumes (volumes \"v\", \"w\")",
            ),
            (&[("/containers/0/ports", port(8080))], "hostPort (container \"a\" uses hostPort 8080)"),
            (
                &[("/containers/0/ports", port(8080)), ("/containers/1/ports", port(443))],
                "hostPort (containers \"a\", \"b\" use hostPorts 443, 8080)",
            ),
            (&[("/containers/0/ports", port(0))], ""),
            (
                &[("/containers/0/livenessProbe", json!({"httpGet": {"host": "h"}}))],
                "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")",
            ),
            (
                &[(
                    "/containers/1/lifecycle",
                    json!({"preStop": {"tcpSocket": {"host": "g"}}, "postStart": {"httpGet": {"host": "h"}}}),
                )],
                "probe or lifecycle host (container \"b\" uses probe or lifecycle hosts \"g\", \"h\")",
            ),
            (
                &[(&in_a("procMount"), json!("Unmasked"))],
                "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
            ),
            (&[(&in_a("procMount"), json!("Unmasked")), ("/hostUsers", json!(false))], ""),
            (
                &[
                    ("/securityContext/seLinuxOptions", json!({"type": "spc_t"})),
                    (&in_a("seLinuxOptions"), json!({"role": "r", "user": "u"})),
                ],
                "seLinuxOptions (pod and container \"a\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set; role may not be set)",
            ),
            (&[(&in_a("seLinuxOptions"), json!({"type": "container_engine_t", "level": "s0"}))], ""),
            (
                &[
                    ("/securityContext/seccompProfile", json!({"type": "Unconfined"})),
                    (&in_a("seccompProfile"), json!({"type": "Unconfined"})),
                ],
                "seccompProfile (pod and container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
            ),
            (&[("/securityContext/seccompProfile", Value::Null)], ""),
            (
                &[(
                    "/securityContext/sysctls",
                    json!([{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_syncookies"}, {"name": "x"}]),
                )],
                "forbidden sysctls (kernel.msgmax, x)",
            ),
            (
                &[("/securityContext/windowsOptions", json!({"hostProcess": true}))],
                "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
            ),
            (
                &[(&in_a("appArmorProfile"), json!({"type": "Unconfined"}))],
                "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
            ),
            (&[(&in_a("appArmorProfile"), json!({"type": "Localhost"}))], ""),
            // Ephemeral containers are containers.
            (
                &[("/ephemeralContainers", json!([{"name": "e", "securityContext": {"privileged": true}}]))],
                "privileged (container \"e\" must not set securityContext.privileged=true)",
            ),
        ],
    );
}

#[test]
fn what_hardened_pods_say() {
    table(
        Level::Restricted,
        &[
            (
                &[(&in_a("allowPrivilegeEscalation"), Value::Null)],
                "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false)",
            ),
            (
                &[(&in_a("capabilities"), json!({"add": ["CHOWN"]}))],
                "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]; container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
            ),
            (&[(&in_a("capabilities"), json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}))], ""),
            (
                &[("/volumes", json!([{"name": "v", "hostPath": {}}, {"name": "n", "nfs": {}}]))],
                "restricted volume types (volumes \"v\", \"n\" use restricted volume types \"hostPath\", \"nfs\")",
            ),
            (&[("/volumes", json!([{"name": "v", "image": {}}, {"name": "p", "persistentVolumeClaim": {}}]))], ""),
            (
                &[("/securityContext/runAsNonRoot", Value::Null), (&in_a("runAsNonRoot"), json!(true))],
                "runAsNonRoot != true (pod or containers \"i\", \"b\" must set securityContext.runAsNonRoot=true)",
            ),
            (
                &[("/securityContext/runAsNonRoot", json!(false)), (&in_a("runAsNonRoot"), json!(false))],
                "runAsNonRoot != true (pod and container \"a\" must not set securityContext.runAsNonRoot=false)",
            ),
            (&[("/securityContext/runAsNonRoot", json!(false)), ("/hostUsers", json!(false))], ""),
            (&[("/securityContext/runAsUser", json!(0))], "runAsUser=0 (pod must not set runAsUser=0)"),
            (&[("/securityContext/runAsUser", json!(1))], ""),
            (
                &[
                    ("/securityContext/seccompProfile", Value::Null),
                    (&in_a("seccompProfile"), json!({"type": "Localhost"})),
                ],
                "seccompProfile (pod or containers \"i\", \"b\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
            ),
            (
                &[(&in_a("seccompProfile"), json!({"type": "Unconfined"}))],
                "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
            ),
            // A pod with users of its own may see all of /proc by the baseline, not when it is to be hardened.
            (
                &[(&in_a("procMount"), json!("Unmasked")), ("/hostUsers", json!(false))],
                "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
            ),
            (
                &[
                    ("/os", json!({"name": "windows"})),
                    (&in_a("allowPrivilegeEscalation"), Value::Null),
                    (&in_a("capabilities"), Value::Null),
                    ("/securityContext/seccompProfile", Value::Null),
                ],
                "",
            ),
            // What the baseline forbids comes first.
            (
                &[
                    ("/hostNetwork", json!(true)),
                    (&in_a("privileged"), json!(true)),
                    (&in_a("allowPrivilegeEscalation"), json!(true)),
                ],
                "host namespaces (hostNetwork=true), privileged (container \"a\" must not set securityContext.privileged=true), \
                 allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false)",
            ),
        ],
    );
}

#[test]
fn standards_are_those_of_their_version() {
    use Level::{Baseline, Restricted};
    let sysctl = |name: &str| ("/securityContext/sysctls", json!([{"name": name}]));
    let probe = ("/containers/0/livenessProbe", json!({"httpGet": {"host": "h"}}));
    let engine = ("/securityContext/seLinuxOptions", json!({"type": "container_engine_t"}));
    let loose = ("/securityContext/seccompProfile", json!({"type": "Unconfined"}));
    let escalates = ("/containers/0/securityContext/allowPrivilegeEscalation", Value::Null);
    let keeps = ("/containers/0/securityContext/capabilities", Value::Null);
    let root = ("/securityContext/runAsUser", json!(0));
    for (level, first, change, is_forbidden_before) in [
        (Baseline, 27, sysctl("net.ipv4.ip_local_reserved_ports"), true),
        (Baseline, 29, sysctl("net.ipv4.tcp_keepalive_time"), true),
        (Baseline, 32, sysctl("net.ipv4.tcp_rmem"), true),
        (Baseline, 37, sysctl("net.ipv4.tcp_notsent_lowat"), true),
        (Baseline, 31, engine, true),
        (Baseline, 34, probe, false),
        (Baseline, 19, loose, false),
        (Restricted, 8, escalates, false),
        (Restricted, 22, keeps, false),
        (Restricted, 23, root, false),
    ] {
        for (minor, is_before) in [(first - 1, true), (first, false), (99, false)] {
            let said = judge(at(level, Some(minor)), &json!({}), std::slice::from_ref(&change));
            assert_eq!(!said.is_empty(), is_before == is_forbidden_before, "{level}:v1.{minor} {change:?}: {said}");
        }
    }
}

#[test]
fn annotations_count_where_they_came_before_fields() {
    let metadata = json!({"annotations": {
        "container.apparmor.security.beta.kubernetes.io/a": "unconfined",
        "container.apparmor.security.beta.kubernetes.io/b": "localhost/x",
        "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
        "container.seccomp.security.alpha.kubernetes.io/nobody": "unconfined",
    }});
    let profile = "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
                   \"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\")";
    let seccomp = "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")";
    assert_eq!(judge(at(Level::Baseline, None), &metadata, &[]), profile);
    assert_eq!(judge(at(Level::Baseline, Some(18)), &metadata, &[]), format!("{profile}, {seccomp}"));
}

fn labelled(labels: &[(&str, &str)]) -> Value {
    let pairs = labels.iter().map(|(name, value)| (format!("pod-security.kubernetes.io/{name}"), json!(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

#[test]
fn policies_are_read_from_labels() {
    let shown = |policy: &Policy| format!("{} {} {}", policy.enforce, policy.audit, policy.warn);
    for (labels, expected) in [
        (&[][..], "privileged:latest privileged:latest privileged:latest"),
        (&[("enforce", "baseline"), ("enforce-version", "v1.30")], "baseline:v1.30 privileged:latest baseline:v1.30"),
        (&[("enforce", "baseline"), ("warn-version", "v1.1")], "baseline:latest privileged:latest baseline:v1.1"),
        (&[("enforce", "restricted"), ("warn", "privileged")], "restricted:latest privileged:latest privileged:latest"),
        (
            &[("audit", "restricted"), ("audit-version", "latest")],
            "privileged:latest restricted:latest privileged:latest",
        ),
    ] {
        let (policy, errors) = Policy::of(&labelled(labels));
        assert_eq!((shown(&policy).as_str(), errors.len()), (expected, 0), "{labels:?}");
    }
    let (policy, errors) = Policy::of(&labelled(&[("enforce", "x"), ("audit", "y"), ("warn-version", "v1.01")]));
    assert_eq!(shown(&policy), "restricted:latest privileged:latest privileged:latest");
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": must be one of privileged, baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: \"y\": must be one of privileged, baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"v1.01\": must be \"latest\" or \"v1.x\"",
        ]
    );
}

#[test]
fn a_policy_is_tightened_where_pods_may_be_refused_now() {
    for (old, new, expected) in [
        (&[][..], &[("enforce", "baseline")][..], true),
        (&[("enforce", "restricted")], &[("enforce", "baseline")], false),
        (&[("enforce", "baseline")], &[("enforce", "baseline"), ("warn", "restricted")], false),
        (&[("enforce", "baseline")], &[("enforce", "baseline"), ("enforce-version", "v1.30")], true),
        (&[("enforce", "baseline")], &[("enforce", "privileged")], false),
    ] {
        let policy = |labels| Policy::of(&labelled(labels)).0;
        assert_eq!(policy(new).is_tightened(&policy(old)), expected, "{old:?} {new:?}");
    }
}

#[test]
fn of_many_pods_the_reasons_are_enough() {
    let mut spec = hardened();
    spec["hostNetwork"] = json!(true);
    spec["volumes"] = json!([{"name": "v", "hostPath": {}}]);
    let violations = evaluate(at(Level::Baseline, None), &json!({}), &spec);
    assert_eq!(reasons(&violations), "host namespaces, hostPath volumes");
}
