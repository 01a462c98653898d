//! What of this crate reads bytes from outside, as functions of bytes and texts: the doors that fuzz targets come in by
//! (docs/fuzzing.md). Nothing here is for anybody else, and nothing is decided here.

use serde_json::Value;

use crate::authn::oidc;

pub use crate::accept::{Form, Format, clauses, negotiate, negotiate_format, of_failures};
pub use crate::authn::bearer_token;
pub use crate::authn::front_proxy::user as front_proxy_user;
pub use crate::body::accepts_gzip;
pub use crate::handler::deadline::of as deadline;
pub use crate::handler::impersonate::wanted as impersonated;
pub use crate::rest::decode::{body, media_type};
pub use crate::rest::options::DeleteOptions;
pub use crate::rest::paging::{At, Page, token};
pub use crate::rest::protobuf;
pub use crate::server::targets::Targets;
pub use crate::stream::forward::{led_below, passed_on, wants_upgrade};
pub use crate::stream::links::rewritten;
pub use crate::stream::messages::offered;
pub use crate::stream::options as connections;
pub use crate::stream::{place, spdy, websocket};

/// The claims of what has the form of a JSON Web Token, whoever made it.
pub fn claims_of(token: &str) -> Option<Value> {
    oidc::parts(token).map(|(_, claims)| claims)
}

/// Whether the claims of an issuer's token hold at a time.
pub fn holds_at(claims: &Value, now_ms: i64) -> bool {
    oidc::check_times(claims, now_ms).is_ok()
}
