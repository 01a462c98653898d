//! Repositories behind a real `git http-backend` with TLS.

use std::path::Path;
use std::time::Duration;

use git::{Auth, Error, Worker};

use crate::origin::Origin;
use crate::server::{Fault, Server};
use crate::{TIMEOUT, whole, worker};

/// A worker that trusts what the file `authority` holds and nothing else.
fn trusting(folder: &Path, authority: &Path) -> Worker {
    let worker = worker(folder);
    let trust = format!("SSL_CERT_FILE={}", authority.display());
    // `env` becomes the worker: one process, as everywhere.
    let arguments = vec![trust.into(), "SSL_CERT_DIR=/nowhere".into(), worker.program.into()];
    Worker { arguments, program: "/usr/bin/env".into(), ..worker }
}

struct Lab {
    origin: Origin,
    server: Server,
    worker: Worker,
}

async fn lab() -> Lab {
    let origin = Origin::new();
    let server = Server::start(origin.folder().to_owned()).await;
    let worker = trusting(origin.folder(), server.authority.path());
    Lab { origin, server, worker }
}

impl Lab {
    fn auth(&self, password: &str) -> Auth {
        let file = self.origin.folder().join("password");
        std::fs::write(&file, format!("{password}\n")).unwrap();
        Auth { username: Some("me".to_owned()), password_file: Some(file), ..Auth::default() }
    }

    async fn refused(&self, url: &str, auth: &Auth) -> String {
        let error = self.worker.fetch(url, "main", auth).await.unwrap_err().to_string();
        assert!(!error.contains("hunter"), "{error}");
        error
    }
}

#[tokio::test]
async fn https_brings_what_is_asked_for_and_later_only_what_is_new() {
    let lab = lab().await;
    let first = lab.origin.commit(&[("app/a.yaml", "one")], "First");
    lab.origin.git(&["tag", "-a", "v1", "-m", "annotated"]);
    let second = lab.origin.commit(&[("app/a.yaml", "two")], "Second");
    let (url, auth) = (lab.server.url("open/origin/.git"), Auth::default());
    for (reference, id) in [("v1", &first), ("main", &second), (&first, &first)] {
        assert_eq!(&lab.worker.fetch(&url, reference, &auth).await.unwrap().id, id, "{reference}");
    }
    let found = lab.worker.read(&url, &second, &[whole("app")]).await.unwrap();
    assert_eq!(&found.files["app/a.yaml"][..], b"two");
    let before = lab.server.seen().len();
    assert_eq!(lab.worker.fetch(&url, "main", &auth).await.unwrap().id, second);
    let asked = &lab.server.seen()[before..];
    assert!(asked.len() == 1 && asked[0].path.contains("/info/refs?"), "{asked:?}");
    let third = lab.origin.commit(&[("app/a.yaml", "three")], "Third");
    let before = lab.server.seen().len();
    assert_eq!(lab.worker.fetch(&url, "main", &auth).await.unwrap().id, third);
    let connection = lab.server.seen()[before].connection;
    assert!(lab.server.seen()[before..].iter().all(|seen| seen.connection == connection), "{:?}", lab.server.seen());
    let error = lab.worker.fetch(&url, "gone", &auth).await.unwrap_err().to_string();
    assert!(error.contains("no such branch, tag or commit"), "{error}");
}

#[tokio::test]
async fn a_repository_of_many_objects_comes_whole_over_https() {
    let lab = lab().await;
    let id = lab.origin.commit_many();
    let url = lab.server.url("open/origin/.git");
    assert_eq!(lab.worker.fetch(&url, "main", &Auth::default()).await.unwrap().id, id);
    let found = lab.worker.read(&url, &id, &[whole("many")]).await.unwrap();
    assert_eq!(found.files.len(), Origin::MANY);
    assert_eq!(found.too_large, ["many/large"]);
}

/// Both sides tell each other in several rounds that they know nothing of the other's commits.
#[tokio::test]
async fn a_repository_that_was_made_anew_is_fetched_over_https() {
    let lab = lab().await;
    let (url, auth) = (lab.server.url("open/origin/.git"), Auth::default());
    for name in ["old", "new"] {
        let id = lab.origin.anew(name, 300);
        let before = lab.server.seen().len();
        assert_eq!(lab.worker.fetch(&url, "main", &auth).await.unwrap().id, id, "{name}");
        let asked = lab.server.seen().split_off(before);
        assert_eq!(asked.len() > 5, name == "new", "{asked:?}");
        assert!(asked.iter().all(|seen| seen.connection == asked[0].connection), "{asked:?}");
    }
}

#[tokio::test]
async fn credentials_are_given_when_asked_for_and_refusals_named() {
    let lab = lab().await;
    let id = lab.origin.commit(&[("a", "1")], "One");
    let (open, private) = (lab.server.url("open/origin/.git"), lab.server.url("private/origin/.git"));
    let right = lab.auth("hunter2");
    assert_eq!(lab.worker.fetch(&open, "main", &right).await.unwrap().id, id);
    assert!(lab.server.seen().iter().all(|seen| !seen.with_credentials), "{:?}", lab.server.seen());
    assert_eq!(lab.worker.fetch(&private, "main", &right).await.unwrap().id, id);
    let error = lab.refused(&lab.server.url("private/gone"), &right).await;
    assert!(error.contains("no such repository (404)"), "{error}");
    let error = lab.refused(&private, &Auth::default()).await;
    assert!(error.contains("give auth.username and auth.password"), "{error}");
    let error = lab.refused(&private, &lab.auth("hunter3")).await;
    assert!(error.contains("refused the user name or password"), "{error}");
    let missing = Auth { password_file: Some("/nowhere/password".into()), ..Auth::default() };
    let error = lab.refused(&private, &missing).await;
    assert!(error.contains("/nowhere/password: No such file"), "{error}");
}

#[tokio::test]
async fn only_a_server_with_a_trusted_certificate_is_spoken_to() {
    let lab = lab().await;
    lab.origin.commit(&[("a", "1")], "One");
    let stranger = Server::start(lab.origin.folder().to_owned()).await;
    let auth = lab.auth("hunter2");
    let error = lab.refused(&stranger.url("private/origin/.git"), &auth).await;
    assert!(error.contains("certificate of 127.0.0.1 is not trusted"), "{error}");
    assert!(stranger.seen().is_empty(), "{:?}", stranger.seen());
    let other_name = format!("https://localhost:{}/private/origin/.git", lab.server.port);
    let error = lab.refused(&other_name, &auth).await;
    assert!(error.contains("certificate of localhost is not trusted"), "{error}");
    let nobody = trusting(lab.origin.folder(), Path::new("/nowhere"));
    let error = nobody.fetch(&lab.server.url("open/origin/.git"), "main", &auth).await.unwrap_err().to_string();
    assert!(error.contains("no trusted root certificates"), "{error}");
    assert!(lab.server.seen().is_empty(), "{:?}", lab.server.seen());
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_server_only() {
    let lab = lab().await;
    let id = lab.origin.commit(&[("a", "1")], "One");
    let right = lab.auth("hunter2");
    for how in ["moved", "hidden"] {
        let url = lab.server.url(&format!("{how}/origin/.git"));
        assert_eq!(lab.worker.fetch(&url, "main", &right).await.unwrap().id, id, "{how}");
    }
    let other = Server::start(lab.origin.folder().to_owned()).await;
    lab.server.set_away(&other.url("open"));
    let table = [
        ("away", format!("redirects to another (https://127.0.0.1:{})", other.port)),
        ("plain", "redirects to http".to_owned()),
        ("loop", "redirects more than 5 times".to_owned()),
    ];
    for (how, expected) in table {
        let error = lab.refused(&lab.server.url(&format!("{how}/origin/.git")), &right).await;
        assert!(error.contains(&expected), "{how}: {error}");
    }
    assert!(other.seen().is_empty(), "{:?}", other.seen());
}

#[tokio::test]
async fn what_is_no_repository_or_no_answer_is_named() {
    let lab = lab().await;
    lab.origin.commit(&[("a", "1")], "One");
    let table = [
        ("open/gone", "no such repository (404)"),
        ("page/origin/.git", "does not speak Git's smart HTTP protocol there (it answered text/html)"),
        ("large/origin/.git", "connection to the server broke"),
    ];
    for (path, expected) in table {
        let error = lab.refused(&lab.server.url(path), &Auth::default()).await;
        assert!(error.contains(expected) && error.contains("fetch main of https://"), "{path}: {error}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = lab.refused(&format!("https://127.0.0.1:{closed}/x"), &Auth::default()).await;
    assert!(error.contains(&format!("no connection to 127.0.0.1:{closed}: Connection refused")), "{error}");
    let error = lab.refused("https://nowhere.invalid/x", &Auth::default()).await;
    assert!(error.contains("the name nowhere.invalid cannot be resolved"), "{error}");
}

#[tokio::test]
async fn a_pack_that_breaks_off_is_told_and_the_next_fetch_is_whole() {
    let mut lab = lab().await;
    let id = lab.origin.commit(&[("a", &"line\n".repeat(1000))], "One");
    let (url, auth) = (lab.server.url("open/origin/.git"), Auth::default());
    lab.server.set_fault(Fault::Cut);
    let error = lab.refused(&url, &auth).await;
    assert!(error.contains("connection to the server broke"), "{error}");
    lab.server.set_fault(Fault::Stall);
    lab.worker.timeout = Duration::from_secs(2);
    let error = lab.worker.fetch(&url, "main", &auth).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    lab.server.set_fault(Fault::None);
    lab.worker.timeout = TIMEOUT;
    assert_eq!(lab.worker.fetch(&url, "main", &auth).await.unwrap().id, id);
    assert_eq!(lab.worker.read(&url, &id, &[whole("")]).await.unwrap().files["a"].len(), 5000);
}
