//! The OpenID Connect documents with which others verify service-account tokens.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::keys::Verifier;
use crate::plugin::Document;

/// Where the keys are.
pub const KEYS_PATH: &str = "/openid/v1/jwks";
/// Where the configuration is.
pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";

/// The two documents by path. `server` is the address under which clients find this server: `https://10.0.0.1:6443`.
pub fn documents(issuer: &str, server: &str, verifiers: &[Verifier]) -> HashMap<String, Document> {
    let mut algorithms: Vec<&str> = verifiers.iter().filter_map(|verifier| verifier.jwk["alg"].as_str()).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let configuration = json!({
        "issuer": issuer,
        "jwks_uri": format!("{server}{KEYS_PATH}"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    });
    let keys: Vec<&Value> = verifiers.iter().map(|verifier| &verifier.jwk).collect();
    let document = |media_type, value: Value| Document { media_type, bytes: value.to_string().into() };
    HashMap::from([
        (CONFIGURATION_PATH.to_string(), document("application/json", configuration)),
        (KEYS_PATH.to_string(), document("application/jwk-set+json", json!({"keys": keys}))),
    ])
}
