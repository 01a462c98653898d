//! Places in an expression, and errors shown at their place as users of CEL know them.

use std::fmt;

/// Longer lines are not repeated in messages.
const MAX_SNIPPET_CHARS: usize = 16_384;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Counted from 1.
    pub line: usize,
    /// Code points before it in its line.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    snippet: String,
}

impl Issue {
    /// What is wrong at a place (in code points) of a source.
    pub(crate) fn new(source: &str, offset: usize, message: impl Into<String>) -> Self {
        let (mut line, mut column) = (1, 0);
        for character in source.chars().take(offset) {
            if character == '\n' {
                line += 1;
                column = 0;
            } else {
                column += 1;
            }
        }
        let snippet = source.split('\n').nth(line - 1).unwrap_or_default().replace('\t', " ");
        Self { line, column, message: message.into(), snippet }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR: <input>:{}:{}: {}", self.line, self.column + 1, self.message)?;
        if self.snippet.chars().count() > MAX_SNIPPET_CHARS {
            return Ok(());
        }
        write!(f, "\n | {}\n | ", self.snippet)?;
        let mut characters = self.snippet.chars();
        for character in characters.by_ref().take(self.column) {
            f.write_str(if character.len_utf8() > 1 { "\u{ff0e}" } else { "." })?;
        }
        let is_wide = characters.next().is_some_and(|character| character.len_utf8() > 1);
        f.write_str(if is_wide { "\u{ff3e}" } else { "^" })
    }
}

/// Everything that is wrong with an expression; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issues(pub Vec<Issue>);

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{issue}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Issues {}
