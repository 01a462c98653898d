//! The policy of a cluster: puts authentication, authorization and admission together as Kubernetes orders them.

pub mod check;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stdx::clock::{Clock, SystemClock};
use store::Store;

use crate::admission::certificates::Certificates as CertificateAdmission;
use crate::admission::classes::DefaultClass;
use crate::admission::limit_ranger::LimitRanger;
use crate::admission::mutating_policy::MutatingPolicies;
use crate::admission::namespace_lifecycle::NamespaceLifecycle;
use crate::admission::node_restriction::NodeRestriction;
use crate::admission::node_taints::TaintNodesByCondition;
use crate::admission::owner_references::OwnerReferences;
use crate::admission::pod_certificates::PodCertificates;
use crate::admission::pod_security::PodSecurity;
use crate::admission::priority::{Priority, SystemClasses};
use crate::admission::quota::ResourceQuota;
use crate::admission::runtime_class::RuntimeClass;
use crate::admission::service_account::ServiceAccount;
use crate::admission::signers::Signers;
use crate::admission::storage_in_use::StorageObjectInUseProtection;
use crate::admission::tolerations::DefaultTolerationSeconds;
use crate::admission::trust_bundles::TrustBundles;
use crate::admission::validating_policy::ValidatingPolicies;
use crate::admission::webhooks::{Cluster, MutatingWebhooks, ValidatingWebhooks};
use crate::audit::{self, Auditor};
use crate::authn::bootstrap_token::BootstrapTokens;
use crate::authn::certificate::Certificates;
use crate::authn::configuration;
use crate::authn::discovery;
use crate::authn::front_proxy::FrontProxy;
use crate::authn::keys::{Signer, Verifier};
use crate::authn::last_used::{self, LastUsed};
use crate::authn::oidc::OidcTokens;
use crate::authn::oidc::fetch::OverHttps;
use crate::authn::reviews::{SelfSubjectReviews, TokenReviews};
use crate::authn::secret_token::SecretTokens;
use crate::authn::service_account::ServiceAccountTokens;
use crate::authn::token_request::TokenRequests;
use crate::authn::webhook::{self, WebhookTokens};
use crate::authn::{TokenReader, Tokens};
use crate::authz::configuration::{Configured, FromFile, Parts};
use crate::authz::escalation::Escalation;
use crate::authz::index::Roles;
use crate::authz::node::Nodes;
use crate::authz::rbac::Rbac;
use crate::authz::reconcile::BootstrapRoles;
use crate::authz::references::References;
use crate::authz::reviews::{AccessReviews, RulesReviews, Scope};
use crate::authz::{self, Administrators, Chain, aggregate, defaults};
use crate::error::Error;
use crate::follow::Followed;
use crate::live::Live;
use crate::plugin::{Admission, Anonymity, Authenticator, Authorizer, Plugins, Reviewer};
use crate::reread::{Reread, Said};
use crate::webhook::Caller;
use crate::webhook::kubeconfig::Remote;

/// What policy is told before the server starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The private key that service-account tokens are signed with: `sa.key`.
    pub service_account_key: PathBuf,
    /// The public keys that they are verified with; the first belongs to the private key: `sa.pub`.
    pub service_account_public_keys: Vec<PathBuf>,
    /// `cluster.local`; the issuer of tokens is `https://kubernetes.default.svc.DOMAIN`.
    pub cluster_domain: String,
    /// The address under which the discovery documents name this server: `https://10.88.0.2:6443`.
    pub server_url: String,
    /// What the administrator has laid down about who may ask for what, and what is written of it.
    pub access: Access,
}

/// Files of Kubernetes' own kinds about access to the API; nothing of the sort by default.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What is written down of requests.
    pub audit: Option<audit::Settings>,
    /// Issuers of tokens that are believed, and who may come without credentials: a file with an
    /// `apiserver.config.k8s.io/v1` AuthenticationConfiguration. Read again when it changes.
    pub authentication: Option<PathBuf>,
    /// A service that knows tokens.
    pub token_webhook: Option<webhook::Settings>,
    /// Which authorizers are asked: a file with an `apiserver.config.k8s.io/v1` AuthorizationConfiguration. Nodes and
    /// roles where there is none. Read again when it changes.
    pub authorization: Option<PathBuf>,
}

/// The policy of a cluster whose objects lie in `store`. What it has to know of them is read before this answers, and
/// followed until the store is closed.
///
/// # Errors
/// Keys that cannot be used, and a store that cannot be read.
pub async fn plugins(settings: &Settings, store: Arc<dyn Store>) -> Result<Plugins, Error> {
    plugins_at(settings, store, SystemClock).await
}

async fn plugins_at<C: Clock + Clone>(settings: &Settings, store: Arc<dyn Store>, clock: C) -> Result<Plugins, Error> {
    let paths = &settings.service_account_public_keys;
    let verifiers = paths.iter().map(|path| Verifier::load(path)).collect::<Result<Vec<_>, _>>()?;
    let first = verifiers.first().ok_or_else(|| Error::Credentials {
        path: settings.service_account_key.clone(),
        detail: "no public key is given for it".to_string(),
    })?;
    let signer = Signer::load(&settings.service_account_key, first)?;
    let issuer = issuer(&settings.cluster_domain);
    let roles: Followed<Roles> = Followed::start(&store).await?;
    let references: Followed<References> = Followed::start(&store).await?;
    let policies = (Followed::start(&store).await?, Followed::start(&store).await?);
    let configurations = (Followed::start(&store).await?, Followed::start(&store).await?);
    aggregate::start(&store);
    let live = Live::new(store);
    let caller = Arc::new(Caller::new(live.clone(), false));
    let configuration = settings.access.authentication.as_deref();
    let configuration = configuration.map(|path| configuration::load(path, &issuer)).transpose()?.map(Arc::new);
    let last_used = LastUsed::new(clock.clone());
    let mut tokens = tokens(&live, &clock, &issuer, &verifiers, &last_used);
    if let Some(configuration) = &configuration {
        tokens.readers.push(Arc::new(OidcTokens {
            configuration: configuration.clone(),
            clock: clock.clone(),
            fetch: Arc::new(OverHttps(caller.clone())),
            api_audiences: tokens.api_audiences.clone(),
        }));
    }
    if let Some(settings) = &settings.access.token_webhook {
        let reader = WebhookTokens::load(settings, caller.clone(), tokens.api_audiences.clone())?;
        tokens.readers.push(Arc::new(reader));
    }
    let authenticators: Vec<Arc<dyn Authenticator>> =
        vec![Arc::new(FrontProxy), Arc::new(Certificates::new(clock.clone())), Arc::new(tokens.clone())];
    let authorizing = caller.authorizing.clone();
    let nodes = Nodes { references, live: live.clone(), rules: defaults::rules_of("system:node") };
    let parts = Parts { node: Arc::new(nodes), rbac: Arc::new(Rbac(roles.clone())), caller, remote: Remote::load };
    let (authorizer, configured) = authorizer(parts, settings.access.authorization.as_deref())?;
    let token_requests = TokenRequests {
        live: live.clone(),
        clock,
        issuer: issuer.clone(),
        api_audiences: tokens.api_audiences.clone(),
        signer,
    };
    Ok(Plugins {
        authenticators,
        anonymous: configuration.map_or(Anonymity::Always, Anonymity::Configured),
        admission: {
            let ask = authorizer.clone();
            let cluster = Arc::new(Cluster { live: live.clone(), authorizer: ask.clone() });
            let changing = MutatingPolicies { policies: policies.0, live: live.clone(), authorizer: ask.clone() };
            let checking = ValidatingPolicies { policies: policies.1, live: live.clone(), authorizer: ask };
            let mutating = MutatingWebhooks { configurations: configurations.0, cluster: cluster.clone() };
            let validating = ValidatingWebhooks { configurations: configurations.1, cluster };
            admission(&live, &authorizer, &roles, (changing, checking), (mutating, validating))
        },
        reviewers: reviewers(tokens, token_requests, &authorizer, RulesReviews { roles, configured }),
        authorizer,
        authorizing,
        documents: discovery::documents(&issuer, &settings.server_url, &verifiers),
        audit: settings.access.audit.as_ref().map(Auditor::start).transpose()?,
        bootstraps: vec![
            Arc::new(BootstrapRoles { live: live.clone() }),
            Arc::new(SystemClasses(live)),
            Arc::new(last_used::Write(last_used)),
        ],
    })
}

/// Who makes the tokens of this cluster's service accounts.
fn issuer(cluster_domain: &str) -> String {
    format!("https://kubernetes.default.svc.{cluster_domain}")
}

/// Who is asked for permission, and the file that says so where there is one.
#[allow(clippy::type_complexity, reason = "a pair that is taken apart at once")]
fn authorizer(
    parts: Parts,
    file: Option<&Path>,
) -> Result<(Arc<dyn Authorizer>, Option<Arc<Reread<Configured>>>), Error> {
    let Some(file) = file else {
        return Ok((Arc::new(Chain(vec![Arc::new(Administrators), parts.node, parts.rbac])), None));
    };
    let configured = Arc::new(Reread::load(file, move |reading| {
        let value = authz::configuration::parse(reading.text, &parts)?;
        let named = value.named.clone();
        Ok(Said { value, named })
    })?);
    Ok((Arc::new(FromFile(configured.clone())), Some(configured)))
}

fn tokens<C: Clock + Clone>(
    live: &Live,
    clock: &C,
    issuer: &str,
    verifiers: &[Verifier],
    last_used: &Arc<LastUsed<C>>,
) -> Tokens {
    let accounts = ServiceAccountTokens {
        live: live.clone(),
        clock: clock.clone(),
        issuer: issuer.to_string(),
        verifiers: verifiers.to_vec(),
    };
    let api_audiences = vec![issuer.to_string()];
    let secrets = SecretTokens {
        live: live.clone(),
        verifiers: verifiers.to_vec(),
        api_audiences: api_audiences.clone(),
        last_used: last_used.clone(),
    };
    let bootstrap = BootstrapTokens::new(live.clone(), clock.clone());
    let readers: Vec<Arc<dyn TokenReader>> = vec![Arc::new(accounts), Arc::new(secrets), Arc::new(bootstrap)];
    Tokens { readers, api_audiences }
}

/// In Kubernetes' order: what others have written comes after what is built in, policies before webhooks and those that
/// change objects before those that check them; quota last, when the object is as it will be kept.
fn admission(
    live: &Live,
    authorizer: &Arc<dyn Authorizer>,
    roles: &Followed<Roles>,
    policies: (MutatingPolicies, ValidatingPolicies),
    webhooks: (MutatingWebhooks, ValidatingWebhooks),
) -> Vec<Arc<dyn Admission>> {
    let escalation = Escalation { roles: roles.clone(), authorizer: authorizer.clone(), live: live.clone() };
    vec![
        Arc::new(NamespaceLifecycle(live.clone())),
        Arc::new(LimitRanger(live.clone())),
        Arc::new(ServiceAccount(live.clone())),
        Arc::new(NodeRestriction(live.clone())),
        Arc::new(TaintNodesByCondition),
        Arc::new(Priority(live.clone())),
        Arc::new(DefaultTolerationSeconds),
        Arc::new(DefaultClass::storage(live.clone())),
        Arc::new(StorageObjectInUseProtection),
        Arc::new(DefaultClass::ingress(live.clone())),
        Arc::new(RuntimeClass(live.clone())),
        Arc::new(PodSecurity(live.clone())),
        Arc::new(CertificateAdmission(Signers(authorizer.clone()))),
        Arc::new(PodCertificates(Signers(authorizer.clone()))),
        Arc::new(TrustBundles(Signers(authorizer.clone()))),
        Arc::new(OwnerReferences { authorizer: authorizer.clone(), live: live.clone() }),
        Arc::new(escalation),
        Arc::new(policies.0),
        Arc::new(webhooks.0),
        Arc::new(policies.1),
        Arc::new(webhooks.1),
        Arc::new(ResourceQuota::new(live.clone())),
    ]
}

fn reviewers<C: Clock>(
    tokens: Tokens,
    token_requests: TokenRequests<C>,
    authorizer: &Arc<dyn Authorizer>,
    rules: RulesReviews,
) -> HashMap<(String, String), Arc<dyn Reviewer>> {
    let access = |scope| -> Arc<dyn Reviewer> { Arc::new(AccessReviews { scope, authorizer: authorizer.clone() }) };
    let all: [(&str, &str, Arc<dyn Reviewer>); 7] = [
        ("", "serviceaccounts/token", Arc::new(token_requests)),
        ("authentication.k8s.io", "tokenreviews", Arc::new(TokenReviews(tokens))),
        ("authentication.k8s.io", "selfsubjectreviews", Arc::new(SelfSubjectReviews)),
        ("authorization.k8s.io", "subjectaccessreviews", access(Scope::Subject)),
        ("authorization.k8s.io", "localsubjectaccessreviews", access(Scope::Local)),
        ("authorization.k8s.io", "selfsubjectaccessreviews", access(Scope::Own)),
        ("authorization.k8s.io", "selfsubjectrulesreviews", Arc::new(rules)),
    ];
    all.into_iter().map(|(group, resource, reviewer)| ((group.to_string(), resource.to_string()), reviewer)).collect()
}

#[cfg(test)]
mod tests;
