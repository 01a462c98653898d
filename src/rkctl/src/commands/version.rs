//! `rkctl version`

use crate::{exit, output};

/// The Kubernetes version whose API this program speaks.
pub const KUBERNETES: &str = "v1.37.0";

/// Print the version of this program and of the Kubernetes API it speaks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rkctl version --output json")]
pub struct Args {
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    output: output::Format,
}

pub fn run(args: Args) -> exit::Answer {
    let version = env!("CARGO_PKG_VERSION");
    match args.output {
        output::Format::Text => output::print(&format!("rkctl {version} (Kubernetes {KUBERNETES})\n"))?,
        output::Format::Json => output::print_json(&serde_json::json!({"rkctl": version, "kubernetes": KUBERNETES}))?,
    }
    Ok(exit::DONE)
}
