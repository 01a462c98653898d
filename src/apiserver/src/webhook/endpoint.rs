//! Whom a review is sent to, and what of a `clientConfig` says so.

use std::fmt;
use std::hash::Hash;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::live::text;

/// The port of a service that a `clientConfig` does not name.
const DEFAULT_PORT: u64 = 443;

/// How the addresses of an endpoint are found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reach {
    /// By the name or address in its URL.
    Url,
    /// Behind a Service of the cluster.
    Service {
        /// The service's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// One of its ports.
        port: u16,
    },
}

/// A certificate that is shown to the endpoint, and its key; both PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The chain, leaf first.
    pub chain: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

/// Whom a review is sent to. Two that are equal share their connections.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `https://host:port/path`, without a query.
    pub url: String,
    /// How its addresses are found.
    pub reach: Reach,
    /// The name its certificate must have; the URL's host where `None`.
    pub server_name: Option<String>,
    /// PEM of the authorities that are trusted; the machine's own where `None`.
    pub authorities: Option<Vec<u8>>,
    /// Whoever answers is believed, as `insecure-skip-tls-verify` of a kubeconfig says.
    pub is_unverified: bool,
    /// What is shown to it.
    pub identity: Option<Identity>,
    /// The operator of this server chose it, and may choose this host's own addresses. What users of the API write may
    /// not lead there.
    pub is_operators: bool,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// What the operator names by a URL alone.
    pub fn of_operator(url: &str) -> Self {
        Self {
            url: url.to_string(),
            reach: Reach::Url,
            server_name: None,
            authorities: None,
            is_unverified: false,
            identity: None,
            is_operators: true,
        }
    }

    /// The endpoint of a `clientConfig`: of a webhook, or of the conversion of a CustomResourceDefinition.
    ///
    /// # Errors
    /// What is wrong with it. Such a configuration is refused when it is written.
    pub fn of_client_config(config: &Value) -> Result<Self, String> {
        let authorities = match text(config, "/caBundle") {
            "" => None,
            bundle => Some(STANDARD.decode(bundle).map_err(|_| "caBundle is not base64".to_string())?),
        };
        let service = &config["service"];
        let (namespace, name) = (text(service, "/namespace"), text(service, "/name"));
        let (url, reach, server_name) = match text(config, "/url") {
            "" if name.is_empty() || namespace.is_empty() => {
                return Err("webhook configuration must have either service or URL".to_string());
            }
            "" => {
                let port = service["port"].as_u64().unwrap_or(DEFAULT_PORT);
                let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
                let host = format!("{name}.{namespace}.svc");
                let url = format!("https://{host}:{port}/{}", text(service, "/path").trim_start_matches('/'));
                let reach = Reach::Service { namespace: namespace.to_string(), name: name.to_string(), port };
                (url, reach, Some(host))
            }
            url => (url.to_string(), Reach::Url, None),
        };
        Ok(Self { url, reach, server_name, authorities, is_unverified: false, identity: None, is_operators: false })
    }
}
