//! Documents of issuers over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::keys::Fetch;
use crate::webhook::{Caller, Endpoint};

/// An issuer that takes longer does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Gets documents with the server's own client.
pub struct OverHttps(pub Arc<Caller>);

#[async_trait]
impl Fetch for OverHttps {
    async fn get(&self, url: &str, authorities: Option<&[u8]>) -> Result<Bytes, String> {
        // Which issuers there are only the operator says.
        let endpoint = Endpoint { authorities: authorities.map(<[u8]>::to_vec), ..Endpoint::of_operator(url) };
        self.0.get(&endpoint, ANSWER_WITHIN).await.map_err(|failure| failure.to_string())
    }
}
