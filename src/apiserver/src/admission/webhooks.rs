//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: requests are shown to the webhooks of configurations, in
//! the order of their configurations' names. Mutating ones are asked one after the other, each about what the ones
//! before it have made, and once more where they want it and others have changed the object since; validating ones all
//! at once.
//!
//! Configurations of webhooks and policies themselves are nobody's to refuse: they could not be taken back.

mod ask;
mod configurations;
mod patch;
mod review;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use serde_json::Value;

use super::forbidden;
use super::policies::{self, At, View};
use crate::follow::Followed;
use crate::live::Live;
use crate::plugin::{Admission, Admit, Authorizer, Operation};
use crate::status::Result;
use crate::webhook::figures::Step;

use ask::Asked;
use configurations::Hook;

pub use configurations::{Configurations, Mutating, Validating};

/// The group of configurations, which no webhook sees.
const EXEMPT: &str = "admissionregistration.k8s.io";
const MUTATING: &str = "MutatingAdmissionWebhook";

/// What both plugins work with.
pub struct Cluster {
    /// Where namespaces are read.
    pub live: Live,
    /// Whom conditions can ask.
    pub authorizer: Arc<dyn Authorizer>,
}

impl Cluster {
    /// The request as a webhook is to see it; none where it is not to be asked.
    async fn shown(&self, hook: &Hook, view: &View<'_>, request: &Admit<'_>, step: Step) -> Result<Option<At>> {
        let Some(place) = hook.webhook.find(&view.requested()) else { return Ok(None) };
        let shown = view.at(place).await?;
        if !hook.webhook.has_conditions() {
            return Ok(Some(shown));
        }
        let is_met = policies::settled(&view.answers, &*self.authorizer, request.user, || {
            hook.webhook.is_met(&shown.input(view, &Value::Null))
        });
        let figures = &request.caller.figures;
        match is_met.await {
            Ok(true) => Ok(Some(shown)),
            Ok(false) => {
                figures.excluded(hook.webhook.name(), step, policies::operation(request.operation));
                Ok(None)
            }
            Err(why) => {
                figures.unjudged(hook.webhook.name(), step, policies::operation(request.operation));
                Err(forbidden(request, request.old, why))
            }
        }
    }
}

fn is_exempt(request: &Admit<'_>) -> bool {
    request.group_version.group == EXEMPT
}

/// The plugin of webhooks that change objects.
pub struct MutatingWebhooks {
    /// The configurations as they are now.
    pub configurations: Followed<Configurations<Mutating>>,
    /// See [`Cluster`].
    pub cluster: Arc<Cluster>,
}

#[async_trait]
impl Admission for MutatingWebhooks {
    fn name(&self) -> &'static str {
        MUTATING
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        let hooks = self.configurations.read().hooks();
        if is_exempt(request) || hooks.is_empty() {
            return Ok(());
        }
        request.rounds.enter(MUTATING, object);
        let mut left = hooks.as_slice();
        while !left.is_empty() {
            let (changed, others) = self.ask_until_changed(left, request, object).await?;
            left = others;
            if let Some(changed) = changed {
                *object = changed;
            }
        }
        request.rounds.leave(MUTATING, object);
        Ok(())
    }

    /// What is deleted has no object to change, and is shown to these webhooks all the same.
    async fn validate(&self, request: &Admit<'_>, _object: Option<&Value>) -> Result<()> {
        if request.operation != Operation::Delete || is_exempt(request) {
            return Ok(());
        }
        let hooks = self.configurations.read().hooks();
        if hooks.is_empty() {
            return Ok(());
        }
        let view = View::new(&self.cluster.live, request, None).await?;
        for hook in hooks.iter() {
            self.ask(hook, request, &view, None).await?;
        }
        Ok(())
    }
}

impl MutatingWebhooks {
    /// Asks webhooks until one changes the object: what it makes of it, and those that are still to be asked.
    async fn ask_until_changed<'h>(
        &self,
        hooks: &'h [Arc<Hook>],
        request: &Admit<'_>,
        object: &Value,
    ) -> Result<(Option<Value>, &'h [Arc<Hook>])> {
        let view = View::new(&self.cluster.live, request, Some(object)).await?;
        for (index, hook) in hooks.iter().enumerate() {
            let Some(answered) = self.ask(hook, request, &view, Some(object)).await? else { continue };
            let changed = answered.filter(|changed| changed != object);
            request.rounds.has_run(MUTATING, &hook.key, changed.is_some(), hook.webhook.is_reinvoked);
            if changed.is_some() {
                return Ok((changed, &hooks[index + 1..]));
            }
        }
        Ok((None, &[]))
    }

    /// Asks a webhook: none where it is not to be asked, else what it makes of the object, where it makes anything.
    async fn ask(
        &self,
        hook: &Hook,
        request: &Admit<'_>,
        view: &View<'_>,
        object: Option<&Value>,
    ) -> Result<Option<Option<Value>>> {
        let Some(shown) = self.cluster.shown(hook, view, request, Step::Admit).await? else { return Ok(None) };
        if object.is_some() && !request.rounds.is_due(MUTATING, &hook.key) {
            return Ok(None);
        }
        match ask::ask(hook, request, &shown, Step::Admit).await {
            Asked::Allowed(Some(operations)) => {
                let changed = patch::patched(hook, request, view, shown, &operations, object).await?;
                Ok(Some(Some(changed)))
            }
            Asked::Allowed(None) | Asked::Ignored => Ok(Some(None)),
            Asked::Refused(status) => Err(status),
        }
    }
}

/// The plugin of webhooks that check objects.
pub struct ValidatingWebhooks {
    /// The configurations as they are now.
    pub configurations: Followed<Configurations<Validating>>,
    /// See [`Cluster`].
    pub cluster: Arc<Cluster>,
}

#[async_trait]
impl Admission for ValidatingWebhooks {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let hooks = self.configurations.read().hooks();
        if is_exempt(request) || hooks.is_empty() {
            return Ok(());
        }
        let view = View::new(&self.cluster.live, request, object).await?;
        let mut asked = Vec::new();
        for hook in hooks.iter() {
            if let Some(shown) = self.cluster.shown(hook, &view, request, Step::Validate).await? {
                asked.push((hook, shown));
            }
        }
        let asking = asked.iter().map(|(hook, shown)| ask::ask(hook, request, shown, Step::Validate));
        let refused = join_all(asking).await.into_iter().find_map(|asked| match asked {
            Asked::Refused(status) => Some(status),
            Asked::Allowed(_) | Asked::Ignored => None,
        });
        refused.map_or(Ok(()), Err)
    }
}
