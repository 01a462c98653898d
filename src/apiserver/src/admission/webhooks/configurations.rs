//! The webhooks of all configurations of one kind, as they are in the store. Their conditions are compiled when they
//! are seen, which is when they are written.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use api::policy::Webhook;
use machinery::meta;
use serde_json::Value;

use crate::follow::Index;
use crate::live::{items, prefix};
use crate::webhook::Endpoint;

/// A kind of configurations.
pub trait Kind: Send + Sync + 'static {
    /// Its plural.
    const PLURAL: &'static str;
}

/// MutatingWebhookConfiguration.
pub struct Mutating;

impl Kind for Mutating {
    const PLURAL: &'static str = "mutatingwebhookconfigurations";
}

/// ValidatingWebhookConfiguration.
pub struct Validating;

impl Kind for Validating {
    const PLURAL: &'static str = "validatingwebhookconfigurations";
}

/// A webhook that can be asked.
pub struct Hook {
    /// The name of its configuration.
    pub configuration: String,
    /// What tells it from every other: configuration, place and name.
    pub key: String,
    /// What its configuration says.
    pub webhook: Webhook,
    /// Where it is, or why it is nowhere.
    pub endpoint: Result<Endpoint, String>,
}

/// The configurations by name, and their webhooks in the order in which they are asked.
pub struct Configurations<K> {
    by_name: BTreeMap<String, Vec<Arc<Hook>>>,
    all: Arc<Vec<Arc<Hook>>>,
    kind: PhantomData<K>,
}

impl<K> Default for Configurations<K> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), all: Arc::default(), kind: PhantomData }
    }
}

impl<K> Configurations<K> {
    /// The webhooks in the order in which they are asked.
    pub fn hooks(&self) -> Arc<Vec<Arc<Hook>>> {
        self.all.clone()
    }
}

impl<K: Kind> Index for Configurations<K> {
    fn prefixes() -> Vec<String> {
        vec![prefix("admissionregistration.k8s.io", K::PLURAL, "")]
    }

    fn set(&mut self, key: &str, object: Option<&Value>) {
        let name = key.rsplit('/').next().unwrap_or_default().to_string();
        match object {
            Some(object) => drop(self.by_name.insert(name, read(object))),
            None => drop(self.by_name.remove(&name)),
        }
        self.all = Arc::new(self.by_name.values().flatten().cloned().collect());
    }
}

fn read(configuration: &Value) -> Vec<Arc<Hook>> {
    let name = meta::name(configuration);
    let hook = |(index, webhook): (usize, &Value)| {
        let webhook = Webhook::read(webhook);
        Arc::new(Hook {
            configuration: name.to_string(),
            key: format!("{name}/{index}/{}", webhook.name()),
            endpoint: Endpoint::of_client_config(&webhook.client_config),
            webhook,
        })
    };
    items(configuration, "/webhooks").iter().enumerate().map(hook).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn webhooks_are_asked_in_the_order_of_their_configurations_names() {
        let mut known: Configurations<Mutating> = Configurations::default();
        let configuration = |name: &str, webhooks: &[&str]| {
            let webhooks: Vec<Value> = webhooks
                .iter()
                .map(|name| json!({"name": name, "clientConfig": {"url": "https://a.example.com/"}}))
                .collect();
            json!({"metadata": {"name": name}, "webhooks": webhooks})
        };
        let names = |known: &Configurations<Mutating>| -> Vec<String> {
            known.hooks().iter().map(|hook| hook.webhook.name().to_string()).collect()
        };
        known.set("/x/b", Some(&configuration("b", &["one", "two"])));
        known.set("/x/a", Some(&configuration("a", &["three"])));
        assert_eq!(names(&known), ["three", "one", "two"]);
        known.set("/x/b", Some(&configuration("b", &["two"])));
        assert_eq!(names(&known), ["three", "two"]);
        known.set("/x/a", None);
        assert_eq!(names(&known), ["two"]);
    }
}
