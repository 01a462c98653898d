//! The policies of one kind with their bindings, as they are in the store. They are compiled when they are seen, which
//! is when they are written.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use api::policy::{Binding, MutatingPolicy, ValidatingPolicy};
use serde_json::Value;

use crate::follow::Index;
use crate::live::prefix;

const GROUP: &str = "admissionregistration.k8s.io";

/// A kind of policies.
pub trait Policy: Send + Sync + 'static {
    /// The plural of policies.
    const POLICIES: &'static str;
    /// The plural of their bindings.
    const BINDINGS: &'static str;

    /// Compiles a policy.
    fn read(policy: &Value) -> Self;
}

impl Policy for ValidatingPolicy {
    const POLICIES: &'static str = "validatingadmissionpolicies";
    const BINDINGS: &'static str = "validatingadmissionpolicybindings";

    fn read(policy: &Value) -> Self {
        Self::read(policy)
    }
}

impl Policy for MutatingPolicy {
    const POLICIES: &'static str = "mutatingadmissionpolicies";
    const BINDINGS: &'static str = "mutatingadmissionpolicybindings";

    fn read(policy: &Value) -> Self {
        Self::read(policy)
    }
}

/// The policies and their bindings, by name.
pub struct Policies<P> {
    policies: BTreeMap<String, Arc<P>>,
    bindings: BTreeMap<String, Arc<Binding>>,
}

impl<P> Default for Policies<P> {
    fn default() -> Self {
        Self { policies: BTreeMap::new(), bindings: BTreeMap::new() }
    }
}

impl<P: Policy> Index for Policies<P> {
    fn prefixes() -> Vec<String> {
        [P::POLICIES, P::BINDINGS].map(|plural| prefix(GROUP, plural, "")).to_vec()
    }

    fn set(&mut self, key: &str, object: Option<&Value>) {
        let made = Made::read(key, object);
        self.put(key, made);
    }

    fn take_in(index: &RwLock<Self>, key: &str, object: Option<&Value>) {
        // Policies are compiled here, which may take a second of thousands of expressions.
        let made = Made::read(key, object);
        let before = index.write().unwrap_or_else(PoisonError::into_inner).put(key, made);
        drop(before);
    }
}

/// What is made of an object of the store.
enum Made<P> {
    Policy(Arc<P>),
    Binding(Arc<Binding>),
    /// It is gone.
    Nothing,
}

impl<P: Policy> Made<P> {
    fn read(key: &str, object: Option<&Value>) -> Self {
        match object {
            Some(object) if is_policy::<P>(key) => Self::Policy(Arc::new(P::read(object))),
            Some(object) => Self::Binding(Arc::new(Binding::read(object))),
            None => Self::Nothing,
        }
    }
}

fn is_policy<P: Policy>(key: &str) -> bool {
    key.starts_with(&prefix(GROUP, P::POLICIES, ""))
}

impl<P: Policy> Policies<P> {
    /// Answers with what was there before.
    fn put(&mut self, key: &str, made: Made<P>) -> Made<P> {
        let name = key.rsplit('/').next().unwrap_or_default().to_string();
        let policy = |before: Option<Arc<P>>| before.map_or(Made::Nothing, Made::Policy);
        let binding = |before: Option<Arc<Binding>>| before.map_or(Made::Nothing, Made::Binding);
        match made {
            Made::Policy(made) => policy(self.policies.insert(name, made)),
            Made::Binding(made) => binding(self.bindings.insert(name, made)),
            Made::Nothing if is_policy::<P>(key) => policy(self.policies.remove(&name)),
            Made::Nothing => binding(self.bindings.remove(&name)),
        }
    }
}

impl<P> Policies<P> {
    /// Every policy that has bindings, with them, by name.
    pub fn bound(&self) -> Vec<(Arc<P>, Vec<Arc<Binding>>)> {
        let mut bound: BTreeMap<&str, Vec<Arc<Binding>>> = BTreeMap::new();
        for binding in self.bindings.values() {
            bound.entry(&binding.policy).or_default().push(binding.clone());
        }
        let policy = |(name, bindings)| Some((self.policies.get(name)?.clone(), bindings));
        bound.into_iter().filter_map(policy).collect()
    }
}
