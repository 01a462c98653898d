//! What a namespace's objects take together of one quota.

use std::collections::BTreeMap;

use api::quota::{Amounts, add, cost, in_scope};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use machinery::quantity::Quantity;
use serde_json::Value;

/// The sum over those objects of a resource that the quota is about.
pub fn sum(quota: &Value, group: &str, resource: &str, objects: &[Value], now: Timestamp) -> Amounts {
    let mut sum = Amounts::new();
    for object in objects.iter().filter(|object| in_scope(quota, group, resource, object)) {
        add(&mut sum, cost(group, resource, object, now));
    }
    sum
}

/// A number of objects.
pub fn number(count: usize) -> Quantity {
    Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Whether what is written is these amounts, in whatever form.
pub fn same(written: &BTreeMap<String, Written>, amounts: &Amounts) -> bool {
    let equal = |name: &String, amount: &Quantity| {
        written.get(name).is_some_and(|written| written.0.parse::<Quantity>().is_ok_and(|written| written == *amount))
    };
    written.len() == amounts.len() && amounts.iter().all(|(name, amount)| equal(name, amount))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_sums_what_it_is_about() {
        let now = Timestamp::UNIX_EPOCH;
        let pod = |cpu: &str, phase: &str| json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}, "status": {"phase": phase}});
        let pods =
            [pod("600m", "Running"), pod("1", "Pending"), pod("4", "Succeeded"), json!({"spec": {"containers": [{}]}})];
        let all = sum(&json!({"spec": {}}), "", "pods", &pods, now);
        let shown = |sum: &Amounts, name: &str| sum.get(name).map(ToString::to_string);
        assert_eq!(shown(&all, "requests.cpu").as_deref(), Some("1600m"));
        assert_eq!((shown(&all, "pods"), shown(&all, "count/pods")), (Some("3".into()), Some("4".into())));
        let idle = sum(&json!({"spec": {"scopes": ["BestEffort"]}}), "", "pods", &pods, now);
        assert_eq!((shown(&idle, "pods"), shown(&idle, "requests.cpu")), (Some("1".into()), None));
    }

    #[test]
    fn amounts_are_the_same_however_they_are_written() {
        let written = |text: &str| BTreeMap::from([("cpu".to_string(), Written(text.to_string()))]);
        let amounts = Amounts::from([("cpu".to_string(), Quantity::from_millis(1000))]);
        assert!(same(&written("1"), &amounts) && same(&written("1000m"), &amounts));
        assert!(!same(&written("2"), &amounts) && !same(&BTreeMap::new(), &amounts));
    }
}
