//! URLs of repositories: which way they go, and to which host. Nothing is resolved or opened here.

use crate::Error;

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// `https://host/path`.
    Https,
    /// `ssh://user@host:port/path` or `user@host:path`.
    Ssh {
        /// The host's name or address, without brackets.
        host: String,
        /// 22 where none is named.
        port: u16,
    },
    /// `file:///path`.
    File,
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
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if user.is_some_and(|user| user.contains(':')) || (scheme == "https" && user.is_some()) {
        return Err(wrong("a secret does not belong into the URL: give username and password of their own"));
    }
    match scheme {
        "file" if rest.starts_with('/') => Ok(Way::File),
        "file" => Err(wrong("expected file:///absolute/path")),
        "https" if !host.is_empty() => Ok(Way::Https),
        "ssh" => host_and_port(host).ok_or_else(|| wrong("expected ssh://user@host:port/path")),
        "http" => Err(wrong("http is open to everyone on the way: use https")),
        _ => Err(wrong("expected https://, ssh://, user@host:path or file://")),
    }
}

/// `user@host:path`.
fn scp(url: &str) -> Option<Way> {
    let (authority, path) = url.split_once(':')?;
    let (user, host) = authority.split_once('@')?;
    let fits = !user.is_empty() && !host.is_empty() && !path.is_empty() && !authority.contains('/');
    fits.then(|| Way::Ssh { host: host.to_owned(), port: 22 })
}

fn host_and_port(authority: &str) -> Option<Way> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(22), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| Way::Ssh { host: host.to_owned(), port })
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
        let ssh = |host: &str, port| Way::Ssh { host: host.to_owned(), port };
        let table = [
            ("https://example.com/a/b.git", Way::Https),
            ("file:///srv/git/a", Way::File),
            ("ssh://git@example.com/a", ssh("example.com", 22)),
            ("ssh://git@example.com:2222/a", ssh("example.com", 2222)),
            ("ssh://[::1]:2222/a", ssh("::1", 2222)),
            ("git@example.com:a/b.git", ssh("example.com", 22)),
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
