//! `resourceVersion`, `resourceVersionMatch` and `sendInitialEvents` of lists and watches: how they are read, and which of
//! them mean nothing together. In Kubernetes' words, by which clients find out what a server can do.

use api::resource::Resource;
use machinery::field::{FieldError, FieldErrors, Path};

use crate::request::Query;
use crate::status::{Result, Status};

const MATCH: &str = "resourceVersionMatch";
const EXACT: &str = "Exact";
const NOT_OLDER_THAN: &str = "NotOlderThan";

/// Checks what a list or watch asks for.
///
/// # Errors
/// 422 with everything that is wrong.
pub fn check(query: &Query) -> Result<()> {
    // A watch that only its path asks for is judged as a list.
    let errors = if query.flag("watch") { of_watch(query) } else { of_list(query) };
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}

fn of_list(query: &Query) -> FieldErrors {
    let (path, mut errors) = (Path::new(MATCH), FieldErrors::new());
    let version = query.get("resourceVersion").unwrap_or_default();
    if let Some(matching) = query.text(MATCH) {
        if version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.push(FieldError::forbidden(&path, why));
        }
        check_continue(query, &path, &mut errors);
        if matching != EXACT && matching != NOT_OLDER_THAN {
            errors.push(FieldError::not_supported(&path, matching, &[EXACT, NOT_OLDER_THAN, ""]));
        }
        if matching == EXACT && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden(&path, why));
        }
    }
    if query.get("sendInitialEvents").is_some() {
        let why = "sendInitialEvents is forbidden for list";
        errors.push(FieldError::forbidden(&Path::new("sendInitialEvents"), why));
    }
    errors
}

fn of_watch(query: &Query) -> FieldErrors {
    let (path, mut errors) = (Path::new(MATCH), FieldErrors::new());
    let (matching, has_initial) = (query.text(MATCH), query.get("sendInitialEvents").is_some());
    if has_initial && matching != Some(NOT_OLDER_THAN) {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(&path, why));
    }
    if let Some(matching) = matching {
        if !has_initial {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(&path, why));
        }
        if matching != NOT_OLDER_THAN {
            errors.push(FieldError::not_supported(&path, matching, &[NOT_OLDER_THAN]));
        }
        check_continue(query, &path, &mut errors);
    }
    errors
}

fn check_continue(query: &Query, path: &Path, errors: &mut FieldErrors) {
    if query.text("continue").is_some() {
        errors.push(FieldError::forbidden(path, "resourceVersionMatch is forbidden when continue is provided"));
    }
}

/// Reads a resourceVersion; empty and `0` are `None`.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> std::result::Result<Option<u64>, FieldError> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).map(Some).ok_or_else(|| {
        let why = format!("strconv.ParseUint: parsing {text:?}: {}", fault(is_number));
        FieldError::invalid(&Path::new("resourceVersion"), text, why)
    })
}

/// Reads the resourceVersion of a get or watch, as [`read`].
///
/// # Errors
/// 422.
pub fn of_resource(query: &Query, resource: &Resource) -> Result<Option<u64>> {
    let version = read(query.get("resourceVersion").unwrap_or_default());
    version.map_err(|wrong| Status::invalid(&resource.group_version.group, &resource.plural, "", &vec![wrong]))
}

/// A number of the query, where there is one.
///
/// # Errors
/// 400 for what is no number.
pub fn number(query: &Query, name: &str) -> Result<Option<i64>> {
    let Some(text) = query.get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {}", fault(is_number)))
    })
}

/// Why Go does not read a number.
fn fault(is_number: bool) -> &'static str {
    if is_number { "value out of range" } else { "invalid syntax" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_together_is_refused_in_kubernetes_words() {
        let needs =
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let alone = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents \
                     is provided";
        let list = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list";
        let unversioned =
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
        let continued = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided";
        let exact =
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        let known =
            "resourceVersionMatch: Unsupported value: \"X\": supported values: \"Exact\", \"NotOlderThan\", \"\"";
        let known_of_watch = "resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"";
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("resourceVersion=5&resourceVersionMatch=Exact", &[]),
            ("resourceVersion=0&resourceVersionMatch=NotOlderThan", &[]),
            ("sendInitialEvents=false", &[list]),
            ("resourceVersionMatch=Exact", &[unversioned]),
            ("resourceVersion=5&resourceVersionMatch=X&continue=a", &[continued, known]),
            ("resourceVersion=0&resourceVersionMatch=Exact", &[exact]),
            ("watch=1", &[]),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", &[]),
            ("watch=1&sendInitialEvents=false", &[needs]),
            ("watch=1&sendInitialEvents=", &[needs]),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", &[needs, known_of_watch]),
            ("watch=1&resourceVersionMatch=NotOlderThan&continue=a", &[alone, continued]),
            // The path alone asks for the watch.
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", &[unversioned, list]),
        ];
        for (query, expected) in cases {
            let message = check(&Query::parse(query)).err().map(|status| (status.code(), status.message().to_string()));
            let errors = match expected {
                [] => None,
                [one] => Some(one.to_string()),
                many => Some(format!("[{}]", many.join(", "))),
            };
            let expected = errors.map(|errors| (422, format!("ListOptions.meta.k8s.io \"\" is invalid: {errors}")));
            assert_eq!(message, expected, "{query}");
        }
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let version = |text: &str| read(text).map_err(|error| error.to_string());
        assert_eq!((version(""), version("0"), version("7")), (Ok(None), Ok(None), Ok(Some(7))));
        let wrong = |text: &str, why: &str| {
            Err(format!("resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": {why}"))
        };
        assert_eq!(version("x"), wrong("x", "invalid syntax"));
        assert_eq!(version("+7"), wrong("+7", "invalid syntax"));
        assert_eq!(version("99999999999999999999"), wrong("99999999999999999999", "value out of range"));
        let of = |query: &str| number(&Query::parse(query), "limit").map_err(|status| status.message().to_string());
        assert_eq!((of(""), of("limit=%2B7"), of("limit=-7")), (Ok(None), Ok(Some(7)), Ok(Some(-7))));
        assert_eq!(of("limit="), Err("strconv.ParseInt: parsing \"\": invalid syntax".to_string()));
        assert_eq!(
            of("limit=99999999999999999999"),
            Err("strconv.ParseInt: parsing \"99999999999999999999\": value out of range".to_string())
        );
    }
}
