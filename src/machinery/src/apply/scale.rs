//! Ownership of a Scale's replicas: who owns them is written down in the workload, under the workload's own path and
//! version; a write to the Scale sees and changes it as if the Scale were an object of its own.

use serde_json::Value;

use super::managers::{Entry, Kind, Managers};
use super::set::Set;

/// The version of a Scale.
const SCALE_VERSION: &str = "autoscaling/v1";
/// Where a Scale has its replicas.
const SCALE_REPLICAS: [&str; 2] = ["spec", "replicas"];

/// The `managedFields` of a workload's Scale: one entry for everyone who owns the replicas, which are at `replicas` in
/// the workload. Null where no one does.
///
/// # Errors
/// What is wrong with the workload's entries.
pub fn managers_of_scale(workload: &[Value], replicas: &[&str]) -> Result<Value, String> {
    let owners = Managers::decode(workload)?.0.into_iter().filter(|entry| entry.fields.has(replicas));
    let entries = owners.map(|entry| Entry {
        api_version: SCALE_VERSION.to_string(),
        fields: Set::of_path(&SCALE_REPLICAS),
        ..entry
    });
    Ok(Managers(entries.collect()).encode())
}

/// The `managedFields` of a workload after a write to its Scale left `scale` there: whoever lost the Scale's replicas
/// loses the workload's, and who has them now has them there.
///
/// # Errors
/// What is wrong with either list.
pub fn managers_of_workload(
    workload: &[Value],
    scale: &[Value],
    replicas: &[&str],
    api_version: &str,
) -> Result<Value, String> {
    let mut managers = Managers::decode(workload)?;
    let mut owners = Managers::decode(scale)?.0;
    owners.retain(|entry| entry.fields.has(&SCALE_REPLICAS));
    let path = Set::of_path(replicas);
    for entry in managers.0.iter_mut().filter(|entry| entry.fields.has(replicas)) {
        match owners.iter().position(|owner| is_same(owner, entry)) {
            Some(at) => entry.time = owners.swap_remove(at).time,
            None => entry.fields.take(&path),
        }
    }
    managers.drop_empty();
    for owner in owners {
        let is_own = |entry: &&mut Entry| {
            is_same(&owner, entry) && (owner.kind == Kind::Apply || entry.api_version == api_version)
        };
        match managers.0.iter_mut().find(is_own) {
            Some(entry) => {
                entry.fields.add(&path);
                entry.time = owner.time;
            }
            None => {
                managers.0.push(Entry { api_version: api_version.to_string(), fields: path.clone(), ..owner });
            }
        }
    }
    managers.cap();
    Ok(managers.encode())
}

fn is_same(a: &Entry, b: &Entry) -> bool {
    (a.kind, &a.manager, &a.subresource) == (b.kind, &b.manager, &b.subresource)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REPLICAS: [&str; 2] = ["spec", "replicas"];

    fn entry(manager: &str, operation: &str, version: &str, subresource: &str, fields: Value) -> Value {
        let mut entry = json!({"manager": manager, "operation": operation, "apiVersion": version, "fieldsType":
            "FieldsV1", "fieldsV1": fields, "time": "2026-01-02T03:04:05Z"});
        if !subresource.is_empty() {
            entry["subresource"] = json!(subresource);
        }
        entry
    }

    fn workload() -> Vec<Value> {
        let both = json!({"f:spec": {"f:paused": {}, "f:replicas": {}}});
        vec![
            entry("one", "Apply", "apps/v1", "", both),
            entry("two", "Update", "apps/v1", "", json!({"f:spec": {"f:replicas": {}}})),
            entry("three", "Update", "apps/v1", "", json!({"f:spec": {"f:paused": {}}})),
        ]
    }

    #[test]
    fn the_owners_of_the_replicas_own_those_of_the_scale() {
        let fields = json!({"f:spec": {"f:replicas": {}}});
        let expected = json!([
            entry("one", "Apply", "autoscaling/v1", "", fields.clone()),
            entry("two", "Update", "autoscaling/v1", "", fields),
        ]);
        assert_eq!(managers_of_scale(&workload(), &REPLICAS), Ok(expected));
        assert_eq!(managers_of_scale(&workload()[2..], &REPLICAS), Ok(Value::Null));
        assert!(managers_of_scale(&[json!({"operation": "Other"})], &REPLICAS).is_err());
    }

    #[test]
    fn a_write_to_the_scale_takes_the_replicas_and_nothing_else() {
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let paused = json!({"f:spec": {"f:paused": {}}});
        let scale = [entry("four", "Apply", "autoscaling/v1", "scale", replicas.clone())];
        assert_eq!(
            managers_of_workload(&workload(), &scale, &REPLICAS, "apps/v1"),
            Ok(json!([
                entry("four", "Apply", "apps/v1", "scale", replicas.clone()),
                entry("one", "Apply", "apps/v1", "", paused.clone()),
                entry("three", "Update", "apps/v1", "", paused),
            ]))
        );
        // Who shares them keeps them.
        let Ok(Value::Array(mut shared)) = managers_of_scale(&workload(), &REPLICAS) else { panic!("no list") };
        shared.extend(scale);
        let Ok(after) = managers_of_workload(&workload(), &shared, &REPLICAS, "apps/v1") else { panic!("no list") };
        let owners: Vec<&Value> = after.as_array().unwrap().iter().map(|entry| &entry["manager"]).collect();
        assert_eq!(owners, ["four", "one", "three", "two"]);
        assert_eq!(after[1]["fieldsV1"], workload()[0]["fieldsV1"]);
    }
}
