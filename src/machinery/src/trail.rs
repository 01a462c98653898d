//! The way to a value while walking an object, without allocating until someone asks for its text.

use std::fmt;

use crate::field::Path;

/// A step and all before it, on the stack of the walk.
#[derive(Clone, Copy)]
pub(crate) enum Trail<'a> {
    Root,
    Key(&'a Trail<'a>, &'a str),
    Index(&'a Trail<'a>, usize),
}

impl Trail<'_> {
    pub(crate) fn is_root(&self) -> bool {
        matches!(self, Self::Root)
    }

    /// The names alone, as Go's decoder reports a field: `spec.containers.image`.
    pub(crate) fn names(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Index(before, _) => before.names(),
            Self::Key(before, name) => {
                let before = before.names();
                if before.is_empty() { name.to_string() } else { format!("{before}.{name}") }
            }
        }
    }

    /// As a path of validation.
    pub(crate) fn path(&self) -> Path {
        match self {
            Self::Root => Path::default(),
            Self::Key(before, name) => before.path().child(name),
            Self::Index(before, index) => before.path().index(*index),
        }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(before, name) if before.is_root() => f.write_str(name),
            Self::Key(before, name) => write!(f, "{before}.{name}"),
            Self::Index(before, index) => write!(f, "{before}[{index}]"),
        }
    }
}
