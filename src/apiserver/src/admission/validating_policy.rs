//! ValidatingAdmissionPolicy: requests are held to the policies that bindings put to use (KEP-3488).

use std::collections::BTreeMap;
use std::sync::Arc;

use api::policy::{Binding, Denial, ValidatingPolicy, Verdict};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::policies::bound::Policies;
use super::policies::{self, At, View, params};
use super::{forbidden, group_resource, name_of};
use crate::audit::Trail;
use crate::follow::Followed;
use crate::live::Live;
use crate::plugin::{Admission, Admit, Authorizer, Operation};
use crate::status::{Result, Status};

/// The annotation that tells of what a binding only wants to have written down.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

/// The plugin.
pub struct ValidatingPolicies {
    /// The policies as they are now.
    pub policies: Followed<Policies<ValidatingPolicy>>,
    /// Where parameters and namespaces are read.
    pub live: Live,
    /// Whom expressions can ask.
    pub authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl Admission for ValidatingPolicies {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        if policies::is_exempt(request) {
            return Ok(());
        }
        let bound = self.policies.read().bound();
        if bound.is_empty() {
            return Ok(());
        }
        let view = View::new(&self.live, request, object).await?;
        let mut refused = None;
        let mut written = Vec::new();
        for (policy, bindings) in &bound {
            let Some(place) = policy.common.constraints.find(&view.requested()) else { continue };
            let requested = view.requested();
            let mut meant = policies::meant(bindings, &requested).peekable();
            if meant.peek().is_none() {
                // What may ask a conversion webhook is for those who need it.
                continue;
            }
            let at = view.at(place).await?;
            for binding in meant {
                let verdict = self.judge(policy, binding, &view, &at, request).await?;
                let denial = enforce(policy, binding, &verdict, request, &mut written);
                refused = refused.or_else(|| denial.map(|denial| refusal(policy, binding, denial, request, object)));
            }
        }
        annotate(request.audit, written);
        refused.map_or(Ok(()), Err)
    }
}

impl ValidatingPolicies {
    /// What a policy says with each of the parameters of a binding.
    async fn judge(
        &self,
        policy: &ValidatingPolicy,
        binding: &Binding,
        view: &View<'_>,
        at: &At,
        request: &Admit<'_>,
    ) -> Result<Verdict> {
        let kind = policy.common.param_kind.as_ref();
        let found = params::find(&self.live, request, kind, binding.param_ref.as_ref()).await?;
        let mut all = Verdict::default();
        let found = match found {
            Ok(found) => found,
            Err(_) if policy.common.ignores_failures => return Ok(all),
            Err(why) => {
                // This refuses whatever the binding's actions are, as what is broken in annotations does.
                all.broken_annotations.push(Denial::failure(format!("failed to configure binding: {why}")));
                return Ok(all);
            }
        };
        for params in &found {
            let evaluate = || policy.validate(&at.input(view, params));
            let verdict = policies::settled(&view.answers, &*self.authorizer, request.user, evaluate).await;
            all.denials.extend(verdict.denials);
            all.broken_annotations.extend(verdict.broken_annotations);
            all.annotations.extend(verdict.annotations);
        }
        Ok(all)
    }
}

/// Does what the binding says about what speaks against a request; answers with what refuses it.
fn enforce<'v>(
    policy: &ValidatingPolicy,
    binding: &Binding,
    verdict: &'v Verdict,
    request: &Admit<'_>,
    written: &mut Vec<(String, String)>,
) -> Option<&'v Denial> {
    let (of, by) = (&policy.common.name, &binding.name);
    let mut refused = None;
    for denial in &verdict.denials {
        for action in &binding.actions {
            match action.as_str() {
                "Deny" => refused = refused.or(Some(denial)),
                "Warn" => request.warnings.add(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{of}' with binding '{by}': {}",
                    denial.message
                )),
                _ => written.push((FAILURE.to_string(), {
                    let index = denial.index.unwrap_or_default();
                    json!([{"message": denial.message, "policy": of, "binding": by, "expressionIndex": index,
                        "validationActions": binding.actions}])
                    .to_string()
                })),
            }
        }
    }
    written.extend(verdict.annotations.iter().map(|annotation| (annotation.key.clone(), annotation.value.clone())));
    refused.or(verdict.broken_annotations.first())
}

/// The refusal of a request: 403 in its words, and the code that the policy's reason stands for.
fn refusal(
    policy: &ValidatingPolicy,
    binding: &Binding,
    denial: &Denial,
    request: &Admit<'_>,
    object: Option<&Value>,
) -> Status {
    let (of, by) = (&policy.common.name, &binding.name);
    let why = format!("ValidatingAdmissionPolicy '{of}' with binding '{by}' denied request: {}", denial.message);
    let message = forbidden(request, object, &why).message().to_string();
    let (code, reason) = match denial.reason.as_str() {
        "Forbidden" => (403, "Forbidden"),
        "Unauthorized" => (401, "Unauthorized"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    let name = name_of(request, object);
    Status::new(code, reason, message).about(&group_resource(request), &name).with_cause("", &why, "")
}

/// What several bindings say under one key of a policy stands side by side, once each; the first failure is told.
fn annotate(audit: &Trail, written: Vec<(String, String)>) {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in written {
        let values = all.entry(key).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }
    for (key, values) in all {
        let value = if key == FAILURE { values.into_iter().next().unwrap_or_default() } else { values.join(", ") };
        audit.annotate(&key, value);
    }
}

#[cfg(test)]
mod tests;
