//! Bearers of the tokens that Secrets of type `kubernetes.io/service-account-token` hold. Such a token has no end of
//! its own: it holds while its secret has it and the account lives. The tokens controller makes them.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use stdx::clock::Clock;

use super::claims::signed;
use super::keys::Verifier;
use super::last_used::LastUsed;
use super::{Bearer, Refusal, TokenReader};
use crate::live::{Live, text};
use crate::request::User;

/// Who makes such tokens, in every cluster.
const ISSUER: &str = "kubernetes/serviceaccount";
/// Whoever sets this label on a secret ends its token without deleting it.
const INVALID_SINCE: &str = "/metadata/labels/kubernetes.io~1legacy-token-invalid-since";

/// Reads tokens of secrets.
pub struct SecretTokens<C> {
    /// Where secrets and accounts are looked up.
    pub live: Live,
    /// Keys that the tokens may be signed with.
    pub verifiers: Vec<Verifier>,
    /// What a token is meant for that names no audience, as none of these does.
    pub api_audiences: Vec<String>,
    /// Where uses are noted.
    pub last_used: Arc<LastUsed<C>>,
}

/// What such a token says, as Kubernetes has it.
#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    account_uid: String,
    sub: String,
}

#[async_trait]
impl<C: Clock> TokenReader for SecretTokens<C> {
    async fn read(&self, token: &str, audiences: &[String]) -> Result<Option<Bearer>, Refusal> {
        let Some(claims) = signed::<Claims>(token, ISSUER, &self.verifiers)? else { return Ok(None) };
        let audiences: Vec<String> =
            audiences.iter().filter(|audience| self.api_audiences.contains(audience)).cloned().collect();
        if audiences.is_empty() {
            return Err(Refusal("the token of a secret is meant for this server alone".to_string()));
        }
        if claims.sub != format!("system:serviceaccount:{}:{}", claims.namespace, claims.account) {
            return Err(Refusal("the token's subject is not its service account".to_string()));
        }
        let secret = self.live.get("", "secrets", &claims.namespace, &claims.secret).await?;
        check_secret(secret.as_ref(), token)
            .map_err(|why| Refusal(format!("the token's secret {:?} {why}", claims.secret)))?;
        let account = self.live.get("", "serviceaccounts", &claims.namespace, &claims.account).await?;
        check_account(account.as_ref(), &claims.account_uid)
            .map_err(|why| Refusal(format!("the token's service account {:?} {why}", claims.account)))?;
        secret.iter().for_each(|secret| self.last_used.note(secret));
        let groups = vec!["system:serviceaccounts".to_string(), format!("system:serviceaccounts:{}", claims.namespace)];
        Ok(Some(Bearer {
            user: User { name: claims.sub, uid: claims.account_uid, groups, ..User::default() },
            audiences,
        }))
    }
}

fn check_secret(secret: Option<&Value>, token: &str) -> Result<(), &'static str> {
    let secret = alive(secret)?;
    if text(secret, "/data/token") != BASE64_STANDARD.encode(token) {
        return Err("holds another token");
    }
    if !text(secret, INVALID_SINCE).is_empty() {
        return Err("has been marked as invalid");
    }
    Ok(())
}

fn check_account(account: Option<&Value>, uid: &str) -> Result<(), &'static str> {
    if text(alive(account)?, "/metadata/uid") == uid { Ok(()) } else { Err("is another one of the same name") }
}

fn alive(object: Option<&Value>) -> Result<&Value, &'static str> {
    let object = object.ok_or("does not exist")?;
    if text(object, "/metadata/deletionTimestamp").is_empty() { Ok(object) } else { Err("is being deleted") }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Header;
    use serde_json::json;

    use super::super::claims::tests::{ISSUER as OURS, pair};
    use super::*;
    use crate::admission::testing::Cluster;

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "sub": "system:serviceaccount:ns:sa",
            "kubernetes.io/serviceaccount/namespace": "ns",
            "kubernetes.io/serviceaccount/secret.name": "s",
            "kubernetes.io/serviceaccount/service-account.name": "sa",
            "kubernetes.io/serviceaccount/service-account.uid": "u",
        })
    }

    fn account() -> Value {
        json!({"apiVersion": "v1", "metadata": {"name": "sa", "namespace": "ns", "uid": "u"}})
    }

    fn secret(token: &str) -> Value {
        json!({"apiVersion": "v1", "metadata": {"name": "s", "namespace": "ns", "uid": "s"},
            "type": "kubernetes.io/service-account-token", "data": {"token": BASE64_STANDARD.encode(token)}})
    }

    #[tokio::test]
    async fn a_secrets_token_holds_while_its_secret_has_it_and_its_account_lives() {
        let (signer, verifier) = pair();
        let sign =
            |claims: &Value| jsonwebtoken::encode(&Header::new(signer.algorithm), claims, &signer.key).expect("signed");
        let cluster = Cluster::new();
        let ours = vec![OURS.to_string()];
        let last_used = LastUsed::new(stdx::clock::SystemClock);
        let live = cluster.live.clone();
        let tokens = SecretTokens { live, verifiers: vec![verifier], api_audiences: ours.clone(), last_used };
        let token = sign(&claims());
        cluster.put("serviceaccounts", account()).await;
        let refused = async |token: &str| tokens.read(token, &ours).await.expect_err("does not hold").0;
        assert!(refused(&token).await.contains("secret \"s\" does not exist"));
        cluster.put("secrets", secret(&token)).await;
        let user = tokens.read(&token, &ours).await.expect("holds").expect("is known").user;
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:ns:sa", "u"));
        assert!(user.in_group("system:serviceaccounts:ns"));
        assert!(tokens.read(&token, &["vault".to_string()]).await.is_err(), "is for us alone");

        let mut other = claims();
        other["kubernetes.io/serviceaccount/service-account.name"] = json!("admin");
        assert!(refused(&sign(&other)).await.contains("subject"));
        let (foreign, _) = pair();
        let forged = jsonwebtoken::encode(&Header::new(foreign.algorithm), &claims(), &foreign.key).expect("signed");
        assert_eq!(refused(&forged).await, "invalid signature");

        let mut changed = secret(&token);
        changed["metadata"]["labels"] = json!({"kubernetes.io/legacy-token-invalid-since": "2026-01-01"});
        let mut deleted = secret(&token);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        for (secret, why) in
            [(changed, "marked as invalid"), (deleted, "being deleted"), (secret("other"), "holds another token")]
        {
            cluster.put("secrets", secret).await;
            assert!(refused(&token).await.contains(why), "{why}");
        }
        cluster.put("secrets", secret(&token)).await;
        let mut another = account();
        another["metadata"]["uid"] = json!("v");
        cluster.put("serviceaccounts", another).await;
        assert!(refused(&token).await.contains("another one of the same name"));
        cluster.delete("/registry/serviceaccounts/ns/sa").await;
        assert!(refused(&token).await.contains("account \"sa\" does not exist"));
    }
}
