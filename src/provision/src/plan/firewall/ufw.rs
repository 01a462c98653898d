//! Openings in ufw: rules with our comment, compared with those it keeps.

use std::collections::BTreeSet;

use crate::plan::{Draft, View, Wave};

use super::{Source, openings};

/// `rkctl` in hexadecimal: how ufw keeps a comment.
const COMMENT: &str = "comment=726b63746c";
/// Any IPv4 address, as ufw writes it.
const ANY: &str = "0.0.0.0/0";

/// Each line is one ufw command without `ufw`.
const CHANGE: &str = "while read -r rule; do ufw $rule >/dev/null </dev/null || exit 1; done";

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
}
