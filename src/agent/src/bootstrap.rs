//! How a node gets its certificates: the first with a bootstrap token, each further one with the one before.
//!
//! As kubeadm's TLS bootstrap does: a certificate signing request that the control plane approves and signs. The keys
//! are made here and never leave the node.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{Api, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::certificates::{Files, Live, write_private};
use crate::config::Config;
use crate::objects::api::api;

/// The signer of node clients.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// The signer of node servers.
const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// A request is looked at this often.
const POLL: Duration = Duration::from_millis(500);
/// A request that nobody answers in this time is made anew.
const ANSWER_LIMIT: Duration = Duration::from_secs(900);
/// What failed is tried again after this.
const RETRY: Duration = Duration::from_secs(2);
/// Certificates are looked at this often: somebody may have changed the clock or the files.
const RENEWAL_CHECK: Duration = Duration::from_secs(600);
/// After the moment of a renewal, so that it has come when it is looked for.
const RENEWAL_MARGIN: Duration = Duration::from_secs(1);

/// Where the agent's certificates lie and what they say.
pub struct Identity {
    node: String,
    addresses: Vec<std::net::IpAddr>,
    client_files: Files,
    serving_files: Files,
    kubeconfig: PathBuf,
    /// What the agent shows to the API.
    pub client: Live,
    /// What the agent's own server shows.
    pub serving: Live,
}

/// What a request is for.
struct Wanted<'a> {
    signer: &'static str,
    usage: &'static str,
    sans: Vec<pki::San>,
    files: &'a Files,
    live: &'a Live,
}

impl Identity {
    /// The identity of a node; nothing is read or asked for yet.
    pub fn new(config: &Config, addresses: &[std::net::IpAddr]) -> Result<Self, Error> {
        crate::certificates::make_private_folder(&config.data_dir)?;
        Ok(Self {
            node: config.node_name.clone(),
            addresses: addresses.to_vec(),
            client_files: Files::new(&config.data_dir, "client"),
            serving_files: Files::new(&config.data_dir, "serving"),
            kubeconfig: config.data_dir.join("kubeconfig"),
            client: Live::default(),
            serving: Live::default(),
        })
    }

    /// Gets a client certificate: from disk, else with the bootstrap token. Tries until `shutdown`.
    pub async fn join(
        &self,
        config: &Config,
        url: &str,
        ca_pem: &str,
        shutdown: &CancellationToken,
    ) -> Result<bool, Error> {
        if let Some((certificate, key)) = self.client_files.read(Timestamp::now()) {
            self.client.set(&certificate, &key)?;
            self.joined(config, url, ca_pem)?;
            return Ok(true);
        }
        loop {
            match self.bootstrap(config, url).await {
                Ok(()) => {
                    self.joined(config, url, ca_pem)?;
                    return Ok(true);
                }
                Err(error) => tracing::warn!(error = %stdx::error::chain(&error), "join the cluster"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(false),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn bootstrap(&self, config: &Config, url: &str) -> Result<(), Error> {
        let path = &config.bootstrap_kubeconfig;
        let wrong = |message: String| Error::Certificate { action: "read the bootstrap kubeconfig", message };
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).map_err(|error| wrong(error.to_string()))?;
        let options = kube::config::KubeConfigOptions::default();
        let read = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut read = read.map_err(|error| wrong(error.to_string()))?;
        read.cluster_url = url.parse().map_err(|_| wrong(format!("{url:?} is not a URL")))?;
        let client = kube::Client::try_from(read).map_err(|error| wrong(error.to_string()))?;
        self.request(&client, &self.wants_client()).await.map(drop)
    }

    /// The kubeconfig for people on the node, and the end of the bootstrap token's file.
    fn joined(&self, config: &Config, url: &str, ca_pem: &str) -> Result<(), Error> {
        let kubeconfig = pki::Kubeconfig {
            cluster: "rkctl".into(),
            user: format!("system:node:{}", self.node),
            server: url.to_string(),
            ca_pem: ca_pem.to_string(),
            auth: pki::UserAuth::CertificateFile {
                certificate: self.client_files.certificate.display().to_string(),
                key: self.client_files.key.display().to_string(),
            },
        };
        write_private(&self.kubeconfig, &kubeconfig.to_yaml())?;
        match std::fs::remove_file(&config.bootstrap_kubeconfig) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", &config.bootstrap_kubeconfig)(error))
            }
            _ => Ok(()),
        }
    }

    fn wants_client(&self) -> Wanted<'_> {
        Wanted {
            signer: CLIENT_SIGNER,
            usage: "client auth",
            sans: Vec::new(),
            files: &self.client_files,
            live: &self.client,
        }
    }

    fn wants_serving(&self) -> Wanted<'_> {
        let mut sans = vec![pki::San::Dns(self.node.clone())];
        sans.extend(self.addresses.iter().map(|address| pki::San::Ip(*address)));
        Wanted { signer: SERVING_SIGNER, usage: "server auth", sans, files: &self.serving_files, live: &self.serving }
    }

    /// Keeps both certificates fresh until `shutdown`. Neither waits for the other: a serving certificate is given only
    /// once the node is registered.
    pub async fn keep(&self, client: &kube::Client, shutdown: CancellationToken) {
        let both = async {
            tokio::join!(self.keep_one(client, self.wants_client()), self.keep_one(client, self.wants_serving()))
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = both => {}
        }
    }

    async fn keep_one(&self, client: &kube::Client, wanted: Wanted<'_>) {
        loop {
            let wait = match self.keep_fresh(client, &wanted).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(signer = wanted.signer, error = %stdx::error::chain(&error), "get a certificate");
                    RETRY
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes the certificate into use that is there, or asks for a new one where it is time to; how long it holds.
    async fn keep_fresh(&self, client: &kube::Client, wanted: &Wanted<'_>) -> Result<Duration, Error> {
        let now = Timestamp::now();
        if let Some((certificate, key)) = wanted.files.read(now) {
            wanted.live.set(&certificate, &key)?;
            if let Some(wait) = holds_for(&inspect(&certificate)?, &wanted.sans, now) {
                return Ok(wait);
            }
        }
        let certificate = self.request(client, wanted).await?;
        Ok(holds_for(&inspect(&certificate)?, &wanted.sans, Timestamp::now()).unwrap_or(RETRY))
    }

    /// Asks for a certificate for a new key, waits for it and takes it into use.
    async fn request(&self, client: &kube::Client, wanted: &Wanted<'_>) -> Result<String, Error> {
        let wrong = |error: pki::Error| Error::Certificate {
            action: "make a certificate request",
            message: stdx::error::chain(&error),
        };
        let key = pki::generate_key().map_err(wrong)?;
        let name = format!("system:node:{}", self.node);
        let request = pki::new_request(&key, &name, &["system:nodes".into()], &wanted.sans).map_err(wrong)?;
        let object = CertificateSigningRequest {
            metadata: ObjectMeta { generate_name: Some("csr-".into()), ..Default::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(request.into_bytes()),
                signer_name: wanted.signer.into(),
                usages: Some(vec!["digital signature".into(), wanted.usage.into()]),
                ..Default::default()
            },
            status: None,
        };
        let requests = Api::<CertificateSigningRequest>::all(client.clone());
        let made = requests.create(&PostParams::default(), &object).await;
        let made = made.map_err(api(format!("create a CertificateSigningRequest for {}", wanted.signer)))?;
        let csr = made.metadata.name.unwrap_or_default();
        let certificate = tokio::time::timeout(ANSWER_LIMIT, answer(&requests, &csr)).await.map_err(|_| {
            let message = format!("{csr} was neither approved nor denied within {} s", ANSWER_LIMIT.as_secs());
            Error::Certificate { action: "wait for a certificate", message }
        })??;
        wanted.files.write(&certificate, &key)?;
        wanted.live.set(&certificate, &key)?;
        tracing::info!(signer = wanted.signer, request = csr, "got a certificate");
        Ok(certificate)
    }
}

fn inspect(certificate: &str) -> Result<pki::Inspection, Error> {
    pki::inspect("the agent's certificate", certificate)
        .map_err(|error| Error::Certificate { action: "read a certificate", message: stdx::error::chain(&error) })
}

/// How long until a certificate is looked at again, at its renewal at the latest; `None` where a new one is needed now.
fn holds_for(certificate: &pki::Inspection, wanted: &[pki::San], now: Timestamp) -> Option<Duration> {
    let mut wanted = wanted.to_vec();
    wanted.sort();
    if certificate.sans() != wanted || pki::renewal_due(certificate, now) {
        return None;
    }
    let left = Duration::try_from(pki::renewal_at(certificate).duration_since(now)).unwrap_or_default();
    Some((left + RENEWAL_MARGIN).min(RENEWAL_CHECK))
}

async fn answer(requests: &Api<CertificateSigningRequest>, name: &str) -> Result<String, Error> {
    let refused = |message: String| Error::Certificate { action: "wait for a certificate", message };
    loop {
        let request = requests.get(name).await.map_err(api(format!("get CertificateSigningRequest {name}")))?;
        let status = request.status.unwrap_or_default();
        let ends = ["Denied", "Failed"];
        if let Some(end) = status.conditions.iter().flatten().find(|condition| ends.contains(&condition.type_.as_str()))
        {
            return Err(refused(format!("{name} is {}: {}", end.type_, end.message.clone().unwrap_or_default())));
        }
        if let Some(certificate) = status.certificate.filter(|certificate| !certificate.0.is_empty()) {
            return String::from_utf8(certificate.0)
                .map_err(|_| refused(format!("{name} holds a certificate that is not PEM")));
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_a_third_of_its_life_and_when_its_names_are_others() {
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        let authority = pki::Authority::generate("test", now, &mut rand::rng()).unwrap();
        let authority = pki::Authority::from_pem("test", &authority.certificate_pem, &authority.key_pem).unwrap();
        let sans = [pki::San::Dns("w1".into()), pki::San::parse("192.0.2.1")];
        let profile = pki::Profile {
            common_name: "system:node:w1".into(),
            organizations: vec![],
            sans: sans.to_vec(),
            usage: pki::Usage::Server,
            lifetime: Duration::from_secs(100_000),
        };
        let issued = authority.issue(&profile, now, &mut rand::rng()).unwrap();
        let certificate = inspect(&issued.certificate_pem).unwrap();
        let at = |seconds: i64| now + jiff::SignedDuration::from_secs(seconds);
        let due_s = pki::renewal_at(&certificate).duration_since(now).as_secs();
        assert!((60_000..80_000).contains(&due_s), "{due_s}");
        for (seconds, names, expected_s) in [
            (0, &sans[..], Some(600)),
            (due_s - 10, &sans[..], Some(11)),
            (due_s, &sans[..], Some(1)),
            (due_s + 1, &sans[..], None),
            (99_999, &sans[..], None),
            (0, &sans[..1], None),
        ] {
            let found = holds_for(&certificate, names, at(seconds)).map(|wait| wait.as_secs());
            assert_eq!(found, expected_s, "{seconds} {names:?}");
        }
    }
}
