//! A configuration file that is looked at again while the server runs. What cannot be used does not replace what is in
//! use, and is told in the log once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::error::Error;

/// How often the file is looked at.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

type Parse<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// A file and what it says.
pub struct Reread<T> {
    path: PathBuf,
    parse: Parse<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    looked: Instant,
    seen: Option<(SystemTime, u64)>,
}

impl<T> Reread<T> {
    /// Reads a file by `parse`, which answers what is wrong with it.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn load(path: &Path, parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static) -> Result<Self, Error> {
        let parse: Parse<T> = Box::new(parse);
        let seen = stamp(path);
        let value = Arc::new(read(path, &parse)?);
        let state = Mutex::new(State { value, looked: Instant::now(), seen });
        Ok(Self { path: path.to_path_buf(), parse, state })
    }

    /// What the file says now.
    pub fn get(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK_AGAIN_AFTER {
            return state.value.clone();
        }
        state.looked = Instant::now();
        let seen = stamp(&self.path);
        if seen != state.seen {
            state.seen = seen;
            match read(&self.path, &self.parse) {
                Ok(value) => {
                    tracing::info!(path = %self.path.display(), "a configuration was read again");
                    state.value = Arc::new(value);
                }
                Err(error) => tracing::error!("keeping the configuration in use: {}", stdx::error::chain(&error)),
            }
        }
        state.value.clone()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read<T>(path: &Path, parse: &Parse<T>) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    parse(&text).map_err(|detail| Error::Credentials { path: path.to_path_buf(), detail })
}
