//! What this program brings along: itself and its addons.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// This program's own file, as it was started: it may have been replaced on disk since.
pub fn own_binary() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Version, hash and addons of this program.
pub fn release(
    cluster: &inventory::Cluster,
    git_files: &provision::secrets::GitFiles,
) -> anyhow::Result<provision::Release> {
    let network = &cluster.network;
    let settings = crate::addons::Settings {
        cluster_dns: network.dns_ip().to_string(),
        cluster_domain: network.cluster_domain.clone(),
    };
    Ok(provision::Release {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sha256: hash_of_self().context("read this program's own file")?,
        arch: std::env::consts::ARCH.to_owned(),
        git_files: git_files.hashes(),
        addons: crate::addons::hashes(&settings)?,
    })
}

fn hash_of_self() -> std::io::Result<String> {
    const PIECE_BYTES: usize = 1 << 20;
    let mut file = std::fs::File::open(own_binary())?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            size => hash.update(&piece[..size]),
        }
    }
}
