//! What the server asks of policy: who is it, may they, may the object. Only traits and what is passed to them;
//! what implements them lives in `authn`, `authz` and `admission`.

mod rounds;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use machinery::gvk::{GroupVersion, GroupVersionKind};
use rustls_pki_types::CertificateDer;
use serde_json::Value;

use crate::audit::{Auditor, Trail};
use crate::authn::certificate::Named;
use crate::authn::configuration::Current;
use crate::authz::figures::Figures as Authorizing;
use crate::request::{Attributes, Query, User};
use crate::served::Served;
use crate::status::{Result, Status};
use crate::webhook::Caller;

pub use rounds::Rounds;

/// Which certificate authority a client's certificate chains to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The cluster CA: its subject is a user.
    Client,
    /// The front-proxy CA: it may speak for others in `X-Remote-User` headers.
    FrontProxy,
}

/// A client's certificate. Its chain, key usage and validity were verified when the connection was made; connections
/// live long, so an authenticator looks at the expiry again.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The leaf.
    pub der: CertificateDer<'static>,
    /// Whom it chains to.
    pub authority: Authority,
}

/// What is known of the connection a request came over.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The other end; `None` in-process.
    pub peer: Option<SocketAddr>,
    /// The certificate, where one was shown and holds.
    pub certificate: Option<ClientCertificate>,
    /// Why a certificate that was shown does not hold.
    pub refused_certificate: Option<Arc<str>>,
    /// Whom the certificate names, once somebody has asked.
    pub named: OnceLock<Named>,
}

/// Finds out who asks.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The user of a request, without `system:authenticated` being added by the caller; `None` where it brings no
    /// credentials that this authenticator understands.
    ///
    /// # Errors
    /// Credentials that are wrong ([`Status::unauthorized`]). Others are asked all the same: a request may bring several,
    /// of which one is good.
    async fn authenticate(&self, connection: &Connection, headers: &http::HeaderMap) -> Result<Option<User>>;
}

/// What an authorizer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes; the reason is for audit and reviews.
    Allow(String),
    /// No, whatever others say.
    Deny(String),
    /// Not this one's business; at the end of the chain it means no.
    NoOpinion(String),
}

/// Decides whether a user may do something.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Judges one request.
    async fn authorize(&self, user: &User, attributes: &Attributes) -> Decision;
}

/// Lets everyone do everything; for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(&self, _user: &User, _attributes: &Attributes) -> Decision {
        Decision::Allow("everything is allowed".to_string())
    }
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change, by update or patch.
    Update,
    /// A deletion; there is no new object.
    Delete,
    /// exec, attach, portforward, proxy.
    Connect,
}

/// What admission is told besides the object.
pub struct Admit<'a> {
    /// What is served.
    pub served: &'a Served,
    /// What is done.
    pub operation: Operation,
    /// Who does it.
    pub user: &'a User,
    /// Group and version of the resource in the URL.
    pub group_version: &'a GroupVersion,
    /// `pods`.
    pub resource: &'a str,
    /// `status`; empty for the object itself.
    pub subresource: &'a str,
    /// The kind of the object that is passed: of `pods/binding` it is `Binding`.
    pub kind: &'a GroupVersionKind,
    /// Empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// Empty while a generated name has not been chosen.
    pub name: &'a str,
    /// The object before: of update and delete.
    pub old: Option<&'a Value>,
    /// CreateOptions, UpdateOptions (of patches too) or DeleteOptions; `null` of a connect, which is its own options.
    pub options: &'a Value,
    /// Nothing will be kept: no side effects.
    pub dry_run: bool,
    /// Where warnings for the client go.
    pub warnings: &'a Warnings,
    /// Whether the object is changed for the first time or once more.
    pub rounds: &'a Rounds,
    /// Calls webhooks.
    pub caller: &'a Caller,
    /// Where annotations of the audit event go.
    pub audit: &'a Trail,
}

/// Warnings for the client, sent as `Warning` headers.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<Collected>);

#[derive(Debug, Default)]
struct Collected {
    warnings: Vec<String>,
    bytes: usize,
}

impl Warnings {
    /// All warnings of one answer, in bytes; more are left out.
    pub const BYTES_MAX: usize = 4096;

    /// Adds a warning; a repeated one is said once, and none where there are enough: a webhook may send millions.
    pub fn add(&self, warning: impl Into<String>) {
        let mut collected = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if collected.bytes >= Self::BYTES_MAX {
            return;
        }
        let warning = warning.into();
        if !collected.warnings.contains(&warning) {
            // What a header says besides counts too.
            collected.bytes += warning.len() + "299 - \"\"".len();
            collected.warnings.push(warning);
        }
    }

    /// Takes what was collected.
    pub fn take(&self) -> Vec<String> {
        let mut collected = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        std::mem::take(&mut *collected).warnings
    }
}

/// Changes and checks objects on their way to the store. `admit` of every plugin runs before `validate` of any, and once
/// more for all where what users have written has changed the object ([`Rounds`]);
/// schema defaults and checks and the kind's own validation run in between, `hold` last.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// `NamespaceLifecycle`; for messages and metrics.
    fn name(&self) -> &'static str;

    /// Is asked about this operation.
    fn handles(&self, operation: Operation) -> bool;

    /// Changes the object, or the options of a connection. Not called for Delete.
    ///
    /// # Errors
    /// What refuses the request.
    async fn admit(&self, _request: &Admit<'_>, _object: &mut Value) -> Result<()> {
        Ok(())
    }

    /// Checks the object as it will be kept; `None` for Delete.
    ///
    /// # Errors
    /// What refuses the request.
    async fn validate(&self, _request: &Admit<'_>, _object: Option<&Value>) -> Result<()> {
        Ok(())
    }

    /// Checks the object against what others are about to write, after every other check, and holds its place among
    /// them. Only called where the object itself is written.
    ///
    /// # Errors
    /// What refuses the request.
    async fn hold(&self, _request: &Admit<'_>, _object: &Value) -> Result<Option<Hold>> {
        Ok(None)
    }
}

/// What a plugin holds for a request until its object is kept or has failed to be; it ends when this is dropped.
pub type Hold = Box<dyn std::any::Any + Send>;

/// A request that is answered and not kept: TokenReview, SubjectAccessReview, serviceaccounts/token.
#[derive(Debug)]
pub struct Review<'a> {
    /// Who asks.
    pub user: &'a User,
    /// Empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// The parent's name, of subresources; else empty.
    pub name: &'a str,
    /// The query parameters.
    pub query: &'a Query,
    /// The parent as it is kept, with its resourceVersion, of subresources.
    pub parent: Option<&'a Value>,
    /// Where warnings for the client go.
    pub warnings: &'a Warnings,
    /// Where annotations of the audit event go.
    pub audit: &'a Trail,
}

/// Answers a create-only resource or subresource.
#[async_trait]
pub trait Reviewer: Send + Sync + 'static {
    /// Answers `object`, which was checked against its schema, defaulted and admitted, with the object that the
    /// client gets (code 201).
    ///
    /// # Errors
    /// What the client gets instead.
    async fn review(&self, request: &Review<'_>, object: Value) -> Result<Value>;
}

/// Objects that must be there once the server runs: default roles, priority classes. `/readyz` has a check
/// `poststarthook/NAME` and waits for it.
#[async_trait]
pub trait Bootstrap: Send + Sync + 'static {
    /// `rbac/bootstrap-roles`.
    fn name(&self) -> &'static str;

    /// How often it is done again once it has succeeded; `None` where once is enough.
    fn every(&self) -> Option<Duration> {
        None
    }

    /// Makes what is missing, through a client that acts as `system:apiserver` in `system:masters`. Called again
    /// after a pause until it succeeds.
    ///
    /// # Errors
    /// What went wrong; it is logged.
    async fn bootstrap(
        &self,
        client: &kube::Client,
    ) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Everything that policy brings to a server.
#[derive(Clone)]
pub struct Plugins {
    /// Asked in order until one knows the user.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Whoever brings no credentials is `system:anonymous`; otherwise refused with 401. The authorizer limits them.
    pub anonymous: Anonymity,
    /// Asked for every request.
    pub authorizer: Arc<dyn Authorizer>,
    /// In order.
    pub admission: Vec<Arc<dyn Admission>>,
    /// By (group, `resource` or `resource/subresource`): `("authentication.k8s.io", "tokenreviews")`,
    /// `("", "serviceaccounts/token")`.
    pub reviewers: HashMap<(String, String), Arc<dyn Reviewer>>,
    /// Fixed answers by path: `/.well-known/openid-configuration`, `/openid/v1/jwks`.
    pub documents: HashMap<String, Document>,
    /// Started together when the server runs.
    pub bootstraps: Vec<Arc<dyn Bootstrap>>,
    /// Writes down who asks for what; `None` writes nothing.
    pub audit: Option<Arc<Auditor>>,
    /// What is counted of webhooks that authorize.
    pub authorizing: Arc<Authorizing>,
}

/// Why it is not known who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// None were brought, and they are needed.
    NoCredentials,
    /// Those that were brought do not hold.
    WrongCredentials,
}

impl From<Unknown> for Status {
    fn from(_: Unknown) -> Self {
        Self::unauthorized()
    }
}

/// Who may come without credentials.
#[derive(Clone)]
pub enum Anonymity {
    /// Everybody.
    Always,
    /// As the authentication configuration says now.
    Configured(Arc<Current>),
}

impl Anonymity {
    fn allows(&self, path: &str) -> bool {
        match self {
            Self::Always => true,
            Self::Configured(current) => current.get().anonymous.allows(path),
        }
    }
}

/// A fixed answer.
#[derive(Debug, Clone)]
pub struct Document {
    /// `application/jwk-set+json`.
    pub media_type: &'static str,
    /// The body.
    pub bytes: bytes::Bytes,
}

impl Plugins {
    /// Everyone may do everything and nothing is admitted or reviewed; for tests.
    pub fn allow_all() -> Self {
        Self {
            authenticators: Vec::new(),
            anonymous: Anonymity::Always,
            authorizer: Arc::new(AllowAll),
            admission: Vec::new(),
            reviewers: HashMap::new(),
            documents: HashMap::new(),
            bootstraps: Vec::new(),
            audit: None,
            authorizing: Arc::default(),
        }
    }

    /// The first user that an authenticator knows, with `system:authenticated`; anonymous where that is allowed.
    ///
    /// # Errors
    /// Credentials that are wrong, or missing where anonymous is off.
    pub async fn authenticate(
        &self,
        connection: &Connection,
        headers: &http::HeaderMap,
        path: &str,
    ) -> std::result::Result<User, Unknown> {
        let mut is_any_wrong = false;
        for authenticator in &self.authenticators {
            match authenticator.authenticate(connection, headers).await {
                Ok(Some(mut user)) => {
                    if !user.in_group("system:authenticated") && !user.in_group("system:unauthenticated") {
                        user.groups.push("system:authenticated".to_string());
                    }
                    return Ok(user);
                }
                Ok(None) => {}
                Err(_) => is_any_wrong = true,
            }
        }
        if is_any_wrong {
            return Err(Unknown::WrongCredentials);
        }
        // Credentials that nobody understands are not the same as none.
        let brought_some =
            connection.refused_certificate.is_some() || headers.contains_key(http::header::AUTHORIZATION);
        if brought_some && !self.authenticators.is_empty() {
            return Err(Unknown::WrongCredentials);
        }
        if !self.anonymous.allows(path) {
            return Err(Unknown::NoCredentials);
        }
        Ok(User::anonymous())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says of everybody what it was made to say.
    struct Says(std::result::Result<Option<&'static str>, ()>);

    #[async_trait]
    impl Authenticator for Says {
        async fn authenticate(&self, _connection: &Connection, _headers: &http::HeaderMap) -> Result<Option<User>> {
            self.0.map(|name| name.map(|name| User::new(name, &[]))).map_err(|()| Status::unauthorized())
        }
    }

    /// As where a client certificate has expired on a connection that lives on, and the request has a token.
    #[tokio::test]
    async fn credentials_that_are_wrong_leave_others_their_turn() {
        let found = |says: Vec<Says>| async move {
            let authenticators = says.into_iter().map(|says| Arc::new(says) as Arc<dyn Authenticator>).collect();
            let plugins = Plugins { authenticators, ..Plugins::allow_all() };
            let found = plugins.authenticate(&Connection::default(), &http::HeaderMap::new(), "/").await;
            found.map(|user| user.name)
        };
        let (wrong, none) = (|| Says(Err(())), || Says(Ok(None)));
        assert_eq!(found(vec![wrong(), none(), Says(Ok(Some("ann")))]).await.as_deref(), Ok("ann"));
        assert_eq!(found(vec![none(), wrong(), none()]).await, Err(Unknown::WrongCredentials));
        assert_eq!(found(vec![none(), none()]).await.as_deref(), Ok("system:anonymous"));
    }

    #[test]
    fn warnings_are_said_once_and_no_more_than_fit_are_kept() {
        let warnings = Warnings::default();
        warnings.add("twice");
        warnings.add("twice");
        assert_eq!(warnings.take(), ["twice"]);
        (0..1_000_000).for_each(|index| warnings.add(index.to_string()));
        let kept = warnings.take();
        assert!(kept.iter().map(String::len).sum::<usize>() <= Warnings::BYTES_MAX);
        assert_eq!(kept.first().map(String::as_str), Some("0"));
        warnings.add("after");
        assert_eq!(warnings.take(), ["after"], "what was taken leaves room");
    }
}
