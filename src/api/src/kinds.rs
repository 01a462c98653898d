//! What each kind adds to the common behaviour: defaults, validation, columns, field selectors.

pub mod plain;
