//! One rule of a role: what it matches, and whether rules cover other rules. Pure.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::request::Attributes;

/// Rules are taken apart into no more parts than this at a time; each is held against every rule that a user has.
const PARTS_MAX: usize = 10_000;

/// A PolicyRule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// `""` is the core group, `*` every group.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub api_groups: Vec<String>,
    /// `/metrics`, `/api/*`, `*`.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub non_resource_urls: Vec<String>,
    /// Only these; all where empty.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub resource_names: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, `*`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub resources: Vec<String>,
    /// `get`, `*`.
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
}

/// A list that may be `null`, as Go writes empty ones.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    /// Allows what is asked.
    pub fn allows(&self, asked: &Attributes) -> bool {
        if !has(&self.verbs, &asked.verb) {
            return false;
        }
        if !asked.is_resource {
            return self.non_resource_urls.iter().any(|url| url_covers(url, &asked.path));
        }
        has(&self.api_groups, &asked.group)
            && self.matches_resource(&asked.resource, &asked.subresource)
            && (self.resource_names.is_empty() || self.resource_names.contains(&asked.name))
    }

    fn matches_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|pattern| match (pattern.as_str(), subresource) {
            ("*", _) => true,
            (pattern, "") => pattern == resource,
            (pattern, subresource) => pattern
                .split_once('/')
                .is_some_and(|(parent, child)| child == subresource && (parent == "*" || parent == resource)),
        })
    }

    /// This rule alone allows everything that `small`, which has one verb and one resource or URL, allows.
    fn covers(&self, small: &Rule) -> bool {
        let each = |own: &[String], wanted: &[String]| wanted.iter().all(|item| has(own, item));
        let urls = |wanted: &[String]| {
            wanted.iter().all(|url| self.non_resource_urls.iter().any(|own| own == url || url_covers(own, url)))
        };
        let resource = |wanted: &String| {
            let (parent, child) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.resources.contains(wanted)
                || parent != "*" && self.matches_resource(parent, child)
                || has(&self.resources, "*")
        };
        let names = self.resource_names.is_empty()
            || !small.resource_names.is_empty() && each(&self.resource_names, &small.resource_names);
        each(&self.verbs, &small.verbs)
            && each(&self.api_groups, &small.api_groups)
            && small.resources.iter().all(resource)
            && names
            && urls(&small.non_resource_urls)
    }

    fn without_repetitions(&self) -> Rule {
        let once = |list: &[String]| {
            let mut seen = HashSet::new();
            list.iter().filter(|item| seen.insert(item.as_str())).cloned().collect()
        };
        Rule {
            api_groups: once(&self.api_groups),
            non_resource_urls: once(&self.non_resource_urls),
            resource_names: once(&self.resource_names),
            resources: once(&self.resources),
            verbs: once(&self.verbs),
        }
    }

    /// How many rules [`Rule::break_down`] makes.
    fn parts(&self) -> usize {
        let names = self.resource_names.len().max(1);
        let resources = self.api_groups.len().saturating_mul(self.resources.len()).saturating_mul(names);
        self.verbs.len().saturating_mul(self.non_resource_urls.len().saturating_add(resources))
    }

    /// Rules of one verb and one group, resource and name, or one URL, that together allow the same.
    fn break_down(&self) -> Vec<Rule> {
        let mut parts = Vec::new();
        let one = |item: &String| vec![item.clone()];
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                parts.push(Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let part =
                        Rule { verbs: one(verb), api_groups: one(group), resources: one(resource), ..Rule::default() };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                        continue;
                    }
                    for name in &self.resource_names {
                        parts.push(Rule { resource_names: one(name), ..part.clone() });
                    }
                }
            }
        }
        parts
    }
}

fn url_covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

/// What of `wanted` is not allowed by `owned`, in parts of one verb and one resource. A rule that names too much to be
/// taken apart is allowed as a whole by one rule, or not at all.
pub fn uncovered(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let is_covered = |rule: &Rule| owned.iter().any(|own| own.covers(rule));
    let mut left = PARTS_MAX;
    let mut lacking = Vec::new();
    let mut seen = HashSet::new();
    for rule in wanted.iter().map(Rule::without_repetitions).filter(|rule| !is_covered(rule)) {
        let parts = rule.parts();
        if parts > left {
            lacking.push(rule);
            continue;
        }
        left -= parts;
        let parts = rule.break_down().into_iter().filter(|part| !is_covered(part));
        lacking.extend(parts.filter(|part| seen.insert(part.to_string())));
    }
    lacking
}

impl fmt::Display for Rule {
    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`, as Kubernetes prints it in refusals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("NonResourceURLs", &self.non_resource_urls),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = named
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| {
                let quoted: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
                format!("{name}:[{}]", quoted.join(" "))
            })
            .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        text.split_whitespace().map(|item| if item == "core" { String::new() } else { item.to_string() }).collect()
    }

    /// `rule("get list", "core apps", "pods", "")`.
    pub(crate) fn rule(verbs: &str, groups: &str, resources: &str, names: &str) -> Rule {
        Rule {
            verbs: split(verbs),
            api_groups: split(groups),
            resources: split(resources),
            resource_names: split(names),
            ..Rule::default()
        }
    }

    fn asked(verb: &str, group: &str, resource: &str, subresource: &str, name: &str) -> Attributes {
        Attributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            is_resource: true,
            ..Attributes::default()
        }
    }

    #[test]
    fn rules_match_verb_group_resource_subresource_and_name() {
        let cases = [
            (rule("get", "core", "pods", ""), asked("get", "", "pods", "", "x"), true),
            (rule("get", "core", "pods", ""), asked("list", "", "pods", "", ""), false),
            (rule("get", "core", "pods", ""), asked("get", "apps", "pods", "", ""), false),
            (rule("get", "core", "pods", ""), asked("get", "", "pods", "log", "x"), false),
            (rule("get", "core", "pods/log", ""), asked("get", "", "pods", "log", "x"), true),
            (rule("get", "core", "pods/log", ""), asked("get", "", "pods", "", "x"), false),
            (rule("*", "*", "*", ""), asked("patch", "x.io", "things", "scale", "x"), true),
            (rule("update", "*", "*/scale", ""), asked("update", "apps", "deployments", "scale", "x"), true),
            (rule("update", "*", "*/scale", ""), asked("update", "apps", "deployments", "", "x"), false),
            (rule("get", "core", "secrets", "a b"), asked("get", "", "secrets", "", "b"), true),
            (rule("get", "core", "secrets", "a b"), asked("get", "", "secrets", "", "c"), false),
            (rule("list", "core", "secrets", "a"), asked("list", "", "secrets", "", ""), false),
        ];
        for (rule, asked, expected) in cases {
            assert_eq!(rule.allows(&asked), expected, "{rule} {asked:?}");
        }
        let urls = Rule { verbs: split("get"), non_resource_urls: split("/healthz /api/* /exact"), ..Rule::default() };
        for (path, expected) in [("/healthz", true), ("/healthz/x", false), ("/api/v1", true), ("/exact/x", false)] {
            let asked = Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() };
            assert_eq!(urls.allows(&asked), expected, "{path}");
        }
    }

    #[test]
    fn rules_cover_others_together_but_each_part_by_one_rule() {
        let owned = [
            rule("get list", "core", "pods services", ""),
            rule("*", "apps", "*", ""),
            rule("get", "core", "secrets", "a"),
        ];
        let cases = [
            (rule("get", "core", "pods services", ""), 0),
            (rule("get delete", "core", "pods", ""), 1),
            (rule("delete", "apps", "deployments deployments/scale", ""), 0),
            (rule("get", "*", "pods", ""), 1),
            (rule("get", "core", "secrets", "a"), 0),
            (rule("get", "core", "secrets", "a b"), 1),
            (rule("get", "core", "secrets", ""), 1),
            (rule("get", "core", "*", ""), 1),
            (rule("*", "core", "pods", ""), 1),
            (rule("get", "apps", "*/scale", ""), 0),
        ];
        for (wanted, expected) in cases {
            assert_eq!(uncovered(&owned, std::slice::from_ref(&wanted)).len(), expected, "{wanted}");
        }
        let everything = [rule("*", "*", "*", "")];
        assert!(uncovered(&everything, &owned).is_empty());
        // What names very much is judged as a whole, and what says a thing twice once.
        let many = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>().join(" ");
        let huge = rule(&many(1000), &many(1000), &many(1000), &many(1000));
        assert_eq!(uncovered(&owned, std::slice::from_ref(&huge)), std::slice::from_ref(&huge));
        assert!(uncovered(&everything, &[huge]).is_empty());
        let twice = rule("get get", "core core", "nodes nodes", "");
        assert_eq!(uncovered(&owned, &[twice.clone(), twice]).len(), 1);
        let urls = |list: &str| [Rule { verbs: split("get"), non_resource_urls: split(list), ..Rule::default() }];
        assert!(uncovered(&urls("/api/*"), &urls("/api/v1 /api/*")).is_empty());
        assert_eq!(uncovered(&urls("/api/v1"), &urls("/api/*")).len(), 1);
    }

    #[test]
    fn rules_print_as_kubernetes_prints_them() {
        let text = rule("get", "core", "pods", "a").to_string();
        assert_eq!(text, r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get"]}"#);
    }
}
