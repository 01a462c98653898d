//! URLs of repositories: which way they go, and to which host. Nothing is resolved or opened here.

use crate::Error;

/// The user where an ssh URL names none, as Git servers have it.
const USUAL_USER: &str = "git";

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// `https://host/path`.
    Https,
    /// `ssh://user@host:port/path` or `user@host:path`.
    Ssh(SshPlace),
    /// `file:///path`.
    File,
}

/// A repository behind an ssh server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshPlace {
    /// `git` where none is named.
    pub user: String,
    /// The host's name or address, without brackets.
    pub host: String,
    /// 22 where none is named.
    pub port: u16,
    /// The path as the server is told it.
    pub path: String,
}

/// Reads the URL of a repository.
///
/// # Errors
/// [`Error::Url`] for another scheme, for `http://`, and for a URL with a password in it.
pub fn parse(url: &str) -> Result<Way, Error> {
    let wrong = |why: &str| Error::Url(format!("{}: {why}", without_password(url)));
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong("a URL has no blanks"));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return scp(url).ok_or_else(|| wrong("expected https://, ssh://, user@host:path or file://"));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if user.is_some_and(|user| user.contains(':')) || (scheme == "https" && user.is_some()) {
        return Err(wrong("a secret does not belong into the URL: give username and password of their own"));
    }
    match scheme {
        "file" if rest.starts_with('/') => Ok(Way::File),
        "file" => Err(wrong("expected file:///absolute/path")),
        "https" if !host.is_empty() => Ok(Way::Https),
        "ssh" => ssh(user, host, path).ok_or_else(|| wrong("expected ssh://user@host:port/path")),
        "http" => Err(wrong("http is open to everyone on the way: use https")),
        _ => Err(wrong("expected https://, ssh://, user@host:path or file://")),
    }
}

/// `user@host:path`; the host may stand in brackets.
fn scp(url: &str) -> Option<Way> {
    let (user, rest) = url.split_once('@')?;
    let (host, path) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => rest.split_once(':')?,
    };
    let fits = !user.is_empty() && !host.is_empty() && !user.contains([':', '/']) && !host.contains('/');
    (fits && is_path(path)).then(|| Way::Ssh(SshPlace::new(user, host, 22, path)))
}

/// `ssh://user@host:port/path`, cut into its parts.
fn ssh(user: Option<&str>, host: &str, path: &str) -> Option<Way> {
    let (host, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(22), |port| port.parse().ok())?;
    let decode = |text| Some(percent_encoding::percent_decode_str(text).decode_utf8().ok()?.into_owned());
    let (user, path) = (decode(user.unwrap_or(USUAL_USER))?, decode(path)?);
    // A home folder is named without the slash that a URL needs, as Git does it.
    let path = if path.starts_with("/~") { &path[1..] } else { &path };
    let fits = !user.is_empty() && !host.is_empty() && path != "/" && !path.contains('\0');
    (fits && is_path(path)).then(|| Way::Ssh(SshPlace::new(&user, host, port, path)))
}

/// What a server would take for an option is no path.
fn is_path(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('-')
}

impl SshPlace {
    fn new(user: &str, host: &str, port: u16, path: &str) -> Self {
        Self { user: user.to_owned(), host: host.to_owned(), port, path: path.to_owned() }
    }
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{}", &rest[authority.len()..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_told_apart() {
        let ssh = |user: &str, host: &str, port, path: &str| Way::Ssh(SshPlace::new(user, host, port, path));
        let table = [
            ("https://example.com/a/b.git", Way::Https),
            ("file:///srv/git/a", Way::File),
            ("ssh://me@example.com/a", ssh("me", "example.com", 22, "/a")),
            ("ssh://example.com:2222/a/b.git", ssh("git", "example.com", 2222, "/a/b.git")),
            ("ssh://[::1]:2222/a%20b", ssh("git", "::1", 2222, "/a b")),
            ("ssh://me@example.com/~me/a", ssh("me", "example.com", 22, "~me/a")),
            ("git@example.com:a/b.git", ssh("git", "example.com", 22, "a/b.git")),
            ("me@example.com:/a", ssh("me", "example.com", 22, "/a")),
            ("git@[::1]:a", ssh("git", "::1", 22, "a")),
        ];
        for (url, way) in table {
            assert_eq!(parse(url).unwrap(), way, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_fetched_says_why_and_shows_no_secret() {
        let table = [
            ("http://example.com/a", "use https"),
            ("https://me:hunter2@example.com/a", "a secret does not belong into the URL"),
            ("https://hunter2@example.com/a", "a secret does not belong into the URL"),
            ("ssh://git:hunter2@example.com/a", "a secret does not belong into the URL"),
            ("ssh://git@example.com:x/a", "expected ssh://"),
            ("ssh://git@example.com", "expected ssh://"),
            ("ssh://git@example.com/", "expected ssh://"),
            ("git@example.com:--help", "expected https://"),
            ("file://relative", "expected file:///absolute/path"),
            ("example", "expected https://"),
            ("git@example.com: a", "no blanks"),
        ];
        for (url, why) in table {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
