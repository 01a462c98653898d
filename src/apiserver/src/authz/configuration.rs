//! The structured authorization configuration (KEP-3221): which authorizers are asked, in which order. Administrators
//! are always asked first. The file is read again when it changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cel::{Env, Program, Type};
use machinery::names;
use serde::Deserialize;

use super::webhook::{Failing, Webhook};
use super::{Administrators, Chain};
use crate::plugin::{Authorizer, Decision};
use crate::request::{Attributes, User};
use crate::reread::Reread;
use crate::webhook::kubeconfig::Remote;
use crate::webhook::{Caller, Endpoint};

/// A webhook that takes longer could hold up every request; Kubernetes draws the line at the same place.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Conditions of one webhook; Kubernetes takes as many.
const CONDITIONS_MAX: usize = 64;
const AUTHORIZED_TTL: &str = "5m";
const UNAUTHORIZED_TTL: &str = "30s";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    authorizers: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    webhook: Option<WebhookFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookFile {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Option<String>,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Option<String>,
    cache_unauthorized_requests: Option<bool>,
    #[serde(default)]
    timeout: String,
    #[serde(default)]
    subject_access_review_version: String,
    #[serde(default)]
    match_condition_subject_access_review_version: String,
    #[serde(default)]
    failure_policy: String,
    connection_info: ConnectionInfo,
    #[serde(default)]
    match_conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConnectionInfo {
    #[serde(default, rename = "type")]
    kind: String,
    kube_config_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    #[serde(default)]
    expression: String,
}

/// What a file is made of besides itself.
pub struct Parts {
    /// The Node authorizer.
    pub node: Arc<dyn Authorizer>,
    /// The RBAC authorizer.
    pub rbac: Arc<dyn Authorizer>,
    /// Asks webhooks.
    pub caller: Arc<Caller>,
    /// Reads the kubeconfig of a webhook.
    pub remote: ReadRemote,
}

/// The chain of a file.
pub struct Configured {
    chain: Chain,
    /// Rules of users cannot be listed to their end, since a webhook may allow more.
    pub asks_webhooks: bool,
    /// The files that were read for its webhooks.
    pub named: Vec<PathBuf>,
}

/// Asks the authorizers of a file.
pub struct FromFile(pub Arc<Reread<Configured>>);

#[async_trait]
impl Authorizer for FromFile {
    async fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        self.0.get().chain.authorize(user, attributes).await
    }
}

/// Says the same of everything: `AlwaysAllow` and `AlwaysDeny`.
struct Always(Decision);

#[async_trait]
impl Authorizer for Always {
    async fn authorize(&self, _user: &User, _attributes: &Attributes) -> Decision {
        self.0.clone()
    }
}

/// The authorizers of a configuration.
///
/// # Errors
/// What is wrong, with the field that has it.
pub fn parse(text: &str, parts: &Parts) -> Result<Configured, String> {
    let Wanted { kinds, named } = read(text, parts.remote)?;
    let asks_webhooks = kinds.iter().any(|kind| matches!(kind, Kind::Webhook(_)));
    let made = kinds.into_iter().map(|kind| kind.make(parts));
    let administrators: Arc<dyn Authorizer> = Arc::new(Administrators);
    let chain = Chain(std::iter::once(administrators).chain(made).collect());
    Ok(Configured { chain, asks_webhooks, named })
}

/// Looks whether a configuration can be used on a host that has the kubeconfigs of its webhooks.
///
/// # Errors
/// See [`parse`].
pub fn check(text: &str) -> Result<(), String> {
    let elsewhere = |path: &Path| {
        let endpoint = Endpoint::of_operator(&format!("https://{}", path.display()));
        Ok(Remote { endpoint, token: None, files: Vec::new() })
    };
    read(text, elsewhere).map(|_| ())
}

/// What a file wants.
struct Wanted {
    kinds: Vec<Kind>,
    /// Files that were read besides.
    named: Vec<PathBuf>,
}

/// One authorizer of a file.
enum Kind {
    Node,
    Rbac,
    Always(Decision),
    Webhook(MakeWebhook),
}

impl Kind {
    fn make(self, parts: &Parts) -> Arc<dyn Authorizer> {
        match self {
            Self::Node => parts.node.clone(),
            Self::Rbac => parts.rbac.clone(),
            Self::Always(decision) => Arc::new(Always(decision)),
            Self::Webhook(make) => Arc::new(make(parts.caller.clone())),
        }
    }
}

/// Makes an authorizer that asks by this caller.
type MakeWebhook = Box<dyn FnOnce(Arc<Caller>) -> Webhook>;
/// How the kubeconfig of a webhook is read.
type ReadRemote = fn(&Path) -> Result<Remote, String>;

fn read(text: &str, remote: ReadRemote) -> Result<Wanted, String> {
    let file: File = serde_yaml::from_str(text).map_err(|error| format!("no AuthorizationConfiguration: {error}"))?;
    let versions =
        ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];
    if file.kind != "AuthorizationConfiguration" || !versions.contains(&file.api_version.as_str()) {
        return Err(format!("kind has to be AuthorizationConfiguration and apiVersion {}", versions[0]));
    }
    if file.authorizers.is_empty() {
        return Err("authorizers: Required value: at least one authorization mode must be defined".to_string());
    }
    let (mut types, mut names_seen, mut named) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut kinds = Vec::new();
    for (index, entry) in file.authorizers.iter().enumerate() {
        let at = |why: String| format!("authorizers[{index}].{why}");
        if !types.insert(entry.kind.as_str()) && entry.kind != "Webhook" {
            return Err(at(format!("type: Duplicate value: {:?}", entry.kind)));
        }
        if entry.name.is_empty() {
            return Err(at("name: Required value".to_string()));
        }
        if let Some(why) = names::dns1123_subdomain(&entry.name).first() {
            return Err(at(format!("name: Invalid value: {:?}: authorizer name is invalid: {why}", entry.name)));
        }
        if !names_seen.insert(entry.name.as_str()) {
            return Err(at(format!("name: Duplicate value: {:?}", entry.name)));
        }
        kinds.push(entry.read(remote, &mut named).map_err(at)?);
    }
    // Controllers, scheduler and the follower of a repository act by their roles and would be refused everything.
    if !types.contains("RBAC") && !types.contains("AlwaysAllow") {
        return Err(
            "authorizers: type RBAC is missing, by whose roles the parts of this server act: add it".to_string()
        );
    }
    Ok(Wanted { kinds, named })
}

impl Entry {
    fn read(&self, remote: ReadRemote, named: &mut Vec<PathBuf>) -> Result<Kind, String> {
        if self.kind != "Webhook" && self.webhook.is_some() {
            return Err("webhook: may only be specified when type=Webhook".to_string());
        }
        match (self.kind.as_str(), &self.webhook) {
            ("Node", _) => Ok(Kind::Node),
            ("RBAC", _) => Ok(Kind::Rbac),
            ("AlwaysAllow", _) => Ok(Kind::Always(Decision::Allow(String::new()))),
            ("AlwaysDeny", _) => Ok(Kind::Always(Decision::NoOpinion("Everything is forbidden.".to_string()))),
            ("Webhook", Some(webhook)) => {
                let (make, files) = webhook.read(&self.name, remote)?;
                named.extend(files);
                Ok(Kind::Webhook(make))
            }
            ("Webhook", None) => Err("webhook: Required value: required when type=Webhook".to_string()),
            ("", _) => Err("type: Required value".to_string()),
            (other, _) => Err(format!(
                "type: Unsupported value: {other:?}: supported values: \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \
                 \"Webhook\""
            )),
        }
    }
}

impl WebhookFile {
    fn read(&self, name: &str, remote: ReadRemote) -> Result<(MakeWebhook, Vec<PathBuf>), String> {
        let timeout = duration("timeout", &self.timeout)?;
        if timeout > TIMEOUT_MAX {
            return Err(format!("timeout: Invalid value: {:?}: must be > 0s and <= 30s", self.timeout));
        }
        let ttl = |field: &str, text: &Option<String>, default: &str, is_kept: Option<bool>| {
            let ttl = duration(field, text.as_deref().unwrap_or(default))?;
            Ok::<_, String>(if is_kept.unwrap_or(true) { ttl } else { Duration::ZERO })
        };
        let failing = match self.failure_policy.as_str() {
            "NoOpinion" => Failing::NoOpinion,
            "Deny" => Failing::Deny,
            "" => return Err("failurePolicy: Required value".to_string()),
            other => {
                return Err(format!(
                    "failurePolicy: Unsupported value: {other:?}: supported values: \"NoOpinion\", \"Deny\""
                ));
            }
        };
        let version = match self.subject_access_review_version.as_str() {
            "v1" => "v1",
            "v1beta1" => "v1beta1",
            "" => return Err("subjectAccessReviewVersion: Required value".to_string()),
            other => {
                return Err(format!(
                    "subjectAccessReviewVersion: Unsupported value: {other:?}: supported values: \"v1\", \"v1beta1\""
                ));
            }
        };
        match self.match_condition_subject_access_review_version.as_str() {
            "v1" => {}
            "" if self.match_conditions.is_empty() => {}
            "" => {
                return Err(
                    "matchConditionSubjectAccessReviewVersion: required if match conditions are specified".into()
                );
            }
            other => {
                return Err(format!(
                    "matchConditionSubjectAccessReviewVersion: Unsupported value: {other:?}: supported values: \"v1\""
                ));
            }
        }
        let conditions = self.conditions()?;
        let authorized = self.cache_authorized_requests;
        let authorized_ttl = ttl("authorizedTTL", &self.authorized_ttl, AUTHORIZED_TTL, authorized)?;
        let unauthorized = self.cache_unauthorized_requests;
        let unauthorized_ttl = ttl("unauthorizedTTL", &self.unauthorized_ttl, UNAUTHORIZED_TTL, unauthorized)?;
        let remote = self.connection_info.read(remote)?;
        let (name, files) = (name.to_string(), remote.files.clone());
        let make: MakeWebhook = Box::new(move |caller| Webhook {
            name,
            remote,
            caller,
            timeout,
            version,
            failing,
            conditions,
            authorized_ttl,
            unauthorized_ttl,
            recent: Webhook::remembering(),
        });
        Ok((make, files))
    }

    fn conditions(&self) -> Result<Vec<Program>, String> {
        if self.match_conditions.len() > CONDITIONS_MAX {
            return Err(format!("matchConditions: must have at most {CONDITIONS_MAX} items"));
        }
        let env = Env::new().with_variable("request", review_type());
        let mut seen = BTreeSet::new();
        let mut programs = Vec::new();
        for (index, condition) in self.match_conditions.iter().enumerate() {
            let at = |why: String| format!("matchConditions[{index}].expression: {why}");
            let text = condition.expression.as_str();
            if text.trim().is_empty() {
                return Err(at("Required value".to_string()));
            }
            if !seen.insert(text) {
                return Err(at(format!("Duplicate value: {text:?}")));
            }
            let program = env.compile(text).map_err(|error| at(format!("compilation failed: {error}")))?;
            if *program.result_type() != Type::Bool {
                return Err(at("must evaluate to bool".to_string()));
            }
            programs.push(program);
        }
        Ok(programs)
    }
}

impl ConnectionInfo {
    fn read(&self, remote: ReadRemote) -> Result<Remote, String> {
        match (self.kind.as_str(), &self.kube_config_file) {
            ("KubeConfigFile", Some(path)) if path.is_absolute() => {
                remote(path).map_err(|why| format!("connectionInfo.kubeConfigFile: {why}"))
            }
            ("KubeConfigFile", Some(_)) => Err("connectionInfo.kubeConfigFile: must be an absolute path".to_string()),
            ("KubeConfigFile", None) => Err("connectionInfo.kubeConfigFile: Required value".to_string()),
            // This server would ask itself and wait for its own answer.
            ("InClusterConfig", _) => {
                Err("connectionInfo.type: InClusterConfig leads a server to itself, which is not \
                                           supported: name the webhook by a KubeConfigFile"
                    .to_string())
            }
            ("", _) => Err("connectionInfo.type: Required value".to_string()),
            (other, _) => {
                Err(format!("connectionInfo.type: Unsupported value: {other:?}: supported values: \"KubeConfigFile\""))
            }
        }
    }
}

/// A span of time as Go writes it; it has to be more than nothing.
fn duration(field: &str, text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err(format!("{field}: Required value"));
    }
    let parsed =
        cel::Duration::parse(text).map_err(|_| format!("{field}: Invalid value: {text:?}: no duration such as 3s"))?;
    match u64::try_from(parsed.0) {
        Ok(nanos) if nanos > 0 => Ok(Duration::from_nanos(nanos)),
        _ => Err(format!("{field}: Invalid value: {text:?}: must be > 0s")),
    }
}

/// What conditions see: the spec of a SubjectAccessReview.
fn review_type() -> Type {
    let text = || Type::String;
    let selector = |name: &str| {
        let requirement = Type::object(
            &format!("{name}Requirement"),
            [("key", text()), ("operator", text()), ("values", Type::list(text()))],
        );
        Type::object(name, [("rawSelector", text()), ("requirements", Type::list(requirement))])
    };
    let fields =
        ["namespace", "verb", "group", "version", "resource", "subresource", "name"].map(|name| (name, text()));
    let selectors = [
        ("fieldSelector", selector("kubernetes.FieldSelectorAttributes")),
        ("labelSelector", selector("kubernetes.LabelSelectorAttributes")),
    ];
    let resource = Type::object("kubernetes.ResourceAttributes", fields.into_iter().chain(selectors));
    let other = Type::object("kubernetes.NonResourceAttributes", [("path", text()), ("verb", text())]);
    Type::object(
        "kubernetes.SubjectAccessReviewSpec",
        [
            ("resourceAttributes", resource),
            ("nonResourceAttributes", other),
            ("user", text()),
            ("groups", Type::list(text())),
            ("extra", Type::map(text(), Type::list(text()))),
            ("uid", text()),
        ],
    )
}

#[cfg(test)]
mod tests;
