//! Keeps the certificates that Ingresses name: follows those Secrets alone, and answers handshakes from them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use client::informer::{Informer, Informers};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::Ingress;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::sync::Notify;

use crate::Error;
use crate::tls::{Certificates, SecretName, certified, claims};

/// The name in the certificate that is shown where nobody claims the name that is asked for. No client trusts it.
const NOBODYS_NAME: &str = "nobody.invalid";

/// The certificates in use.
#[derive(Debug)]
pub struct Store {
    table: RwLock<Certificates>,
    nobodys: Arc<CertifiedKey>,
}

impl Store {
    /// One that knows no name yet.
    ///
    /// # Errors
    /// The certificate for names that nobody claims cannot be made.
    pub fn new() -> Result<Self, Error> {
        let made = rcgen::generate_simple_self_signed([NOBODYS_NAME.to_string()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let chain = vec![made.cert.der().clone()];
        let nobodys = Arc::new(CertifiedKey::from_der(chain, key.into(), &aws_lc_rs::default_provider())?);
        Ok(Self { table: RwLock::default(), nobodys })
    }

    fn choose(&self, server_name: Option<&str>) -> Arc<CertifiedKey> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.choose(server_name).unwrap_or_else(|| self.nobodys.clone())
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

/// What a listener needs to answer handshakes from `store`: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
///
/// # Errors
/// Never, as far as is known: the provider supports both versions.
pub fn server_config(store: Arc<Store>) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(store);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The Secrets that are followed, and what was read of each.
pub struct Follower {
    store: Arc<Store>,
    informers: Informers,
    changed: Arc<Notify>,
    secrets: Mutex<HashMap<SecretName, Followed>>,
}

struct Followed {
    informer: Informer<Secret>,
    /// The resourceVersion that `key` was read from.
    version: Option<String>,
    key: Option<Arc<CertifiedKey>>,
}

impl Follower {
    /// Fills `store`; whenever a Secret changes, `changed` is notified, and `follow` is to be called again.
    pub fn new(store: Arc<Store>, informers: Informers, changed: Arc<Notify>) -> Self {
        Self { store, informers, changed, secrets: Mutex::default() }
    }

    /// Follows what these Ingresses name, forgets the rest, and makes the table of what is there.
    pub fn follow(&self, ingresses: &[Arc<Ingress>]) {
        let claims = claims(ingresses);
        let named: HashSet<&SecretName> = claims.iter().map(|claim| &claim.secret).collect();
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.retain(|name, _| named.contains(name) || self.forget(name));
        for name in named {
            let followed = secrets.entry(name.clone()).or_insert_with(|| self.begin(name));
            followed.read(name);
        }
        let table = Certificates::build(&claims, |name| secrets.get(name)?.key.clone());
        *self.store.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// Waits until every Secret that is followed now was looked for once.
    pub async fn synced(&self) {
        let informers: Vec<Informer<Secret>> = {
            let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
            secrets.values().map(|followed| followed.informer.clone()).collect()
        };
        for informer in informers {
            informer.synced().await;
        }
    }

    fn begin(&self, (namespace, name): &SecretName) -> Followed {
        let informer = self.informers.one::<Secret>(namespace, name);
        let changed = self.changed.clone();
        informer.on_change(move |_| changed.notify_one());
        Followed { informer, version: None, key: None }
    }

    /// Always false: the entry goes.
    fn forget(&self, (namespace, name): &SecretName) -> bool {
        self.informers.forget_one::<Secret>(namespace, name);
        false
    }
}

impl Followed {
    /// Reads the Secret where it is another than last time.
    fn read(&mut self, (namespace, name): &SecretName) {
        let secret = self.informer.get(namespace, name);
        let version = secret.as_ref().and_then(|secret| secret.metadata.resource_version.clone());
        if secret.is_some() && version == self.version {
            return;
        }
        self.version = version;
        self.key = secret.and_then(|secret| match certified(&secret) {
            Ok(key) => Some(Arc::new(key)),
            Err(error) => {
                let error = stdx::error::chain(&error);
                tracing::warn!(namespace, name, error, "an Ingress names a Secret that holds no certificate");
                None
            }
        });
    }
}
