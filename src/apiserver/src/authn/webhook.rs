//! Bearers of tokens that a service outside knows: it is sent a TokenReview, and what it says is kept for a while.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Bearer, Refusal, TokenReader};
use crate::error::Error;
use crate::flight::Flights;
use crate::live::{text, texts};
use crate::recent::Recent;
use crate::request::User;
use crate::reread::{Reread, Said};
use crate::webhook::kubeconfig::Remote;
use crate::webhook::{Bounds, Caller};

/// A service that takes longer does not answer; what it says is a review with a user.
const BOUNDS: Bounds = Bounds { within: Duration::from_secs(10), answer_bytes: 1 << 20 };
/// How often it is asked where it cannot be reached.
const ATTEMPTS: u32 = 3;
/// The pause after the first attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// How many tokens are remembered.
const TOKENS_MAX: usize = 8192;
/// How many questions are open at a time: whoever comes with a token is not known yet, and could ask for any number.
const QUESTIONS_MAX: usize = 64;
/// A token that waits longer for its question is refused.
const WAIT_AT_MOST: Duration = Duration::from_secs(10);

/// Whom to ask about tokens.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A kubeconfig whose cluster is the service.
    pub kubeconfig: PathBuf,
    /// How long an answer holds; zero asks about each request.
    pub cache_ttl: Duration,
}

/// Asks the service.
pub struct WebhookTokens {
    service: Arc<Service>,
    flights: Flights<Answer>,
}

type Answer = Result<Option<Bearer>, Refusal>;

/// The service, and what it has said.
struct Service {
    /// Read again when it or what it names changes.
    remote: Reread<Remote>,
    cache_ttl: Duration,
    caller: Arc<Caller>,
    api_audiences: Vec<String>,
    recent: Recent<Option<Bearer>>,
}

impl WebhookTokens {
    /// Reads the kubeconfig.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(settings: &Settings, caller: Arc<Caller>, api_audiences: Vec<String>) -> Result<Self, Error> {
        let remote = Reread::load(&settings.kubeconfig, |reading| {
            let value = Remote::read(reading.text, reading.path)?;
            let named = value.files.clone();
            Ok(Said { value, named })
        })?;
        let recent = Recent::new(TOKENS_MAX);
        let service = Arc::new(Service { remote, cache_ttl: settings.cache_ttl, caller, api_audiences, recent });
        Ok(Self { service, flights: Flights::new(QUESTIONS_MAX) })
    }
}

impl Service {
    async fn ask(&self, token: &str, audiences: &[String]) -> Result<Value, Refusal> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
            "spec": {"token": token, "audiences": audiences}});
        let (mut pause, mut attempt) = (PAUSE, 1);
        loop {
            let remote = self.remote.get();
            let asked = self.caller.post(&remote.endpoint, remote.token.as_deref(), &review, BOUNDS);
            match asked.await {
                Ok(answer) => return Ok(answer),
                Err(failure) if attempt == ATTEMPTS || failure.code() < 500 => {
                    tracing::error!("the token webhook does not answer: {failure}");
                    return Err(Refusal("the token webhook does not answer".to_string()));
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            (pause, attempt) = (pause * 2, attempt + 1);
        }
    }

    async fn read(&self, question: &str, token: &str, audiences: &[String]) -> Answer {
        let answer = self.ask(token, audiences).await?;
        let bearer = bearer(&answer, audiences, &self.api_audiences)?;
        self.recent.keep(question.as_bytes(), bearer.clone(), self.cache_ttl);
        Ok(bearer)
    }
}

#[async_trait]
impl TokenReader for WebhookTokens {
    async fn read(&self, token: &str, audiences: &[String]) -> Result<Option<Bearer>, Refusal> {
        let question = json!([token, audiences]).to_string();
        if let Some(known) = self.service.recent.get(question.as_bytes()) {
            return Ok(known);
        }
        let (service, own, asked, meant) =
            (self.service.clone(), question.clone(), token.to_string(), audiences.to_vec());
        let work = async move { service.read(&own, &asked, &meant).await };
        let answer = self.flights.ask(question.as_bytes(), WAIT_AT_MOST, work).await;
        answer.unwrap_or_else(|| Err(Refusal("the token webhook is asked about too many tokens".to_string())))
    }
}

/// Whom the service says that the token is of; `None` where it does not know.
fn bearer(answer: &Value, asked: &[String], api_audiences: &[String]) -> Result<Option<Bearer>, Refusal> {
    if text(answer, "/kind") != "TokenReview" || text(answer, "/apiVersion") != "authentication.k8s.io/v1" {
        return Err(Refusal(
            "the token webhook answers with something else than an authentication.k8s.io/v1 TokenReview".into(),
        ));
    }
    if answer.pointer("/status/authenticated") != Some(&Value::Bool(true)) {
        return match text(answer, "/status/error") {
            "" => Ok(None),
            why => Err(Refusal(why.to_string())),
        };
    }
    let told = texts(answer, "/status/audiences");
    // A service that knows no audiences speaks for this server's.
    let meant = if told.is_empty() { api_audiences.to_vec() } else { told };
    let audiences: Vec<String> = asked.iter().filter(|audience| meant.contains(audience)).cloned().collect();
    if audiences.is_empty() {
        return Ok(None);
    }
    let extra = answer.pointer("/status/user/extra").cloned().unwrap_or_default();
    let user = User {
        name: text(answer, "/status/user/username").to_string(),
        uid: text(answer, "/status/user/uid").to_string(),
        groups: texts(answer, "/status/user/groups"),
        extra: serde_json::from_value(extra).unwrap_or_default(),
    };
    match user.name.is_empty() {
        true => Err(Refusal("the token webhook names no user".to_string())),
        false => Ok(Some(Bearer { user, audiences })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_says_whose_a_token_is_and_for_whom_it_is_meant() {
        let read = |status: Value, asked: &[&str]| {
            let answer = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status});
            let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
            bearer(&answer, &asked, &["api".to_string()])
        };
        let user = json!({"username": "ann", "uid": "1", "groups": ["g"], "extra": {"k": ["v"]}});
        let found =
            read(json!({"authenticated": true, "user": user}), &["api", "x"]).expect("an answer").expect("known");
        assert_eq!((found.user.name.as_str(), found.user.groups.as_slice()), ("ann", &["g".to_string()][..]));
        assert_eq!((&found.user.extra["k"], &found.audiences), (&vec!["v".to_string()], &vec!["api".to_string()]));
        let meant = read(json!({"authenticated": true, "user": user, "audiences": ["x"]}), &["api", "x"]);
        assert_eq!(meant.expect("an answer").expect("known").audiences, ["x"]);
        assert_eq!(read(json!({"authenticated": true, "user": user, "audiences": ["y"]}), &["api"]), Ok(None));
        assert_eq!(read(json!({"authenticated": true, "user": user}), &["vault"]), Ok(None));
        assert_eq!(read(json!({"authenticated": false}), &["api"]), Ok(None));
        assert_eq!(read(json!({"error": "no"}), &["api"]), Err(Refusal("no".to_string())));
        assert!(read(json!({"authenticated": true, "user": {}}), &["api"]).is_err());
        assert!(bearer(&json!({}), &[], &[]).is_err());
    }
}
