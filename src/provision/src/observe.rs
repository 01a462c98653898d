//! Asks hosts what they are: one script and one round trip a host, on a control-plane host a second one beside it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use inventory::{Cluster, Host, State};
use jiff::{SignedDuration, Timestamp};
use ssh::{Command, Remote};

use crate::connect::Fleet;
use crate::error::Error;

mod facts;

pub use facts::{Configured, Followed, Found, HostFacts, Module, NftChain, PkiDue, Sysctl, Unit};

const SCRIPT: &str = include_str!("observe/facts.sh");
/// For control-plane hosts.
const CLUSTER_SCRIPT: &str = include_str!("observe/cluster.sh");
/// A host that takes longer is ill; its share of time must not hold up the others.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Facts are some kilobytes.
const OUTPUT_LIMIT_BYTES: usize = 4 << 20;

/// Files whose content or presence decides about steps.
const FILES: &[&str] = &[
    crate::plan::BINARY,
    "/etc/rkctl/server.yaml",
    "/etc/rkctl/agent.yaml",
    "/etc/rkctl/pki/ca.crt",
    "/etc/rkctl/access/audit-policy.yaml",
    "/etc/rkctl/access/authentication.yaml",
    "/etc/rkctl/access/authorization.yaml",
    crate::secrets::AUTHORIZATION_KUBECONFIGS[0],
    crate::secrets::AUTHORIZATION_KUBECONFIGS[1],
    crate::secrets::AUTHORIZATION_KUBECONFIGS[2],
    crate::secrets::AUTHORIZATION_KUBECONFIGS[3],
    crate::secrets::ENCRYPTION_FILE,
    "/etc/rkctl/access/token-webhook.kubeconfig",
    "/etc/rkctl/gitops/ssh_key",
    "/etc/rkctl/gitops/known_hosts",
    "/etc/rkctl/gitops/password",
    "/etc/rkctl/firewall.nft",
    "/etc/rkctl/firewall.sh",
    "/etc/systemd/system/rkctl-server.service",
    "/etc/systemd/system/rkctl-agent.service",
    "/etc/systemd/system/nftables.service.d/rkctl.conf",
    "/etc/firewalld/policies/rkctl-host.xml",
    "/etc/firewalld/policies/rkctl-forward.xml",
    "/etc/containerd/config.toml",
    "/etc/NetworkManager/conf.d/90-rkctl.conf",
    "/etc/sysctl.d/90-rkctl.conf",
    "/etc/systemd/network/05-rkctl.network",
    "/etc/modules-load.d/rkctl.conf",
    "/opt/cni/bin/rkctl-cni",
    "/opt/cni/bin/loopback",
];

/// What came of asking a host.
#[derive(Debug, Clone)]
pub enum Observation {
    /// It answered.
    Answered(Box<HostFacts>),
    /// It could not be asked.
    Failed {
        /// Why, with every cause.
        cause: String,
    },
}

impl Observation {
    /// What the host is, where it answered.
    pub fn facts(&self) -> Option<&HostFacts> {
        match self {
            Self::Answered(facts) => Some(facts),
            Self::Failed { .. } => None,
        }
    }
}

/// Asks every host of the cluster, several at a time.
pub async fn observe(cluster: &Cluster, fleet: &Fleet) -> BTreeMap<String, Observation> {
    futures::stream::iter(&cluster.hosts)
        .map(|host| async move {
            let observation = match fleet.session(&host.name) {
                Ok(session) => ask(host, session).await,
                Err(cause) => Err(cause),
            };
            let observation = match observation {
                Ok(facts) => Observation::Answered(Box::new(facts)),
                Err(error) => Observation::Failed { cause: error.told() },
            };
            (host.name.clone(), observation)
        })
        .buffer_unordered(cluster.options.parallel.max(1))
        .collect()
        .await
}

async fn ask(host: &Host, session: &dyn Remote) -> Result<HostFacts, Error> {
    let is_control_plane = host.role.is_control_plane() && host.state == State::Present;
    let command = FILES.iter().fold(Command::new(SCRIPT), |command, file| command.arg(*file));
    let (began, clock) = (Instant::now(), Timestamp::now());
    let (text, of_cluster) = tokio::try_join!(tell(session, command), async {
        if is_control_plane { tell(session, Command::new(CLUSTER_SCRIPT)).await } else { Ok(String::new()) }
    })?;
    let answered = clock + SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::ZERO);
    let mut facts = HostFacts::parse(&format!("{text}\n{of_cluster}"));
    // The host's clock was read at some moment between question and answer: within these there is no skew to tell.
    facts.asked_at = Some(facts.clock.unwrap_or(answered).clamp(clock, answered));
    Ok(facts)
}

/// What a script says, which must have come to its end.
async fn tell(session: &dyn Remote, script: Command) -> Result<String, Error> {
    let command = script.timeout(TIMEOUT).output_limit_bytes(OUTPUT_LIMIT_BYTES);
    let output = session.exec(command).await.map_err(Error::ssh("asking the host what it is"))?;
    let text = output.text();
    if HostFacts::parse(&text).complete {
        return Ok(text.into_owned());
    }
    let detail = output.error_text();
    let detail = detail.lines().last().unwrap_or("the script did not come to its end").to_owned();
    Err(Error::Facts { detail })
}

#[cfg(test)]
mod tests;
