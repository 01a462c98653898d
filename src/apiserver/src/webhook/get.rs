//! Reading a document from an endpoint, such as what an issuer of tokens tells of itself.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, HOST, USER_AGENT};

use super::{Caller, DOCUMENT_BYTES_MAX, Endpoint, Failure, read};

impl Caller {
    /// Gets the document at an endpoint's URL. After `limit` it is given up.
    ///
    /// # Errors
    /// Why there is no answer, or that its code is not one of success.
    pub async fn get(&self, endpoint: &Endpoint, limit: Duration) -> Result<Bytes, Failure> {
        let line = self.line(endpoint)?;
        let url = url::Url::parse(&endpoint.url).map_err(|error| Failure::Unusable(error.to_string()))?;
        let mut host = url.host_str().unwrap_or_default().to_string();
        if let Some(port) = url.port() {
            host = format!("{host}:{port}");
        }
        let target = url.query().map_or_else(|| url.path().to_string(), |query| format!("{}?{query}", url.path()));
        let made = Request::get(target).header(HOST, host).header(ACCEPT, "application/json");
        let made = made.header(USER_AGENT, "kube-apiserver").body(());
        let made = made.map_err(|error| Failure::Unusable(error.to_string()))?;
        let exchange = async {
            let (response, sender) = self.send(endpoint, &line, &made, &Bytes::new()).await?;
            let code = response.status().as_u16();
            let bytes = read(response, DOCUMENT_BYTES_MAX).await?;
            line.keep(sender).await;
            Ok((code, bytes))
        };
        let answered = tokio::time::timeout(limit, exchange).await;
        let answered = answered.map_err(|_| Failure::TimedOut { url: endpoint.url.clone() })?;
        let failed = |why: String| Failure::Unreachable { url: endpoint.url.clone(), why };
        match answered.map_err(failed)? {
            (code, bytes) if (200..300).contains(&code) => Ok(bytes),
            (code, bytes) => Err(Failure::of_code(code, &bytes)),
        }
    }
}
