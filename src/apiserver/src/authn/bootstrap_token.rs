//! Bootstrap tokens: short-lived shared secrets, kept as Secrets in kube-system, with which a host that joins asks
//! for its certificate.

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use stdx::clock::Clock;

use super::{Bearer, Refusal, TokenReader};
use crate::live::{Live, text};
use crate::request::User;

const NAMESPACE: &str = "kube-system";
const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const DEFAULT_GROUP: &str = "system:bootstrappers";

/// Reads tokens of the form `abcdef.0123456789abcdef`.
pub struct BootstrapTokens<C> {
    live: Live,
    clock: C,
}

impl<C: Clock> BootstrapTokens<C> {
    /// Looks the Secrets up in `live`.
    pub fn new(live: Live, clock: C) -> Self {
        Self { live, clock }
    }
}

#[async_trait]
impl<C: Clock> TokenReader for BootstrapTokens<C> {
    async fn read(&self, token: &str, _audiences: &[String]) -> Result<Option<Bearer>, Refusal> {
        let Some((id, secret)) = parse(token) else { return Ok(None) };
        let found = self.live.get("", "secrets", NAMESPACE, &format!("bootstrap-token-{id}")).await?;
        // The same words whatever is wrong: whoever guesses learns nothing.
        let refused = || Refusal(format!("the bootstrap token {id} does not hold"));
        let groups = found.and_then(|found| judge(&found, id, secret, self.clock.now())).ok_or_else(refused)?;
        let user = User { name: format!("system:bootstrap:{id}"), groups, ..User::default() };
        Ok(Some(Bearer { user, audiences: Vec::new() }))
    }
}

/// The two parts of a token; `None` where it is no bootstrap token.
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let sound = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && sound(id) && sound(secret)).then_some((id, secret))
}

/// The groups of the token's bearer; `None` where the Secret does not back it now.
fn judge(found: &Value, id: &str, secret: &str, now: Timestamp) -> Option<Vec<String>> {
    let field = |name: &str| {
        let encoded = found.get("data").and_then(|data| data.get(name)).and_then(Value::as_str).unwrap_or_default();
        BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    };
    let deleted = found.pointer("/metadata/deletionTimestamp").is_some();
    if deleted || text(found, "/type") != SECRET_TYPE || field("token-id") != id {
        return None;
    }
    // Compared in constant time: how long it takes says nothing of where the first difference is.
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(field("token-secret").as_bytes(), secret.as_bytes());
    if same.is_err() || field("usage-bootstrap-authentication") != "true" {
        return None;
    }
    let expiration = field("expiration");
    if !expiration.is_empty() && expiration.parse::<Timestamp>().ok()? < now {
        return None;
    }
    let mut groups = vec![DEFAULT_GROUP.to_string()];
    for group in field("auth-extra-groups").split(',').map(str::trim).filter(|group| !group.is_empty()) {
        // Nobody may be made an administrator by a token: only groups below this name count.
        if !group.starts_with("system:bootstrappers:") {
            return None;
        }
        groups.push(group.to_string());
    }
    groups.dedup();
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(changes: &[(&str, &str)]) -> Value {
        let mut data = vec![
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", "system:bootstrappers:rkctl"),
            ("expiration", "2030-01-01T00:00:00Z"),
        ];
        data.extend(changes);
        let data: serde_json::Map<String, Value> =
            data.iter().map(|(key, value)| (key.to_string(), BASE64_STANDARD.encode(value).into())).collect();
        json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": SECRET_TYPE, "data": data})
    }

    #[test]
    fn only_well_formed_tokens_are_bootstrap_tokens() {
        assert_eq!(parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for token in ["abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcdef", "a.b.c", "abcde/.0123456789abcdef"]
        {
            assert_eq!(parse(token), None, "{token}");
        }
    }

    #[test]
    fn a_token_holds_while_its_secret_says_so() {
        let now: Timestamp = "2029-01-01T00:00:00Z".parse().expect("a time");
        let judged = |changes: &[(&str, &str)]| judge(&secret(changes), "abcdef", "0123456789abcdef", now);
        assert_eq!(judged(&[]).expect("holds"), ["system:bootstrappers", "system:bootstrappers:rkctl"]);
        assert_eq!(judged(&[("expiration", ""), ("auth-extra-groups", "")]).expect("holds"), [DEFAULT_GROUP]);
        for change in [
            ("token-secret", "0123456789abcdee"),
            ("token-id", "abcdeg"),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "2028-01-01T00:00:00Z"),
            ("expiration", "soon"),
            ("auth-extra-groups", "system:masters"),
        ] {
            assert_eq!(judged(&[change]), None, "{change:?}");
        }
    }
}
