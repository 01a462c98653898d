//! `rkctl node server` on loopback, alone: with a configuration, certificates and data of its own in a folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use crate::command::{self, free_port};
use crate::http::Access;
use crate::proc::Process;
use crate::rkctl::Rkctl;

/// A server that is not ready by then never will be.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a server that starts: the error of the measurement.
const POLL: Duration = Duration::from_millis(1);
/// A server closes its store and ends.
const STOP_LIMIT: Duration = Duration::from_secs(20);
const PKI_LIMIT: Duration = Duration::from_secs(30);
/// What the `kubernetes` service is said to lead to: it may not be an address of loopback, and nobody goes there
/// (RFC 5737).
const ADVERTISED: &str = "192.0.2.1";

/// A server that can be started and stopped; a running one is killed when this is dropped.
pub struct Server {
    rkctl: Rkctl,
    folder: PathBuf,
    running: Option<Child>,
    /// How to talk to it.
    pub access: Access,
}

impl Server {
    /// Writes a configuration into `folder` and makes keys and certificates there. Nothing runs yet, and there is no
    /// data.
    pub async fn prepare(rkctl: &Rkctl, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let config = folder.join("server.yaml");
        // JSON is YAML.
        let text = serde_json::json!({
            "apiVersion": "rkctl.dev/v1", "kind": "ServerConfiguration", "clusterName": "bench",
            "dataDir": folder.join("data"), "pkiDir": folder.join("pki"),
            "bindAddress": "127.0.0.1", "port": free_port()?, "advertiseAddress": ADVERTISED, "apiSANs": [],
            "podCIDR": "10.42.0.0/16", "serviceCIDR": "10.43.0.0/16", "clusterDomain": "cluster.local",
            "nodePortRange": "30000-32767",
        });
        std::fs::write(&config, text.to_string()).with_context(|| format!("write {}", config.display()))?;
        let kubeconfig = folder.join("admin.kubeconfig");
        let mut init = rkctl.command(&["node", "pki", "init", "--config"]);
        init.arg(&config).arg("--admin-kubeconfig").arg(&kubeconfig);
        command::run(&mut init, "", PKI_LIMIT).await?;
        let access = Access::from_kubeconfig(&kubeconfig)?;
        Ok(Self { rkctl: rkctl.clone(), folder: folder.to_owned(), running: None, access })
    }

    /// Starts it; answers how long it took from exec to `/readyz`.
    pub async fn start(&mut self) -> anyhow::Result<Duration> {
        let log = self.folder.join("server.log");
        let said = std::fs::File::create(&log).with_context(|| format!("write {}", log.display()))?;
        let mut command = self.rkctl.command(&["node", "server", "--config"]);
        command.arg(self.folder.join("server.yaml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let began = Instant::now();
        let child = self.running.insert(command.spawn().context("start `rkctl node server`")?);
        loop {
            if let Ok(mut connection) = self.access.connect().await
                && connection.ok(Method::GET, "/readyz", Bytes::new()).await.is_ok()
            {
                return Ok(began.elapsed());
            }
            if let Some(status) = child.try_wait()? {
                let said = command::last_lines(&std::fs::read(&log).unwrap_or_default());
                bail!("`rkctl node server` {status}: {said}");
            }
            if began.elapsed() > READY_LIMIT {
                let said = command::last_lines(&std::fs::read(&log).unwrap_or_default());
                bail!("`rkctl node server` was not ready within {} s: {said}", READY_LIMIT.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Its process id while it runs.
    pub fn process_id(&self) -> Option<i32> {
        self.running.as_ref()?.id().and_then(|id| i32::try_from(id).ok())
    }

    /// Its process.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn process(&self) -> anyhow::Result<Process> {
        self.process_id().map(Process).context("the server has ended")
    }

    /// What it holds resident now, in MB.
    ///
    /// # Errors
    /// See [`Server::process`].
    pub fn resident_mb(&self) -> anyhow::Result<f64> {
        Ok(self.process()?.memory()?.rss_bytes as f64 / 1e6)
    }

    /// Where its keys and certificates are.
    pub fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// How `name` talks to it, who is in no group and may do with ConfigMaps what an administrator gave a role for.
    ///
    /// # Errors
    /// A server that does not run or does not make the role.
    pub async fn user(&self, name: &str) -> anyhow::Result<Access> {
        let mut admin = self.access.connect().await?;
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let group = "rbac.authorization.k8s.io";
        let role = serde_json::json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}],
        });
        let binding = serde_json::json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
        });
        admin.ok(Method::POST, &format!("{rbac}/clusterroles"), role.to_string().into()).await?;
        admin.ok(Method::POST, &format!("{rbac}/clusterrolebindings"), binding.to_string().into()).await?;
        let read = |file: &str| {
            let path = self.pki().join(file);
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let authority = pki::Authority::from_pem("the cluster's authority", &read("ca.crt")?, &read("ca.key")?)?;
        let profile = pki::Profile {
            common_name: name.to_owned(),
            organizations: vec![],
            sans: vec![],
            usage: pki::Usage::Client,
            lifetime: pki::LEAF_LIFETIME,
        };
        let issued = authority.issue(&profile, jiff::Timestamp::now(), &mut rand::rng())?;
        let access = self.access.with_certificate(&issued.certificate_pem, &issued.key_pem)?;
        self.allowed(&access).await?;
        Ok(access)
    }

    /// Waits until a new role counts.
    async fn allowed(&self, access: &Access) -> anyhow::Result<()> {
        let (began, mut connection) = (Instant::now(), access.connect().await?);
        loop {
            let path = "/api/v1/namespaces/default/configmaps?limit=1";
            match connection.ok(Method::GET, path, Bytes::new()).await {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > READY_LIMIT => return Err(error),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Ends it as systemd does.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let process = self.process_id();
        let Some(mut child) = self.running.take() else { return Ok(()) };
        if let Some(process) = process {
            kill(Pid::from_raw(process), Signal::SIGTERM).context("end `rkctl node server`")?;
        }
        let ended = tokio::time::timeout(STOP_LIMIT, child.wait()).await;
        ended.with_context(|| format!("`rkctl node server` did not end within {} s", STOP_LIMIT.as_secs()))??;
        Ok(())
    }

    /// Removes its data; it must not run.
    pub fn forget(&self) -> anyhow::Result<()> {
        let data = self.folder.join("data");
        match std::fs::remove_dir_all(&data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", data.display()))
            }
            _ => Ok(()),
        }
    }
}
