//! Who a client of the agent's API is, and whether the cluster lets it.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::route::Route;
use super::{Body, text};

/// How long an answer of the API holds.
const HOLDS: Duration = Duration::from_secs(30);
/// Answers that are remembered.
const REMEMBERED_MAX: usize = 512;
/// The group that may do everything; asking for it would only cost time.
const MASTERS: &str = "system:masters";

/// A client that has shown who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// `kube-apiserver-kubelet-client`.
    pub name: String,
    /// `system:masters`.
    pub groups: Vec<String>,
}

/// The user of a client certificate that TLS has verified.
pub fn certificate_user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_string();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|group| Some(group.as_str().ok()?.to_string())).collect();
    groups.push("system:authenticated".into());
    Some(User { name, groups })
}

/// Asks the API, and remembers its answers for a while.
pub struct Auth {
    client: kube::Client,
    node: String,
    tokens: Remembered<Option<User>>,
    decisions: Remembered<bool>,
}

struct Remembered<T>(Mutex<HashMap<u64, (Instant, T)>>);

impl<T: Clone> Remembered<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, (Instant, T)>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn get(&self, key: u64) -> Option<T> {
        self.lock().get(&key).filter(|(at, _)| at.elapsed() < HOLDS).map(|(_, answer)| answer.clone())
    }

    fn set(&self, key: u64, answer: T) {
        let mut answers = self.lock();
        if answers.len() >= REMEMBERED_MAX {
            answers.retain(|_, (at, _)| at.elapsed() < HOLDS);
        }
        if answers.len() < REMEMBERED_MAX {
            answers.insert(key, (Instant::now(), answer));
        }
    }
}

impl Auth {
    /// For the agent of a node.
    pub fn new(client: kube::Client, node: String) -> Self {
        Self { client, node, tokens: Remembered(Mutex::default()), decisions: Remembered(Mutex::default()) }
    }

    /// Whether a request may go on; else what it is answered with.
    pub async fn check<B>(
        &self,
        request: &Request<B>,
        route: &Route,
        user: Option<User>,
    ) -> Result<(), http::Response<Body>> {
        let user = match user {
            Some(user) => Some(user),
            None => self.bearer(request).await?,
        };
        let Some(user) = user else { return Err(text(StatusCode::UNAUTHORIZED, "Unauthorized")) };
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        let verb = match *request.method() {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        };
        for subresource in route.subresources() {
            if self.allowed(&user, verb, subresource).await? {
                return Ok(());
            }
        }
        let subresources = route.subresources().join(", ");
        let message =
            format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{subresources}])\n", user.name);
        Err(text(StatusCode::FORBIDDEN, message))
    }

    async fn bearer<B>(&self, request: &Request<B>) -> Result<Option<User>, http::Response<Body>> {
        let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = value.and_then(|value| value.strip_prefix("Bearer ")) else { return Ok(None) };
        let key = hash(&token);
        if let Some(user) = self.tokens.get(key) {
            return Ok(user);
        }
        let review =
            TokenReview { spec: TokenReviewSpec { token: token.to_string(), audiences: None }, ..Default::default() };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| unreachable_api(&error))?;
        let status = answer.status.unwrap_or_default();
        let user = status
            .user
            .filter(|_| status.authenticated == Some(true))
            .and_then(|user| Some(User { name: user.username?, groups: user.groups.unwrap_or_default() }));
        self.tokens.set(key, user.clone());
        Ok(user)
    }

    async fn allowed(&self, user: &User, verb: &str, subresource: &str) -> Result<bool, http::Response<Body>> {
        let key = hash(&(user, verb, subresource));
        if let Some(allowed) = self.decisions.get(key) {
            return Ok(allowed);
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                groups: Some(user.groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.into()),
                    version: Some("v1".into()),
                    resource: Some("nodes".into()),
                    subresource: Some(subresource.into()),
                    name: Some(self.node.clone()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| unreachable_api(&error))?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        self.decisions.set(key, allowed);
        Ok(allowed)
    }
}

fn unreachable_api(error: &kube::Error) -> http::Response<Body> {
    tracing::warn!(error = %stdx::error::chain(error), "ask the API who may use the agent");
    text(StatusCode::SERVICE_UNAVAILABLE, "the API cannot be asked who may do this: try again\n")
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
