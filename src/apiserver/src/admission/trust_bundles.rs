//! ClusterTrustBundleAttest: roots are published for a signer by whoever may attest for it.

use async_trait::async_trait;
use serde_json::Value;

use super::signers::{GROUP, Signers};
use super::{forbidden, is, writes};
use crate::authz::escalation::is_for_collector;
use crate::live::text;
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

/// The plugin.
pub struct TrustBundles(pub Signers);

#[async_trait]
impl Admission for TrustBundles {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn handles(&self, operation: Operation) -> bool {
        writes(operation)
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(bundle) = object.filter(|_| is(request, GROUP, "clustertrustbundles")) else { return Ok(()) };
        // A change of the signer's name is refused by validation.
        let signer = text(bundle, "/spec/signerName");
        if signer.is_empty() || request.old.is_some_and(|old| is_for_collector(bundle, old)) {
            return Ok(());
        }
        match self.0.allows(request.user, "attest", signer).await {
            true => Ok(()),
            false => {
                let why = format!("user not permitted to attest for signerName {signer:?}");
                Err(forbidden(request, Some(bundle), why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::signers::testing::Only;
    use super::super::testing::{create, run};
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn roots_are_published_by_whoever_may_attest() {
        let bundle = |signer: &str, text: &str| json!({"metadata": {"name": "b"}, "spec": {"signerName": signer, "trustBundle": text}});
        let mut marked = bundle("example.com/own", "a");
        marked["metadata"]["finalizers"] = json!(["example.com/f"]);
        let labelled =
            json!({"metadata": {"name": "b", "labels": {"a": "b"}}, "spec": {"signerName": "example.com/own"}});
        for (allowed, old, new, expected) in [
            (Only("attest", "example.com/own"), None, bundle("example.com/own", "a"), true),
            (Only("attest", "example.com/*"), None, bundle("example.com/own", "a"), true),
            (Only("sign", "example.com/own"), None, bundle("example.com/own", "a"), false),
            (Only("attest", "example.com/other"), None, bundle("example.com/own", "a"), false),
            (Only("", ""), None, bundle("", "a"), true),
            (Only("", ""), Some(bundle("example.com/own", "a")), bundle("example.com/own", "b"), false),
            (Only("", ""), Some(bundle("example.com/own", "a")), marked, true),
            (Only("", ""), Some(bundle("example.com/own", "a")), labelled, false),
        ] {
            let mut asked = create(GROUP, "clustertrustbundles", "");
            asked.operation = if old.is_some() { Operation::Update } else { Operation::Create };
            asked.old = old;
            let found = run(&TrustBundles(allowed.signers()), &asked, Some(new.clone())).await;
            assert_eq!(found.is_ok(), expected, "{new}");
        }
    }
}
