//! Asking one webhook about one request.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::configurations::Hook;
use super::policies::{self, At};
use super::review::{self, Answer};
use crate::plugin::Admit;
use crate::status::Status;
use crate::webhook::Bounds;
use crate::webhook::figures::{Call, Step};

/// An answer that is larger is none: it has a patch at most, of an object of 3 MiB, in base64.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// What became of asking.
pub enum Asked {
    /// The request goes on, with the object patched where it says so.
    Allowed(Option<Value>),
    /// It could not be asked, which does not matter to its configuration.
    Ignored,
    /// The request is refused.
    Refused(Status),
}

/// Why a webhook does not say what it should, and the code that this counts as.
struct Failed {
    why: String,
    code: u16,
}

/// Asks a webhook.
pub async fn ask(hook: &Hook, request: &Admit<'_>, shown: &At, step: Step) -> Asked {
    let name = hook.webhook.name();
    let figures = &request.caller.figures;
    let call = Call { name, step, operation: policies::operation(request.operation) };
    let began = Instant::now();
    if request.dry_run && !hook.webhook.allows_dry_run {
        figures.internal_error(&call, began.elapsed());
        return Asked::Refused(Status::bad_request(format!("admission webhook {name:?} does not support dry run")));
    }
    match exchange(hook, request, shown, step).await {
        Ok(answer) => {
            note(hook, request, &answer);
            if answer.is_allowed {
                figures.answered(&call, began.elapsed());
                return Asked::Allowed(answer.patch);
            }
            let status = review::refusal(name, &answer.result);
            figures.refused(&call, began.elapsed(), status.code());
            Asked::Refused(status)
        }
        Err(Failed { why, code }) => {
            let text = format!("failed calling webhook {name:?}: {why}");
            figures.failed(&call, began.elapsed(), code, hook.webhook.ignores_failures());
            if hook.webhook.ignores_failures() {
                tracing::warn!(configuration = hook.configuration, "{text}; the request goes on");
                return Asked::Ignored;
            }
            tracing::warn!(configuration = hook.configuration, "{text}; the request is refused");
            Asked::Refused(Status::internal(text))
        }
    }
}

async fn exchange(hook: &Hook, request: &Admit<'_>, shown: &At, step: Step) -> std::result::Result<Answer, Failed> {
    let failed = |what: &str, why: &dyn std::fmt::Display, code| Failed { why: format!("{what}: {why}"), code };
    let review = review::review(&hook.webhook.review_versions, shown)
        .map_err(|why| failed("could not create admission objects", &why, 400))?;
    let endpoint = hook.endpoint.as_ref().map_err(|why| failed("could not get REST client", why, 500))?;
    let bounds = Bounds { within: Duration::from_secs(hook.webhook.timeout_s), answer_bytes: ANSWER_BYTES_MAX };
    let answer = request.caller.post(endpoint, None, &review.body, bounds).await;
    let answer = answer.map_err(|failure| failed("failed to call webhook", &failure, failure.code()))?;
    let answer = review.answer(&answer, step == Step::Admit);
    answer.map_err(|why| failed("received invalid webhook response", &why, 503))
}

/// Passes on what the webhook has to say besides.
fn note(hook: &Hook, request: &Admit<'_>, answer: &Answer) {
    answer.warnings.iter().for_each(|warning| request.warnings.add(warning.clone()));
    for (key, value) in &answer.annotations {
        request.audit.annotate(&format!("{}/{key}", hook.webhook.name()), value.clone());
    }
}
