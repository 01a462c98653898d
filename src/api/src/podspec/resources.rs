//! Requests and limits.

use std::collections::{HashMap, HashSet};

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use machinery::quantity::Quantity;

use super::resource_names as kinds_of;
use crate::check::At;
use crate::quota;

const CPU_DIVISORS: [&str; 2] = ["1m", "1"];
const BYTE_DIVISORS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
const OF_PODS: [&str; 3] = ["cpu", "hugepages-", "memory"];

/// A rule for the names of resources at one place.
type NameRule = fn(&str, &At<'_>, &mut FieldErrors);

/// The `resources` of a container. `claims` are the names of the pod's claims on devices.
pub(crate) fn validate_container(resources: &At<'_>, claims: &HashSet<&str>, errors: &mut FieldErrors) {
    requirements(resources, kinds_of::container, errors);
    claims_of_container(resources, claims, errors);
}

/// What a runtime adds to the pod's containers, with the rules of limits.
pub(crate) fn validate_overhead(overhead: &At<'_>, field: &str, errors: &mut FieldErrors) {
    for (name, amount) in overhead.entries(field) {
        kinds_of::container(name, &amount, errors);
        validate_amount(name, &amount, errors);
    }
}

/// The `resources` of a pod as a whole (KEP-2837): at least what its containers ask for, and at least what each of
/// them may use.
pub(crate) fn validate_pod(spec: &At<'_>, errors: &mut FieldErrors) {
    let resources = spec.at("resources");
    if !resources.is_set() {
        return;
    }
    if resources.at("claims").is_set() {
        resources.at("claims").forbidden(errors, "claims cannot be set for Resources at pod-level");
    }
    requirements(&resources, of_pod, errors);
    let requests = resources.at("requests");
    for (name, sum) in quota::containers_ask(spec.value) {
        let own = requests.key(&name);
        if own.quantity().is_some_and(|own| sum > own) {
            let shown = crate::read::scalar(own.value);
            let wrong = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(FieldError::invalid(&own.path, shown, wrong));
        }
    }
    for (index, container) in spec.items("containers").enumerate() {
        for (name, amount) in container.at("resources").entries("limits") {
            let most = resources.at("limits").key(name);
            if let (Some(limit), Some(whole)) = (amount.quantity(), most.quantity())
                && limit > whole
            {
                let path = resources.path.child("containers").index(index).key(name).child("limits");
                let shown = crate::read::scalar(most.value);
                let wrong = format!("must be less than or equal to pod limits of {shown}");
                errors.push(FieldError::invalid(&path, crate::read::scalar(amount.value), wrong));
            }
        }
    }
}

fn of_pod(name: &str, at: &At<'_>, errors: &mut FieldErrors) {
    let before = errors.len();
    kinds_of::any(name, at, errors);
    let is_known = matches!(name, "cpu" | "memory") || name.starts_with(kinds_of::HUGE_PAGES);
    if errors.len() == before && !is_known {
        errors.push(FieldError::not_supported(&at.path, name, &OF_PODS));
    }
}

fn requirements(resources: &At<'_>, rule: NameRule, errors: &mut FieldErrors) {
    let amounts = |of: &str| resources.entries(of).collect::<HashMap<_, _>>();
    for (name, amount) in resources.entries("limits") {
        rule(name, &amount, errors);
        validate_amount(name, &amount, errors);
        whole_pages(name, &amount, errors);
    }
    for (name, amount) in resources.entries("requests") {
        rule(name, &amount, errors);
        validate_amount(name, &amount, errors);
        within_limit(resources, name, &amount, errors);
        whole_pages(name, &amount, errors);
    }
    let (limits, requests) = (amounts("limits"), amounts("requests"));
    let mut all = limits.keys().chain(requests.keys());
    let computes = |name: &&&str| matches!(**name, "cpu" | "memory");
    if all.clone().find(computes).is_none() && all.any(|name| name.starts_with(kinds_of::HUGE_PAGES)) {
        resources.forbidden(errors, "HugePages require cpu or memory");
    }
}

fn within_limit(resources: &At<'_>, name: &str, amount: &At<'_>, errors: &mut FieldErrors) {
    let limit = resources.at("limits").key(name);
    let requests = &resources.at("requests").path;
    let shown = crate::read::scalar(limit.value);
    match (amount.quantity(), limit.quantity()) {
        (Some(requested), Some(limit)) if !kinds_of::may_overcommit(name) && requested != limit => {
            let wrong = format!("must be equal to {name} limit of {shown}");
            errors.push(FieldError::invalid(requests, amount.value.clone(), wrong));
        }
        (Some(requested), Some(limit)) if requested > limit => {
            let wrong = format!("must be less than or equal to {name} limit of {shown}");
            errors.push(FieldError::invalid(requests, amount.value.clone(), wrong));
        }
        (Some(_), None) if !kinds_of::may_overcommit(name) => {
            resources.at("limits").required(errors, "Limit must be set for non overcommitable resources");
        }
        _ => {}
    }
}

/// Huge pages are asked for by the page.
fn whole_pages(name: &str, amount: &At<'_>, errors: &mut FieldErrors) {
    let Some(size) = name.strip_prefix(kinds_of::HUGE_PAGES) else { return };
    let Some(wanted) = amount.quantity() else { return };
    let page_bytes = size.parse::<Quantity>().ok().filter(|size| size.is_whole()).map_or(0, Quantity::to_bytes);
    if page_bytes <= 0 || wanted.to_bytes() % page_bytes != 0 {
        let shown = crate::read::scalar(amount.value);
        let wrong = format!("{shown} is not positive integer multiple of {name}");
        errors.push(FieldError::invalid(&amount.path, shown, wrong));
    }
}

/// An amount of a resource: not negative, and whole where halves make no sense.
pub(crate) fn validate_amount(name: &str, amount: &At<'_>, errors: &mut FieldErrors) {
    let Some(quantity) = amount.quantity() else { return };
    if quantity.is_negative() {
        amount.invalid(errors, "must be greater than or equal to 0");
    }
    if kinds_of::is_counted(name) && !quantity.is_whole() {
        amount.invalid(errors, "must be an integer");
    }
}

/// The claims a container uses: each of the pod's, as a whole once or by different requests.
fn claims_of_container(resources: &At<'_>, known: &HashSet<&str>, errors: &mut FieldErrors) {
    let mut seen: HashSet<String> = HashSet::new();
    for claim in resources.items("claims") {
        let (name, request) = (claim.at("name").text(), claim.at("request"));
        if name.is_empty() {
            claim.required(errors, "");
            continue;
        }
        request.optional_name(errors, names::dns1123_label);
        let key = if request.text().is_empty() { name.to_string() } else { format!("{name}/{}", request.text()) };
        let overlaps = match request.text() {
            "" => seen.iter().any(|other| other == name || other.starts_with(&format!("{name}/"))),
            _ => seen.contains(name) || seen.contains(&key),
        };
        if overlaps {
            let shown = if seen.contains(name) { name } else { &key };
            errors.push(FieldError::duplicate(&claim.path, shown));
        }
        seen.insert(key);
        if !known.contains(name) {
            let mut all: Vec<&str> = known.iter().copied().collect();
            all.sort_unstable();
            let which = if all.is_empty() { " which is empty".to_string() } else { format!(": {}", all.join(", ")) };
            errors.push(FieldError {
                path: claim.path.clone(),
                reason: machinery::field::Reason::NotFound,
                value: name.into(),
                detail: format!("must be one of the names in pod.spec.resourceClaims{which}"),
            });
        }
    }
}

/// A reference to a container's requests or limits.
pub(crate) fn validate_reference(reference: &At<'_>, needs_container: bool, errors: &mut FieldErrors) {
    if needs_container && reference.at("containerName").text().is_empty() {
        reference.at("containerName").required(errors, "");
    }
    let resource = reference.at("resource");
    let Some(name) = resource.require_text(errors) else { return };
    let (kind, name) = name.split_once('.').unwrap_or(("", name));
    let is_known = matches!(kind, "limits" | "requests")
        && (matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with(kinds_of::HUGE_PAGES));
    if !is_known {
        let supported = [
            "limits.cpu",
            "limits.ephemeral-storage",
            "limits.memory",
            "requests.cpu",
            "requests.ephemeral-storage",
            "requests.memory",
        ];
        resource.not_supported(errors, &supported);
        return;
    }
    let divisor = reference.at("divisor");
    let shown = crate::read::scalar(divisor.value);
    let bytes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let (allowed, words, called): (&[&str], &str, &str) = match name {
        "cpu" => (&CPU_DIVISORS, "1m and 1", "cpu"),
        "memory" => (&BYTE_DIVISORS, bytes, "memory"),
        "ephemeral-storage" => (&BYTE_DIVISORS, bytes, "local ephemeral storage"),
        _ => (&BYTE_DIVISORS, bytes, "hugepages"),
    };
    if !matches!(shown.as_str(), "" | "0") && !allowed.contains(&shown.as_str()) {
        let wrong = format!("only divisor's values {words} are supported with the {called} resource");
        errors.push(FieldError::invalid(&divisor.path, resource.value.clone(), wrong));
    }
}
