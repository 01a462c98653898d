//! Who may approve, sign or attest for a signer: the permission is for the signer itself or for all of its domain.

use std::sync::Arc;

use crate::plugin::{Authorizer, Decision};
use crate::request::{Attributes, User};

/// The group of everything that has to do with certificates.
pub(super) const GROUP: &str = "certificates.k8s.io";

/// Asks the cluster's authorizer.
pub struct Signers(pub Arc<dyn Authorizer>);

impl Signers {
    /// Whether the user may do that with what is the signer's: `example.com/own`, or `example.com/*`.
    pub async fn allows(&self, user: &User, verb: &str, signer: &str) -> bool {
        let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
        for name in [signer.to_string(), format!("{domain}/*")] {
            let asked = Attributes {
                verb: verb.to_string(),
                group: GROUP.to_string(),
                version: "*".to_string(),
                resource: "signers".to_string(),
                name,
                is_resource: true,
                ..Attributes::default()
            };
            if matches!(self.0.authorize(user, &asked).await, Decision::Allow(_)) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::plugin::AllowAll;
    use async_trait::async_trait;

    /// Allows this verb for this signer.
    pub(in crate::admission) struct Only(pub &'static str, pub &'static str);

    impl Only {
        pub(in crate::admission) fn signers(self) -> Signers {
            Signers(Arc::new(self))
        }
    }

    #[async_trait]
    impl Authorizer for Only {
        async fn authorize(&self, _user: &User, asked: &Attributes) -> Decision {
            match (asked.verb.as_str(), asked.name.as_str()) == (self.0, self.1) {
                true => Decision::Allow(String::new()),
                false => Decision::NoOpinion(String::new()),
            }
        }
    }

    /// Allows everything.
    pub(in crate::admission) fn all() -> Signers {
        Signers(Arc::new(AllowAll))
    }
}
