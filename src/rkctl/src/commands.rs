//! The commands, one file each.

pub mod cluster;
pub mod completion;
pub mod gitops;
pub mod kubeconfig;
pub mod lab;
pub mod node;
pub mod plan;
pub mod reset;
pub mod schema;
pub mod status;
pub mod up;
pub mod version;

/// The inventory a command works with.
#[derive(Debug, Clone, clap::Args)]
pub struct Inventory {
    /// The inventory file.
    #[arg(value_name = "INVENTORY", env = "RKCTL_INVENTORY", default_value = "inventory.yaml")]
    pub path: std::path::PathBuf,
}
