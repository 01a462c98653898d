//! The authorizer that asks a service outside: it is sent a SubjectAccessReview, and what it says is kept for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cel::{Program, Variables};
use machinery::selector::field::FieldSelector;
use machinery::selector::label::{LabelSelector, Operator};
use serde_json::{Value, json};

use super::figures::Outcome;
use crate::live::text;
use crate::plugin::{Authorizer, Decision};
use crate::recent::Recent;
use crate::request::{Attributes, User};
use crate::webhook::kubeconfig::Remote;
use crate::webhook::{Bounds, Caller};

/// How many answers are remembered; Kubernetes remembers as many.
const ANSWERS_MAX: usize = 8192;
/// Requests whose attributes are longer are not remembered: whoever makes them up could fill the memory.
const REMEMBERED_BYTES_MAX: usize = 10_000;
/// What it says is a review with a status.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How often the service is asked where it cannot be reached, within the timeout.
const ATTEMPTS: u32 = 3;
/// The pause after the first attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// Others are asked.
    NoOpinion,
    /// The request is refused.
    Deny,
}

/// Asks a service.
pub struct Webhook {
    /// For the log.
    pub name: String,
    /// Whom to ask.
    pub remote: Remote,
    /// How.
    pub caller: Arc<Caller>,
    /// For how long at most.
    pub timeout: Duration,
    /// The version of the review: `v1`.
    pub version: &'static str,
    /// What a failure means.
    pub failing: Failing,
    /// It is only asked where all of these hold.
    pub conditions: Vec<Program>,
    /// How long a permission holds.
    pub authorized_ttl: Duration,
    /// How long a refusal holds.
    pub unauthorized_ttl: Duration,
    /// What it has said.
    pub recent: Recent<Decision>,
}

#[async_trait]
impl Authorizer for Webhook {
    async fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        let spec = spec(user, attributes);
        match meets(&self.conditions, &spec) {
            Ok(true) => {}
            Ok(false) => {
                self.caller.authorizing.excluded(&self.name);
                return Decision::NoOpinion(String::new());
            }
            Err(why) => {
                self.caller.authorizing.unjudged(&self.name);
                tracing::error!(webhook = self.name, "a match condition of the authorizer fails: {why}");
                return self.failed();
            }
        }
        let question = spec.to_string();
        if let Some(known) = self.recent.get(question.as_bytes()) {
            return known;
        }
        let began = Instant::now();
        let asked = tokio::time::timeout(self.timeout, self.ask(&spec)).await;
        let is_late = asked.is_err();
        let answer = asked.unwrap_or_else(|_| Err("no answer in time".to_string()));
        let said = answer.and_then(|answer| decision(&answer));
        let outcome = match said {
            Ok(_) => Outcome::Answered,
            Err(_) if is_late => Outcome::TimedOut,
            Err(_) => Outcome::Failed,
        };
        let fails_open = self.failing == Failing::NoOpinion;
        self.caller.authorizing.asked(&self.name, outcome, began.elapsed(), fails_open);
        match said {
            Ok(decision) => {
                let allowed = matches!(decision, Decision::Allow(_));
                let ttl = if allowed { self.authorized_ttl } else { self.unauthorized_ttl };
                if question.len() < REMEMBERED_BYTES_MAX {
                    self.recent.keep(question.as_bytes(), decision.clone(), ttl);
                }
                decision
            }
            Err(why) => {
                tracing::error!(webhook = self.name, "the authorizer does not answer: {why}");
                self.failed()
            }
        }
    }
}

impl Webhook {
    /// A memory of answers.
    pub fn remembering() -> Recent<Decision> {
        Recent::new(ANSWERS_MAX)
    }

    fn failed(&self) -> Decision {
        match self.failing {
            Failing::NoOpinion => Decision::NoOpinion(String::new()),
            Failing::Deny => Decision::Deny(format!("webhook authorizer {:?} cannot be asked", self.name)),
        }
    }

    async fn ask(&self, spec: &Value) -> Result<Value, String> {
        let mut spec = spec.clone();
        trim(&mut spec);
        if self.version == "v1beta1"
            && let Some(fields) = spec.as_object_mut()
            && let Some(groups) = fields.remove("groups")
        {
            fields.insert("group".to_string(), groups);
        }
        let review = json!({"apiVersion": format!("authorization.k8s.io/{}", self.version),
            "kind": "SubjectAccessReview", "metadata": {}, "spec": spec, "status": {"allowed": false}});
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let bounds = Bounds { within: self.timeout, answer_bytes: ANSWER_BYTES_MAX };
            let asked = self.caller.post(&self.remote.endpoint, self.remote.token.as_deref(), &review, bounds);
            match asked.await {
                Ok(answer) if text(&answer, "/kind") == "SubjectAccessReview" => return Ok(answer),
                Ok(_) => return Err("the answer is no SubjectAccessReview".to_string()),
                Err(failure) if attempt == ATTEMPTS || failure.code() < 500 => return Err(failure.to_string()),
                Err(_) => tokio::time::sleep(pause).await,
            }
            (pause, attempt) = (pause * 2, attempt + 1);
        }
    }
}

/// What is asked: every field is there, so that conditions can look at it.
fn spec(user: &User, asked: &Attributes) -> Value {
    let mut spec = json!({"user": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
    if !asked.is_resource {
        spec["nonResourceAttributes"] = json!({"path": asked.path, "verb": asked.verb});
        return spec;
    }
    let mut resource = json!({"namespace": asked.namespace, "verb": asked.verb, "group": asked.group,
        "version": asked.version, "resource": asked.resource, "subresource": asked.subresource, "name": asked.name});
    // What cannot be read limits nothing, so it is not told.
    if let Some(requirements) = field_requirements(&asked.field_selector) {
        resource["fieldSelector"] = json!({"requirements": requirements});
    }
    if let Some(requirements) = label_requirements(&asked.label_selector) {
        resource["labelSelector"] = json!({"requirements": requirements});
    }
    spec["resourceAttributes"] = resource;
    spec
}

fn field_requirements(selector: &str) -> Option<Vec<Value>> {
    let terms = FieldSelector::parse(selector).ok()?.0;
    let requirement = |term: &machinery::selector::field::Term| {
        let operator = if term.equal { "In" } else { "NotIn" };
        json!({"key": term.field, "operator": operator, "values": [term.value]})
    };
    (!terms.is_empty()).then(|| terms.iter().map(requirement).collect())
}

fn label_requirements(selector: &str) -> Option<Vec<Value>> {
    let selector = LabelSelector::parse(selector).ok()?;
    let mut all = Vec::new();
    for requirement in selector.requirements() {
        let operator = match requirement.operator() {
            Operator::Equals | Operator::DoubleEquals | Operator::In => "In",
            Operator::NotEquals | Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            // Reviews know no such operators: the request is told as less limited than it is.
            Operator::GreaterThan | Operator::LessThan => continue,
        };
        let mut told = json!({"key": requirement.key(), "operator": operator});
        if !requirement.values().is_empty() {
            told["values"] = json!(requirement.values());
        }
        all.push(told);
    }
    (!all.is_empty()).then_some(all)
}

/// Takes away what is empty, as Kubernetes sends it.
fn trim(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    for pointer in ["resourceAttributes", "nonResourceAttributes"] {
        if let Some(inner) = fields.get_mut(pointer) {
            trim(inner);
        }
    }
    fields.retain(|_, value| match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(inner) => !inner.is_empty(),
        _ => true,
    });
}

/// Whether all conditions hold. One that does not decides; only without such a one does a failure count.
fn meets(conditions: &[Program], spec: &Value) -> Result<bool, String> {
    let mut failure = None;
    let mut left = cel::MATCH_CONDITIONS_COST_LIMIT;
    for condition in conditions {
        let variables = Variables::new().with("request", cel::Value::from_json(spec));
        let outcome = condition.eval(&variables, left.min(cel::PER_CALL_COST_LIMIT));
        left = left.saturating_sub(outcome.cost);
        match outcome.result {
            Ok(cel::Value::Bool(true)) => {}
            Ok(cel::Value::Bool(false)) => return Ok(false),
            Ok(_) => failure = Some("it is neither true nor false".to_string()),
            Err(error) => failure = Some(error.to_string()),
        }
    }
    failure.map_or(Ok(true), Err)
}

fn decision(answer: &Value) -> Result<Decision, String> {
    let says = |field: &str| answer.pointer(&format!("/status/{field}")) == Some(&Value::Bool(true));
    let reason = text(answer, "/status/reason").to_string();
    match (says("denied"), says("allowed")) {
        (true, true) => {
            tracing::error!("a webhook has both allowed and denied a request, which is refused");
            Ok(Decision::Deny(reason))
        }
        (true, false) => Ok(Decision::Deny(reason)),
        (false, true) => Ok(Decision::Allow(reason)),
        (false, false) => Ok(Decision::NoOpinion(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_pods() -> Attributes {
        Attributes {
            verb: "list".into(),
            namespace: "n".into(),
            version: "v1".into(),
            resource: "pods".into(),
            is_resource: true,
            field_selector: "spec.nodeName=w1,status.phase!=Failed".into(),
            label_selector: "a=b,c in (d,e),!f".into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_review_says_what_is_asked() {
        let mut spec = spec(&User::new("ann", &["g"]), &list_pods());
        trim(&mut spec);
        let fields = json!([{"key": "spec.nodeName", "operator": "In", "values": ["w1"]},
            {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]}]);
        let labels = json!([{"key": "a", "operator": "In", "values": ["b"]},
            {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]);
        let resource = json!({"verb": "list", "namespace": "n", "version": "v1", "resource": "pods",
            "fieldSelector": {"requirements": fields}, "labelSelector": {"requirements": labels}});
        let expected = json!({"user": "ann", "groups": ["g", "system:authenticated"], "resourceAttributes": resource});
        assert_eq!(spec, expected);
    }

    #[test]
    fn an_answer_allows_denies_or_says_nothing() {
        let of = |status: Value| decision(&json!({"status": status}));
        assert_eq!(of(json!({"allowed": true, "reason": "r"})), Ok(Decision::Allow("r".to_string())));
        assert_eq!(of(json!({"allowed": false, "denied": true})), Ok(Decision::Deny(String::new())));
        assert_eq!(of(json!({"allowed": true, "denied": true})), Ok(Decision::Deny(String::new())));
        assert_eq!(of(json!({"allowed": false})), Ok(Decision::NoOpinion(String::new())));
        assert_eq!(of(json!({})), Ok(Decision::NoOpinion(String::new())));
    }
}
