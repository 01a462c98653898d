use std::process::Command;

use super::*;

const NOW_UNIX_S: u64 = 1_800_000_000;

/// Runs OpenSSH's ssh-keygen in `folder`.
fn keygen(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("ssh-keygen").args(args).current_dir(folder).output().expect("ssh-keygen is installed");
    assert!(output.status.success(), "ssh-keygen {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A new key pair `name` and its public half.
fn key(folder: &Path, name: &str, kind: &str) -> (String, PublicKeyOrCertificate) {
    keygen(folder, &["-q", "-t", kind, "-N", "", "-f", name, "-C", ""]);
    let text = fs::read_to_string(folder.join(format!("{name}.pub"))).unwrap().trim().to_owned();
    let key = PublicKey::from_openssh(&text).unwrap();
    (text, key.into())
}

fn check(text: &str, host: &str, port: u16, key: &PublicKeyOrCertificate) -> Verdict {
    KnownHosts::parse("kh", text).check(host, port, key, NOW_UNIX_S)
}

fn at(line: usize) -> Location {
    Location { path: "kh".into(), line }
}

#[test]
fn names_ports_wildcards_and_negation() {
    let folder = tempfile::tempdir().unwrap();
    let (a, key_a) = key(folder.path(), "a", "ed25519");
    for (names, host, port, trusted) in [
        ("web", "web", 22, true),
        ("web", "WEB", 22, true),
        ("web", "db", 22, false),
        ("db,10.0.0.*", "10.0.0.7", 22, true),
        ("*.org,!bad.org", "bad.org", 22, false),
        ("[web]:2222", "web", 2222, true),
        ("[web]:2222", "web", 22, false),
        // Without a port the line holds for every port.
        ("web", "web", 2222, true),
        ("[*]:2222", "web", 2222, true),
    ] {
        let verdict = check(&format!("# comment\n\n{names} {a}\n"), host, port, &key_a);
        let expected = if trusted { Verdict::Trusted(at(3)) } else { Verdict::Unknown };
        assert_eq!(verdict, expected, "{names} for {host}:{port}");
    }
}

#[test]
fn another_key_on_record_means_changed_but_not_for_another_port() {
    let folder = tempfile::tempdir().unwrap();
    let (a, _) = key(folder.path(), "a", "ed25519");
    let (rsa, _) = key(folder.path(), "r", "ecdsa");
    let (_, other) = key(folder.path(), "b", "ed25519");
    let Verdict::Changed { at: place, known } = check(&format!("web {rsa}\nweb {a}\n"), "web", 22, &other) else {
        panic!("changed")
    };
    assert_eq!(place, at(2), "the key of the same kind is named");
    assert_eq!(format!("256 {known} no comment (ED25519)\n"), keygen(folder.path(), &["-lf", "a.pub"]));
    assert_eq!(check(&format!("web {a}\n"), "web", 2222, &other), Verdict::Unknown);
}

#[test]
fn revoked_keys_are_refused_even_where_they_are_trusted_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (a, key_a) = key(folder.path(), "a", "ed25519");
    assert_eq!(check(&format!("web {a}\n@revoked * {a}\n"), "web", 22, &key_a), Verdict::Revoked(at(2)));
    assert_eq!(check(&format!("web {a}\n@revoked db {a}\n"), "web", 22, &key_a), Verdict::Trusted(at(1)));
}

#[test]
fn lines_that_cannot_be_read_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (a, key_a) = key(folder.path(), "a", "ed25519");
    let blob = a.split(' ').nth(1).unwrap();
    let text =
        format!("web\nweb ssh-rsa {blob}\n@strange web {a}\nweb ssh-ed25519 AAAA\n|1|x|y {a}\nweb {a} comment\n");
    assert_eq!(check(&text, "web", 22, &key_a), Verdict::Trusted(at(6)));
}

#[test]
fn names_hashed_by_ssh_keygen_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (a, key_a) = key(folder.path(), "a", "ed25519");
    let path = folder.path().join("kh");
    fs::write(&path, format!("web,10.0.0.1 {a}\n[web]:2222 {a}\n")).unwrap();
    keygen(folder.path(), &["-q", "-H", "-f", "kh"]);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("web") && text.starts_with("|1|"));
    for (host, port, known) in [("web", 22, true), ("Web", 2222, true), ("10.0.0.1", 22, true), ("db", 22, false)] {
        assert_eq!(matches!(check(&text, host, port, &key_a), Verdict::Trusted(_)), known, "{host}:{port}");
    }
}

#[test]
fn what_is_appended_is_found_by_ssh_keygen() {
    let folder = tempfile::tempdir().unwrap();
    let (_, key_a) = key(folder.path(), "a", "ed25519");
    let path = folder.path().join("new/kh");
    append(&path, "Web", 22, &key_a.public_key()).unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap().trim_end()).unwrap();
    append(&path, "web", 2222, &key_a.public_key()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    for host in ["web", "[web]:2222"] {
        assert!(keygen(folder.path(), &["-F", host, "-f", "new/kh"]).contains("ssh-ed25519"), "{host}");
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn certificates_hold_for_their_hosts_their_time_and_their_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, _) = key(folder.path(), "ca", "ed25519");
    let (other_ca, _) = key(folder.path(), "other", "ed25519");
    let (plain, _) = key(folder.path(), "host", "ed25519");
    let certificate = |args: &[&str]| {
        let mut all = vec!["-q", "-s", "ca", "-I", "id"];
        all.extend(args);
        all.push("host.pub");
        keygen(folder.path(), &all);
        let text = fs::read_to_string(folder.path().join("host-cert.pub")).unwrap();
        PublicKeyOrCertificate::from(Certificate::from_openssh(&text).unwrap())
    };
    let authority = format!("@cert-authority *.org {ca}\n");
    let good = certificate(&["-h", "-n", "web.org,a.lab.org", "-V", "20200101:20500101"]);
    assert_eq!(
        check(&authority, "web.org", 2222, &good),
        Verdict::Trusted(at(1)),
        "without a port it is for every port"
    );
    assert_eq!(check(&authority, "web.org", 22, &good), Verdict::Trusted(at(1)));
    assert_eq!(check(&authority, "a.lab.org", 22, &good), Verdict::Trusted(at(1)));
    assert_eq!(check(&format!("@cert-authority * {other_ca}\n"), "web.org", 22, &good), Verdict::Unknown);
    assert_eq!(
        check(&format!("@cert-authority * {other_ca}\nweb.org {plain}\n"), "web.org", 22, &good),
        Verdict::Trusted(at(2))
    );
    assert_eq!(check(&format!("{authority}@revoked * {ca}\n"), "web.org", 22, &good), Verdict::Revoked(at(2)));
    assert_eq!(check(&format!("{authority}@revoked * {plain}\n"), "web.org", 22, &good), Verdict::Revoked(at(2)));
    for (args, host, problem) in [
        (&["-h", "-n", "web.org", "-V", "20200101:20500101"][..], "db.org", "it is for web.org, not for db.org"),
        (&["-h", "-V", "20200101:20500101"], "web.org", "it is for no host, not for web.org"),
        (&["-h", "-n", "web.org", "-V", "20200101:20210101"], "web.org", "it has expired"),
        (&["-h", "-n", "web.org", "-V", "20450101:20500101"], "web.org", "it is not valid yet"),
        (&["-n", "web.org"], "web.org", "it is a user's certificate, not a host's"),
    ] {
        assert_eq!(check(&authority, host, 22, &certificate(args)), Verdict::BadCertificate(problem.to_owned()));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_fail(text in "\\PC{0,200}") {
        let _ = KnownHosts::parse("kh", &text).algorithms("host", 22);
    }
}
