//! Openings in ufw: rules with our comment, compared with those it keeps, and what it has no command for.

use std::collections::BTreeSet;

use crate::plan::{Draft, View, Wave};

use super::{Source, openings};

/// `rkctl` in hexadecimal: how ufw keeps a comment.
const COMMENT: &str = "comment=726b63746c";
/// Any IPv4 address, as ufw writes it.
const ANY: &str = "0.0.0.0/0";

/// Each line is one ufw command without `ufw`.
const CHANGE: &str = "while read -r rule; do ufw $rule >/dev/null </dev/null || exit 1; done";

/// What ufw reads behind its rules of commands, so that a `ufw route deny` of the operator's holds.
const FILE: &str = "/etc/ufw/after.rules";

/// Packets of a service may go on to any endpoint: one on the host's network of another host has none of the pods'
/// addresses. ufw's commands know nothing of connections.
const SERVICES: &str = "\
# BEGIN rkctl
-A ufw-after-forward -m conntrack --ctstate DNAT -j ACCEPT
# END rkctl
";

const PUT_SERVICES: &str = include_str!("ufw-services.sh");

/// A rule of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    forward: bool,
    protocol: String,
    /// `6443`, `30000:32767` or `any`.
    ports: String,
    to: String,
    from: String,
}

impl Rule {
    /// The line ufw keeps: `allow tcp 6443 0.0.0.0/0 any 10.0.0.1 in comment=...`.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [verb, protocol, ports, to, "any", from, "in", ..] = words[..] else { return None };
        let forward = match verb {
            "allow" => false,
            "route:allow" => true,
            _ => return None,
        };
        let owned = |text: &str| text.to_owned();
        Some(Self { forward, protocol: owned(protocol), ports: owned(ports), to: owned(to), from: owned(from) })
    }

    /// The command that adds or deletes it, without `ufw`.
    fn command(&self, delete: bool) -> String {
        let route = if self.forward { "route " } else { "" };
        let delete_word = if delete { "delete " } else { "" };
        let mut text = format!("{route}{delete_word}allow");
        if self.protocol != "any" {
            text.push_str(&format!(" proto {}", self.protocol));
        }
        // The address keeps ufw from adding the same rule for IPv6.
        text.push_str(&format!(" from {} to {}", self.from, self.to));
        if self.ports != "any" {
            text.push_str(&format!(" port {}", self.ports));
        }
        if !delete {
            text.push_str(" comment rkctl");
        }
        text
    }

    fn wanted(view: &View<'_>, sources: &[String]) -> BTreeSet<Self> {
        let rule = |forward, protocol: &str, ports: &str, to: &str, from: &str| Self {
            forward,
            protocol: protocol.to_owned(),
            ports: ports.to_owned(),
            to: to.to_owned(),
            from: from.to_owned(),
        };
        let pods = view.cluster.network.pod_cidr.to_string();
        let mut rules = BTreeSet::from([
            rule(false, "any", "any", ANY, &pods),
            rule(true, "any", "any", ANY, &pods),
            rule(true, "any", "any", &pods, ANY),
        ]);
        for opening in openings(view.cluster, view.host.role) {
            let ports = opening.ports.replace('-', ":");
            match opening.source {
                Source::Anyone => _ = rules.insert(rule(false, opening.protocol, &ports, ANY, ANY)),
                Source::Hosts => {
                    rules.extend(sources.iter().map(|from| rule(false, opening.protocol, &ports, ANY, from)));
                }
            }
        }
        rules
    }
}

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>, sources: &[String]) {
    plan_rules(view, draft, sources);
    let found = view.facts.ufw_services.as_slice();
    if found.iter().map(String::as_str).eq(SERVICES.lines()) {
        return;
    }
    draft
        .step(
            Wave::Host,
            "ufw-services",
            "let services through",
            "a service's endpoint may be on another host's network",
        )
        .change(if found.is_empty() { "nothing of ours".to_owned() } else { found.join("; ") }, format!("{FILE}: DNAT"))
        .by(crate::plan::Action::Run {
            script: PUT_SERVICES,
            args: vec![FILE.to_owned()],
            input: SERVICES.to_owned(),
            timeout: crate::plan::SCRIPT_TIMEOUT,
        });
}

fn plan_rules(view: &View<'_>, draft: &mut Draft<'_>, sources: &[String]) {
    let wanted = Rule::wanted(view, sources);
    let ours = view.facts.ufw_rules.iter().filter(|line| line.ends_with(COMMENT));
    let found: BTreeSet<Rule> = ours.filter_map(|line| Rule::parse(line)).collect();
    let add: Vec<String> = wanted.difference(&found).map(|rule| rule.command(false)).collect();
    let delete: Vec<String> = found.difference(&wanted).map(|rule| rule.command(true)).collect();
    if add.is_empty() && delete.is_empty() {
        return;
    }
    let after: Vec<&str> = add.iter().chain(&delete).map(String::as_str).collect();
    let input = after.join("\n") + "\n";
    draft
        .step(Wave::Host, "ufw", "open the cluster's ports", "ufw lets exactly the cluster's ports through")
        .change(format!("{} of {} rules", found.intersection(&wanted).count(), wanted.len()), after.join("; "))
        .by(crate::plan::Action::Run { script: CHANGE, args: vec![], input, timeout: crate::plan::SCRIPT_TIMEOUT });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_ufw_keeps_is_known_again() {
        let line = "allow tcp 10250 0.0.0.0/0 any 10.88.0.3 in comment=726b63746c";
        let rule = Rule::parse(line).unwrap();
        assert_eq!(rule.command(false), "allow proto tcp from 10.88.0.3 to 0.0.0.0/0 port 10250 comment rkctl");
        assert_eq!(rule.command(true), "delete allow proto tcp from 10.88.0.3 to 0.0.0.0/0 port 10250");
        let line = "route:allow any any 10.42.0.0/16 any 0.0.0.0/0 in comment=726b63746c";
        assert_eq!(
            Rule::parse(line).unwrap().command(false),
            "route allow from 0.0.0.0/0 to 10.42.0.0/16 comment rkctl"
        );
        assert_eq!(Rule::parse("deny tcp 1 0.0.0.0/0 any 0.0.0.0/0 in"), None);
    }

    /// Runs the script against a file, with a ufw that ends like `ufw`; what is in the file then.
    fn put(text: &str, ufw: &str) -> (bool, String) {
        use std::io::Write;
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("after.rules");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let program = folder.path().join("ufw");
        std::fs::write(&program, format!("#!/bin/sh\n{ufw}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut shell = std::process::Command::new("sh")
            .args(["-c", PUT_SERVICES, "sh"])
            .arg(&file)
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(SERVICES.as_bytes()).unwrap();
        let succeeded = shell.wait().unwrap().success();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
        (succeeded, std::fs::read_to_string(&file).unwrap())
    }

    #[test]
    fn services_are_let_through_behind_the_operators_own_rules() {
        let nat = "*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n";
        let filter = "# those of the operator\n*filter\n:ufw-after-forward - [0:0]\n-A ufw-after-input -j X\n";
        let end = "# don't delete\nCOMMIT\n";
        // The line before COMMIT speaks of it; the block may stand behind.
        let before = format!("{nat}{filter}{end}");
        let (succeeded, after) = put(&before, "exit 0");
        assert!(succeeded);
        assert_eq!(after, format!("{nat}{filter}# don't delete\n{SERVICES}COMMIT\n"));
        assert_eq!(put(&after, "exit 0"), (true, after.clone()), "again, and nothing changes");
        let other = after.replace("DNAT", "SNAT");
        assert_eq!(put(&other, "exit 0"), (true, after), "another one is replaced");
        assert_eq!(put(&before, "exit 1"), (false, before), "what ufw refuses is put back");
        assert_eq!(put(nat, "exit 0"), (false, nat.to_owned()), "there is no place for it");
    }
}
