//! The bare repository on our side: opened or made, fetched into, one worker at a time. Runs in the worker only.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use git2::{AutotagOption, Commit as GitCommit, Direction, FetchOptions, ObjectType, Oid, Repository};

use crate::Error;
use crate::remote::{Target, target};
use crate::request::Commit;

/// Where what was fetched is kept; everything not reachable from it may go.
const KEPT: &str = "refs/rkctl/source";
/// References of a server that are looked at; one with more is refused.
const MAX_REFERENCES: usize = 500_000;

/// Fails with what was being done.
pub(crate) fn failed(what: impl std::fmt::Display) -> impl FnOnce(git2::Error) -> Error {
    // libgit2's messages are enough; its class and code are not for people.
    move |error| Error::Failed(format!("{what}: {}", error.message()))
}

/// A repository that no other worker uses.
pub(crate) struct Local {
    pub(crate) repository: Repository,
    _lock: File,
}

impl Local {
    /// Opens the bare repository at `path`, or makes it. One that cannot be opened is made anew: it is a copy.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let io = |what: &str, error: std::io::Error| Error::Failed(format!("{what} {}: {error}", path.display()));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| io("make the folder of", error))?;
        }
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = File::create(PathBuf::from(lock_path)).map_err(|error| io("lock", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Failed(format!("{} is in use by another git worker", path.display())));
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", error)),
        }
        if path.exists() {
            clear_leftovers(path);
            match Repository::open_bare(path) {
                Ok(repository) => return Ok(Self { repository, _lock: lock }),
                Err(_) => fs::remove_dir_all(path).map_err(|error| io("remove the broken copy", error))?,
            }
        }
        let repository = Repository::init_bare(path).map_err(failed(format!("make {}", path.display())))?;
        Ok(Self { repository, _lock: lock })
    }

    /// Brings what `reference` means at `url` here. Asks for nothing more than the list of references where it is
    /// here already.
    pub(crate) fn fetch(&self, url: &str, reference: &str) -> Result<Commit, Error> {
        let what = format!("fetch {reference} of {url}");
        let mut remote = self.repository.remote_anonymous(url).map_err(failed(&what))?;
        let mut connection = remote.connect_auth(Direction::Fetch, None, None).map_err(failed(&what))?;
        let heads = connection.list().map_err(failed(&what))?;
        if heads.len() > MAX_REFERENCES {
            return Err(Error::Failed(format!("{what}: it has more than {MAX_REFERENCES} references")));
        }
        let listed: Vec<(String, Oid)> = heads.iter().map(|head| (head.name().to_owned(), head.oid())).collect();
        let Some(found) = target(reference, &listed) else {
            let hint = if listed.is_empty() { "it has no commits" } else { "it has no such branch, tag or commit" };
            return Err(Error::Failed(format!("{what}: {hint}")));
        };
        let (Target::Reference(_, id) | Target::Commit(id)) = &found;
        if let Ok(commit) = self.commit(*id) {
            return Ok(commit);
        }
        let refspecs = match &found {
            Target::Reference(name, _) => vec![format!("+{name}:{KEPT}/wanted")],
            // Servers need not give commits by their ids: fetch what leads to it.
            Target::Commit(_) => vec![format!("+refs/heads/*:{KEPT}/heads/*"), format!("+refs/tags/*:{KEPT}/tags/*")],
        };
        let mut options = FetchOptions::new();
        options.download_tags(AutotagOption::None).update_fetchhead(false);
        connection.remote().fetch(&refspecs, Some(&mut options), None).map_err(failed(&what))?;
        let missing = "it was not among what the server gave: is it reachable from a branch or tag?";
        self.commit(*id).map_err(|_| Error::Failed(format!("{what}: {missing}")))
    }

    /// The commit that `id` is, or that the tag of that id points to.
    pub(crate) fn commit(&self, id: Oid) -> Result<Commit, Error> {
        let commit = self.peel(id)?;
        // Where this commit's tree or a parent is not here, a fetch broke off.
        let tree = commit.tree().map_err(failed(format!("read commit {id}")))?;
        drop(tree);
        let time = jiff::Timestamp::from_second(commit.time().seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let subject = commit.summary_bytes().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        Ok(Commit { id: commit.id().to_string(), subject, time: time.to_string() })
    }

    fn peel(&self, id: Oid) -> Result<GitCommit<'_>, Error> {
        let what = format!("read commit {id}");
        let object = self.repository.find_object(id, None).map_err(failed(&what))?;
        let commit = object.peel(ObjectType::Commit).map_err(failed(&what))?;
        commit.into_commit().map_err(|_| Error::Failed(format!("{what}: it is no commit")))
    }
}

/// What a worker that was killed left behind: locks of references and halves of packs. The lock that is held says
/// that nobody uses them.
fn clear_leftovers(path: &Path) {
    let mut folders = vec![path.to_owned(), path.join("objects/pack")];
    let mut depth_first = vec![path.join("refs")];
    while let Some(folder) = depth_first.pop() {
        if let Ok(entries) = fs::read_dir(&folder) {
            depth_first
                .extend(entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
        }
        folders.push(folder);
    }
    for entry in folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && (name.ends_with(".lock") || name.starts_with("tmp_") || name.starts_with("pack_")) {
            let _gone = fs::remove_file(entry.path());
        }
    }
}
