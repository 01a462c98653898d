//! Secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::{Value, json};

use super::config_map::{DATA_MAX_BYTES, decoded_bytes, key_errors, validate_immutable};
use super::simple::Simple;
use crate::check::At;
use crate::edit::{fill, remove, set};
use crate::metadata::too_long;
use crate::read;
use crate::table::{age, age_column, column, name, name_column, text};

/// The behaviour of Secrets.
pub static SECRET: Simple = Simple {
    columns: &[
        name_column(),
        text("Type", "What the secret is used for."),
        column("Data", "integer", "How many keys it has."),
        age_column(),
    ],
    cells: |object, now| {
        let count = read::map(object, "data").len();
        vec![name(object), read::text(object, "type").into(), count.into(), age(object, now)]
    },
    fields: &["type"],
    default,
    validate,
    validate_update,
    ..Simple::PLAIN
};

const ACCOUNT_ANNOTATION: &str = "kubernetes.io/service-account.name";

/// `stringData` is a way to write `data` and is never kept.
fn default(object: &mut Value) {
    let Some(Value::Object(texts)) = remove(object, "stringData") else { return };
    if texts.is_empty() {
        return;
    }
    fill(object, "data", json!({}));
    for (key, text) in texts {
        if let Some(data) = object.get_mut("data") {
            set(data, &key, STANDARD.encode(text.as_str().unwrap_or_default()));
        }
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    let mut size_bytes = 0;
    for (key, entry) in root.entries("data") {
        errors.extend(key_errors(key, &entry));
        size_bytes += decoded_bytes(entry.text());
    }
    if size_bytes > DATA_MAX_BYTES {
        errors.push(too_long(&root.at("data").path, DATA_MAX_BYTES));
    }
    let data = root.at("data");
    let has = |key: &str| read::map(object, "data").contains_key(key);
    let mut require = |key: &str| {
        if !has(key) {
            data.key(key).required(&mut errors, "");
        }
    };
    match read::text(object, "type") {
        "kubernetes.io/service-account-token"
            if meta::annotation(object, ACCOUNT_ANNOTATION).unwrap_or_default().is_empty() =>
        {
            root.at("metadata.annotations").key(ACCOUNT_ANNOTATION).required(&mut errors, "");
        }
        "kubernetes.io/dockercfg" => docker_config(&data, ".dockercfg", &mut errors),
        "kubernetes.io/dockerconfigjson" => docker_config(&data, ".dockerconfigjson", &mut errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            require("username");
            require("password");
        }
        "kubernetes.io/ssh-auth" => require("ssh-privatekey"),
        "kubernetes.io/tls" => {
            require("tls.crt");
            require("tls.key");
        }
        _ => {}
    }
    errors
}

fn docker_config(data: &At<'_>, key: &str, errors: &mut FieldErrors) {
    let entry = data.key(key);
    if !entry.is_set() {
        entry.required(errors, "");
        return;
    }
    let decoded = STANDARD.decode(entry.text()).unwrap_or_default();
    if serde_json::from_slice::<Value>(&decoded).is_err() {
        // The value is a secret and stays out of the error.
        let wrong = "must be valid JSON";
        errors.push(machinery::field::FieldError::invalid(&entry.path, "<secret contents redacted>", wrong));
    }
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    At::root(object).at("type").immutable(&mut errors, read::at(old, "type"));
    errors.extend(validate_immutable(object, old));
    errors
}
