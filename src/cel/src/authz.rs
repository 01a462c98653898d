//! Questions to the authorizer: `authorizer.group('apps').resource('deployments').check('create').allowed()`.

use std::fmt;
use std::sync::Arc;

use machinery::selector::{FieldSelector, LabelSelector};

use crate::error::EvalError;
use crate::value::Value;

/// Who decides. The caller of an evaluation provides it; it must not block for long.
pub trait Authorizer: Send + Sync + fmt::Debug {
    /// Whether the request may be made, by the user of the request or by a service account.
    fn authorize(&self, attributes: &Attributes) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Namespace and name of a service account to ask for instead of the user.
    pub service_account: Option<(String, String)>,
    /// A path outside resources.
    pub path: Option<String>,
    /// The verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// The field selector as written.
    pub field_selector: Option<String>,
    /// The label selector as written.
    pub label_selector: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Yes.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong while deciding.
    pub error: Option<String>,
}

/// A question as far as it is asked, or its answer.
#[derive(Debug, Clone)]
pub struct Authz {
    stage: Stage,
    authorizer: Arc<dyn Authorizer>,
    attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decision(Decision),
}

impl Authz {
    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Decision(_) => "kubernetes.authorization.Decision",
        }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.stage == other.stage && self.attributes == other.attributes
    }

    fn next(&self, stage: Stage, change: impl FnOnce(&mut Attributes)) -> Value<'static> {
        let mut attributes = self.attributes.clone();
        change(&mut attributes);
        Value::Authz(Arc::new(Self { stage, authorizer: self.authorizer.clone(), attributes }))
    }

    /// The value of a method called with these texts.
    pub(crate) fn call(&self, function: &str, args: &[&str]) -> Result<Value<'static>, EvalError> {
        match (&self.stage, function, args) {
            (Stage::Authorizer, "serviceAccount", [namespace, name]) => {
                let wrong = machinery::names::dns1123_label(namespace)
                    .into_iter()
                    .chain(machinery::names::dns1123_subdomain(name));
                if let Some(message) = wrong.into_iter().next() {
                    return Err(EvalError::new(format!("invalid service account {namespace:?}/{name:?}: {message}")));
                }
                let account = (namespace.to_string(), name.to_string());
                Ok(self.next(Stage::Authorizer, |attributes| attributes.service_account = Some(account)))
            }
            (Stage::Authorizer, "path", [path]) => {
                if path.is_empty() {
                    return Err(EvalError::new("path must not be empty"));
                }
                Ok(self.next(Stage::Path, |attributes| attributes.path = Some(path.to_string())))
            }
            (Stage::Authorizer, "group", [group]) => {
                Ok(self.next(Stage::Group, |attributes| attributes.group = group.to_string()))
            }
            (Stage::Group, "resource", [resource]) => {
                Ok(self.next(Stage::Resource, |attributes| attributes.resource = resource.to_string()))
            }
            (Stage::Resource, "subresource", [text]) => {
                Ok(self.next(Stage::Resource, |attributes| attributes.subresource = text.to_string()))
            }
            (Stage::Resource, "namespace", [text]) => {
                Ok(self.next(Stage::Resource, |attributes| attributes.namespace = text.to_string()))
            }
            (Stage::Resource, "name", [text]) => {
                Ok(self.next(Stage::Resource, |attributes| attributes.name = text.to_string()))
            }
            (Stage::Resource, "fieldSelector", [text]) => {
                FieldSelector::parse(text)
                    .map_err(|error| EvalError::new(format!("invalid field selector: {error}")))?;
                Ok(self.next(Stage::Resource, |attributes| attributes.field_selector = Some(text.to_string())))
            }
            (Stage::Resource, "labelSelector", [text]) => {
                LabelSelector::parse(text)
                    .map_err(|error| EvalError::new(format!("invalid label selector: {error}")))?;
                Ok(self.next(Stage::Resource, |attributes| attributes.label_selector = Some(text.to_string())))
            }
            (Stage::Path | Stage::Resource, "check", [verb]) => {
                let mut attributes = self.attributes.clone();
                attributes.verb = verb.to_string();
                let decision = self.authorizer.authorize(&attributes);
                Ok(self.next(Stage::Decision(decision), |_| {}))
            }
            (Stage::Decision(decision), "allowed", []) => Ok(Value::Bool(decision.allowed)),
            (Stage::Decision(decision), "reason", []) => Ok(Value::from(decision.reason.clone())),
            (Stage::Decision(decision), "errored", []) => Ok(Value::Bool(decision.error.is_some())),
            (Stage::Decision(decision), "error", []) => Ok(Value::from(decision.error.clone().unwrap_or_default())),
            _ => Err(EvalError::no_such_overload()),
        }
    }
}

impl Value<'_> {
    /// The variable `authorizer`.
    pub fn authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        Self::Authz(Arc::new(Authz { stage: Stage::Authorizer, authorizer, attributes: Attributes::default() }))
    }

    /// The variable `authorizer.requestResource`: the resource of the request itself.
    pub fn request_resource(authorizer: Arc<dyn Authorizer>, attributes: Attributes) -> Self {
        Self::Authz(Arc::new(Authz { stage: Stage::Resource, authorizer, attributes }))
    }
}
