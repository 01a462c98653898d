//! The syntax of ssh_config(5): keywords, words, conditions, included files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::known_hosts::matches_list;

/// Files included by files included by files….
const INCLUDE_DEPTH_LIMIT: usize = 16;

/// One file of configuration is never larger.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// A place in a file.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub path: PathBuf,
    pub line: usize,
}

impl At {
    pub(super) fn error(&self, problem: impl Into<String>) -> Error {
        Error::Config { path: self.path.clone(), line: self.line, problem: problem.into() }
    }
}

/// When a directive holds.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// The name that was asked for fits one of these patterns.
    Host(Vec<String>),
    /// All of these fit: `Match`.
    Match(Vec<Criterion>),
}

/// One criterion of a `Match` line.
#[derive(Debug, Clone)]
pub(super) enum Criterion {
    All,
    Host(String),
    OriginalHost(String),
    User(String),
    LocalUser(String),
    /// One that is not supported: never fits.
    Other,
}

/// What conditions are compared with.
pub(super) struct Subject<'a> {
    pub original: &'a str,
    pub host: &'a str,
    pub user: &'a str,
    pub local_user: &'a str,
}

impl Condition {
    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        let list = |patterns: &str, text: &str| matches_list(patterns.split(','), text);
        match self {
            Self::Host(patterns) => matches_list(patterns.iter().map(String::as_str), subject.original),
            Self::Match(criteria) => criteria.iter().all(|criterion| match criterion {
                Criterion::All => true,
                Criterion::Host(patterns) => list(patterns, subject.host),
                Criterion::OriginalHost(patterns) => list(patterns, subject.original),
                Criterion::User(patterns) => list(patterns, subject.user),
                Criterion::LocalUser(patterns) => list(patterns, subject.local_user),
                Criterion::Other => false,
            }),
        }
    }
}

/// A keyword with its words, and the conditions under which it holds.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    pub at: At,
    /// In lower case: case does not matter.
    pub keyword: String,
    pub words: Vec<String>,
    pub conditions: Vec<Condition>,
}

/// Reads files and what they include.
pub(super) struct Parser<'a> {
    /// Where `~` and relative includes begin.
    pub home: &'a Path,
    pub directives: Vec<Directive>,
}

impl Parser<'_> {
    /// Reads the file at `path`; one that does not exist counts as empty.
    pub(super) fn file(&mut self, path: &Path, outer: &[Condition], depth: usize) -> Result<(), Error> {
        let failed = |source| Error::ReadConfig { path: path.to_owned(), source };
        match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
            Ok(metadata) if metadata.len() > FILE_LIMIT_BYTES => {
                return Err(failed(std::io::Error::other(format!("larger than {FILE_LIMIT_BYTES} bytes"))));
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        self.text(path, &text, outer, depth)
    }

    /// Reads `text` as the content of `path`.
    pub(super) fn text(&mut self, path: &Path, text: &str, outer: &[Condition], depth: usize) -> Result<(), Error> {
        let mut block: Option<Condition> = None;
        for (index, line) in text.lines().enumerate() {
            let at = At { path: path.to_owned(), line: index + 1 };
            let Some((keyword, words)) = split(line).map_err(|problem| at.error(problem))? else { continue };
            if words.is_empty() {
                return Err(at.error(format!("`{keyword}` has no value")));
            }
            let conditions = || outer.iter().cloned().chain(block.clone()).collect::<Vec<_>>();
            match keyword.as_str() {
                "host" => block = Some(Condition::Host(words)),
                "match" => block = Some(Condition::Match(criteria(&at, &words)?)),
                "include" if depth >= INCLUDE_DEPTH_LIMIT => {
                    return Err(at.error(format!("files include each other more than {INCLUDE_DEPTH_LIMIT} deep")));
                }
                "include" => {
                    let conditions = conditions();
                    for path in words.iter().flat_map(|pattern| included(self.home, pattern)) {
                        self.file(&path, &conditions, depth + 1)?;
                    }
                }
                _ => {
                    let conditions = conditions();
                    self.directives.push(Directive { at, keyword, words, conditions });
                }
            }
        }
        Ok(())
    }
}

/// Splits a line into its keyword in lower case and its words; `None` when there is nothing on it.
pub(super) fn split(line: &str) -> Result<Option<(String, Vec<String>)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let keyword = line[..end].to_lowercase();
    let rest = line[end..].trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let mut words = Vec::new();
    let mut chars = rest.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = chars.peek().copied() else { break };
        if first == '#' {
            break;
        }
        let mut word = String::new();
        let mut quoted = false;
        while let Some(c) = chars.next_if(|c| quoted || !c.is_whitespace()) {
            match c {
                '"' => quoted = !quoted,
                '\\' if chars.peek().is_some_and(|next| matches!(next, '"' | '\\')) => word.extend(chars.next()),
                _ => word.push(c),
            }
        }
        if quoted {
            return Err("a quotation is not closed");
        }
        words.push(word);
    }
    Ok(Some((keyword, words)))
}

fn criteria(at: &At, words: &[String]) -> Result<Vec<Criterion>, Error> {
    let mut criteria = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value =
            |name: &str| words.next().cloned().ok_or_else(|| at.error(format!("`match {name}` has no value")));
        criteria.push(match word.to_lowercase().as_str() {
            "all" => Criterion::All,
            "host" => Criterion::Host(value("host")?),
            "originalhost" => Criterion::OriginalHost(value("originalhost")?),
            "user" => Criterion::User(value("user")?),
            "localuser" => Criterion::LocalUser(value("localuser")?),
            "canonical" | "final" => Criterion::Other,
            other => {
                tracing::warn!(path = %at.path.display(), line = at.line, criterion = other, "Match criterion is not supported; the block is passed over");
                value(other)?;
                Criterion::Other
            }
        });
    }
    Ok(criteria)
}

/// The files that an include pattern names, sorted; `*` and `?` may stand in the last part of the path.
fn included(home: &Path, pattern: &str) -> Vec<PathBuf> {
    let path = match pattern.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => home.join(".ssh").join(pattern),
    };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return vec![path];
    };
    if !name.contains(['*', '?']) {
        return vec![path];
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|entry| !entry.starts_with('.') && matches_list([name], entry))
    };
    let mut paths: Vec<PathBuf> = entries.filter(fits).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
