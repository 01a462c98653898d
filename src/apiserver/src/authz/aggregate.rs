//! Aggregated ClusterRoles: the rules of those that name selectors are the rules of all that are selected.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use store::{Entry, Error, Precondition, RangeOptions, Store};

use super::index::{GROUP, read_rules};
use super::rule::Rule;
use crate::live::{decode, items, prefix, text, texts};

/// Roles often change together; they are gathered once.
const SETTLE: Duration = Duration::from_millis(20);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What an aggregated role's rules should be, for those whose rules are others.
pub fn plan(roles: &[Value]) -> Vec<(String, Vec<Rule>)> {
    let mut changes = Vec::new();
    for role in roles {
        let Some(selectors) = role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array) else {
            continue;
        };
        let mut rules: Vec<Rule> = Vec::new();
        for selector in selectors {
            let own = text(role, "/metadata/name");
            let selected =
                roles.iter().filter(|other| text(other, "/metadata/name") != own && selects(selector, other));
            for rule in selected.flat_map(read_rules) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        if rules != read_rules(role) {
            changes.push((text(role, "/metadata/name").to_string(), rules));
        }
    }
    changes
}

/// A label selector holds of a role's labels.
fn selects(selector: &Value, role: &Value) -> bool {
    let label = |key: &str| role.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let equal = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let expressions = items(selector, "/matchExpressions").iter();
    equal.clone().all(|(key, value)| label(key) == value.as_str())
        && expressions.clone().all(|expression| {
            let (found, values) = (label(text(expression, "/key")), texts(expression, "/values"));
            let among = found.is_some_and(|found| values.iter().any(|value| value == found));
            match text(expression, "/operator") {
                "In" => among,
                "NotIn" => !among,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
        && (equal.count() > 0 || expressions.count() > 0)
}

/// Keeps aggregated roles up until the store is closed.
pub fn start(store: &Arc<dyn Store>) {
    tokio::spawn(run(Arc::downgrade(store)));
}

async fn run(store: Weak<dyn Store>) {
    loop {
        let Some(strong) = store.upgrade() else { return };
        let gathered = gather(&strong).await;
        let watch = match gathered {
            Ok(revision) => strong.watch(&prefix(GROUP, "clusterroles", ""), Some(revision)).await,
            Err(error) => Err(error),
        };
        drop(strong);
        match watch {
            Err(Error::Closed) => return,
            Err(error) => {
                tracing::warn!("gathering the rules of aggregated roles: {}", stdx::error::chain(&error));
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Ok(mut watch) => loop {
                match watch.next().await {
                    Ok(store::WatchItem::Event(_)) => break tokio::time::sleep(SETTLE).await,
                    Ok(store::WatchItem::Progress(_)) => {}
                    Err(Error::Closed) => return,
                    Err(_) => break,
                }
            },
        }
    }
}

/// Puts every aggregated role right; answers the revision of the roles it has looked at.
async fn gather(store: &Arc<dyn Store>) -> Result<u64, Error> {
    let range = store.range(&prefix(GROUP, "clusterroles", ""), RangeOptions::default()).await?;
    let mut roles = Vec::new();
    let mut entries: BTreeMap<String, &Entry> = BTreeMap::new();
    for entry in &range.entries {
        if let Ok(role) = decode(entry) {
            entries.insert(text(&role, "/metadata/name").to_string(), entry);
            roles.push(role);
        }
    }
    for (name, rules) in plan(&roles) {
        let (Some(entry), Some(role)) =
            (entries.get(&name), roles.iter().find(|role| text(role, "/metadata/name") == name))
        else {
            continue;
        };
        let mut role = role.clone();
        role["rules"] = json!(rules);
        let value = crate::storage::encode(&role);
        match store.put(&entry.key, value, Precondition::Revision(entry.mod_revision)).await {
            // Somebody was quicker: their change is an event, and the roles are looked at again.
            Ok(_) | Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(range.revision)
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::rule;
    use super::*;

    #[test]
    fn an_aggregated_role_has_the_rules_of_those_its_selectors_match() {
        let roles = [
            json!({"metadata": {"name": "view"}, "rules": [],
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}, {}]}}),
            json!({"metadata": {"name": "a", "labels": {"to-view": "true"}}, "rules": [rule("get", "core", "pods", "")]}),
            json!({"metadata": {"name": "b", "labels": {"to-view": "false"}}, "rules": [rule("get", "core", "nodes", "")]}),
            json!({"metadata": {"name": "c", "labels": {"to-view": "true"}},
                "rules": [rule("get", "core", "pods", ""), rule("list", "core", "pods", "")]}),
        ];
        let expected = vec![rule("get", "core", "pods", ""), rule("list", "core", "pods", "")];
        assert_eq!(plan(&roles), [("view".to_string(), expected.clone())]);
        let mut settled = roles.to_vec();
        settled[0]["rules"] = json!(expected);
        assert_eq!(plan(&settled), []);
    }
}
