//! MutatingAdmissionPolicy: objects are changed by the policies that bindings put to use (KEP-3962), in the order of
//! their names. A policy that asks for it is asked once more where the object was changed after it.

use std::sync::Arc;

use api::policy::{Binding, Form, MutatingPolicy};
use api::registry;
use api::resource::Resource;
use async_trait::async_trait;
use machinery::schema::{Definitions, Schema};
use machinery::{apply, meta, patch};
use serde_json::Value;

use super::policies::bound::Policies;
use super::policies::{self, View, params};
use super::{forbidden, group_resource, name_of};
use crate::follow::Followed;
use crate::live::Live;
use crate::plugin::{Admission, Admit, Authorizer, Operation};
use crate::rest::decode;
use crate::status::{Result, Status};

const NAME: &str = "MutatingAdmissionPolicy";

/// The plugin.
pub struct MutatingPolicies {
    /// The policies as they are now.
    pub policies: Followed<Policies<MutatingPolicy>>,
    /// Where parameters and namespaces are read.
    pub live: Live,
    /// Whom expressions can ask.
    pub authorizer: Arc<dyn Authorizer>,
}

/// Why a policy does not change an object.
type Why = String;
/// What a policy makes of an object.
type Made = std::result::Result<Value, Why>;

/// A policy with one of its bindings, and as which of the resource's versions it means the request.
struct Invocation {
    policy: Arc<MutatingPolicy>,
    binding: Arc<Binding>,
    place: usize,
}

#[async_trait]
impl Admission for MutatingPolicies {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Delete
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        if policies::is_exempt(request) {
            return Ok(());
        }
        let bound = self.policies.read().bound();
        if bound.is_empty() {
            return Ok(());
        }
        let first = object.clone();
        let view = View::new(&self.live, request, Some(&first)).await?;
        let invocations = meant(&view, &bound);
        if invocations.is_empty() {
            return Ok(());
        }
        request.rounds.enter(NAME, object);
        for invocation in &invocations {
            self.invoke(request, &view, invocation, object).await?;
        }
        request.rounds.leave(NAME, object);
        Ok(())
    }
}

/// What means the request as it came.
fn meant(view: &View<'_>, bound: &[(Arc<MutatingPolicy>, Vec<Arc<Binding>>)]) -> Vec<Invocation> {
    let requested = view.requested();
    let mut invocations = Vec::new();
    for (policy, bindings) in bound {
        let Some(place) = policy.common.constraints.find(&requested) else { continue };
        invocations.extend(policies::meant(bindings, &requested).map(|binding| Invocation {
            policy: policy.clone(),
            binding: binding.clone(),
            place,
        }));
    }
    invocations
}

impl MutatingPolicies {
    /// Lets a policy with one of its bindings change the object, with each of the parameters.
    async fn invoke(
        &self,
        request: &Admit<'_>,
        view: &View<'_>,
        invocation: &Invocation,
        object: &mut Value,
    ) -> Result<()> {
        let Invocation { policy, binding, .. } = invocation;
        let (kind, reference) = (policy.common.param_kind.as_ref(), binding.param_ref.as_ref());
        let found = params::find(&self.live, request, kind, reference).await?;
        let found = match found {
            Ok(found) => found,
            Err(why) => return failed(request, invocation, &format!("failed to configure binding: {why}"), object),
        };
        for params in &found {
            let place = [meta::namespace(params), meta::name(params)].join("/");
            let key = [&policy.common.name, &binding.name, &place].map(String::as_str).join("\n");
            if request.rounds.is_due(NAME, &key) {
                let before = object.clone();
                if self.mutate(request, view, invocation, params, object).await? {
                    request.rounds.has_run(NAME, &key, *object != before, policy.is_reinvoked);
                }
            }
        }
        Ok(())
    }

    /// Carries out the mutations of a policy, each of which sees what those before it have made; false where its
    /// conditions do not hold.
    async fn mutate(
        &self,
        request: &Admit<'_>,
        view: &View<'_>,
        invocation: &Invocation,
        params: &Value,
        object: &mut Value,
    ) -> Result<bool> {
        let policy = &invocation.policy;
        let mut at = view.at_with(invocation.place, object).await?;
        let (answers, authorizer) = (&view.answers, &*self.authorizer);
        let is_met = policies::settled(answers, authorizer, request.user, || policy.is_met(&at.input(view, params)));
        match is_met.await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => return failed(request, invocation, &why, object).map(|()| false),
        }
        for index in 0..policy.len() {
            let change =
                policies::settled(answers, authorizer, request.user, || policy.change(index, &at.input(view, params)));
            let made = change.await.and_then(|(form, change)| carry_out(view, invocation, form, change, &at.object));
            match made.and_then(|made| same_object(&at.object, made)) {
                Ok(made) => at.object = made,
                Err(why) => failed(request, invocation, &why, object)?,
            }
        }
        *object = view.back(invocation.place, at.object).await?;
        Ok(true)
    }
}

/// The object with a change, with its defaults and without what its schema does not know.
fn carry_out(view: &View<'_>, invocation: &Invocation, form: Form, change: Value, object: &Value) -> Made {
    let (request, place) = (view.request(), invocation.place);
    let resource = view.resource(place).filter(|resource| *resource.kind == request.kind.kind);
    let mut changed = match form {
        Form::JsonPatch => json_patched(&change, object)?,
        Form::ApplyConfiguration => {
            let (schema, definitions) =
                schema_of(request, resource).ok_or("there is no schema to apply a configuration by")?;
            let merged = apply::merge(object, &change, schema, definitions);
            merged.map_err(|why| format!("error applying patch: {why}"))?
        }
    };
    if let Some(resource) = view.completed_by(place) {
        decode::complete(resource, &mut changed).map_err(|status| status.message().to_string())?;
    }
    Ok(changed)
}

/// A patch one of whose tests fails changes nothing.
fn json_patched(patch: &Value, object: &Value) -> Made {
    let mut changed = object.clone();
    match patch::json(&mut changed, patch) {
        Ok(()) => Ok(changed),
        Err(patch::Error::TestFailed(_)) => Ok(object.clone()),
        Err(error) => Err(format!("JSON Patch: {error}")),
    }
}

/// The schema of what is changed: of the resource, or of the body of a subresource.
fn schema_of<'a>(request: &Admit<'_>, resource: Option<&'a Resource>) -> Option<(&'a Schema, &'a Definitions)> {
    if let Some(resource) = resource {
        return Some((resource.schema(), resource.definitions()));
    }
    let version = &request.kind.group_version;
    let body = registry().body(&version.group, &version.version, &request.kind.kind)?;
    Some((body.schema(), body.definitions()))
}

/// What tells one object from another stays: it was judged before.
fn same_object(before: &Value, changed: Value) -> Made {
    for field in ["apiVersion", "kind"] {
        if before.get(field) != changed.get(field) {
            return Err(format!("{field} may not be changed"));
        }
    }
    for field in ["name", "generateName", "namespace", "uid"] {
        let [old, new] = [before, &changed].map(|object| meta::text_at(object, &["metadata", field]));
        if old != new {
            return Err(format!("metadata.{field} may not be changed"));
        }
    }
    Ok(changed)
}

/// A failure refuses the request unless its policy ignores failures.
fn failed(request: &Admit<'_>, invocation: &Invocation, why: &str, object: &Value) -> Result<()> {
    let Invocation { policy, binding, .. } = invocation;
    if policy.common.ignores_failures {
        return Ok(());
    }
    let why = format!("policy '{}' with binding '{}' denied request: {why}", policy.common.name, binding.name);
    let message = forbidden(request, Some(object), &why).message().to_string();
    let name = name_of(request, Some(object));
    Err(Status::new(422, "Invalid", message).about(&group_resource(request), &name).with_cause("", &why, ""))
}

#[cfg(test)]
mod tests;
