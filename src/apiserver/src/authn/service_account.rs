//! Bearers of service-account tokens: the signature and the times hold, and the account and what the token is bound
//! to still exist and are the same.

use async_trait::async_trait;
use serde_json::Value;
use stdx::clock::Clock;

use super::claims::{Claims, Reference, verify};
use super::keys::Verifier;
use super::{Bearer, Refusal, TokenReader};
use crate::live::{Live, text};
use crate::request::User;

/// How long a pod's token outlives the moment its deletion was due, so that it can end in order.
const DELETION_LEEWAY_S: i64 = 60;

/// Reads service-account tokens.
pub struct ServiceAccountTokens<C> {
    /// Where accounts, pods, secrets and nodes are looked up.
    pub live: Live,
    /// Judges expiry.
    pub clock: C,
    /// Who we are.
    pub issuer: String,
    /// Keys that tokens of ours may be signed with; the current one first.
    pub verifiers: Vec<Verifier>,
}

#[async_trait]
impl<C: Clock> TokenReader for ServiceAccountTokens<C> {
    async fn read(&self, token: &str, audiences: &[String]) -> Result<Option<Bearer>, Refusal> {
        let now_s = self.clock.now().as_second();
        let Some((claims, audiences)) = verify(token, &self.issuer, &self.verifiers, audiences, now_s)? else {
            return Ok(None);
        };
        self.check(&claims, now_s).await?;
        Ok(Some(Bearer { user: user(&claims), audiences }))
    }
}

impl<C: Clock> ServiceAccountTokens<C> {
    async fn check(&self, claims: &Claims, now_s: i64) -> Result<(), Refusal> {
        let bound = &claims.kubernetes;
        let (namespace, account) = (bound.namespace.as_str(), &bound.serviceaccount);
        if claims.sub != format!("system:serviceaccount:{namespace}:{}", account.name) {
            return Err(Refusal("the token's subject is not its service account".to_string()));
        }
        self.same("serviceaccounts", "service account", namespace, account, now_s).await?;
        if let Some(pod) = &bound.pod {
            self.same("pods", "pod", namespace, pod, now_s).await?;
        }
        if let Some(secret) = &bound.secret {
            self.same("secrets", "secret", namespace, secret, now_s).await?;
        }
        // The node of a pod is told for information; only a token without a pod is bound to the node itself.
        if let (Some(node), None) = (&bound.node, &bound.pod) {
            self.same("nodes", "node", "", node, now_s).await?;
        }
        Ok(())
    }

    async fn same(
        &self,
        resource: &str,
        kind: &str,
        namespace: &str,
        reference: &Reference,
        now_s: i64,
    ) -> Result<(), Refusal> {
        let found = self.live.get("", resource, namespace, &reference.name).await?;
        let refusal = match &found {
            None => "does not exist",
            Some(found) if text(found, "/metadata/uid") != reference.uid => "is another one of the same name",
            Some(found) if deleted_long_ago(found, now_s) => "has been deleted",
            Some(_) => return Ok(()),
        };
        Err(Refusal(format!("the token's {kind} {:?} {refusal}", reference.name)))
    }
}

fn deleted_long_ago(object: &Value, now_s: i64) -> bool {
    let deletion = text(object, "/metadata/deletionTimestamp");
    deletion.parse::<jiff::Timestamp>().is_ok_and(|due| now_s > due.as_second() + DELETION_LEEWAY_S)
}

/// The user that a token's claims make.
fn user(claims: &Claims) -> User {
    let bound = &claims.kubernetes;
    let mut user = User {
        name: claims.sub.clone(),
        uid: bound.serviceaccount.uid.clone(),
        groups: vec!["system:serviceaccounts".to_string(), format!("system:serviceaccounts:{}", bound.namespace)],
        ..User::default()
    };
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_string()]);
        }
    };
    if !claims.jti.is_empty() {
        add("credential-id", &format!("JTI={}", claims.jti));
    }
    for (kind, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(Reference { name, uid }) = reference {
            add(&format!("{kind}-name"), name);
            add(&format!("{kind}-uid"), uid);
        }
    }
    user
}
