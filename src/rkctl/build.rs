//! How the binary is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The relocations of a position-independent static binary take 3 MB unpacked; glibc reads them packed since 2.36.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
