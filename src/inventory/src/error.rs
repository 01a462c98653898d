//! What can be wrong with an inventory, said with file, line and column.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why an inventory was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the inventory {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large to be an inventory.
    #[error("{} is larger than {limit_bytes} bytes; an inventory is not", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit_bytes: u64,
    },
    /// The content is wrong; never empty.
    #[error("{}", join(problems))]
    Invalid {
        /// Every problem, in the order of the file.
        problems: Vec<Problem>,
    },
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named on the command line.
    pub file: PathBuf,
    /// Counted from 1; 0 where the place is not known.
    pub line: u64,
    /// Counted from 1; 0 where the place is not known.
    pub column: u64,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub line: u64,
    pub column: u64,
}

/// Problems as they are found, so that one run shows all of them.
pub(crate) struct Problems {
    file: PathBuf,
    found: Vec<Problem>,
}

impl Problems {
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    pub fn add(&mut self, place: Place, message: impl Into<String>) {
        let problem =
            Problem { file: self.file.clone(), line: place.line, column: place.column, message: message.into() };
        // A range repeats its own mistakes for every host it stands for.
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    pub fn into_result<T>(mut self, value: T) -> Result<T, Error> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        Err(Error::Invalid { problems: self.found })
    }
}
