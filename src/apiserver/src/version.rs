//! What the server says it is.

use serde_json::{Value, json};

/// The Kubernetes version whose API is served, with our own mark.
pub const GIT_VERSION: &str = "v1.37.0+rkctl";

/// The commit this was built from, by who built it (`make build`); zeros where that was not said. Never empty: clients
/// print it, and some take the version for broken without one.
const COMMIT: &str = match option_env!("RKCTL_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    _ => "0000000000000000000000000000000000000000",
};

/// The answer to `/version`.
pub fn info() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "gitVersion": GIT_VERSION,
        "gitCommit": COMMIT,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "rust",
        "compiler": "rustc",
        "platform": format!("linux/{}", architecture()),
    })
}

/// The machine's architecture in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: kubectl version prints all data
    #[test]
    fn every_part_of_the_version_is_told() {
        let info = info();
        for (field, value) in info.as_object().into_iter().flatten() {
            assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{field}");
        }
        let commit = info["gitCommit"].as_str().unwrap_or_default();
        assert!(!commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit:?}");
    }
}
