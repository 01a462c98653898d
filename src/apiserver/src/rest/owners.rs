//! Owners that an object names more than once: it keeps one reference of each, and the client is told.

use std::collections::HashSet;

use machinery::meta;
use serde_json::Value;

use super::target::Target;

/// When the references are looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As the client sent them.
    AsSent,
    /// After admission has had its turn.
    AfterAdmission,
}

/// Keeps one of references that are alike, and warns of the others.
pub fn keep_once(target: &Target<'_>, object: &mut Value, when: When) {
    if meta::owner_references(object).len() < 2 {
        return;
    }
    let (kept, repeated) = once(meta::owner_references(object));
    if repeated.is_empty() {
        return;
    }
    meta::set(object, "ownerReferences", kept);
    let after = if when == When::AfterAdmission { " after mutating admission happens" } else { "" };
    target.context.warnings.add(format!(
        ".metadata.ownerReferences contains duplicate entries{after}; API server dedups owner references in 1.20+, and \
         may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        repeated.join(", ")
    ));
}

/// The references without repetitions, and the uids of those that were left out.
fn once(owners: &[Value]) -> (Vec<Value>, Vec<String>) {
    let (mut seen, mut kept, mut repeated) = (HashSet::new(), Vec::new(), Vec::new());
    for owner in owners {
        // Fields are in order in a `Value`, so that references that are alike are written alike.
        if seen.insert(owner.to_string()) {
            kept.push(owner.clone());
        } else {
            repeated.push(meta::text_at(owner, &["uid"]).to_string());
        }
    }
    (kept, repeated)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_that_are_alike_are_kept_once() {
        let (one, other) = (json!({"uid": "a", "name": "x"}), json!({"uid": "a", "name": "y"}));
        let turned = json!({"name": "x", "uid": "a"});
        assert_eq!(once(&[one.clone(), other.clone()]), (vec![one.clone(), other.clone()], Vec::new()));
        assert_eq!(
            once(&[one.clone(), other.clone(), turned, one.clone()]),
            (vec![one, other], vec!["a".to_string(), "a".to_string()])
        );
    }
}
