//! A configuration file that is looked at again while the server runs, with the files that it names. What cannot be
//! used does not replace what is in use, is told in the log once, and is tried again at each look.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::error::Error;

/// How often the files are looked at.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

type Parse<T> = Box<dyn Fn(&Reading<'_, T>) -> Result<Said<T>, String> + Send + Sync>;

/// What is read of a file, and what it said before.
pub struct Reading<'a, T> {
    /// The file.
    pub path: &'a Path,
    /// What stands in it.
    pub text: &'a str,
    /// What is in use, to be gone on with where nothing changes it; `None` at first.
    pub before: Option<&'a T>,
}

/// What a file says.
pub struct Said<T> {
    /// It.
    pub value: T,
    /// Other files that were read for it.
    pub named: Vec<PathBuf>,
}

/// A file and what it says.
pub struct Reread<T> {
    path: PathBuf,
    parse: Parse<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    looked: Instant,
    /// The files that what is in use was made of, the first of them first, as they were before they were read.
    seen: Vec<(PathBuf, Stamp)>,
    /// What was last told in the log of files that cannot be used.
    told: Option<String>,
}

type Stamp = Option<(SystemTime, u64)>;

impl<T> Reread<T> {
    /// Reads a file by `parse`, which answers what is wrong with it.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn load(
        path: &Path,
        parse: impl Fn(&Reading<'_, T>) -> Result<Said<T>, String> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let parse: Parse<T> = Box::new(parse);
        let (value, seen) = read(path, &parse, None, &[])?;
        let state = State { value: Arc::new(value), looked: Instant::now(), seen, told: None };
        Ok(Self { path: path.to_path_buf(), parse, state: Mutex::new(state) })
    }

    /// What the file says now.
    pub fn get(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_AGAIN_AFTER {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        state.value.clone()
    }

    fn look(&self, state: &mut State<T>) {
        if state.told.is_none() && state.seen.iter().all(|(path, seen)| stamp(path) == *seen) {
            return;
        }
        match read(&self.path, &self.parse, Some(&state.value), &state.seen) {
            Ok((value, seen)) => {
                tracing::info!(path = %self.path.display(), "a configuration was read again");
                (state.value, state.seen, state.told) = (Arc::new(value), seen, None);
            }
            Err(error) => {
                let why = stdx::error::chain(&error);
                if state.told.as_ref() != Some(&why) {
                    tracing::error!("keeping the configuration in use: {why}");
                    state.told = Some(why);
                }
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// What the file says, and the files it was made of, as they were before they were read: one that changes meanwhile is
/// read again at the next look. Which others there are is known from `seen`.
#[allow(clippy::type_complexity, reason = "a pair that is taken apart at once")]
fn read<T>(
    path: &Path,
    parse: &Parse<T>,
    before: Option<&T>,
    seen: &[(PathBuf, Stamp)],
) -> Result<(T, Vec<(PathBuf, Stamp)>), Error> {
    let known: Vec<(&Path, Stamp)> = seen.iter().map(|(path, _)| (path.as_path(), stamp(path))).collect();
    let first = (path.to_path_buf(), stamp(path));
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    let said = parse(&Reading { path, text: &text, before });
    let said = said.map_err(|detail| Error::Credentials { path: path.to_path_buf(), detail })?;
    let named = said.named.into_iter().map(|path| {
        let before = known.iter().find(|(known, _)| *known == path).map(|(_, stamp)| *stamp);
        let stamp = before.unwrap_or_else(|| stamp(&path));
        (path, stamp)
    });
    let named: Vec<(PathBuf, Stamp)> = named.collect();
    Ok((said.value, std::iter::once(first).chain(named).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file that names another, whose number it says.
    fn number(reading: &Reading<'_, u32>) -> Result<Said<u32>, String> {
        let named = reading.path.with_file_name(reading.text.trim());
        let text = std::fs::read_to_string(&named).map_err(|error| error.to_string())?;
        let value = text.trim().parse().map_err(|_| format!("{text:?} is no number"))?;
        Ok(Said { value, named: vec![named] })
    }

    fn look(reread: &Reread<u32>) -> (u32, bool) {
        let mut state = reread.state.lock().expect("not poisoned");
        reread.look(&mut state);
        (*state.value, state.told.is_some())
    }

    #[test]
    fn what_a_file_names_is_read_again_and_what_cannot_be_read_is_tried_until_it_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, named) = (folder.path().join("first"), folder.path().join("named"));
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
        write(&path, "named");
        write(&named, "1");
        let reread = Reread::load(&path, number).expect("a number");
        assert_eq!(look(&reread), (1, false));
        write(&named, "22");
        assert_eq!(look(&reread), (22, false), "the named file has changed");
        // Changed and not to be read for a moment, and then again to be read without another change of the first.
        write(&path, "other");
        assert_eq!(look(&reread), (22, true));
        assert_eq!(look(&reread), (22, true));
        write(&folder.path().join("other"), "3");
        assert_eq!(look(&reread), (3, false));
        write(&path, "named ");
        write(&named, "x");
        assert_eq!(look(&reread), (3, true));
        write(&named, "4");
        assert_eq!(look(&reread), (4, false));
    }
}
