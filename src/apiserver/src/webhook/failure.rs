//! Why a call has no answer, in the words of Go's and Kubernetes' clients, by which people search.

use serde_json::Value;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The configuration leads nowhere: nothing was sent.
    #[error("{0}")]
    Unusable(String),
    /// There was no answer in time.
    #[error("Post {url:?}: context deadline exceeded")]
    TimedOut {
        /// What was asked.
        url: String,
    },
    /// The endpoint is not there, or not who it should be, or broke off.
    #[error("Post {url:?}: {why}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// The endpoint answered with another code than 200.
    #[error("{message}")]
    Refused {
        /// The code.
        code: u16,
        /// What Kubernetes says of it.
        message: String,
    },
    /// The answer is no JSON.
    #[error("couldn't get version/kind; json parse error: {0}")]
    Malformed(String),
}

/// So much of an answer is repeated in a message.
const SHOWN_BYTES_MAX: usize = 2048;

impl Failure {
    /// The failure that an answer with another code than 200 is; a Status speaks for itself.
    pub fn of_code(code: u16, body: &[u8]) -> Self {
        let status: Value = serde_json::from_slice(body).unwrap_or_default();
        if let (Some("Status"), Some("v1"), Some(message)) =
            (status["kind"].as_str(), status["apiVersion"].as_str(), status["message"].as_str())
        {
            return Self::Refused { code, message: message.to_string() };
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]).trim().to_string();
        let unknown = if text.is_empty() { "unknown".to_string() } else { text };
        let message = match code {
            400 => "the server rejected our request for an unknown reason".to_string(),
            401 => "the server has asked for the client to provide credentials".to_string(),
            403 => unknown,
            404 => "the server could not find the requested resource".to_string(),
            405 => "the server does not allow this method on the requested resource".to_string(),
            409 => "the server reported a conflict".to_string(),
            422 => "the server rejected our request due to an error in our request".to_string(),
            429 => "the server has received too many requests and has asked us to try again later".to_string(),
            503 => "the server is currently unable to handle the request".to_string(),
            504 => "the server was unable to return a response in the time allotted, but may still be processing the \
                    request"
                .to_string(),
            500.. => format!("an error on the server ({unknown:?}) has prevented the request from succeeding"),
            _ => format!("the server responded with the status code {code} but did not return more information"),
        };
        Self::Refused { code, message }
    }

    /// The code that stands for it in figures: the endpoint's own where it gave one.
    pub fn code(&self) -> u16 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Unusable(_) => 500,
            Self::TimedOut { .. } | Self::Unreachable { .. } | Self::Malformed(_) => 503,
        }
    }
}
