//! Roots that a pod trusts: those of the ClusterTrustBundles it selects, each once, in one order.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::ClusterTrustBundleProjection;
use machinery::selector::LabelSelector;
use stdx::pem;

use crate::Error;
use crate::objects::Objects;

/// The file of a projection: empty where there is nothing and nothing need be.
pub async fn file(source: &ClusterTrustBundleProjection, objects: &dyn Objects) -> Result<String, Error> {
    let optional = source.optional.unwrap_or(false);
    let found = if let Some(name) = &source.name {
        match objects.trust_bundle(name).await {
            Err(error) if error.is_not_found() && optional => Vec::new(),
            Err(error) if error.is_not_found() => {
                return Err(Error::Pod(format!("clustertrustbundle.certificates.k8s.io {name:?} not found")));
            }
            found => vec![found?],
        }
    } else {
        let signer = source.signer_name.as_deref().unwrap_or_default();
        let found = selected(source, objects.trust_bundles(signer).await?)?;
        if found.is_empty() && !optional {
            return Err(Error::Pod(format!(
                "combination of signerName and labelSelector matched zero ClusterTrustBundles (signer {signer:?})"
            )));
        }
        found
    };
    Ok(anchors(&found))
}

/// Those with the labels; without a selector none.
fn selected(
    source: &ClusterTrustBundleProjection,
    mut bundles: Vec<Arc<ClusterTrustBundle>>,
) -> Result<Vec<Arc<ClusterTrustBundle>>, Error> {
    let selector = serde_json::to_value(&source.label_selector).unwrap_or_default();
    let selector = LabelSelector::from_json(Some(&selector))
        .map_err(|error| Error::Pod(format!("label selector of ClusterTrustBundles: {error}")))?;
    bundles.retain(|bundle| selector.matches(bundle.metadata.labels.as_ref().unwrap_or(&Default::default())));
    Ok(bundles)
}

/// Sorted, so that the file changes only where the roots do.
fn anchors(bundles: &[Arc<ClusterTrustBundle>]) -> String {
    let blocks = bundles.iter().flat_map(|bundle| pem::blocks(&bundle.spec.trust_bundle));
    let roots: BTreeSet<Vec<u8>> =
        blocks.filter(|block| block.label == pem::CERTIFICATE).map(|block| block.data).collect();
    roots.iter().map(|root| pem::encode(pem::CERTIFICATE, root)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn bundle(name: &str, labels: Value, roots: &[&str]) -> Arc<ClusterTrustBundle> {
        let text: String = roots.iter().map(|root| pem::encode(pem::CERTIFICATE, root.as_bytes())).collect();
        let object = json!({ "metadata": { "name": name, "labels": labels },
            "spec": { "signerName": "example.com/own", "trustBundle": format!("# {name}\n{text}") } });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn roots_come_once_and_in_one_order() {
        let (one, two) = (bundle("1", json!({}), &["b", "a"]), bundle("2", json!({}), &["a", "c"]));
        let expected: String = ["a", "b", "c"].map(|root| pem::encode(pem::CERTIFICATE, root.as_bytes())).concat();
        assert_eq!(anchors(&[one.clone(), two.clone()]), expected);
        assert_eq!(anchors(&[two, one]), expected);
        assert_eq!(anchors(&[]), "");
    }

    #[test]
    fn labels_select_and_no_selector_selects_nothing() {
        let all =
            || vec![bundle("live", json!({ "alive": "true" }), &[]), bundle("dead", json!({ "alive": "false" }), &[])];
        let some = json!({ "matchLabels": { "alive": "true" } });
        let other = json!({ "matchExpressions": [{ "key": "alive", "operator": "NotIn", "values": ["true"] }] });
        for (selector, expected) in [
            (json!(null), &[][..]),
            (json!({}), &["live", "dead"]),
            (some, &["live"]),
            (other, &["dead"]),
            (json!({ "matchLabels": { "alive": "unknown" } }), &[]),
        ] {
            let source = json!({ "signerName": "example.com/own", "path": "p", "labelSelector": selector });
            let source: ClusterTrustBundleProjection = serde_json::from_value(source).unwrap();
            let found = selected(&source, all()).unwrap();
            let names: Vec<&str> = found.iter().filter_map(|bundle| bundle.metadata.name.as_deref()).collect();
            assert_eq!(names, expected, "{selector}");
        }
    }
}
