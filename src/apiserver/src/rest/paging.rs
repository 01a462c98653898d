//! `resourceVersion`, `resourceVersionMatch`, `limit` and `continue` of a list: which page of which state it is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::versions;
use crate::request::Query;
use crate::status::{Result, Status};

/// Which state of the store a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Newest,
    /// This revision or a newer one.
    NotOlderThan(u64),
    /// Exactly this revision.
    Exactly(u64),
}

/// What a list asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Which state.
    pub at: At,
    /// At most this many; `None` for all.
    pub limit: Option<usize>,
    /// Begin behind this name, which is relative to the prefix of the list (`NAMESPACE/NAME` across namespaces).
    pub after: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// The token that continues behind `after` at `revision`; `None` continues at whatever is the newest then.
pub fn token(revision: Option<u64>, after: &str) -> String {
    let rv = revision.and_then(|revision| i64::try_from(revision).ok()).unwrap_or(-1);
    let token = Token { v: TOKEN_VERSION.to_string(), rv, start: format!("{after}\0") };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn read_token(text: &str) -> Result<(At, String)> {
    let refused = |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| refused("not base64"))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| refused("not a token of this server"))?;
    if token.v != TOKEN_VERSION {
        return Err(refused("server does not recognize this encoded version"));
    }
    let at = match token.rv {
        -1 => At::Newest,
        rv => At::Exactly(
            u64::try_from(rv)
                .ok()
                .filter(|rv| *rv > 0)
                .ok_or_else(|| refused("incorrect encoded start resourceVersion"))?,
        ),
    };
    let after = token.start.strip_suffix('\0').unwrap_or(&token.start).to_string();
    if after.is_empty() {
        return Err(refused("no start key"));
    }
    Ok((at, after))
}

impl Page {
    /// Reads the query of a list.
    ///
    /// # Errors
    /// 400 and 422 for combinations that mean nothing.
    pub fn read(query: &Query) -> Result<Self> {
        let version = query.get("resourceVersion").unwrap_or_default();
        let matching = query.get("resourceVersionMatch").unwrap_or_default();
        let token = query.get("continue").unwrap_or_default();
        versions::number(query, "timeoutSeconds")?;
        // Nothing and less than nothing are all.
        let limit =
            versions::number(query, "limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        versions::check(query)?;
        if !token.is_empty() {
            if !matches!(version, "" | "0") {
                return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
            }
            let (at, after) = read_token(token)?;
            return Ok(Self { at, limit, after: Some(after) });
        }
        let version = versions::read(version);
        let version = version.map_err(|wrong| Status::bad_request(format!("invalid resource version: {wrong}")))?;
        let at = match (version, matching) {
            (None, _) => At::Newest,
            (Some(revision), "Exact") => At::Exactly(revision),
            (Some(revision), "NotOlderThan") => At::NotOlderThan(revision),
            // What clients from before resourceVersionMatch rely on.
            (Some(revision), _) if limit.is_some() => At::Exactly(revision),
            (Some(revision), _) => At::NotOlderThan(revision),
        };
        Ok(Self { at, limit, after: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> std::result::Result<Page, u16> {
        Page::read(&Query::parse(query)).map_err(|status| status.code())
    }

    #[test]
    fn versions_matches_and_limits_mean_what_kubernetes_says() {
        let cases = [
            ("", Ok((At::Newest, None))),
            ("resourceVersion=0", Ok((At::Newest, None))),
            ("resourceVersion=5", Ok((At::NotOlderThan(5), None))),
            ("resourceVersion=5&limit=2", Ok((At::Exactly(5), Some(2)))),
            ("resourceVersion=5&limit=2&resourceVersionMatch=NotOlderThan", Ok((At::NotOlderThan(5), Some(2)))),
            ("resourceVersion=5&resourceVersionMatch=Exact", Ok((At::Exactly(5), None))),
            ("resourceVersion=0&resourceVersionMatch=Exact", Err(422)),
            ("resourceVersionMatch=Exact", Err(422)),
            ("resourceVersion=5&resourceVersionMatch=Other", Err(422)),
            ("resourceVersion=x", Err(400)),
            ("sendInitialEvents=true", Err(422)),
            ("limit=x", Err(400)),
            ("continue=x", Err(400)),
        ];
        for (query, expected) in cases {
            assert_eq!(page(query).map(|page| (page.at, page.limit)), expected, "{query}");
        }
    }

    #[test]
    fn tokens_come_back_as_they_were_made() {
        let query = format!("limit=2&continue={}", token(Some(9), "default/x"));
        let expected = Page { at: At::Exactly(9), limit: Some(2), after: Some("default/x".to_string()) };
        assert_eq!(page(&query), Ok(expected));
        let query = format!("continue={}", token(None, "x"));
        assert_eq!(page(&query).map(|page| page.at), Ok(At::Newest));
    }
}
