//! The peer of everything that is read over TLS: Debian's nginx, serving files from a folder with the server's own
//! certificate.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::command::{self, free_port};
use crate::http::Access;
use crate::proc::Process;

const START_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A running nginx; ends when dropped.
pub struct Nginx {
    child: Child,
    /// How to talk to it.
    pub access: Access,
}

impl Nginx {
    /// Serves the files of `folder`/files on loopback with the certificate of the server whose keys are in `pki`.
    /// `access` is who asks.
    ///
    /// # Errors
    /// Where nginx is not installed, with what installs it.
    pub async fn start(folder: &Path, pki: &Path, access: &Access) -> anyhow::Result<Self> {
        let sbin = Path::new("/usr/sbin/nginx");
        let program = command::which("nginx").or_else(|| sbin.is_file().then(|| sbin.to_owned()));
        let program =
            program.context("its peer is missing: no nginx in PATH; install it with `apt-get install nginx`")?;
        let port = free_port()?;
        let config = folder.join("nginx.conf");
        std::fs::write(&config, configuration(folder, pki, port))
            .with_context(|| format!("write {}", config.display()))?;
        let log = folder.join("nginx.log");
        let said = std::fs::File::create(&log).with_context(|| format!("write {}", log.display()))?;
        let child = Command::new(program)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .kill_on_drop(true)
            .spawn()
            .context("start nginx")?;
        let mut nginx = Self { child, access: access.at(port) };
        let began = Instant::now();
        while nginx.access.wire().await.is_err() {
            let ended = nginx.child.try_wait()?.is_some();
            if ended || began.elapsed() > START_LIMIT {
                bail!("nginx does not start: {}", command::last_lines(&std::fs::read(&log).unwrap_or_default()));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(nginx)
    }

    /// Its first process; those that answer are its children.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn process(&self) -> anyhow::Result<Process> {
        Ok(Process(i32::try_from(self.child.id().context("nginx has ended")?)?))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its children behind.
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _gone = kill(Pid::from_raw(id), Signal::SIGTERM);
            let began = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < START_LIMIT {
                std::thread::sleep(POLL);
            }
        }
    }
}

/// What makes it fastest for files: as many processes as the server has threads, files kept open, no log.
fn configuration(folder: &Path, pki: &Path, port: u16) -> String {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let (folder, pki) = (folder.display(), pki.display());
    format!(
        "daemon off;\nuser root;\nworker_processes {cores};\npid {folder}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         access_log off;\ndefault_type application/json;\nkeepalive_requests 1000000000;\ntcp_nodelay on;\n\
         open_file_cache max=1000 inactive=600s;\nopen_file_cache_valid 600s;\n\
         client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\nfastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\nscgi_temp_path {folder}/scgi;\n\
         server {{\nlisten 127.0.0.1:{port} ssl;\nroot {folder}/files;\nssl_protocols TLSv1.3;\n\
         ssl_certificate {pki}/apiserver.crt;\nssl_certificate_key {pki}/apiserver.key;\n}}\n}}\n"
    )
}
