//! The states of namespaces.

use k8s_openapi::api::core::v1::Namespace;

/// Things may be created in it.
pub fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

/// Whether something was not created because its namespace goes away or is gone, which takes along whoever wanted it:
/// to try again cannot help. Other refusals are none of that and must not be passed over.
pub fn goes_away(error: &kube::Error) -> bool {
    client::is_namespace_terminating(error) || client::is_not_found(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_end_of_a_namespace_is_a_reason_not_to_try_again() {
        let refusal = |code: u16, reason: &str, cause: &str| {
            let status = json!({"status": "Failure", "code": code, "reason": reason, "message": "m",
                "details": {"causes": [{"reason": cause, "message": "m", "field": "metadata.namespace"}]}});
            kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
        };
        for (error, expected) in [
            (refusal(403, "Forbidden", "NamespaceTerminating"), true),
            (refusal(404, "NotFound", ""), true),
            (refusal(403, "Forbidden", ""), false),
            (refusal(409, "Conflict", ""), false),
            (refusal(422, "Invalid", "FieldValueInvalid"), false),
        ] {
            assert_eq!(goes_away(&error), expected, "{error:?}");
        }
    }
}
