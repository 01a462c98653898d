//! A pod's claims on devices (KEP-3063).

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use crate::check::At;

/// Everything that is wrong with a pod spec's claims, and what they are called.
pub(super) fn validate<'a>(spec: &At<'a>, errors: &mut FieldErrors) -> HashSet<&'a str> {
    let mut known = HashSet::new();
    for claim in spec.items("resourceClaims") {
        let name = claim.at("name");
        if name.require_text(errors).is_some() {
            if known.insert(name.text()) {
                name.follows(errors, names::dns1123_label);
            } else {
                name.duplicate(errors);
            }
        }
        let (direct, template) = (claim.at("resourceClaimName"), claim.at("resourceClaimTemplateName"));
        let wrong = match (direct.is_set(), template.is_set()) {
            (true, true) => Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"),
            (false, false) => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            errors.push(FieldError::invalid(&claim.path, claim.value.clone(), wrong));
        }
        for named in [direct, template].iter().filter(|named| named.is_set()) {
            named.follows(errors, names::dns1123_subdomain);
        }
    }
    known
}
