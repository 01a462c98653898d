//! Repositories behind a real sshd.

use std::path::Path;

use git::Auth;

use crate::origin::Origin;
use crate::sshd::Sshd;
use crate::{whole, worker};

fn auth(server: &Sshd, known_hosts: &str, key: &str) -> Auth {
    std::fs::write(server.path("known_hosts"), known_hosts).unwrap();
    Auth { ssh_key_file: Some(server.path(key)), known_hosts_file: Some(server.path("known_hosts")), ..Auth::default() }
}

/// The one line that is true of the server.
fn pinned(server: &Sshd) -> String {
    format!("[127.0.0.1]:{} {}", server.port, server.public("host_ed25519"))
}

#[tokio::test]
async fn ssh_takes_the_key_and_only_the_pinned_host() {
    let origin = Origin::new();
    let id = origin.commit(&[("a.yaml", "1")], "One");
    let server = Sshd::start();
    let worker = worker(origin.folder());
    let url = server.url(&origin.path(""));
    for host_key in ["host_ed25519", "host_ecdsa"] {
        let pinned = format!("[127.0.0.1]:{} {}", server.port, server.public(host_key));
        let answer = worker.fetch(&url, "main", &auth(&server, &pinned, "user")).await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("{error}\n{}", server.log())).id, id, "{host_key}");
    }
    let pinned = format!("[127.0.0.1]:{} {}", server.port, server.public("host_ed25519"));
    let wrong = format!("[127.0.0.1]:{} {}", server.port, server.public("user"));
    let elsewhere = format!("[127.0.0.1]:1 {}", server.public("host_ed25519"));
    let table = [
        ("", "user", "needs auth.knownHosts"),
        (&wrong, "user", "the server was replaced"),
        (&elsewhere, "user", "is not in knownHosts"),
        (&pinned, "stranger", "the server refused the ssh key for user root"),
        (&pinned, "missing", "missing: No such file"),
        (&pinned, "locked", "locked has a passphrase: give auth.sshKey one without"),
    ];
    for (known_hosts, key, expected) in table {
        let error = worker.fetch(&url, "main", &auth(&server, known_hosts, key)).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("ssh://root@127.0.0.1"), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_repository_of_many_objects_comes_whole_over_ssh_and_later_only_what_is_new() {
    let origin = Origin::new();
    let many = origin.commit_many();
    let server = Sshd::start();
    let worker = worker(origin.folder());
    let (url, auth) = (server.url(&origin.path("")), auth(&server, &pinned(&server), "user"));
    assert_eq!(worker.fetch(&url, "main", &auth).await.unwrap().id, many);
    assert_eq!(worker.read(&url, &many, &[whole("many")]).await.unwrap().files.len(), Origin::MANY);
    let next = origin.commit(&[("a.yaml", "1")], "Next");
    assert_eq!(worker.fetch(&url, "main", &auth).await.unwrap().id, next);
    assert_eq!(&worker.read(&url, &next, &[whole("")]).await.unwrap().files["a.yaml"][..], b"1");
}

#[tokio::test]
async fn a_repository_that_was_made_anew_is_fetched_over_ssh() {
    let origin = Origin::new();
    let server = Sshd::start();
    let worker = worker(origin.folder());
    let (url, auth) = (server.url(&origin.path("")), auth(&server, &pinned(&server), "user"));
    for name in ["old", "new"] {
        let id = origin.anew(name, 300);
        assert_eq!(worker.fetch(&url, "main", &auth).await.unwrap().id, id, "{name}");
    }
}

#[tokio::test]
async fn ssh_repositories_are_named_as_git_names_them() {
    let origin = Origin::new();
    let id = origin.commit(&[("a", "1")], "One");
    std::os::unix::fs::symlink(origin.path(""), origin.folder().join("it's a \\ repository")).unwrap();
    let server = Sshd::start();
    let worker = worker(origin.folder());
    let auth = auth(&server, &pinned(&server), "user");
    let strange = server.url(origin.folder()) + "/it's%20a%20%5C%20repository";
    assert_eq!(worker.fetch(&strange, "main", &auth).await.unwrap().id, id);
    let gone = server.url(Path::new("/nowhere/at/all"));
    let error = worker.fetch(&gone, "main", &auth).await.unwrap_err().to_string();
    assert!(error.contains("the server says: fatal: '/nowhere/at/all' does not appear"), "{error}");
    let scp_like = "root@[127.0.0.1]:/nowhere";
    let error = worker.fetch(scp_like, "main", &auth).await.unwrap_err().to_string();
    // Such a URL has no port, and nobody put the machine's own sshd, if there is one, into knownHosts.
    assert!(error.contains("127.0.0.1") && !error.contains("unsupported"), "{error}");
}

#[tokio::test]
async fn an_ssh_connection_that_is_cut_is_told_and_the_next_fetch_is_whole() {
    let origin = Origin::new();
    let id = origin.commit_many();
    let server = Sshd::start();
    let worker = worker(origin.folder());
    let url = server.url(&origin.path(""));
    let error = worker.fetch(&url, "main", &auth(&server, &pinned(&server), "cut")).await.unwrap_err().to_string();
    assert!(error.contains("the connection ended before `git-upload-pack` did"), "{error}");
    let whole_again = worker.fetch(&url, "main", &auth(&server, &pinned(&server), "user")).await;
    assert_eq!(whole_again.unwrap().id, id);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("ssh://root@127.0.0.1:{closed}/x");
    let error = worker.fetch(&nobody, "main", &auth(&server, &pinned(&server), "user")).await.unwrap_err().to_string();
    assert!(error.contains("no connection: Connection refused"), "{error}");
}
