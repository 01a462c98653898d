//! Copying the binary to a host, beside OpenSSH's scp.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ssh::{Auth, HostKeyPolicy, KeyFile, Session, Target, Upload};
use tokio::process::Command;

use crate::bench::Bench;
use crate::command;
use crate::report::{Measured, Row, Target as Limit};
use crate::rkctl::{LabHost, LabStatus};
use crate::stats::Samples;

const SCP_LIMIT: Duration = Duration::from_secs(120);
const PLACE: &str = "/var/tmp/bench-upload";

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let scp = command::which("scp")
        .context("its peer is missing: no scp in PATH; install it with `apt-get install openssh-client`")?;
    let rounds = bench.rounds(5, 3);
    let program = bench.rkctl.program().to_owned();
    let size_mb = std::fs::metadata(&program)?.len() as f64 / 1e6;
    let lab = bench.fresh_lab().await?.status().clone();
    let host = lab.hosts.first().context("the lab has no host")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        copy(&scp, &lab, host, &program).await?;
        theirs.push(size_mb / began.elapsed().as_secs_f64());
        let began = Instant::now();
        let session = connect(&lab, host).await?;
        session.upload(Upload::file(&program, PLACE, 0o755)).await?;
        ours.push(size_mb / began.elapsed().as_secs_f64());
        session.close().await;
    }
    let ours = Samples::new(ours).context("there were no rounds")?;
    let theirs = Samples::new(theirs).context("there were no rounds")?;
    let (median, peer) = (ours.median(), theirs.median());
    let row = Row::new("speed to scp's", median / peer, "x").target(Limit::AtLeast(1.0));
    let row = row.detail(format!("{median:.0} MB/s; scp {peer:.0} MB/s"));
    let how = format!(
        "the binary ({size_mb:.1} MB) to one host of the lab, connecting included; ours is checked by its hash and on \
         the disk (fsync) when it is done, scp's is followed by a sync of the file; in turns, {rounds} rounds, medians"
    );
    Ok(Measured { how, rows: vec![row], parts: vec![] })
}

async fn connect(lab: &LabStatus, host: &LabHost) -> anyhow::Result<Session> {
    let mut target = Target::new(&host.address, "root");
    target.name = host.name.clone();
    target.auth = vec![Auth::Key(KeyFile::new(&lab.key_path))];
    target.host_key = HostKeyPolicy::Strict(vec![lab.known_hosts_path.clone()]);
    Ok(ssh::connect(&target).await?)
}

async fn copy(scp: &Path, lab: &LabStatus, host: &LabHost, program: &Path) -> anyhow::Result<()> {
    let known_hosts = format!("UserKnownHostsFile={}", lab.known_hosts_path.display());
    let options = |command: &mut Command| {
        command.args(["-o", &known_hosts, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-i"]);
        command.arg(&lab.key_path);
    };
    let mut command = Command::new(scp);
    command.arg("-q");
    options(&mut command);
    command.arg(program).arg(format!("root@{}:{PLACE}", host.address));
    command::run(&mut command, "", SCP_LIMIT).await?;
    let mut sync = Command::new("ssh");
    options(&mut sync);
    sync.arg(format!("root@{}", host.address)).arg(format!("sync {PLACE}"));
    command::run(&mut sync, "", SCP_LIMIT).await.map(drop)
}
