//! How each action is carried out on its host.

use std::time::Duration;

use inventory::Host;
use ssh::{Command, Remote, Upload};

use super::{Job, Shared};
use crate::cluster_facts::NodeSettings;
use crate::error::Error;
use crate::plan::{Action, BINARY, Step};

/// The API server is ready within a second or two; a slow disk may need longer.
const SERVER_READY: Duration = Duration::from_secs(60);
/// The agent imports its images and joins.
const NODE_READY: Duration = Duration::from_secs(90);
/// Addons start from images that are there already.
const ADDONS_READY: Duration = Duration::from_secs(120);
/// Anything else that only talks to the API.
const API_CALL: Duration = Duration::from_secs(60);
/// Starting a unit; systemd's own limit is 60 s.
const UNIT_START: Duration = Duration::from_secs(75);
/// Between the command's own bound and the session's, so that the command can say what it waits for.
const GRACE: Duration = Duration::from_secs(10);
const JOURNAL_LINES: u32 = 15;
/// What programs say of a disk without room (strerror of ENOSPC and EDQUOT).
const DISK_FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];
/// Life of a bootstrap token: joining takes seconds.
const TOKEN_LIFE: &str = "10m";
const CA: &str = "/etc/rkctl/pki/ca.crt";
const MAX_CA_BYTES: usize = 64 << 10;

const RESTART: &str = "set -eu
systemctl daemon-reload
systemctl enable -q \"$1\"
systemctl restart \"$1\"";
const STOP_AGENT: &str =
    "systemctl stop rkctl-agent.service 2>/dev/null || ! systemctl is-active -q rkctl-agent.service";
/// The upload was checked against the hash; hashing it again in every run would take longer than all other facts.
const REMEMBER_HASH: &str = "set -eu
mkdir -p /var/lib/rkctl
printf '%s\\t%s\\n' \"$(stat -c '%i %s %Y %Z' \"$1\")\" \"$2\" >/var/lib/rkctl/binary.sha256";
const JOURNAL: &str = "journalctl -u \"$1\" -n \"$2\" --no-pager -o cat 2>/dev/null";

/// Carries a step out. Answers what a person should know of it, though it is done.
pub(super) async fn carry_out(job: &Job<'_>, shared: &Shared, step: &Step) -> Result<Vec<String>, Error> {
    let host = job.fleet.session(&step.host)?;
    match &step.action {
        Action::Reset => crate::reset::reset_host(host).await,
        _ => act(job, shared, host, step).await.map(|()| Vec::new()),
    }
}

async fn act(job: &Job<'_>, shared: &Shared, host: &dyn Remote, step: &Step) -> Result<(), Error> {
    match &step.action {
        Action::Run { script, args, input, timeout } => {
            let command = Command::new(*script).stdin(input.clone().into_bytes()).timeout(*timeout);
            let command = args.iter().fold(command, |command, arg| command.arg(arg));
            run(host, &step.title, command).await.map(drop)
        }
        Action::Write { path, content, mode, then } => {
            upload(host, Upload::bytes(content.clone().into_bytes(), path, *mode)).await?;
            match then {
                Some(script) => run(host, &step.title, Command::new(*script)).await.map(drop),
                None => Ok(()),
            }
        }
        Action::CopyBinary { sha256 } => {
            upload(host, Upload::file(&job.binary, BINARY, 0o755)).await?;
            let command = Command::new(REMEMBER_HASH).arg(BINARY).arg(sha256);
            run(host, &step.title, command).await.map(drop)
        }
        Action::Certificates => rkctl(host, &["pki", "init"], "", API_CALL).await.map(drop),
        Action::Secrets { folder } => {
            for (path, content) in job.git_files.0.iter().filter(|(path, _)| path.starts_with(folder)) {
                upload(host, Upload::bytes(content.clone(), path, 0o600)).await?;
            }
            Ok(())
        }
        Action::Restart { unit } => restart(host, unit).await,
        Action::AwaitServer => await_server(host).await,
        Action::FetchAuthority => {
            let pem = shared.authority.get_or_try_init(|| authority(job)).await?;
            upload(host, Upload::bytes(pem.clone().into_bytes(), CA, 0o644)).await
        }
        Action::HandToken { server } => hand_token(job, shared, host, server).await,
        Action::AwaitNode => await_node(job, host, &step.host).await,
        Action::SetNode { settings, .. } => set_node(host, settings).await,
        Action::ApplyAddons { apply, remove } => {
            if !remove.is_empty() {
                addons(host, "remove", remove, API_CALL).await?;
            }
            if apply.is_empty() { Ok(()) } else { addons(host, "apply", apply, API_CALL).await }
        }
        Action::AwaitAddons(names) => addons(host, "wait", names, ADDONS_READY).await,
        Action::RemoveNode { name, drain_timeout } => remove_node(job, host, name, *drain_timeout).await,
        Action::Reset => crate::reset::reset_host(host).await.map(drop),
    }
}

/// What to do when a step failed.
pub(super) fn remedy(step: &Step, error: &Error) -> String {
    let again = "run `rkctl up` again to continue";
    match (&step.action, error) {
        (_, Error::Ssh { source, .. }) if matches!(**source, ssh::Error::Upload { .. }) => {
            format!("see that the host's disk has room and is writable; then {again}")
        }
        (_, Error::Command { detail }) if DISK_FULL.iter().any(|words| detail.contains(words)) => {
            format!("make room on the disk of {}; then {again}", step.host)
        }
        (_, Error::Ssh { source, .. }) if source.is_unreachable() => {
            format!("see that {} is up and the network to it holds; then {again}", step.host)
        }
        (_, Error::Unit { unit, .. }) => {
            format!("see `journalctl -u {unit}` on {}; put right what it says, then {again}", step.host)
        }
        (Action::AwaitNode, _) => {
            format!(
                "see `journalctl -u rkctl-agent` on {} and `kubectl describe node {}`; then {again}",
                step.host, step.host
            )
        }
        (Action::AwaitServer, _) => format!("see `journalctl -u rkctl-server` on {}; then {again}", step.host),
        (Action::AwaitAddons(_), _) => format!("see `kubectl -n kube-system get pods`; then {again}"),
        _ => again.to_owned(),
    }
}

/// Runs a command; an exit status other than 0 is told with what the command said.
async fn run(host: &dyn Remote, doing: &str, command: Command) -> Result<String, Error> {
    let output = host.exec(command).await.map_err(Error::ssh(doing))?;
    if output.success() {
        return Ok(output.text().into_owned());
    }
    let said = output.error_text();
    let said = said.trim().strip_prefix("rkctl: ").unwrap_or(said.trim());
    let detail = if said.is_empty() { format!("the command {}", output.status) } else { said.to_owned() };
    Err(Error::Command { detail })
}

async fn upload(host: &dyn Remote, upload: Upload) -> Result<(), Error> {
    let doing = format!("writing {}", upload.path);
    host.upload(upload).await.map_err(Error::ssh(doing))
}

/// Runs `rkctl node …` on a host.
pub(super) async fn rkctl(host: &dyn Remote, args: &[&str], input: &str, limit: Duration) -> Result<String, Error> {
    let words = [BINARY, "node"].into_iter().chain(args.iter().copied());
    let command = Command::program(words).stdin(input.as_bytes().to_vec()).timeout(limit + GRACE);
    run(host, &format!("running rkctl node {}", args.join(" ")), command).await
}

async fn restart(host: &dyn Remote, unit: &str) -> Result<(), Error> {
    let service = format!("{unit}.service");
    let Err(error) = run(host, "starting the unit", Command::new(RESTART).arg(&service).timeout(UNIT_START)).await
    else {
        return Ok(());
    };
    let journal = journal(host, unit).await;
    if journal.is_empty() { Err(error) } else { Err(Error::Unit { unit: unit.to_owned(), journal }) }
}

/// The last words of a unit; empty where there are none.
async fn journal(host: &dyn Remote, unit: &str) -> String {
    let command = Command::new(JOURNAL).arg(format!("{unit}.service")).arg(JOURNAL_LINES.to_string());
    match host.exec(command.timeout(GRACE)).await {
        Ok(output) => output.text().into_owned(),
        Err(_) => String::new(),
    }
}

async fn with_journal(host: &dyn Remote, unit: &str, error: Error) -> Error {
    let journal = journal(host, unit).await;
    if journal.is_empty() {
        return error;
    }
    let words = stdx::error::chain(&error);
    Error::Command { detail: format!("{words}; the last words of {unit}:\n{journal}") }
}

async fn await_server(host: &dyn Remote) -> Result<(), Error> {
    let limit = format!("{}s", SERVER_READY.as_secs());
    match rkctl(host, &["facts", "--wait-ready", &limit], "", SERVER_READY).await {
        Ok(_) => Ok(()),
        Err(error) => Err(with_journal(host, "rkctl-server", error).await),
    }
}

/// A control-plane host that can be talked to.
fn controller<'a>(job: &'a Job<'_>) -> Result<&'a dyn Remote, Error> {
    let mut last = Error::Skipped { reason: "there is no control-plane host".to_owned() };
    let controllers: Vec<&Host> = job.cluster.controllers().collect();
    for host in controllers {
        match job.fleet.session(&host.name) {
            Ok(session) => return Ok(session),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn authority(job: &Job<'_>) -> Result<String, Error> {
    let pem =
        controller(job)?.download(CA, MAX_CA_BYTES).await.map_err(Error::ssh("reading the cluster's authority"))?;
    Ok(String::from_utf8_lossy(&pem).into_owned())
}

async fn hand_token(job: &Job<'_>, shared: &Shared, host: &dyn Remote, server: &str) -> Result<(), Error> {
    let ca_pem = shared.authority.get_or_try_init(|| authority(job)).await?.clone();
    let token = shared
        .token
        .get_or_try_init(|| async {
            rkctl(controller(job)?, &["token", "create", "--ttl", TOKEN_LIFE], "", API_CALL).await
        })
        .await?;
    let kubeconfig = pki::Kubeconfig {
        cluster: job.cluster.name.clone(),
        user: "bootstrap".to_owned(),
        server: server.to_owned(),
        ca_pem,
        auth: pki::UserAuth::Token(token.clone()),
    };
    upload(host, Upload::bytes(kubeconfig.to_yaml().into_bytes(), "/etc/rkctl/bootstrap.kubeconfig", 0o600)).await
}

async fn await_node(job: &Job<'_>, host: &dyn Remote, name: &str) -> Result<(), Error> {
    let limit = format!("{}s", NODE_READY.as_secs());
    match rkctl(controller(job)?, &["nodes", "wait", name, "--timeout", &limit], "", NODE_READY).await {
        Ok(_) => Ok(()),
        Err(error) => Err(with_journal(host, "rkctl-agent", error).await),
    }
}

async fn set_node(host: &dyn Remote, settings: &NodeSettings) -> Result<(), Error> {
    let input = serde_json::to_string(settings).unwrap_or_default();
    rkctl(host, &["nodes", "set"], &input, API_CALL).await.map(drop)
}

async fn addons(host: &dyn Remote, verb: &str, names: &[String], limit: Duration) -> Result<(), Error> {
    let timeout = format!("{}s", limit.as_secs());
    let mut args = vec!["addons", verb];
    args.extend(names.iter().map(String::as_str));
    args.extend(["--timeout", &timeout]);
    rkctl(host, &args, "", limit).await.map(drop)
}

/// Drained, its agent stopped where it can be reached, and deleted: a running agent would register it again.
async fn remove_node(job: &Job<'_>, controller: &dyn Remote, name: &str, drain_timeout: Duration) -> Result<(), Error> {
    let timeout = format!("{}s", drain_timeout.as_secs());
    rkctl(controller, &["nodes", "drain", name, "--timeout", &timeout], "", drain_timeout + API_CALL).await?;
    if let Ok(leaving) = job.fleet.session(name) {
        run(leaving, "stopping the agent", Command::new(STOP_AGENT).timeout(UNIT_START)).await?;
    }
    rkctl(controller, &["nodes", "delete", name], "", API_CALL).await.map(drop)
}
