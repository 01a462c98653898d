//! Host keys: ours and OpenSSH's client must come to the same judgement about the same server and files.

use std::fs;

use ssh::{Error, HostKeyPin, HostKeyPolicy, connect};

use crate::server::{Server, keygen};

/// Whether our client goes in with this known_hosts text.
async fn accepts(server: &Server, known_hosts: &str, accept_new: bool) -> Result<(), Error> {
    let path = server.path("our_kh");
    fs::write(&path, known_hosts).unwrap();
    let mut target = server.target();
    target.host_key = match accept_new {
        true => HostKeyPolicy::AcceptNew(vec![path]),
        false => HostKeyPolicy::Strict(vec![path]),
    };
    connect(&target).await.map(drop)
}

#[tokio::test]
async fn strict_judgements_are_those_of_openssh() {
    let server = Server::start("");
    let port = server.port;
    keygen(server.folder.path(), &["-t", "ed25519", "-N", "", "-f", "other"]);
    let (ed25519, ecdsa, other) = (server.public("host_ed25519"), server.public("host_ecdsa"), server.public("other"));
    let table = [
        String::new(),
        format!("[127.0.0.1]:{port} {ed25519}"),
        format!("[127.0.0.1]:{port} {ecdsa}"),
        format!("[127.0.0.1]:{port} {other}"),
        format!("127.0.0.1 {ed25519}"),
        format!("127.0.0.1 {other}"),
        format!("[127.0.0.1]:{port} {other}\n[127.0.0.1]:{port} {ed25519}"),
        format!("[127.0.0.1]:{port} {other}\n127.0.0.1 {ed25519}"),
        format!("127.0.0.* {ed25519}"),
        format!("[127.0.0.*]:* {ed25519}"),
        format!("*,!127.0.0.1 {ed25519}"),
        format!("*,![127.0.0.1]:{port} {ed25519}"),
        format!("[127.0.0.1]:{port} {ed25519}\n@revoked * {ed25519}"),
        format!("[127.0.0.1]:{port} {ed25519}\n@revoked * {other}"),
        format!("[127.0.0.1]:{port} {ecdsa}\n@revoked * {ed25519}"),
        format!("@cert-authority * {ed25519}"),
        format!("# [127.0.0.1]:{port} {ed25519}"),
        format!("   [127.0.0.1]:{port}\t{ed25519} comment"),
    ];
    for known_hosts in table {
        let openssh = server.openssh_accepts(&known_hosts, "yes");
        let ours = accepts(&server, &known_hosts, false).await;
        assert_eq!(ours.is_ok(), openssh, "{known_hosts}\nours: {ours:?}");
    }
}

#[tokio::test]
async fn new_hosts_are_recorded_so_that_openssh_knows_them_and_changed_ones_refused() {
    let server = Server::start("");
    accepts(&server, "", true).await.unwrap();
    let recorded = fs::read_to_string(server.path("our_kh")).unwrap();
    assert!(server.openssh_accepts(&recorded, "yes"), "{recorded}");
    keygen(server.folder.path(), &["-t", "ed25519", "-N", "", "-f", "other"]);
    let changed = format!("# first line\n[127.0.0.1]:{} {}\n", server.port, server.public("other"));
    assert!(!server.openssh_accepts(&changed, "accept-new"));
    let error = accepts(&server, &changed, true).await.unwrap_err();
    assert!(!error.is_unreachable());
    let text = stdx::error::chain(&error);
    let print = |name: &str| {
        let HostKeyPin::Key(key) = HostKeyPin::parse(&server.public(name)).unwrap() else { unreachable!() };
        ssh::known_hosts::fingerprint(&key)
    };
    for part in ["CHANGED", "our_kh:2", &print("other"), &print("host_ed25519"), "ssh-keygen -f"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert_eq!(fs::read_to_string(server.path("our_kh")).unwrap(), changed);
}

#[tokio::test]
async fn certificates_of_the_host_are_judged_as_by_openssh() {
    let server = Server::start("");
    let folder = server.folder.path().to_owned();
    keygen(&folder, &["-t", "ed25519", "-N", "", "-f", "ca"]);
    let ca = server.public("ca");
    let table = [
        (&["-h", "-n", "127.0.0.1"][..], format!("@cert-authority [127.0.0.1]:* {ca}")),
        (&["-h", "-n", "127.0.0.*"], format!("@cert-authority * {ca}")),
        (&["-h", "-n", "127.0.0.1", "-V", "20200101:20210101"], format!("@cert-authority * {ca}")),
        (&["-h", "-n", "elsewhere"], format!("@cert-authority * {ca}")),
        (&["-h", "-n", "127.0.0.1"], format!("@cert-authority 127.0.0.1 {ca}")),
        (&["-h", "-n", "127.0.0.1"], format!("@cert-authority elsewhere {ca}")),
        (&["-h", "-n", "127.0.0.1"], format!("@cert-authority * {ca}\n@revoked * {ca}")),
    ];
    for (args, known_hosts) in table {
        keygen(&folder, &[&["-s", "ca", "-I", "host"], args, &["host_ed25519.pub"]].concat());
        let certificate = folder.join("host_ed25519-cert.pub");
        let certified = Server::start(&format!(
            "HostKey {}\nHostCertificate {}",
            folder.join("host_ed25519").display(),
            certificate.display()
        ));
        let openssh = certified.openssh_accepts(&known_hosts, "yes");
        let ours = accepts(&certified, &known_hosts, false).await;
        assert_eq!(ours.is_ok(), openssh, "{args:?} {known_hosts}\nours: {ours:?}");
    }
}

#[tokio::test]
async fn a_pinned_key_of_any_kind_is_found_and_any_other_refused() {
    let server = Server::start("");
    let mut target = server.target();
    for name in ["host_ed25519", "host_ecdsa"] {
        let HostKeyPin::Key(key) = HostKeyPin::parse(&server.public(name)).unwrap() else { unreachable!() };
        let print = ssh::known_hosts::fingerprint(&key);
        for pin in [print.as_str(), &server.public(name)] {
            target.host_key = HostKeyPolicy::pinned([pin]).unwrap();
            connect(&target).await.unwrap();
        }
    }
    keygen(server.folder.path(), &["-t", "ed25519", "-N", "", "-f", "other"]);
    let other = server.public("other");
    target.host_key = HostKeyPolicy::pinned([other.as_str()]).unwrap();
    let error = connect(&target).await.unwrap_err();
    assert!(matches!(error, Error::HostKey { .. }), "{error:?}");
    target.host_key = HostKeyPolicy::pinned(["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]).unwrap();
    let text = stdx::error::chain(&connect(&target).await.unwrap_err());
    assert!(text.contains("none of the 1 pinned ones"), "{text}");
    assert!(HostKeyPolicy::pinned(["SHA256:short"]).is_err());
}
