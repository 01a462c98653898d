//! What admission policies of either kind share: the request as they see it, the objects they ask for, and the
//! authorizer's answers. The policies themselves are `api::policy`'s.

pub mod bound;
pub mod params;

use std::sync::Arc;

use api::policy::matching::{Place, Requested};
use api::policy::{Answers, Binding, Input};
use api::resource::Resource;
use machinery::gvk::{GroupVersion, GroupVersionKind};
use serde_json::{Value, json};

use crate::authn::reviews::user_info;
use crate::convert;
use crate::live::Live;
use crate::plugin::{Admit, Authorizer, Decision, Operation};
use crate::request::{Attributes, User};
use crate::status::Result;

/// What is admitted by nobody: policies and webhooks could make it impossible to take them back, and reviews are
/// questions about the request itself.
const EXEMPT: [(&str, &[&str]); 3] = [
    ("admissionregistration.k8s.io", &[]),
    ("authentication.k8s.io", &["tokenreviews", "selfsubjectreviews"]),
    (
        "authorization.k8s.io",
        &["localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"],
    ),
];

/// How often expressions are evaluated again because they have asked the authorizer something new. The costs of asking
/// end it long before.
const ROUNDS_MAX: usize = 256;

/// Whether no policy is asked.
pub fn is_exempt(request: &Admit<'_>) -> bool {
    EXEMPT.iter().any(|(group, resources)| {
        *group == request.group_version.group && (resources.is_empty() || resources.contains(&request.resource))
    })
}

/// A request as policies see it.
pub struct View<'a> {
    request: &'a Admit<'a>,
    object: &'a Value,
    old_object: &'a Value,
    namespace: Value,
    resources: Vec<&'a Resource>,
    places: Vec<Place>,
    /// What the authorizer has said in this request.
    pub answers: Arc<Answers>,
    /// The resource of the request, as the authorizer would be asked for it.
    pub request_resource: cel::Attributes,
}

impl<'a> View<'a> {
    /// Reads what is needed of the cluster.
    ///
    /// # Errors
    /// 500 where the store fails.
    pub async fn new(live: &Live, request: &'a Admit<'a>, object: Option<&'a Value>) -> Result<Self> {
        let (object, old_object) = (object.unwrap_or(&Value::Null), request.old.unwrap_or(&Value::Null));
        let is_namespace = request.group_version.group.is_empty() && request.resource == "namespaces";
        let namespace = match request.namespace {
            _ if is_namespace => Value::Null,
            "" => Value::Null,
            name => live.get("", "namespaces", "", name).await?.unwrap_or_default(),
        };
        let resources = versions(request);
        let place = |resource: &&Resource| Place {
            group_version: resource.group_version.clone(),
            resource: resource.plural.to_string(),
        };
        let mut places: Vec<Place> = resources.iter().map(place).collect();
        if places.is_empty() {
            places.push(Place { group_version: request.group_version.clone(), resource: request.resource.to_string() });
        }
        let request_resource = cel::Attributes {
            group: request.group_version.group.clone(),
            resource: request.resource.to_string(),
            subresource: request.subresource.to_string(),
            namespace: request.namespace.to_string(),
            name: request.name.to_string(),
            ..cel::Attributes::default()
        };
        let answers = Arc::default();
        Ok(Self { request, object, old_object, namespace, resources, places, answers, request_resource })
    }

    /// The request.
    pub fn request(&self) -> &'a Admit<'a> {
        self.request
    }

    /// The namespace of a namespaced object; `null` of others.
    pub fn namespace(&self) -> &Value {
        &self.namespace
    }

    /// What constraints look at.
    pub fn requested(&self) -> Requested<'_> {
        let own = if self.object.is_null() { self.old_object } else { self.object };
        let is_namespace = self.request.group_version.group.is_empty() && self.request.resource == "namespaces";
        Requested {
            operation: operation(self.request.operation),
            places: &self.places,
            subresource: self.request.subresource,
            namespace: self.request.namespace,
            name: self.request.name,
            object: self.object,
            old_object: self.old_object,
            namespace_object: if is_namespace { own } else { &self.namespace },
        }
    }

    /// The request's own resource and the one at a place, where the request's objects are converted to be seen there.
    pub fn converted(&self, place: usize) -> Option<(&'a Resource, &'a Resource)> {
        match (self.resources.first(), self.resources.get(place)) {
            (Some(own), Some(to)) if place > 0 && *own.kind == self.request.kind.kind => Some((own, to)),
            _ => None,
        }
    }

    /// The resource at one of the places; none where it is not served.
    pub fn resource(&self, place: usize) -> Option<&'a Resource> {
        self.resources.get(place).copied()
    }

    /// By which resource's schema an object at one of the places is completed: none where it is another version of a
    /// custom resource by its name alone, and so may have what only the request's own version knows.
    pub fn completed_by(&self, place: usize) -> Option<&'a Resource> {
        let is_renamed = |(own, _): (&Resource, _)| own.custom().is_some_and(|custom| custom.conversion.is_none());
        let is_own = |resource: &&Resource| *resource.kind == self.request.kind.kind;
        self.resource(place).filter(is_own).filter(|_| !self.converted(place).is_some_and(is_renamed))
    }

    /// An object of the resource at one of the places as the request's own resource has it.
    ///
    /// # Errors
    /// 500 where its webhook does not convert it.
    pub async fn back(&self, place: usize, object: Value) -> Result<Value> {
        match self.converted(place) {
            Some((own, from)) => convert::between(self.request.caller, from, own, &object).await,
            None => Ok(object),
        }
    }

    /// The request and its objects as the resource at one of the places has them.
    ///
    /// # Errors
    /// 500 where its webhook does not convert them.
    pub async fn at(&self, place: usize) -> Result<At> {
        self.at_with(place, self.object).await
    }

    /// The same with the object as it has become since.
    ///
    /// # Errors
    /// See [`View::at`].
    pub async fn at_with(&self, place: usize, object: &Value) -> Result<At> {
        let own = &self.request.kind;
        let (object, old_object) = match self.converted(place) {
            Some((from, to)) => (
                convert::between(self.request.caller, from, to, object).await?,
                convert::between(self.request.caller, from, to, self.old_object).await?,
            ),
            // Of subresources with a kind of their own there is one version.
            None => (object.clone(), self.old_object.clone()),
        };
        let kind = match self.resources.get(place) {
            Some(to) if place > 0 && *to.kind == own.kind => {
                GroupVersionKind { group_version: to.group_version.clone(), kind: to.kind.to_string() }
            }
            _ => (*own).clone(),
        };
        let named = self.places.get(place).or(self.places.first());
        let resource = named.map_or(self.request.group_version, |place| &place.group_version);
        Ok(At { place, object, old_object, request: admission_request(self.request, &kind, resource) })
    }
}

/// A request and its objects in one version.
pub struct At {
    /// Which of its resource's versions.
    pub place: usize,
    /// The object; `null` where there is none.
    pub object: Value,
    /// The object before.
    pub old_object: Value,
    /// The AdmissionRequest, without uid and objects.
    pub request: Value,
}

impl At {
    /// What expressions are evaluated with.
    pub fn input<'i>(&'i self, view: &'i View<'_>, params: &'i Value) -> Input<'i> {
        Input {
            object: &self.object,
            old_object: &self.old_object,
            request: &self.request,
            namespace: view.namespace(),
            params,
            request_resource: &view.request_resource,
            answers: &view.answers,
        }
    }
}

/// The resource of the request, then every other that its objects are served as.
fn versions<'a>(request: &Admit<'a>) -> Vec<&'a Resource> {
    let own_version = request.group_version;
    let Some(own) = request.served.get(&own_version.group, &own_version.version, request.resource) else {
        return Vec::new();
    };
    let stored = |resource: &Resource| resource.storage.clone().unwrap_or_else(|| resource.group_version.clone());
    let is_same = |other: &&Resource| {
        other.plural == own.plural && stored(other) == stored(own) && other.group_version != own.group_version
    };
    std::iter::once(own).chain(request.served.resources().filter(is_same)).collect()
}

/// The bindings of a policy that mean a request which the policy is about.
pub fn meant<'b>(
    bindings: &'b [Arc<Binding>],
    requested: &'b Requested<'b>,
) -> impl Iterator<Item = &'b Arc<Binding>> + Send {
    let is_meant = |binding: &&Arc<Binding>| {
        binding.constraints.as_ref().is_none_or(|constraints| constraints.find(requested).is_some())
    };
    bindings.iter().filter(is_meant)
}

/// `CREATE`
pub fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn admission_request(request: &Admit<'_>, kind: &GroupVersionKind, version: &GroupVersion) -> Value {
    let of_kind = |kind: &GroupVersionKind| json!({"group": kind.group_version.group, "version": kind.group_version.version, "kind": kind.kind});
    let of_resource = |version: &GroupVersion| json!({"group": version.group, "version": version.version, "resource": request.resource});
    let mut made = json!({
        "kind": of_kind(kind),
        "resource": of_resource(version),
        "requestKind": of_kind(request.kind),
        "requestResource": of_resource(request.group_version),
        "operation": operation(request.operation),
        "userInfo": user_info(request.user),
        "dryRun": request.dry_run,
        "options": request.options,
    });
    // What is empty is not there.
    for (field, text) in [
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
        ("name", request.name),
        ("namespace", request.namespace),
    ] {
        if !text.is_empty() {
            made[field] = text.into();
        }
    }
    made
}

/// Evaluates until every question to the authorizer has its answer.
pub async fn settled<T>(
    answers: &Answers,
    authorizer: &dyn Authorizer,
    user: &User,
    mut evaluate: impl FnMut() -> T + Send,
) -> T
where
    T: Send,
{
    let mut result = evaluate();
    for _ in 0..ROUNDS_MAX {
        let open = answers.take_open();
        if open.is_empty() {
            break;
        }
        for question in open {
            let answer = ask(authorizer, user, &question).await;
            answers.add(question, answer);
        }
        result = evaluate();
    }
    result
}

async fn ask(authorizer: &dyn Authorizer, user: &User, question: &cel::Attributes) -> cel::Decision {
    let account = question.service_account.as_ref();
    let account = account.map(|(namespace, name)| User::service_account(namespace, name));
    let attributes = Attributes {
        verb: question.verb.clone(),
        namespace: question.namespace.clone(),
        group: question.group.clone(),
        version: "*".to_string(),
        resource: question.resource.clone(),
        subresource: question.subresource.clone(),
        name: question.name.clone(),
        is_resource: question.path.is_none(),
        path: question.path.clone().unwrap_or_default(),
        label_selector: question.label_selector.clone().unwrap_or_default(),
        field_selector: question.field_selector.clone().unwrap_or_default(),
    };
    let (allowed, reason) = match authorizer.authorize(account.as_ref().unwrap_or(user), &attributes).await {
        Decision::Allow(reason) => (true, reason),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => (false, reason),
    };
    cel::Decision { allowed, reason, error: None }
}
