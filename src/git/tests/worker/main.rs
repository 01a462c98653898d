//! The worker process against real repositories: local ones, ones behind a real sshd, and servers that hang.

mod origin;
mod over_https;
mod over_ssh;
mod server;
mod sshd;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use git::{Auth, Error, Folder, Worker};
use origin::Origin;

const TIMEOUT: Duration = Duration::from_secs(60);

fn worker(folder: &std::path::Path) -> Worker {
    Worker {
        program: env!("CARGO_BIN_EXE_git-worker").into(),
        arguments: vec![],
        folder: folder.join("copies"),
        timeout: TIMEOUT,
    }
}

fn whole(path: &str) -> Folder {
    Folder { path: path.to_owned(), recursive: true }
}

#[tokio::test]
async fn branches_tags_and_commits_are_fetched_and_read() {
    let origin = Origin::new();
    let first = origin.commit(&[("app/a.yaml", "one"), ("app/deep/b.yaml", "two"), ("README", "hello")], "First words");
    origin.git(&["tag", "-a", "v1", "-m", "annotated"]);
    let second = origin.commit(&[("app/a.yaml", "changed")], "Second");
    origin.git(&["checkout", "-q", "-b", "other", &first]);
    let third = origin.commit(&[("c.yaml", "three")], "Third");
    let worker = worker(origin.folder());
    let (url, auth) = (origin.file_url(), Auth::default());
    for (reference, id) in [("v1", &first), ("main", &second), ("refs/heads/other", &third), (&first, &first)] {
        assert_eq!(&worker.fetch(&url, reference, &auth).await.unwrap().id, id, "{reference}");
    }
    let commit = worker.fetch(&url, "v1", &auth).await.unwrap();
    assert_eq!(commit.subject, "First words");
    assert!(commit.time.parse::<jiff::Timestamp>().is_ok(), "{}", commit.time);
    let found = worker.read(&url, &first, &[whole("app"), whole("gone")]).await.unwrap();
    let paths: Vec<&str> = found.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["app/a.yaml", "app/deep/b.yaml"]);
    assert_eq!((&found.files["app/a.yaml"][..], &found.missing[..]), (&b"one"[..], &["gone".to_owned()][..]));
    let flat = [Folder { path: String::new(), recursive: false }];
    let found = worker.read(&url, &second, &flat).await.unwrap();
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["README"]);
    let later = origin.commit(&[("d.yaml", "four")], "Fourth");
    assert_eq!(worker.fetch(&url, "other", &auth).await.unwrap().id, later);
}

#[tokio::test]
async fn a_commit_is_fetched_though_no_branch_ends_there() {
    let origin = Origin::new();
    let first = origin.commit(&[("a", "1")], "One");
    origin.commit(&[("a", "2")], "Two");
    let worker = worker(origin.folder());
    assert_eq!(worker.fetch(&origin.file_url(), &first, &Auth::default()).await.unwrap().id, first);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let origin = Origin::new();
    origin.commit(&[("a", "1")], "One");
    let worker = worker(origin.folder());
    let auth = Auth::default();
    let error = worker.fetch(&origin.file_url(), "gone", &auth).await.unwrap_err().to_string();
    assert!(error.contains("fetch gone of file://") && error.contains("no such branch, tag or commit"), "{error}");
    let error = worker.fetch("file:///nowhere/at/all", "main", &auth).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
    let error = worker.fetch("http://127.0.0.1/x", "main", &auth).await.unwrap_err();
    assert!(matches!(error, Error::Url(_)), "{error}");
}

#[tokio::test]
async fn large_files_are_left_out_and_links_not_followed() {
    let origin = Origin::new();
    std::os::unix::fs::symlink("/etc/passwd", origin.path("link.yaml")).unwrap();
    let large = "x".repeat(git::MAX_FILE_BYTES + 1);
    let id = origin.commit(&[("large.yaml", &large), ("small.yaml", "x")], "Large");
    let worker = worker(origin.folder());
    worker.fetch(&origin.file_url(), "main", &Auth::default()).await.unwrap();
    let found = worker.read(&origin.file_url(), &id, &[whole("")]).await.unwrap();
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["small.yaml"]);
    assert_eq!(found.too_large, ["large.yaml"]);
}

#[tokio::test]
async fn a_copy_that_was_left_broken_is_mended() {
    let origin = Origin::new();
    let id = origin.commit(&[("a", "1")], "One");
    let worker = worker(origin.folder());
    let auth = Auth::default();
    worker.fetch(&origin.file_url(), "main", &auth).await.unwrap();
    let copy = std::fs::read_dir(&worker.folder).unwrap().flatten().map(|entry| entry.path());
    let copy = copy.into_iter().find(|path| path.extension().is_some_and(|name| name == "git")).unwrap();
    std::fs::create_dir_all(copy.join("refs/rkctl/source")).unwrap();
    std::fs::write(copy.join("refs/rkctl/source/wanted.lock"), "").unwrap();
    let next = origin.commit(&[("a", "2")], "Two");
    assert_eq!(worker.fetch(&origin.file_url(), "main", &auth).await.unwrap().id, next);
    std::fs::write(copy.join("HEAD"), "nonsense").unwrap();
    assert_eq!(worker.fetch(&origin.file_url(), &id, &auth).await.unwrap().id, id);
}

#[tokio::test]
async fn a_worker_that_hangs_is_ended_and_the_next_one_works() {
    let origin = Origin::new();
    let id = origin.commit(&[("a", "1")], "One");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut worker = worker(origin.folder());
    worker.timeout = Duration::from_millis(800);
    let url = format!("https://127.0.0.1:{}/x", silent.local_addr().unwrap().port());
    let begin = Instant::now();
    let error = worker.fetch(&url, "main", &Auth::default()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20));
    worker.timeout = TIMEOUT;
    assert_eq!(worker.fetch(&origin.file_url(), "main", &Auth::default()).await.unwrap().id, id);
}

#[tokio::test]
async fn a_worker_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    worker.program = "/bin/false".into();
    let error = worker.fetch("file:///x", "main", &Auth::default()).await.unwrap_err();
    assert!(matches!(error, Error::Died { .. }), "{error}");
    worker.program = "/nowhere".into();
    let error = worker.fetch("file:///x", "main", &Auth::default()).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
}
