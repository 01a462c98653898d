//! Puts the default roles and bindings in place when the server starts: makes what is missing, adds rules and
//! subjects that are lacking, and leaves alone what an administrator has added or taken over.

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request};
use serde_json::{Value, json};

use super::defaults::{AUTOUPDATE, Default, all};
use super::index::{GROUP, read_rules};
use super::rule::uncovered;
use crate::live::{Live, items};
use crate::plugin::Bootstrap;

/// Writes at once; they share transactions.
const PARALLEL: usize = 32;

/// The system's namespaces are made at the same time; roles in them are tried again this often.
const NAMESPACE_ATTEMPTS: u32 = 50;
const NAMESPACE_EVERY: Duration = Duration::from_millis(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The step of the start.
pub struct BootstrapRoles {
    /// Where what is there is read.
    pub live: Live,
}

#[async_trait]
impl Bootstrap for BootstrapRoles {
    fn name(&self) -> &'static str {
        "rbac/bootstrap-roles"
    }

    async fn bootstrap(&self, client: &kube::Client) -> Result<(), BoxError> {
        let wanted = all()?;
        let mut steps = Vec::new();
        for wanted in wanted {
            let found = self.live.get(GROUP, wanted.resource, &wanted.namespace, &wanted.name).await?;
            steps.extend(plan(&wanted, found.as_ref()).map(|object| (wanted, object, found.is_some())));
        }
        let requests = steps.into_iter().map(|(wanted, object, there)| write(client, wanted, object, there));
        stream::iter(requests).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
        Ok(())
    }
}

/// The object to write; `None` where what is there will do.
fn plan(wanted: &Default, found: Option<&Value>) -> Option<Value> {
    let Some(found) = found else { return Some(wanted.object.clone()) };
    let annotation = found.pointer("/metadata/annotations").and_then(|annotations| annotations.get(AUTOUPDATE));
    // Taken over by an administrator.
    if annotation.and_then(Value::as_str) != Some("true") {
        return None;
    }
    let mut object = found.clone();
    let aggregation = wanted.object.get("aggregationRule");
    if wanted.resource.ends_with("bindings") {
        // A role reference cannot be changed; an administrator's other role stays.
        if found.get("roleRef") != wanted.object.get("roleRef") {
            return None;
        }
        let there = items(found, "/subjects");
        let lacking: Vec<&Value> =
            items(&wanted.object, "/subjects").iter().filter(|one| !there.contains(one)).collect();
        object["subjects"] = there.iter().chain(lacking).cloned().collect();
    } else if aggregation.is_some() {
        object["aggregationRule"] = json!(aggregation);
    } else {
        let mut rules = read_rules(found);
        rules.extend(uncovered(&rules, &read_rules(&wanted.object)));
        if rules.len() > read_rules(found).len() {
            object["rules"] = json!(rules);
        }
    }
    for (key, value) in wanted.object["metadata"]["labels"].as_object().into_iter().flatten() {
        object["metadata"]["labels"][key] = value.clone();
    }
    (object != *found).then_some(object)
}

async fn write(client: &kube::Client, wanted: Default, object: Value, there: bool) -> Result<(), BoxError> {
    let namespace = match wanted.namespace.as_str() {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    let collection = format!("/apis/{GROUP}/v1{namespace}/{}", wanted.resource);
    let (method, path) = match there {
        true => (Method::PUT, format!("{collection}/{}", wanted.name)),
        false => (Method::POST, collection),
    };
    let body = serde_json::to_vec(&object)?;
    for attempt in 0.. {
        let request = Request::builder().method(&method).uri(&path);
        let request = request.header(http::header::CONTENT_TYPE, "application/json").body(body.clone())?;
        match client.request::<Value>(request).await {
            Ok(_) => break,
            Err(kube::Error::Api(status)) => match status.code {
                // Another server was quicker.
                409 => break,
                404 if attempt < NAMESPACE_ATTEMPTS => tokio::time::sleep(NAMESPACE_EVERY).await,
                _ => return Err(format!("writing {} {}: {status}", wanted.resource, wanted.name).into()),
            },
            Err(error) => return Err(format!("writing {} {}: {error}", wanted.resource, wanted.name).into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::text;

    fn wanted(name: &str) -> Default {
        all().expect("sound").into_iter().find(|item| item.name == name).expect("is there")
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_right_is_left() {
        for item in all().expect("sound") {
            assert_eq!(plan(&item, None).as_ref(), Some(&item.object));
            assert_eq!(plan(&item, Some(&item.object)), None, "{}", item.name);
        }
    }

    #[test]
    fn lacking_rules_are_added_and_an_administrators_are_kept() {
        let item = wanted("system:basic-user");
        let mut found = item.object.clone();
        let own = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["things"]});
        found["rules"] = json!([own]);
        let planned = plan(&item, Some(&found)).expect("a change");
        let rules = read_rules(&planned);
        assert!(uncovered(&rules, &read_rules(&item.object)).is_empty());
        assert_eq!(text(&planned["rules"][0], "/resources/0"), "things");
        assert_eq!(plan(&item, Some(&planned)), None, "a second start changes nothing");
    }

    #[test]
    fn what_an_administrator_took_over_is_left() {
        let item = wanted("cluster-admin");
        let mut found = item.object.clone();
        found["rules"] = json!([]);
        found["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(plan(&item, Some(&found)), None);
    }
}
