//! Logs of containers: reading them for people, rotating them for the disk.

pub mod format;
pub mod reader;
pub mod rotate;
