//! The keys and certificates of a control-plane host: which there are, and what must be made or renewed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use rand::RngCore;

use crate::authority::{Authority, LEAF_LIFETIME, Profile, San, Usage, generate_key, public_key_pem};
use crate::error::Error;
use crate::inspect::{inspect, is_signed_by, renewal_due};

/// File name to PEM text: the content of the folder of keys.
pub type Bundle = BTreeMap<String, String>;

/// What a file of the folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Anyone may read it.
    Public,
    /// 0600, and it never leaves the host.
    Private,
}

/// Every file of the folder of keys.
pub const FILES: &[(&str, FileKind)] = &[
    ("ca.crt", FileKind::Public),
    ("ca.key", FileKind::Private),
    ("front-proxy-ca.crt", FileKind::Public),
    ("front-proxy-ca.key", FileKind::Private),
    ("front-proxy-client.crt", FileKind::Public),
    ("front-proxy-client.key", FileKind::Private),
    ("sa.key", FileKind::Private),
    ("sa.pub", FileKind::Public),
    ("apiserver.crt", FileKind::Public),
    ("apiserver.key", FileKind::Private),
    ("apiserver-kubelet-client.crt", FileKind::Public),
    ("apiserver-kubelet-client.key", FileKind::Private),
];

/// What a file name of the folder is; unknown names are private.
pub fn file_kind(name: &str) -> FileKind {
    FILES.iter().find(|(known, _)| *known == name).map_or(FileKind::Private, |(_, kind)| *kind)
}

/// What the certificates must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Names the authorities.
    pub cluster_name: String,
    /// Names and addresses of the API server; see [`server_sans`].
    pub server_sans: Vec<San>,
}

/// The names and addresses the API server is known by, sorted: those every cluster has, and `more`.
pub fn server_sans(cluster_domain: &str, service_ip: IpAddr, more: impl IntoIterator<Item = San>) -> Vec<San> {
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
    let mut sans: Vec<San> = names.iter().map(|name| San::Dns((*name).to_owned())).collect();
    sans.push(San::Dns(format!("kubernetes.default.svc.{cluster_domain}")));
    sans.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST), service_ip].map(San::Ip));
    sans.extend(more);
    sans.sort();
    sans.dedup();
    sans
}

/// One thing to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// Signs servers, nodes and users.
    ClusterAuthority,
    /// Signs the API server towards aggregated API servers.
    FrontProxyAuthority,
    /// Signs service-account tokens.
    ServiceAccountKey,
    /// The API server towards its clients.
    ApiServer,
    /// The API server towards the agents.
    KubeletClient,
    /// The API server towards aggregated API servers.
    FrontProxyClient,
}

impl Item {
    /// In the order they must be made.
    const ALL: [Self; 6] = [
        Self::ClusterAuthority,
        Self::FrontProxyAuthority,
        Self::ServiceAccountKey,
        Self::ApiServer,
        Self::KubeletClient,
        Self::FrontProxyClient,
    ];

    /// Its file of certificates (or public key) and its file of keys.
    pub fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::ClusterAuthority => ("ca.crt", "ca.key"),
            Self::FrontProxyAuthority => ("front-proxy-ca.crt", "front-proxy-ca.key"),
            Self::ServiceAccountKey => ("sa.pub", "sa.key"),
            Self::ApiServer => ("apiserver.crt", "apiserver.key"),
            Self::KubeletClient => ("apiserver-kubelet-client.crt", "apiserver-kubelet-client.key"),
            Self::FrontProxyClient => ("front-proxy-client.crt", "front-proxy-client.key"),
        }
    }

    /// Whether it is signed by another and may be made anew at any time.
    pub fn is_leaf(self) -> bool {
        self.authority().is_some()
    }

    fn authority(self) -> Option<Self> {
        match self {
            Self::ClusterAuthority | Self::FrontProxyAuthority | Self::ServiceAccountKey => None,
            Self::ApiServer | Self::KubeletClient => Some(Self::ClusterAuthority),
            Self::FrontProxyClient => Some(Self::FrontProxyAuthority),
        }
    }

    fn profile(self, wanted: &Wanted) -> Profile {
        let (common_name, organizations, sans, usage) = match self {
            Self::ApiServer => ("kube-apiserver", vec![], wanted.server_sans.clone(), Usage::Server),
            // In no group: what agents let it do is what the role system:kubelet-api-admin says, so that an agent that
            // leads it elsewhere gains nothing by it.
            Self::KubeletClient => ("kube-apiserver-kubelet-client", vec![], vec![], Usage::Client),
            _ => ("front-proxy-client", vec![], vec![], Usage::Client),
        };
        Profile { common_name: common_name.to_owned(), organizations, sans, usage, lifetime: LEAF_LIFETIME }
    }
}

/// One thing to make and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub item: Item,
    /// Why.
    pub reason: String,
}

/// What must be made or renewed so that `have` is what is `wanted`. Authorities and the service-account key are never
/// replaced once they are there, since everything else hangs on them.
///
/// # Errors
/// [`Error::Half`] where one half of an authority is missing, [`Error::Certificate`] where an authority is damaged.
pub fn plan(wanted: &Wanted, have: &Bundle, now: Timestamp) -> Result<Vec<Step>, Error> {
    let mut steps: Vec<Step> = Vec::new();
    for item in Item::ALL {
        let reason = match item.authority() {
            None => root_reason(item, have)?,
            Some(authority) if steps.iter().any(|step| step.item == authority) => {
                Some("its authority is new".to_owned())
            }
            Some(authority) => leaf_reason(item, authority, wanted, have, now),
        };
        steps.extend(reason.map(|reason| Step { item, reason }));
    }
    Ok(steps)
}

fn root_reason(item: Item, have: &Bundle) -> Result<Option<String>, Error> {
    let (public, private) = item.files();
    match (have.get(public), have.get(private)) {
        (None, None) => Ok(Some("it is not there".to_owned())),
        (Some(certificate), Some(key)) if item != Item::ServiceAccountKey => {
            Authority::from_pem(public, certificate, key).map(|_| None)
        }
        (Some(text), Some(key)) => {
            Ok((public_key_pem(private, key)? != *text).then(|| "the public key is not the key's".to_owned()))
        }
        (None, Some(key)) if item == Item::ServiceAccountKey => {
            public_key_pem(private, key).map(|_| Some("the public key is not there".to_owned()))
        }
        (None, Some(_)) => Err(Error::Half { present: private, missing: public }),
        (Some(_), None) => Err(Error::Half { present: public, missing: private }),
    }
}

fn leaf_reason(item: Item, authority: Item, wanted: &Wanted, have: &Bundle, now: Timestamp) -> Option<String> {
    let (public, private) = item.files();
    let (Some(certificate), Some(key)) = (have.get(public), have.get(private)) else {
        return Some("it is not there".to_owned());
    };
    let Ok(inspection) = inspect(public, certificate) else {
        return Some("its certificate cannot be read".to_owned());
    };
    match rcgen::KeyPair::from_pem(key) {
        Ok(pair) if rcgen::PublicKeyData::der_bytes(&pair) == inspection.public_key => {}
        _ => return Some("its key does not belong to its certificate".to_owned()),
    }
    let signed = have.get(authority.files().0).is_some_and(|ca| is_signed_by(public, certificate, ca).unwrap_or(false));
    if !signed {
        return Some("it was not signed by the present authority".to_owned());
    }
    let profile = item.profile(wanted);
    let sans = inspection.sans();
    if let Some(missing) = profile.sans.iter().find(|san| !sans.contains(san)) {
        return Some(format!("`{missing}` is not among its names"));
    }
    if let Some(extra) = sans.iter().find(|san| !profile.sans.contains(san)) {
        return Some(format!("`{extra}` is among its names and no longer wanted"));
    }
    if (&inspection.common_name, &inspection.organizations) != (&profile.common_name, &profile.organizations) {
        return Some("its subject is not the wanted one".to_owned());
    }
    renewal_due(&inspection, now).then(|| format!("it ends on {}", inspection.not_after))
}

/// Makes what a step says and puts it into `have`.
///
/// # Errors
/// [`Error::Crypto`]; [`Error::Missing`] where the authority a step needs is not in `have`.
pub fn carry_out(
    step: &Step,
    wanted: &Wanted,
    have: &mut Bundle,
    now: Timestamp,
    random: &mut dyn RngCore,
) -> Result<(), Error> {
    let (public, private) = step.item.files();
    let (public_pem, private_pem) = match step.item {
        Item::ServiceAccountKey => {
            let key = match have.get(private) {
                Some(key) => key.clone(),
                None => generate_key()?,
            };
            (public_key_pem(private, &key)?, key)
        }
        Item::ClusterAuthority | Item::FrontProxyAuthority => {
            let role = if step.item == Item::ClusterAuthority { "" } else { "-front-proxy" };
            let issued = Authority::generate(&format!("{}{role}-ca", wanted.cluster_name), now, random)?;
            (issued.certificate_pem, issued.key_pem)
        }
        leaf => {
            let (ca, ca_key) = leaf.authority().unwrap_or(Item::ClusterAuthority).files();
            let certificate = have.get(ca).ok_or(Error::Missing { what: ca })?;
            let key = have.get(ca_key).ok_or(Error::Missing { what: ca_key })?;
            let issued = Authority::from_pem(ca, certificate, key)?.issue(&leaf.profile(wanted), now, random)?;
            (issued.certificate_pem, issued.key_pem)
        }
    };
    have.insert(public.to_owned(), public_pem);
    have.insert(private.to_owned(), private_pem);
    Ok(())
}
