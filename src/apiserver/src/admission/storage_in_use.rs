//! StorageObjectInUseProtection: new claims and volumes get the finalizers by which whoever watches over them keeps
//! them for as long as pods use the claim and the claim has the volume.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::is;
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

/// Resources of the core group, and the finalizer of each.
const PROTECTED: [(&str, &str); 2] =
    [("persistentvolumeclaims", "kubernetes.io/pvc-protection"), ("persistentvolumes", "kubernetes.io/pv-protection")];

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct StorageObjectInUseProtection;

#[async_trait]
impl Admission for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        if let Some((_, finalizer)) = PROTECTED.iter().find(|(resource, _)| is(request, "", resource)) {
            protect(object, finalizer);
        }
        Ok(())
    }
}

fn protect(object: &mut Value, finalizer: &str) {
    match object["metadata"]["finalizers"].as_array_mut() {
        Some(finalizers) if finalizers.iter().any(|there| there == finalizer) => {}
        Some(finalizers) => finalizers.push(finalizer.into()),
        None => object["metadata"]["finalizers"] = json!([finalizer]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_object_is_protected_once() {
        let ours = PROTECTED[0].1;
        for (finalizers, expected) in [
            (Value::Null, json!([ours])),
            (json!([]), json!([ours])),
            (json!(["a/b"]), json!(["a/b", ours])),
            (json!([ours]), json!([ours])),
        ] {
            let mut object = json!({"metadata": {"name": "c", "finalizers": finalizers}});
            protect(&mut object, ours);
            assert_eq!(object["metadata"]["finalizers"], expected);
        }
    }
}
