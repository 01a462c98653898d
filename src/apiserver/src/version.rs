//! What the server says it is.

use serde_json::{Value, json};

/// The Kubernetes version whose API is served, with our own mark.
pub const GIT_VERSION: &str = "v1.37.0+rkctl";

/// The answer to `/version`.
pub fn info() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
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
