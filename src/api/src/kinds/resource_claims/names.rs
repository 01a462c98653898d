//! Names, taints and sizes that the kinds of resource.k8s.io share.

use machinery::field::{FieldError, FieldErrors, Reason};
use machinery::names;

use crate::check::At;
use crate::metadata::too_long;
use crate::podspec::volumes::driver_name;

const POOL_BYTES_MAX: usize = 253;
const DOMAIN_BYTES_MAX: usize = 63;
const ID_BYTES_MAX: usize = 32;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

/// A list of `of` with at most so many elements.
pub(super) fn sized(of: &At<'_>, field: &str, most: usize, errors: &mut FieldErrors) {
    let list = of.at(field);
    let count = list.value.as_array().map_or(0, Vec::len);
    if count > most {
        errors.push(FieldError {
            path: list.path,
            reason: Reason::TooMany,
            value: count.into(),
            detail: format!("must have at most {most} items"),
        });
    }
}

/// The name of a driver, as of CSI drivers.
pub(super) fn driver(at: &At<'_>, errors: &mut FieldErrors) {
    driver_name(at, errors);
}

/// A pool: domains with slashes between them.
pub(super) fn pool(at: &At<'_>, errors: &mut FieldErrors) {
    if at.require_text(errors).is_none() {
        return;
    }
    if at.text().len() > POOL_BYTES_MAX {
        errors.push(too_long(&at.path, POOL_BYTES_MAX));
    }
    for part in at.text().split('/') {
        errors
            .extend(names::dns1123_subdomain(part).into_iter().map(|wrong| FieldError::invalid(&at.path, part, wrong)));
    }
}

/// The name of an attribute or a capacity: an identifier, with a domain before it or without one.
pub(super) fn qualified(name: &str, at: &At<'_>, errors: &mut FieldErrors) {
    let mut invalid = |value: &str, wrong: &str| errors.push(FieldError::invalid(&at.path, value, wrong));
    let id = match name.split('/').collect::<Vec<_>>().as_slice() {
        [id] => *id,
        ["", _] => return invalid("", "the domain must not be empty"),
        [_, ""] => return invalid("", "the name must not be empty"),
        [domain, id] => {
            if domain.len() > DOMAIN_BYTES_MAX {
                errors.push(too_long(&at.path, DOMAIN_BYTES_MAX));
            }
            let wrong = names::dns1123_subdomain(domain).into_iter();
            errors.extend(wrong.map(|wrong| FieldError::invalid(&at.path, *domain, wrong)));
            id
        }
        _ => return invalid(name, "must not contain more than one slash"),
    };
    if id.len() > ID_BYTES_MAX {
        errors.push(too_long(&at.path, ID_BYTES_MAX));
    }
    errors.extend(names::c_identifier(id).into_iter().map(|wrong| FieldError::invalid(&at.path, id, wrong)));
}

/// A name with its domain.
pub(super) fn full_name(at: &At<'_>, errors: &mut FieldErrors) {
    qualified(at.text(), at, errors);
    if !at.text().contains('/') {
        at.invalid(errors, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

/// A taint of a device.
pub(super) fn taint(taint: &At<'_>, errors: &mut FieldErrors) {
    let (key, effect) = (taint.at("key"), taint.at("effect"));
    if key.require_text(errors).is_some() {
        key.follows(errors, names::qualified_name);
    }
    taint.at("value").optional_name(errors, names::label_value);
    effect_of(&effect, errors);
    if effect.text().is_empty() {
        effect.required(errors, "");
    }
}

/// A toleration of taints of devices.
pub(super) fn toleration(toleration: &At<'_>, errors: &mut FieldErrors) {
    let (key, operator, value) = (toleration.at("key"), toleration.at("operator"), toleration.at("value"));
    key.optional_name(errors, names::qualified_name);
    match operator.text() {
        "Exists" if !value.text().is_empty() => value.invalid(errors, "must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => value.optional_name(errors, names::label_value),
        "" => operator.required(errors, ""),
        other => errors.push(FieldError::not_supported(&operator.path, other, &["Equal", "Exists"])),
    }
    effect_of(&toleration.at("effect"), errors);
}

fn effect_of(effect: &At<'_>, errors: &mut FieldErrors) {
    if !effect.text().is_empty() && !EFFECTS.contains(&effect.text()) {
        effect.not_supported(errors, &EFFECTS);
    }
}
