//! Webhooks of configurations: which requests they are for, by the same rules as policies, and on which conditions
//! they are asked.

use cel::Type;
use machinery::field::FieldErrors;
use serde_json::{Value, json};

use super::matching::Requested;
use super::scope::Scope;
use super::{Common, Input, env};
use crate::check::At;
use crate::read;

/// What `timeoutSeconds` is where it is not given.
const TIMEOUT_S: u64 = 10;

/// A webhook of a configuration.
#[derive(Debug)]
pub struct Webhook {
    common: Common,
    /// One without rules is asked about nothing.
    has_rules: bool,
    /// Where it is.
    pub client_config: Value,
    /// The versions of AdmissionReview that it understands, the preferred first.
    pub review_versions: Vec<String>,
    /// It may be asked about what will not be kept.
    pub allows_dry_run: bool,
    /// After how many seconds it is given up.
    pub timeout_s: u64,
    /// It is asked again where others have changed the object since.
    pub is_reinvoked: bool,
}

impl Webhook {
    /// Reads a webhook and compiles its conditions.
    pub fn read(webhook: &Value) -> Self {
        let of = |field: &str| read::at(webhook, field).clone();
        let policy = json!({
            "metadata": {"name": of("name")},
            "spec": {
                "failurePolicy": of("failurePolicy"),
                "matchConditions": of("matchConditions"),
                "matchConstraints": {
                    "resourceRules": of("rules"),
                    "namespaceSelector": of("namespaceSelector"),
                    "objectSelector": of("objectSelector"),
                    "matchPolicy": of("matchPolicy"),
                },
            },
        });
        Self {
            common: Common::read(&policy).0,
            has_rules: !read::list(webhook, "rules").is_empty(),
            client_config: of("clientConfig"),
            review_versions: read::texts(webhook, "admissionReviewVersions").map(str::to_string).collect(),
            allows_dry_run: ["None", "NoneOnDryRun"].contains(&read::text(webhook, "sideEffects")),
            timeout_s: read::at(webhook, "timeoutSeconds").as_u64().unwrap_or(TIMEOUT_S),
            is_reinvoked: read::text(webhook, "reinvocationPolicy") == "IfNeeded",
        }
    }

    /// `deny.example.com`
    pub fn name(&self) -> &str {
        &self.common.name
    }

    /// Where it cannot be asked, the request goes on.
    pub fn ignores_failures(&self) -> bool {
        self.common.ignores_failures
    }

    /// As which of [`Requested::places`] the request is meant; none where it is not.
    pub fn find(&self, requested: &Requested<'_>) -> Option<usize> {
        if self.has_rules { self.common.constraints.find(requested) } else { None }
    }

    /// Whether it has conditions at all.
    pub fn has_conditions(&self) -> bool {
        !self.common.conditions.is_empty()
    }

    /// Whether its conditions hold.
    ///
    /// # Errors
    /// What could not be evaluated, where that refuses the request.
    pub fn is_met(&self, input: &Input<'_>) -> Result<bool, String> {
        self.common.is_met(&Scope::new(&self.common, input))
    }
}

/// What does not compile in the conditions of a configuration's webhooks.
pub(crate) fn check(configuration: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for webhook in At::root(configuration).items("webhooks") {
        let env = env::base(false, true);
        for condition in webhook.items("matchConditions") {
            let expression = condition.at("expression");
            if expression.text().trim().is_empty() {
                continue;
            }
            if let Err(wrong) = env::compile(&env, expression.text(), &[Type::Bool]) {
                expression.invalid(&mut errors, wrong);
            }
        }
    }
    errors
}

/// The same of a changed configuration, whose conditions may stay as they are.
pub(crate) fn check_changed(configuration: &Value, old: &Value) -> FieldErrors {
    let conditions = |configuration: &Value| -> Vec<Value> {
        let webhooks = read::list(configuration, "webhooks").iter();
        webhooks.map(|webhook| read::at(webhook, "matchConditions").clone()).collect()
    };
    if conditions(configuration) == conditions(old) { FieldErrors::new() } else { check(configuration) }
}
