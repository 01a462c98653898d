//! What a write asks for besides its object: dry run, field manager, field validation, force; read from the query,
//! and of deletions also from the body.

use machinery::field::{FieldError, FieldErrors, Path, Reason};
use serde_json::{Map, Value, json};

use super::versions;
use crate::handler::Context;
use crate::request::Query;
use crate::status::{Result, Status};

/// Longer names of managers are refused, as Kubernetes does.
const MANAGER_BYTES_MAX: usize = 128;

/// What to do about fields that no schema names and fields that are there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and tell the client.
    Warn,
    /// Refuse the request.
    Strict,
}

/// The options of a create, update or patch.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Keep nothing.
    pub dry_run: bool,
    /// What `managedFields` call the client; never empty.
    pub manager: String,
    /// The client named itself in the query.
    pub manager_given: bool,
    /// Unknown and duplicate fields.
    pub validation: FieldValidation,
    /// Take fields over from other managers; of apply alone.
    pub force: Option<bool>,
}

impl WriteOptions {
    /// Reads the query; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    ///
    /// # Errors
    /// 422 for values that are not supported.
    pub fn read(context: &Context, kind: &str) -> Result<Self> {
        let query = &context.query;
        let mut errors = FieldErrors::new();
        let dry_run = read_dry_run(query.all("dryRun").filter(|value| !value.is_empty()), &mut errors);
        let validation = match query.get("fieldValidation").unwrap_or_default() {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                errors.push(FieldError::not_supported(
                    &Path::new("fieldValidation"),
                    other,
                    &["Ignore", "Strict", "Warn"],
                ));
                FieldValidation::Warn
            }
        };
        let given = query.text("fieldManager");
        if let Some(manager) = given {
            let path = Path::new("fieldManager");
            if manager.len() > MANAGER_BYTES_MAX {
                errors.push(FieldError {
                    path,
                    reason: Reason::TooLong,
                    value: Value::Null,
                    detail: format!("may not be more than {MANAGER_BYTES_MAX} bytes"),
                });
            } else if manager.chars().any(char::is_control) {
                errors.push(FieldError::invalid(&path, manager, "should only contain printable characters"));
            }
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", &errors));
        }
        let manager = given.map_or_else(|| manager_from_agent(context), ToString::to_string);
        let force = query.get("force").map(|_| query.flag("force"));
        Ok(Self { dry_run, manager, manager_given: given.is_some(), validation, force })
    }

    /// The options as admission sees them.
    pub fn value(&self, kind: &str) -> Value {
        let mut value = json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "fieldManager": self.manager});
        if self.dry_run {
            value["dryRun"] = json!(["All"]);
        }
        value
    }
}

/// The program's name in its User-Agent: `kubectl/v1.32 (linux/amd64)` is `kubectl`.
fn manager_from_agent(context: &Context) -> String {
    let agent = context.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name: String = agent.split('/').next().unwrap_or_default().chars().take(MANAGER_BYTES_MAX).collect();
    if !name.is_empty() {
        return name;
    }
    // The components of this process send no User-Agent; they are known by their user.
    match context.user.name.strip_prefix("system:") {
        Some(component) if !component.contains(':') && component != "anonymous" => component.to_string(),
        _ => "unknown".to_string(),
    }
}

fn read_dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut FieldErrors) -> bool {
    let mut dry_run = false;
    for value in values {
        match value {
            "All" => dry_run = true,
            other => errors.push(FieldError::not_supported(&Path::new("dryRun"), other, &["All"])),
        }
    }
    dry_run
}

/// What becomes of the objects that an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They lose their owner.
    Orphan,
    /// The garbage collector deletes them afterwards.
    Background,
    /// The object stays until they are gone.
    Foreground,
}

/// The options of a deletion.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Keep nothing.
    pub dry_run: bool,
    /// In seconds.
    pub grace_period_seconds: Option<i64>,
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only the object at this version.
    pub resource_version: Option<String>,
    /// What becomes of what it owns.
    pub propagation: Option<Propagation>,
    /// As admission sees them.
    pub value: Value,
}

impl DeleteOptions {
    /// Reads a body of kind DeleteOptions (or of none) with the query beside it; the body wins.
    ///
    /// # Errors
    /// 400 for a body that is no DeleteOptions, 422 for values that are not supported.
    pub fn read(query: &Query, body: Option<Value>) -> Result<Self> {
        let mut fields = from_query(query)?;
        if let Some(body) = body {
            let Value::Object(body) = body else {
                return Err(Status::bad_request("the body of a deletion must be an object of kind DeleteOptions"));
            };
            let kind = body.get("kind").and_then(Value::as_str).unwrap_or("DeleteOptions");
            if kind != "DeleteOptions" {
                return Err(Status::bad_request(format!("{kind} cannot be handled as a DeleteOptions")));
            }
            if body.keys().any(|key| key != "kind" && key != "apiVersion") {
                fields = body;
            }
        }
        Self::from_fields(fields)
    }

    /// Reads the fields of DeleteOptions, as an Eviction carries them.
    ///
    /// # Errors
    /// 422 for values that are not supported.
    pub fn from_fields(fields: Map<String, Value>) -> Result<Self> {
        let mut errors = FieldErrors::new();
        let dry_runs = fields.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let mut options = Self { dry_run: read_dry_run(dry_runs, &mut errors), ..Self::default() };
        options.grace_period_seconds = fields.get("gracePeriodSeconds").and_then(Value::as_i64);
        if let Some(preconditions) = fields.get("preconditions") {
            options.uid = preconditions["uid"].as_str().map(ToString::to_string);
            options.resource_version = preconditions["resourceVersion"].as_str().map(ToString::to_string);
        }
        let orphan = fields.get("orphanDependents").and_then(Value::as_bool);
        let policy = fields.get("propagationPolicy").and_then(Value::as_str).filter(|policy| !policy.is_empty());
        let path = Path::new("propagationPolicy");
        options.propagation = match (policy, orphan) {
            (Some(_), Some(_)) => {
                let wrong = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(FieldError::invalid(&path, policy.unwrap_or_default(), wrong));
                None
            }
            (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), None) => Some(Propagation::Foreground),
            (Some(other), None) => {
                errors.push(FieldError::not_supported(&path, other, &["Background", "Foreground", "Orphan"]));
                None
            }
            (None, None) => None,
        };
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
        }
        let mut value = Value::Object(fields);
        value["apiVersion"] = "meta.k8s.io/v1".into();
        value["kind"] = "DeleteOptions".into();
        options.value = value;
        Ok(options)
    }
}

fn from_query(query: &Query) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    if let Some(seconds) = versions::number(query, "gracePeriodSeconds")? {
        fields.insert("gracePeriodSeconds".to_string(), seconds.into());
    }
    if let Some(policy) = query.text("propagationPolicy") {
        fields.insert("propagationPolicy".to_string(), policy.into());
    }
    if query.text("orphanDependents").is_some() {
        fields.insert("orphanDependents".to_string(), query.flag("orphanDependents").into());
    }
    let dry_run: Vec<Value> = query.all("dryRun").filter(|value| !value.is_empty()).map(Value::from).collect();
    if !dry_run.is_empty() {
        fields.insert("dryRun".to_string(), Value::Array(dry_run));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_read_from_body_and_query() {
        let query = Query::parse("gracePeriodSeconds=5&propagationPolicy=Orphan");
        let options = DeleteOptions::read(&query, None).expect("options");
        assert_eq!((options.grace_period_seconds, options.propagation), (Some(5), Some(Propagation::Orphan)));
        let body =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "u"}, "dryRun": ["All"]});
        let options = DeleteOptions::read(&query, Some(body)).expect("options");
        assert_eq!((options.grace_period_seconds, options.uid.as_deref(), options.dry_run), (None, Some("u"), true));
        assert_eq!(DeleteOptions::read(&Query::parse("dryRun=Some"), None).expect_err("refused").code(), 422);
        let both = json!({"orphanDependents": true, "propagationPolicy": "Orphan"});
        assert_eq!(DeleteOptions::read(&query, Some(both)).expect_err("refused").code(), 422);
    }
}
