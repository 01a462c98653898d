//! May they: the chain of authorizers (administrators, nodes, roles), the reviews that ask it, the roles a cluster
//! begins with, and the check that nobody grants what they do not have.

pub mod aggregate;
pub mod configuration;
pub mod defaults;
pub mod escalation;
pub mod figures;
pub mod index;
pub mod node;
pub mod rbac;
pub mod reconcile;
pub mod references;
pub mod reviews;
pub mod rule;
pub mod webhook;

use std::sync::Arc;

use async_trait::async_trait;

use crate::plugin::{Authorizer, Decision};
use crate::request::{Attributes, User};

/// Asks authorizers in order until one has an opinion.
pub struct Chain(pub Vec<Arc<dyn Authorizer>>);

#[async_trait]
impl Authorizer for Chain {
    async fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(user, attributes).await {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join(", "))
    }
}

/// Administrators may do everything, also while no role exists yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Administrators;

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";

#[async_trait]
impl Authorizer for Administrators {
    async fn authorize(&self, user: &User, _attributes: &Attributes) -> Decision {
        match user.in_group(MASTERS) {
            true => Decision::Allow(String::new()),
            false => Decision::NoOpinion(String::new()),
        }
    }
}
