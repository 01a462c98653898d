//! What the status of each definition should say: which names it has, whether it is served, whether it is being
//! deleted, and in which versions its objects may be stored. Pure: from all definitions to all statuses.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use machinery::meta;
use serde_json::{Map, Value, json};

/// The names that are told apart, with the reason that is given where one is taken.
const SINGLE: [(&str, &str); 4] = [
    ("plural", "PluralConflict"),
    ("singular", "SingularConflict"),
    ("kind", "KindConflict"),
    ("listKind", "ListKindConflict"),
];
const APPROVAL: &str = "api-approved.kubernetes.io";

/// The statuses of `definitions`, in their order. Of two that want the same name the one has it that had it before, or
/// came first.
pub fn judge(definitions: &[Arc<Value>], now: Timestamp) -> Vec<Value> {
    let mut statuses: Vec<Value> = definitions.iter().map(|one| one["status"].clone()).collect();
    let mut order: Vec<usize> = (0..definitions.len()).collect();
    order.sort_by_key(|at| (meta::creation_timestamp(&definitions[*at]), meta::name(&definitions[*at])));
    for at in order {
        let taken = taken(definitions, &statuses, at);
        statuses[at] = status(&definitions[at], &taken, now);
    }
    statuses
}

/// Whether a condition of a status is true.
pub fn is_true(status: &Value, type_: &str) -> bool {
    condition(status, type_).is_some_and(|condition| condition["status"] == "True")
}

fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

/// The names that others in the group have: of resources, and of kinds.
#[derive(Default)]
struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

fn taken(definitions: &[Arc<Value>], statuses: &[Value], at: usize) -> Taken {
    let group = definitions[at]["spec"]["group"].as_str().unwrap_or_default();
    let mut taken = Taken::default();
    for (other, definition) in definitions.iter().enumerate() {
        if other != at && definition["spec"]["group"] == group {
            let (resources, kinds) = api::custom::names_in_use(&statuses[other]["acceptedNames"]);
            taken.resources.extend(resources);
            taken.kinds.extend(kinds);
        }
    }
    for built_in in api::registry().resources().iter().filter(|one| one.group_version.group == group) {
        taken.resources.extend([built_in.plural.to_string(), built_in.singular.to_string()]);
        taken.resources.extend(built_in.short_names.iter().map(ToString::to_string));
        taken.kinds.extend([built_in.kind.to_string(), format!("{}List", built_in.kind)]);
    }
    taken
}

fn status(definition: &Value, taken: &Taken, now: Timestamp) -> Value {
    let old = &definition["status"];
    let (names, conflict) = accept(&definition["spec"]["names"], &old["acceptedNames"], taken);
    let accepted = match conflict {
        None => ("NamesAccepted", "True", "NoConflicts", "no conflicts found".to_string()),
        Some((reason, message)) => ("NamesAccepted", "False", reason, message),
    };
    let is_established = is_true(old, "Established") || accepted.1 == "True";
    let established = match is_established {
        true => ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted".to_string()),
        false => ("Established", "False", "NotAccepted", "not all names are accepted".to_string()),
    };
    let mut wanted = vec![accepted, established];
    wanted.extend(approval(definition));
    if meta::is_terminating(definition) {
        let message = "CustomResource deletion is in progress".to_string();
        wanted.push(("Terminating", "True", "InstanceDeletionInProgress", message));
    }
    let mut conditions: Vec<Value> = old["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "NonStructuralSchema");
    for (type_, state, reason, message) in wanted {
        set(&mut conditions, type_, state, reason, &message, now);
    }
    json!({"conditions": conditions, "acceptedNames": names, "storedVersions": stored(definition)})
}

/// Sets a condition; its time is that of its last change.
fn set(conditions: &mut Vec<Value>, type_: &str, state: &str, reason: &str, message: &str, now: Timestamp) {
    let at = conditions.iter().position(|condition| condition["type"] == type_);
    let since = at.map(|at| &conditions[at]).filter(|old| old["status"] == state).map(|old| &old["lastTransitionTime"]);
    let since = since.cloned().unwrap_or_else(|| meta::format_time(now).into());
    let new =
        json!({"type": type_, "status": state, "reason": reason, "message": message, "lastTransitionTime": since});
    match at {
        Some(at) => conditions[at] = new,
        None => conditions.push(new),
    }
}

/// The names that are accepted: those that are asked for and free, else those that were accepted before; and the first
/// conflict.
fn accept(asked: &Value, before: &Value, taken: &Taken) -> (Value, Option<(&'static str, String)>) {
    let mut names = Map::new();
    let mut conflict = None;
    let mut refuse = |reason: &'static str, message: String| {
        conflict.get_or_insert((reason, message));
    };
    for (field, reason) in SINGLE {
        let used = if field.to_lowercase().ends_with("kind") { &taken.kinds } else { &taken.resources };
        let name = asked[field].as_str().unwrap_or_default();
        if used.contains(name) {
            refuse(reason, format!("{name:?} is already in use"));
            if let Some(old) = before.get(field) {
                names.insert(field.to_string(), old.clone());
            }
        } else if !name.is_empty() {
            names.insert(field.to_string(), name.into());
        }
    }
    let short: Vec<&str> = asked["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wrong: Vec<String> = short
        .iter()
        .filter(|name| taken.resources.contains(**name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    let kept = match wrong.is_empty() {
        true => asked.get("shortNames").filter(|_| !short.is_empty()),
        false => {
            refuse("ShortNamesConflict", wrong.join(", "));
            before.get("shortNames")
        }
    };
    if let Some(kept) = kept {
        names.insert("shortNames".to_string(), kept.clone());
    }
    if let Some(categories) =
        asked.get("categories").filter(|list| list.as_array().is_some_and(|list| !list.is_empty()))
    {
        names.insert("categories".to_string(), categories.clone());
    }
    (Value::Object(names), conflict)
}

/// The versions in which objects may be stored: those of before, and the one in which they are stored now.
fn stored(definition: &Value) -> Vec<Value> {
    let mut stored: Vec<Value> = definition["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    for version in versions.filter(|version| version["storage"] == true) {
        if !stored.contains(&version["name"]) {
            stored.push(version["name"].clone());
        }
    }
    stored
}

/// Groups of the community's own say who approved them.
fn approval(definition: &Value) -> Option<(&'static str, &'static str, &'static str, String)> {
    const TYPE: &str = "KubernetesAPIApprovalPolicyConformant";
    let group = definition["spec"]["group"].as_str().unwrap_or_default();
    let is_protected =
        ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")));
    if !is_protected {
        return None;
    }
    let text = meta::annotation(definition, APPROVAL).unwrap_or_default();
    let wrong = |reason, message: String| Some((TYPE, "False", reason, message));
    match text {
        "" => wrong(
            "MissingAnnotation",
            format!(
                "protected groups must have approval annotation {APPROVAL:?}, see https://github.com/kubernetes/enhancements/pull/1111"
            ),
        ),
        _ if text.starts_with("unapproved") => wrong("UnapprovedAnnotation", format!("not approved: {text:?}")),
        _ if text.starts_with("https://") || text.starts_with("http://") => {
            Some((TYPE, "True", "ApprovedAnnotation", format!("approved in {text}")))
        }
        _ => wrong("InvalidAnnotation", format!("{text:?} is neither a URL nor begins with unapproved")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(plural: &str, kind: &str, short: &str, created: &str) -> Value {
        json!({
            "metadata": {"name": format!("{plural}.example.com"), "creationTimestamp": created},
            "spec": {"group": "example.com", "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": [short]},
                "versions": [{"name": "v1", "storage": true}, {"name": "v2", "storage": false}]},
        })
    }

    fn judged(definitions: &[Value]) -> Vec<Value> {
        let shared: Vec<Arc<Value>> = definitions.iter().cloned().map(Arc::new).collect();
        judge(&shared, "2026-01-02T03:04:05Z".parse().expect("a time"))
    }

    #[test]
    fn free_names_are_accepted_and_the_definition_established() {
        let status = judged(&[named("as", "A", "a", "2026-01-01T00:00:00Z")]).remove(0);
        assert!(is_true(&status, "NamesAccepted") && is_true(&status, "Established"));
        assert_eq!(status["acceptedNames"]["shortNames"], json!(["a"]));
        assert_eq!(status["storedVersions"], json!(["v1"]));
        // Judged again, nothing changes, the times least of all.
        let mut again = named("as", "A", "a", "2026-01-01T00:00:00Z");
        again["status"] = status.clone();
        let later = judge(&[Arc::new(again)], "2027-01-02T03:04:05Z".parse().expect("a time"));
        assert_eq!(later[0], status);
    }

    #[test]
    fn whoever_came_first_has_the_name() {
        let first = named("as", "A", "x", "2026-01-01T00:00:00Z");
        let second = named("bs", "B", "x", "2026-01-02T00:00:00Z");
        let statuses = judged(&[second, first]);
        assert!(is_true(&statuses[1], "Established"));
        assert!(!is_true(&statuses[0], "NamesAccepted") && !is_true(&statuses[0], "Established"));
        let condition = condition(&statuses[0], "NamesAccepted").expect("a condition");
        assert_eq!(
            (&condition["reason"], &condition["message"]),
            (&json!("ShortNamesConflict"), &json!("\"x\" is already in use"))
        );
        assert_eq!(statuses[0]["acceptedNames"].get("shortNames"), None);
    }

    #[test]
    fn what_was_established_stays_so_and_keeps_its_old_names() {
        let holder = named("as", "A", "x", "2026-01-01T00:00:00Z");
        let mut renamed = named("bs", "B", "y", "2025-01-01T00:00:00Z");
        renamed["status"] = judged(&[renamed.clone()]).remove(0);
        let mut holder_known = holder.clone();
        holder_known["status"] = judged(&[holder]).remove(0);
        renamed["spec"]["names"]["shortNames"] = json!(["x"]);
        renamed["spec"]["versions"] = json!([{"name": "v2", "storage": true}]);
        let status = judged(&[holder_known, renamed]).remove(1);
        assert!(is_true(&status, "Established") && !is_true(&status, "NamesAccepted"));
        assert_eq!(status["acceptedNames"]["shortNames"], json!(["y"]));
        assert_eq!(status["storedVersions"], json!(["v1", "v2"]));
    }

    #[test]
    fn built_in_names_are_taken() {
        let mut definition = named("deployments", "Deployment", "d", "2026-01-01T00:00:00Z");
        definition["spec"]["group"] = json!("apps");
        let status = judged(&[definition]).remove(0);
        assert_eq!(condition(&status, "NamesAccepted").map(|one| &one["reason"]), Some(&json!("PluralConflict")));
    }

    #[test]
    fn a_deleted_definition_says_so() {
        let mut definition = named("as", "A", "a", "2026-01-01T00:00:00Z");
        definition["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
        let status = judged(&[definition]).remove(0);
        assert!(is_true(&status, "Terminating") && is_true(&status, "Established"));
    }
}
