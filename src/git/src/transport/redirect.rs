//! The URLs of Git's smart HTTP protocol, and where a server may lead us: to another path of the same scheme, host and
//! port, and only from the list of references. Decides; asks nobody. Source: Git's http-protocol documentation.

use url::Url;

/// A repository that moved is one or two redirects away.
pub(super) const MAX_REDIRECTS: usize = 5;
/// The only service that is asked for.
const SERVICE: &str = "git-upload-pack";
/// Where a repository's references are listed.
const LISTING: &str = "/info/refs";

/// Where the references of `repository` are listed.
pub(super) fn listing(repository: &Url) -> Url {
    let mut url = below(repository, LISTING);
    let service = format!("service={SERVICE}");
    let query = url.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&{service}"));
    url.set_query(Some(query.as_deref().unwrap_or(&service)));
    url
}

/// Where packs of `repository` are asked for.
pub(super) fn service(repository: &Url) -> Url {
    below(repository, &format!("/{SERVICE}"))
}

fn below(repository: &Url, path: &str) -> Url {
    let mut url = repository.clone();
    url.set_path(&format!("{}{path}", repository.path().trim_end_matches('/')));
    url.set_fragment(None);
    url
}

/// The repository whose references were found at `listing`: the opposite of [`listing`].
///
/// # Errors
/// Why it is no repository's.
pub(super) fn repository(listing: &Url) -> Result<Url, String> {
    let path = listing.path().strip_suffix(LISTING);
    let path = path.ok_or("the server redirects to what is no repository: a page to log in? Check url and auth")?;
    let mut url = listing.clone();
    url.set_path(path);
    let kept: Vec<&str> =
        listing.query().unwrap_or("").split('&').filter(|part| !part.starts_with("service=")).collect();
    let kept = kept.join("&");
    url.set_query(Some(kept.as_str()).filter(|query| !query.is_empty()));
    Ok(url)
}

/// Where `location`, the answer to a request to `from`, leads.
///
/// # Errors
/// Why it is not followed; the path and query of another server's URL are not told, as secrets may be in them.
pub(super) fn follow(from: &Url, location: Option<&str>) -> Result<Url, String> {
    let location = location.ok_or("the server redirects to nowhere")?;
    let mut to = from.join(location).map_err(|error| format!("the server redirects to what is no URL: {error}"))?;
    if to.scheme() == "http" {
        return Err("the server redirects to http, which is open to everyone on the way: not followed".to_owned());
    }
    if to.origin() != from.origin() {
        let origin = to.origin().ascii_serialization();
        return Err(format!(
            "the server redirects to another ({origin}): not followed; if that is right, give its URL"
        ));
    }
    // Credentials are ours alone to choose. They cannot be missing: there is a host.
    let _has_host = (to.set_username(""), to.set_password(None));
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_repository_and_its_listing_belong_together() {
        let table = [
            ("https://h/a.git", "https://h/a.git/info/refs?service=git-upload-pack", "https://h/a.git/git-upload-pack"),
            ("https://h/a/", "https://h/a/info/refs?service=git-upload-pack", "https://h/a/git-upload-pack"),
            ("https://h", "https://h/info/refs?service=git-upload-pack", "https://h/git-upload-pack"),
            (
                "https://h:8443/a?x=1#f",
                "https://h:8443/a/info/refs?x=1&service=git-upload-pack",
                "https://h:8443/a/git-upload-pack?x=1",
            ),
        ];
        for (base, list, rpc) in table {
            assert_eq!(listing(&url(base)).as_str(), list);
            assert_eq!(service(&url(base)).as_str(), rpc);
            assert_eq!(service(&repository(&url(list)).unwrap()).as_str(), rpc);
        }
        assert!(repository(&url("https://h/login?next=/info/refs")).is_err());
    }

    #[test]
    fn only_the_same_server_is_followed() {
        let from = url("https://git.example/old/info/refs?service=git-upload-pack");
        let table = [
            (Some("/new/info/refs?service=x"), Ok("https://git.example/new/info/refs?service=x")),
            (Some("https://git.example:443/new/info/refs"), Ok("https://git.example/new/info/refs")),
            (Some("https://me:hunter2@git.example/new"), Ok("https://git.example/new")),
            (Some("//git.example/new"), Ok("https://git.example/new")),
            (Some("http://git.example/new"), Err("redirects to http")),
            (Some("https://git.example:8443/new"), Err("redirects to another (https://git.example:8443)")),
            (Some("https://evil.example/new?hunter2"), Err("redirects to another (https://evil.example)")),
            (Some("//evil.example/new"), Err("redirects to another")),
            (Some("ftp://git.example/new"), Err("redirects to another")),
            (Some("https://"), Err("is no URL")),
            (None, Err("to nowhere")),
        ];
        for (location, expected) in table {
            match (follow(&from, location), expected) {
                (Ok(to), Ok(expected)) => assert_eq!(to.as_str(), expected),
                (Err(why), Err(expected)) => assert!(why.contains(expected) && !why.contains("hunter2"), "{why}"),
                (found, _) => panic!("{location:?}: {found:?}"),
            }
        }
    }
}
