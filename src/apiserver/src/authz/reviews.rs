//! SubjectAccessReview and its siblings: may somebody do something, and what may I do.

use std::sync::Arc;

use async_trait::async_trait;
use machinery::field::{FieldError, FieldErrors, Path};
use serde_json::{Value, json};

use super::configuration::Configured;
use super::index::Roles;
use super::rule::Rule;
use crate::follow::Followed;
use crate::live::{text, texts};
use crate::plugin::{Authorizer, Decision, Review, Reviewer};
use crate::request::{Attributes, User};
use crate::reread::Reread;
use crate::status::{Result, Status};

const GROUP: &str = "authorization.k8s.io";

/// Whose access is reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// SubjectAccessReview: the user of the spec.
    Subject,
    /// LocalSubjectAccessReview: the user of the spec, in one namespace.
    Local,
    /// SelfSubjectAccessReview: whoever asks.
    Own,
}

impl Scope {
    fn kind(self) -> &'static str {
        match self {
            Self::Subject => "SubjectAccessReview",
            Self::Local => "LocalSubjectAccessReview",
            Self::Own => "SelfSubjectAccessReview",
        }
    }
}

/// Answers access reviews.
pub struct AccessReviews {
    /// Whose.
    pub scope: Scope,
    /// Who decides.
    pub authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl Reviewer for AccessReviews {
    async fn review(&self, request: &Review<'_>, mut object: Value) -> Result<Value> {
        let errors = validate(self.scope, &object, request.namespace);
        if !errors.is_empty() {
            return Err(Status::invalid(GROUP, self.scope.kind(), "", &errors));
        }
        let user = if self.scope == Scope::Own { request.user.clone() } else { subject(&object) };
        object["status"] = match self.authorizer.authorize(&user, &attributes(&object)).await {
            Decision::Allow(reason) => status(true, false, &reason),
            Decision::Deny(reason) => status(false, true, &reason),
            Decision::NoOpinion(reason) => status(false, false, &reason),
        };
        Ok(object)
    }
}

fn status(allowed: bool, denied: bool, reason: &str) -> Value {
    let mut status = json!({"allowed": allowed});
    if denied {
        status["denied"] = json!(true);
    }
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    status
}

fn given<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    object.pointer(pointer).filter(|value| value.is_object())
}

fn validate(scope: Scope, object: &Value, namespace: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = Path::new("spec");
    let resource = given(object, "/spec/resourceAttributes");
    let other = given(object, "/spec/nonResourceAttributes");
    match (resource, other) {
        (Some(_), Some(other)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            errors.push(FieldError::invalid(&spec.child("nonResourceAttributes"), other.clone(), why));
        }
        (None, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(FieldError::invalid(&spec.child("resourceAttributes"), Value::Null, why));
        }
        _ => {}
    }
    if scope != Scope::Own && text(object, "/spec/user").is_empty() && texts(object, "/spec/groups").is_empty() {
        errors.push(FieldError::invalid(&spec.child("user"), "", "at least one of user or group must be specified"));
    }
    ["fieldSelector", "labelSelector"].iter().for_each(|name| check_selector(object, name, &mut errors));
    check_metadata(scope, &object["metadata"], &mut errors);
    if scope == Scope::Local {
        if other.is_some() {
            let why = "disallowed on this kind of request";
            errors.push(FieldError::invalid(&spec.child("nonResourceAttributes"), json!({}), why));
        }
        let asked = text(object, "/spec/resourceAttributes/namespace");
        if resource.is_some() && asked != namespace {
            let path = spec.child("resourceAttributes").child("namespace");
            errors.push(FieldError::invalid(&path, asked, "must match metadata.namespace"));
        }
    }
    errors
}

/// A review is answered and not kept, so there is nothing to say of it; clients that record who sets which field may.
fn check_metadata(scope: Scope, metadata: &Value, errors: &mut FieldErrors) {
    let (passed_over, why): (&[&str], _) = match scope {
        Scope::Local => (&["managedFields", "namespace"], "must be empty except for namespace"),
        Scope::Subject | Scope::Own => (&["managedFields"], "must be empty"),
    };
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(_) => false,
    };
    let mut fields = metadata.as_object().into_iter().flatten();
    if fields.any(|(name, value)| !passed_over.contains(&name.as_str()) && !says_nothing(value)) {
        errors.push(FieldError::invalid(&Path::new("metadata"), metadata.clone(), why));
    }
}

fn subject(object: &Value) -> User {
    let extra = object.pointer("/spec/extra").cloned();
    User {
        name: text(object, "/spec/user").to_string(),
        uid: text(object, "/spec/uid").to_string(),
        groups: texts(object, "/spec/groups"),
        extra: extra.and_then(|extra| serde_json::from_value(extra).ok()).unwrap_or_default(),
    }
}

fn attributes(object: &Value) -> Attributes {
    if let Some(asked) = given(object, "/spec/nonResourceAttributes") {
        return Attributes {
            verb: text(asked, "/verb").to_string(),
            path: text(asked, "/path").to_string(),
            ..Attributes::default()
        };
    }
    let field = |name: &str| text(object, &format!("/spec/resourceAttributes/{name}")).to_string();
    let version = match field("version") {
        version if version.is_empty() => "*".to_string(),
        version => version,
    };
    Attributes {
        verb: field("verb"),
        namespace: field("namespace"),
        group: field("group"),
        version,
        resource: field("resource"),
        subresource: field("subresource"),
        name: field("name"),
        is_resource: true,
        path: String::new(),
        label_selector: selector(object, "labelSelector"),
        field_selector: selector(object, "fieldSelector"),
    }
}

/// A selector of a review in the form of a query: `rawSelector`, or its requirements. Those with an operator that is not
/// known limit nothing, as everything that limits only takes away.
fn selector(object: &Value, name: &str) -> String {
    let base = format!("/spec/resourceAttributes/{name}");
    let raw = text(object, &format!("{base}/rawSelector"));
    if !raw.is_empty() {
        return raw.to_string();
    }
    let is_labels = name == "labelSelector";
    let requirements = crate::live::items(object, &format!("{base}/requirements")).iter();
    let terms = requirements.filter_map(|requirement| {
        let (key, values) = (text(requirement, "/key"), texts(requirement, "/values"));
        match (text(requirement, "/operator"), values.as_slice()) {
            ("In", [one]) => Some(format!("{key}={one}")),
            ("NotIn", [one]) => Some(format!("{key}!={one}")),
            ("In", [_, ..]) if is_labels => Some(format!("{key} in ({})", values.join(","))),
            ("NotIn", [_, ..]) if is_labels => Some(format!("{key} notin ({})", values.join(","))),
            ("Exists", []) if is_labels => Some(key.to_string()),
            ("DoesNotExist", []) if is_labels => Some(format!("!{key}")),
            _ => None,
        }
    });
    terms.collect::<Vec<_>>().join(",")
}

/// A selector is one text or requirements, and not neither.
fn check_selector(object: &Value, name: &str, errors: &mut FieldErrors) {
    let base = format!("/spec/resourceAttributes/{name}");
    if given(object, &base).is_none() {
        return;
    }
    let path = Path::new("spec").child("resourceAttributes").child(name);
    let raw = text(object, &format!("{base}/rawSelector"));
    match (raw.is_empty(), crate::live::items(object, &format!("{base}/requirements")).is_empty()) {
        (false, false) => {
            let why = "may not specified at the same time as requirements";
            errors.push(FieldError::invalid(&path.child("rawSelector"), raw, why));
        }
        (true, true) => {
            let why = format!("when {path} is specified, requirements or rawSelector is required");
            errors.push(FieldError::required(&path.child("requirements"), why));
        }
        _ => {}
    }
}

/// Answers SelfSubjectRulesReviews.
pub struct RulesReviews {
    /// Whose rules are listed.
    pub roles: Followed<Roles>,
    /// The authorizers of a file, some of which cannot list theirs.
    pub configured: Option<Arc<Reread<Configured>>>,
}

#[async_trait]
impl Reviewer for RulesReviews {
    async fn review(&self, request: &Review<'_>, mut object: Value) -> Result<Value> {
        let namespace = text(&object, "/spec/namespace").to_string();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let mut rules = self.roles.read().rules_of(request.user, &namespace);
        if request.user.in_group(super::MASTERS) {
            let all = || vec!["*".to_string()];
            // What the group may do without any role, unless its default binding has said so.
            let everything = [
                Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
                Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
            ];
            rules.extend(everything.into_iter().filter(|rule| !rules.contains(rule)).collect::<Vec<_>>());
        }
        let (resources, others): (Vec<Rule>, Vec<Rule>) =
            rules.into_iter().partition(|rule| rule.non_resource_urls.is_empty());
        let mut errors = Vec::new();
        // What the Node authorizer adds for agents depends on objects and is not listed.
        if super::node::node_of(request.user).is_some() {
            errors.push("node authorizer does not support user rule resolution");
        }
        if self.configured.as_ref().is_some_and(|configured| configured.get().asks_webhooks) {
            errors.push("webhook authorizer does not support user rule resolution");
        }
        let incomplete = !errors.is_empty();
        object["status"] = json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": incomplete});
        match errors.as_slice() {
            [] => {}
            [one] => object["status"]["evaluationError"] = json!(one),
            several => object["status"]["evaluationError"] = json!(format!("[{}]", several.join(", "))),
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_asks_for_exactly_one_thing_of_somebody() {
        let pods = json!({"verb": "get", "resource": "pods", "namespace": "a"});
        let cases = [
            (Scope::Subject, json!({"user": "x", "resourceAttributes": pods}), 0),
            (Scope::Subject, json!({"groups": ["x"], "nonResourceAttributes": {"path": "/", "verb": "get"}}), 0),
            (Scope::Subject, json!({"resourceAttributes": pods}), 1),
            (Scope::Subject, json!({"user": "x"}), 1),
            (Scope::Subject, json!({"user": "x", "resourceAttributes": pods, "nonResourceAttributes": {}}), 1),
            (Scope::Own, json!({"resourceAttributes": pods}), 0),
            (Scope::Local, json!({"user": "x", "resourceAttributes": pods}), 0),
            (Scope::Local, json!({"user": "x", "resourceAttributes": {"namespace": "b"}}), 1),
            (Scope::Local, json!({"user": "x", "nonResourceAttributes": {}}), 1),
            (Scope::Own, json!({"resourceAttributes": {"fieldSelector": {}}}), 1),
            (Scope::Own, json!({"resourceAttributes": {"labelSelector": {"rawSelector": "a"}}}), 0),
            (
                Scope::Own,
                json!({"resourceAttributes": {"labelSelector": {"rawSelector": "a",
                    "requirements": [{"key": "b", "operator": "Exists"}]}}}),
                1,
            ),
        ];
        for (scope, spec, expected) in cases {
            let errors = validate(scope, &json!({"spec": spec}), "a");
            assert_eq!(errors.len(), expected, "{scope:?} {spec} {errors:?}");
        }
    }

    #[test]
    fn a_review_has_no_metadata() {
        let pods = json!({"verb": "get", "resource": "pods", "namespace": "a"});
        let managed = json!([{"manager": "m", "operation": "Update", "apiVersion": "v1"}]);
        for (scope, why) in [
            (Scope::Own, "must be empty"),
            (Scope::Subject, "must be empty"),
            (Scope::Local, "must be empty except for namespace"),
        ] {
            let errors = |metadata: Value| {
                let object = json!({"metadata": metadata, "spec": {"user": "x", "resourceAttributes": pods}});
                validate(scope, &object, "a").iter().map(ToString::to_string).collect::<Vec<_>>()
            };
            for metadata in [json!({"name": "n"}), json!({"labels": {"a": "b"}})] {
                let expected = format!("metadata: Invalid value: {metadata}: {why}");
                assert_eq!(errors(metadata), [expected], "{scope:?}");
            }
            for metadata in
                [json!({}), json!({"labels": {}, "creationTimestamp": null}), json!({"managedFields": managed})]
            {
                assert_eq!(errors(metadata.clone()), Vec::<String>::new(), "{scope:?} {metadata}");
            }
            assert_eq!(errors(json!({"namespace": "a"})).is_empty(), scope == Scope::Local, "{scope:?}");
        }
    }

    #[test]
    fn attributes_are_read_off_the_spec() {
        let object = json!({"spec": {"resourceAttributes": {"verb": "list", "group": "apps", "resource": "deployments",
            "fieldSelector": {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["w1"]}]},
            "labelSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b", "c"]},
                {"key": "d", "operator": "DoesNotExist"}, {"key": "e", "operator": "Newer"}]}}}});
        let found = attributes(&object);
        assert_eq!((found.verb.as_str(), found.group.as_str(), found.version.as_str()), ("list", "apps", "*"));
        assert_eq!(found.field_selector, "spec.nodeName=w1");
        assert_eq!(found.label_selector, "a in (b,c),!d");
        assert!(found.is_resource);
    }
}
