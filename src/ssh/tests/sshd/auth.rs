//! Ways to be let in, and what is said when none works.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ssh::{Auth, ClientConfig, Error, KeyFile, Secret, SecretSource, Target, connect};

use crate::server::{Server, keygen};

async fn who(target: &Target) -> String {
    connect(target).await.unwrap().exec("id -un").await.unwrap().text().into_owned()
}

#[tokio::test]
async fn keys_of_all_kinds_and_formats_let_in() {
    let server = Server::start("");
    for (name, args) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa_pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
    ] {
        keygen(server.folder.path(), &[args, &["-N", "", "-f", name]].concat());
        fs::write(server.path("authorized_keys"), server.public(name)).unwrap();
        let mut target = server.target();
        target.auth = vec![Auth::Key(KeyFile::new(server.path(name)))];
        assert_eq!(who(&target).await, "root", "{name}");
    }
}

#[tokio::test]
async fn an_encrypted_key_asks_its_source_for_the_passphrase() {
    let server = Server::start("");
    keygen(server.folder.path(), &["-t", "ed25519", "-N", "open sesame", "-f", "locked"]);
    fs::write(server.path("authorized_keys"), server.public("locked")).unwrap();
    let mut target = server.target();
    let mut key = KeyFile::new(server.path("locked"));
    target.auth = vec![Auth::Key(key.clone())];
    assert!(matches!(connect(&target).await.unwrap_err(), Error::PassphraseNeeded { .. }));
    key.passphrase = Some(SecretSource::fixed(Secret::new("wrong")));
    target.auth = vec![Auth::Key(key.clone())];
    let error = stdx::error::chain(&connect(&target).await.unwrap_err());
    assert!(error.starts_with("the passphrase of the private key ") && error.ends_with("locked is wrong"), "{error}");
    key.passphrase = Some(SecretSource::fixed(Secret::new("open sesame")));
    target.auth = vec![Auth::Key(key)];
    assert_eq!(who(&target).await, "root");
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused() {
    let server = Server::start("");
    fs::set_permissions(server.path("user"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = connect(&server.target()).await.unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn an_agents_keys_let_in() {
    let server = Server::start("");
    let socket = server.path("agent.sock");
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !socket.exists() {
        assert!(Instant::now() < deadline, "ssh-agent did not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut target = server.target();
    target.auth = vec![Auth::Agent { socket: Some(socket.clone()), only: vec![] }];
    let error = connect(&target).await.unwrap_err();
    assert!(matches!(error, Error::AuthRejected { .. }), "{error}");
    keygen(server.folder.path(), &["-t", "rsa", "-b", "2048", "-N", "", "-f", "other"]);
    for key in ["other", "user"] {
        let added =
            Command::new("ssh-add").arg("-q").arg(server.path(key)).env("SSH_AUTH_SOCK", &socket).status().unwrap();
        assert!(added.success());
    }
    assert_eq!(who(&target).await, "root");
    target.auth = vec![Auth::Agent { socket: Some(socket.clone()), only: vec![server.path("other.pub")] }];
    let error = connect(&target).await.unwrap_err().to_string();
    assert_eq!(error.matches("agent's key").count(), 1, "{error}");
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test]
async fn a_certificate_beside_the_key_lets_in() {
    let server = Server::start("");
    let folder = server.folder.path();
    keygen(folder, &["-t", "ed25519", "-N", "", "-f", "ca"]);
    keygen(folder, &["-s", "ca", "-I", "me", "-n", "root", "user.pub"]);
    fs::write(server.path("authorized_keys"), format!("cert-authority {}", server.public("ca"))).unwrap();
    assert_eq!(who(&server.target()).await, "root");
}

#[tokio::test]
async fn a_refusal_says_what_was_tried() {
    let server = Server::start("");
    keygen(server.folder.path(), &["-t", "ed25519", "-N", "", "-f", "stranger"]);
    let mut target = server.target();
    target.auth = vec![
        Auth::Key(KeyFile { required: false, ..KeyFile::new(server.path("missing")) }),
        Auth::Key(KeyFile::new(server.path("stranger"))),
        Auth::Password(Secret::new("hunter2")),
    ];
    let error = connect(&target).await.unwrap_err();
    let text = stdx::error::chain(&error);
    assert!(text.contains("root was refused") && text.contains("stranger, password"), "{text}");
    assert!(text.contains("the server takes publickey") && !text.contains("hunter2"), "{text}");
    assert!(!error.is_unreachable());
}

#[tokio::test]
async fn a_port_where_nobody_listens_or_answers_is_unreachable() {
    let server = Server::start("");
    let mut target = server.target();
    drop(server);
    let error = connect(&target).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.is_unreachable(), "{error}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    target.port = silent.local_addr().unwrap().port();
    target.timeouts.connect = Duration::from_millis(300);
    let error = connect(&target).await.unwrap_err();
    assert!(error.to_string().contains("no answer within 300 ms while connecting"), "{error}");
}

#[tokio::test]
async fn the_users_configuration_leads_to_the_host() {
    let server = Server::start("");
    let file = server.path("config");
    let text = format!(
        "Host lab-*\n HostName 127.0.0.1\n Port {}\n User root\n IdentityFile {}\n IdentitiesOnly yes\n IdentityAgent none\n\
         UserKnownHostsFile {}\n StrictHostKeyChecking accept-new\n",
        server.port,
        server.path("user").display(),
        server.path("kh").display()
    );
    fs::write(&file, text).unwrap();
    let config = ClientConfig::load_file(&file, server.folder.path()).unwrap();
    let target = config.target("lab-1").unwrap();
    assert_eq!(who(&target).await, "root");
    assert_eq!(who(&target).await, "root");
    assert_eq!(fs::read_to_string(server.path("kh")).unwrap().lines().count(), 1);
}
