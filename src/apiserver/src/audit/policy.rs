//! The audit policy: rules in order, of which the first that matches says how much of a request is written.

use std::path::Path;

use serde::Deserialize;

use crate::error::Error;
use crate::request::{RequestInfo, User};

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, what, when and what came of it.
    Metadata,
    /// And the body of the request.
    Request,
    /// And the body of the answer.
    RequestResponse,
}

/// When something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
pub enum Stage {
    /// It is known who asks.
    RequestReceived,
    /// The answer of a watch or stream begins.
    ResponseStarted,
    /// The answer has ended.
    ResponseComplete,
    /// The server has failed.
    Panic,
}

/// An `audit.k8s.io/v1` Policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[allow(dead_code, reason = "names the policy for people")]
    metadata: Option<serde_json::Value>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What is written of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How much.
    pub level: Level,
    /// Not at these stages.
    pub omit_stages: Vec<Stage>,
    /// Without `metadata.managedFields` in the bodies.
    pub omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// A file that cannot be read or holds no policy that makes sense.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        Self::parse(&text).map_err(|detail| Error::Credentials { path: path.to_path_buf(), detail })
    }

    /// Reads the text of a policy.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = serde_yaml::from_str(text).map_err(|error| format!("no audit policy: {error}"))?;
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return Err("no audit policy: apiVersion has to be audit.k8s.io/v1 and kind Policy".to_string());
        }
        if policy.rules.is_empty() {
            return Err("the audit policy has no rules, so that nothing would be written; add one".to_string());
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            rule.check().map_err(|why| format!("rules[{index}]: {why}"))?;
        }
        Ok(policy)
    }

    /// What is written of a request of `user`, who is nobody where it is not known who asks.
    pub fn judge(&self, user: Option<&User>, info: &RequestInfo) -> Verdict {
        let matching = self.rules.iter().find(|rule| rule.matches(user, info));
        let Some(rule) = matching else {
            return Verdict { level: Level::None, omit_stages: Vec::new(), omit_managed_fields: false };
        };
        Verdict {
            level: rule.level,
            omit_stages: [self.omit_stages.as_slice(), &rule.omit_stages].concat(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        let names_objects = !(self.resources.is_empty() && self.namespaces.is_empty());
        if !self.non_resource_urls.is_empty() && names_objects {
            return Err("rules cannot apply to both regular resources and non-resource URLs".to_string());
        }
        for url in &self.non_resource_urls {
            let stem = url.strip_suffix('*').unwrap_or(url);
            if url != "*" && !url.starts_with('/') {
                return Err(format!("nonResourceURLs: {url:?} has to begin with a '/' or be \"*\""));
            }
            if stem.contains('*') {
                return Err(format!("nonResourceURLs: {url:?} may have '*' at its end only"));
            }
        }
        for resources in &self.resources {
            if !resources.resource_names.is_empty() && resources.resources.is_empty() {
                return Err("resources: resourceNames need resources".to_string());
            }
            if let Some(version) = resources.group.split_once('/').map(|(_, version)| version) {
                return Err(format!("resources: group {:?} has no version: leave out {version:?}", resources.group));
            }
        }
        Ok(())
    }

    fn matches(&self, user: Option<&User>, info: &RequestInfo) -> bool {
        let names = |list: &[String], name: &str| list.iter().any(|own| own == name);
        let is_user = self.users.is_empty() || user.is_some_and(|user| names(&self.users, &user.name));
        let in_group = self.user_groups.is_empty()
            || user.is_some_and(|user| user.groups.iter().any(|group| names(&self.user_groups, group)));
        if !is_user || !in_group || !(self.verbs.is_empty() || names(&self.verbs, &info.verb)) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource
                && (self.namespaces.is_empty() || names(&self.namespaces, &info.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|resources| resources.match_(info)));
        }
        self.non_resource_urls.is_empty()
            || !info.is_resource
                && self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                    Some(stem) => info.path.starts_with(stem),
                    None => info.path == *url,
                })
    }
}

impl Resources {
    fn match_(&self, info: &RequestInfo) -> bool {
        if self.group != info.group {
            return false;
        }
        let is_named = self.resource_names.is_empty() || self.resource_names.contains(&info.name);
        let is_resource = |wanted: &String| match wanted.split_once('/') {
            None => wanted == "*" || info.subresource.is_empty() && *wanted == info.resource,
            Some((resource, subresource)) => {
                (resource == "*" && !info.subresource.is_empty() || resource == info.resource)
                    && (subresource == "*" || subresource == info.subresource)
            }
        };
        self.resources.is_empty() || is_named && self.resources.iter().any(is_resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Query;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ["system:kube-scheduler"], verbs: [get, list, watch]}
- {level: None, nonResourceURLs: ["/healthz*", "/version"]}
- {level: Metadata, resources: [{group: "", resources: [secrets, "*/token"]}]}
- {level: Request, userGroups: [auditors], namespaces: [kube-system], omitManagedFields: false}
- {level: RequestResponse, resources: [{group: apps, resources: ["deployments/*"], resourceNames: [web]}], omitStages: [ResponseComplete]}
- {level: RequestResponse, resources: [{group: batch}]}
- {level: Metadata, verbs: [delete]}
"#;

    fn level(user: &User, method: http::Method, path: &str) -> Level {
        let policy = Policy::parse(POLICY).expect("a policy");
        policy.judge(Some(user), &RequestInfo::parse(&method, path, &Query::default())).level
    }

    #[test]
    fn the_first_rule_that_matches_says_how_much_is_written() {
        let (ann, auditor) = (User::new("ann", &[]), User::new("eve", &["auditors"]));
        let scheduler = User::new("system:kube-scheduler", &[]);
        let (get, post) = (http::Method::GET, http::Method::POST);
        for (user, method, path, expected) in [
            (&scheduler, &get, "/api/v1/nodes", Level::None),
            (&scheduler, &post, "/api/v1/namespaces/a/secrets", Level::Metadata),
            (&ann, &get, "/healthz/ping", Level::None),
            (&ann, &get, "/version", Level::None),
            (&ann, &get, "/version/x", Level::None),
            (&ann, &get, "/api/v1/namespaces/a/secrets/s", Level::Metadata),
            (&ann, &post, "/api/v1/namespaces/a/serviceaccounts/s/token", Level::Metadata),
            (&auditor, &get, "/api/v1/namespaces/kube-system/pods", Level::Request),
            (&auditor, &get, "/api/v1/namespaces/default/pods", Level::None),
            (&ann, &get, "/apis/apps/v1/namespaces/a/deployments/web/scale", Level::RequestResponse),
            (&ann, &get, "/apis/apps/v1/namespaces/a/deployments/other/scale", Level::None),
            (&ann, &get, "/apis/batch/v1/namespaces/a/jobs/j/status", Level::RequestResponse),
            (&ann, &http::Method::DELETE, "/api/v1/nodes/n", Level::Metadata),
        ] {
            assert_eq!(level(user, method.clone(), path), expected, "{} {method} {path}", user.name);
        }
    }

    #[test]
    fn a_rule_adds_its_stages_and_overrules_managed_fields() {
        let policy = Policy::parse(POLICY).expect("a policy");
        let judge = |user: &User, path: &str| {
            policy.judge(Some(user), &RequestInfo::parse(&http::Method::GET, path, &Query::default()))
        };
        let scale = judge(&User::new("ann", &[]), "/apis/apps/v1/namespaces/a/deployments/web/scale");
        assert_eq!(scale.omit_stages, [Stage::RequestReceived, Stage::ResponseComplete]);
        assert!(scale.omit_managed_fields);
        let pods = judge(&User::new("eve", &["auditors"]), "/api/v1/namespaces/kube-system/pods");
        assert!(!pods.omit_managed_fields);
    }

    #[test]
    fn policies_that_make_no_sense_are_refused() {
        let rule = |rule: &str| format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {{{rule}}}\n");
        assert!(Policy::parse(&rule("level: Metadata")).is_ok());
        for (wrong, why) in [
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\n".to_string(), "no rules"),
            ("apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: None}]\n".to_string(), "audit.k8s.io/v1"),
            (rule("users: [a]"), "level"),
            (rule("level: Everything"), "Everything"),
            (rule("level: None, user: [a]"), "user"),
            (rule("level: None, nonResourceURLs: [healthz]"), "begin with"),
            (rule("level: None, nonResourceURLs: [/a*b]"), "at its end"),
            (rule("level: None, nonResourceURLs: [/a], namespaces: [b]"), "both"),
            (rule("level: None, resources: [{resourceNames: [b]}]"), "need resources"),
            (rule("level: None, resources: [{group: apps/v1}]"), "v1"),
        ] {
            let refusal = Policy::parse(&wrong).expect_err(&wrong);
            assert!(refusal.contains(why), "{refusal}");
        }
    }
}
