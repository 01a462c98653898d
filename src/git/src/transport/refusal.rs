//! What an HTTP server's answer means for a fetch: pure decisions.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

/// Why a 401 that asks for credentials cannot be answered; `None` where it can.
pub(super) fn challenge(headers: &HeaderMap, have: bool, sent: bool) -> Option<String> {
    // `Negotiate, Basic realm="x", charset="UTF-8"`: a scheme is a word before its parameters.
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let words = values.flat_map(|value| value.split(',')).filter_map(|part| part.split_whitespace().next());
    let schemes: Vec<&str> = words.filter(|word| !word.contains('=')).collect();
    let basic = schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    if sent {
        return Some("the server refused the user name or password: check auth.username and auth.password".to_owned());
    }
    if !basic {
        let wanted = if schemes.is_empty() { "nothing that it names".to_owned() } else { schemes.join(", ") };
        return Some(format!("the server takes no user name and password, but {wanted}: check url and auth"));
    }
    (!have).then(|| "the server asks for a user name and password: give auth.username and auth.password".to_owned())
}

/// Why an answer is not what was asked for, `wanted` being the media type; `None` where it is.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, wanted: &str) -> Option<String> {
    let number = status.as_u16();
    match status {
        StatusCode::OK => {}
        StatusCode::FORBIDDEN => {
            return Some("the server forbids it (403): may these credentials read the repository?".to_owned());
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Some(format!(
                "the server has no such repository ({number}), or hides it from those it does not know: check url and auth"
            ));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            return Some(format!("the server is busy ({number}): it is asked again later"));
        }
        _ => return Some(format!("the server answered {status}")),
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(wanted) {
        let found = if media_type.is_empty() { "nothing it names" } else { media_type };
        return Some(format!(
            "the server does not speak Git's smart HTTP protocol there (it answered {found}): is that a repository's URL?"
        ));
    }
    let encoding = text(CONTENT_ENCODING);
    (!encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
        .then(|| format!("the server answered in {encoding}, which was not asked for"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn credentials_are_given_once_and_only_as_basic() {
        let table = [
            ("Basic realm=\"x\"", true, false, None),
            ("basic", true, false, None),
            ("Negotiate, Basic realm=\"x\"", true, false, None),
            ("Basic realm=\"x\"", false, false, Some("give auth.username")),
            ("Basic realm=\"x\"", true, true, Some("refused the user name or password")),
            ("Negotiate", true, false, Some("but Negotiate")),
            ("Digest realm=\"basic\", nonce=\"x\"", true, false, Some("but Digest")),
        ];
        for (value, have, sent, expected) in table {
            let why = challenge(&headers(&[(WWW_AUTHENTICATE, value)]), have, sent);
            assert_eq!(why.is_some(), expected.is_some(), "{value}: {why:?}");
            assert!(why.unwrap_or_default().contains(expected.unwrap_or_default()), "{value}");
        }
        assert!(challenge(&HeaderMap::new(), true, false).is_some());
    }

    #[test]
    fn answers_that_are_no_repository_say_so() {
        const PACK: &str = "application/x-git-upload-pack-result";
        let table = [
            (200, PACK, None),
            (200, "application/x-git-upload-pack-result; charset=utf-8", None),
            (200, "text/html", Some("(it answered text/html)")),
            (404, PACK, Some("no such repository")),
            (403, PACK, Some("forbids")),
            (503, PACK, Some("busy")),
            (500, PACK, Some("500 Internal Server Error")),
            (206, PACK, Some("206")),
        ];
        for (status, media_type, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let why = refusal(status, &headers(&[(CONTENT_TYPE, media_type)]), PACK);
            assert_eq!(why.is_some(), expected.is_some(), "{status}: {why:?}");
            assert!(why.unwrap_or_default().contains(expected.unwrap_or_default()), "{status}");
        }
        let packed = headers(&[(CONTENT_TYPE, PACK), (CONTENT_ENCODING, "gzip")]);
        assert!(refusal(StatusCode::OK, &packed, PACK).unwrap().contains("gzip"));
    }
}
