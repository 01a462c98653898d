//! Where a workload has what its Scale shows: built-in ones all in the same places, custom ones where their definition
//! says.

use api::custom::ScalePaths;
use api::resource::Resource;
use machinery::meta;
use serde_json::{Map, Value};

/// The places of a Scale's values in its workload.
pub(super) struct Paths {
    places: ScalePaths,
    /// The selector is that of a built-in workload, and not text.
    structured: bool,
}

impl Paths {
    /// The places of a resource's workloads.
    pub(super) fn of(resource: &Resource) -> Self {
        match resource.custom().and_then(|custom| custom.scale.clone()) {
            Some(places) => Self { places, structured: false },
            None => Self::built_in(),
        }
    }

    /// The places of built-in workloads.
    pub(super) fn built_in() -> Self {
        let path = |names: [&str; 2]| names.map(str::to_string).to_vec();
        let places = ScalePaths {
            spec: path(["spec", "replicas"]),
            status: path(["status", "replicas"]),
            selector: Some(path(["spec", "selector"])),
        };
        Self { places, structured: true }
    }

    /// The path of the wanted replicas.
    pub(super) fn spec(&self) -> Vec<&str> {
        self.places.spec.iter().map(String::as_str).collect()
    }

    /// The same as a definition writes it.
    pub(super) fn spec_text(&self) -> String {
        format!(".{}", self.places.spec.join("."))
    }

    /// How many replicas are wanted, where that is said.
    pub(super) fn replicas(&self, workload: &Value) -> Option<i64> {
        at(workload, &self.places.spec)?.as_i64()
    }

    /// How many there are.
    pub(super) fn status_replicas(&self, workload: &Value) -> i64 {
        at(workload, &self.places.status).and_then(Value::as_i64).unwrap_or(0)
    }

    /// The selector as text; empty where there is none.
    pub(super) fn selector(&self, workload: &Value) -> String {
        let found = self.places.selector.as_ref().and_then(|path| at(workload, path));
        match (found, self.structured) {
            (None, _) => String::new(),
            (Some(selector), true) => selector_text(selector),
            (Some(selector), false) => selector.as_str().unwrap_or_default().to_string(),
        }
    }

    /// Sets how many replicas are wanted.
    ///
    /// # Errors
    /// Something on the way is no object.
    pub(super) fn set_replicas(&self, workload: &mut Value, replicas: i64) -> Result<(), String> {
        let mut place = workload;
        for name in &self.places.spec {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let Some(fields) = place.as_object_mut() else {
                return Err(format!("{} cannot be set: something before {name} is no object", self.spec_text()));
            };
            place = fields.entry(name).or_insert(Value::Null);
        }
        *place = replicas.into();
        Ok(())
    }
}

fn at<'v>(workload: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(workload, |value, name| value.get(name))
}

/// A selector as text; a ReplicationController's is a plain map of labels.
fn selector_text(selector: &Value) -> String {
    let is_plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if is_plain { selector } else { &selector["matchLabels"] };
    let mut terms: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = meta::text_at(expression, &["key"]);
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match meta::text_at(expression, &["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_string(),
        });
    }
    terms.sort();
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_text() {
        assert_eq!(selector_text(&json!({"app": "x"})), "app=x");
        let places = ScalePaths {
            spec: vec!["spec".into(), "size".into()],
            status: vec!["status".into(), "size".into()],
            selector: Some(vec!["status".into(), "selector".into()]),
        };
        let paths = Paths { places, structured: false };
        let mut workload = json!({"status": {"size": 2, "selector": "a=b"}});
        assert_eq!((paths.replicas(&workload), paths.status_replicas(&workload)), (None, 2));
        assert_eq!(paths.selector(&workload), "a=b");
        assert_eq!(paths.set_replicas(&mut workload, 4), Ok(()));
        assert_eq!(workload["spec"]["size"], 4);
        assert!(paths.set_replicas(&mut json!({"spec": 1}), 4).is_err());
    }
}
