//! What webhook configurations may be.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;
use url::Url;

use super::matching;
use crate::check::{At, label_selector};

/// Versions of the review that this server could send.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// What a webhook that is asked in a dry run may do beside answering.
const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const TIMEOUT_SECONDS_MAX: i64 = 30;
/// What is added where a URL is another.
const FORM: &str = "; desired format: https://host[/path]";

/// Everything that is wrong with a configuration.
pub(super) fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = HashSet::new();
    for webhook in At::root(object).items("webhooks") {
        let name = webhook.at("name");
        full_name(&name, &mut errors);
        if !seen.insert(name.text()) {
            name.duplicate(&mut errors);
        }
        webhook.items("rules").for_each(|rule| matching::rule(&rule, &mut errors));
        behaviour(&webhook, &mut errors);
        label_selector(&webhook.at("namespaceSelector"), &mut errors);
        label_selector(&webhook.at("objectSelector"), &mut errors);
        client(&webhook.at("clientConfig"), &mut errors);
        review_versions(&webhook, "admissionReviewVersions", &mut errors);
        matching::conditions(&webhook, &mut errors);
    }
    errors
}

/// A domain of three parts at least.
fn full_name(name: &At<'_>, errors: &mut FieldErrors) {
    let Some(text) = name.require_text(errors) else { return };
    let before = errors.len();
    name.follows(errors, names::dns1123_subdomain);
    if errors.len() == before && text.split('.').count() < 3 {
        name.invalid(errors, "should be a domain with at least three segments separated by dots");
    }
}

fn behaviour(webhook: &At<'_>, errors: &mut FieldErrors) {
    let effects = webhook.at("sideEffects");
    if !effects.is_set() {
        effects.required(errors, &format!("must specify one of {}", SIDE_EFFECTS.join(", ")));
    } else if !SIDE_EFFECTS.contains(&effects.text()) {
        effects.not_supported(errors, &SIDE_EFFECTS);
    }
    let timeout = webhook.at("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=TIMEOUT_SECONDS_MAX).contains(&seconds)) {
        timeout.invalid(errors, "the timeout value must be between 1 and 30 seconds");
    }
}

/// Where a webhook is: a URL or a service. Also of conversion webhooks.
pub(in crate::kinds) fn client(config: &At<'_>, errors: &mut FieldErrors) {
    let (place, service) = (config.at("url"), config.at("service"));
    match (place.is_set(), service.is_set()) {
        (true, true) | (false, false) => config.required(errors, "exactly one of url or service is required"),
        (true, false) => https_url(&place, errors),
        (false, true) => of_service(&service, errors),
    }
}

fn https_url(place: &At<'_>, errors: &mut FieldErrors) {
    let url = match Url::parse(place.text()) {
        Ok(url) => url,
        Err(error) => {
            errors.push(FieldError::required(&place.path, format!("url must be a valid URL: {error}{FORM}")));
            return;
        }
    };
    let mut wrong = |value: &str, what: &str| {
        errors.push(FieldError::invalid(&place.path, value, format!("{what}{FORM}")));
    };
    if url.scheme() != "https" {
        wrong(url.scheme(), "'https' is the only allowed URL scheme");
    }
    if url.host_str().unwrap_or_default().is_empty() {
        wrong("", "host must be specified");
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it is a secret.
        wrong("", "user information is not permitted in the URL");
    }
    if let Some(fragment) = url.fragment() {
        wrong(fragment, "fragments are not permitted in the URL");
    }
    if let Some(query) = url.query() {
        wrong(query, "query parameters are not permitted in the URL");
    }
}

fn of_service(service: &At<'_>, errors: &mut FieldErrors) {
    if service.at("name").text().is_empty() {
        service.at("name").required(errors, "service name is required");
    }
    if service.at("namespace").text().is_empty() {
        service.at("namespace").required(errors, "service namespace is required");
    }
    let port = service.at("port");
    for wrong in names::port_number(port.int().unwrap_or_default()) {
        port.invalid(errors, format!("port is not valid: {wrong}"));
    }
    let path = service.at("path");
    if !path.is_set() || path.text() == "/" {
        return;
    }
    let Some(rest) = path.text().strip_prefix('/') else {
        path.invalid(errors, "must start with a '/'");
        return;
    };
    let segments: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        if segment.is_empty() {
            path.invalid(errors, format!("segment[{index}] may not be empty"));
            continue;
        }
        for wrong in names::dns1123_subdomain(segment) {
            path.invalid(errors, format!("segment[{index}]: {wrong}"));
        }
    }
}

/// Versions of a review, of which this server knows one at least. Also of conversion reviews.
pub(in crate::kinds) fn review_versions(of: &At<'_>, field: &str, errors: &mut FieldErrors) {
    let list = of.at(field);
    let all: Vec<At<'_>> = of.items(field).collect();
    if all.is_empty() {
        list.required(errors, &format!("must specify one of {}", REVIEW_VERSIONS.join(", ")));
        return;
    }
    for (index, version) in all.iter().enumerate() {
        if all[..index].iter().any(|earlier| earlier.text() == version.text()) {
            version.invalid(errors, "duplicate version");
        }
        version.follows(errors, names::dns1035_label);
    }
    if !all.iter().any(|version| REVIEW_VERSIONS.contains(&version.text())) {
        list.invalid(errors, format!("must include at least one of {}", REVIEW_VERSIONS.join(", ")));
    }
}
