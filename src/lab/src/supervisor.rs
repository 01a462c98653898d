//! What keeps a host running after this process has ended: a shell of its own session that starts
//! systemd-nspawn, and starts it again when the host reboots.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::cgroup::Groups;
use crate::error::{Error, file};
use crate::network;
use crate::root_fs::{PLAIN, RootFs};
use crate::state::{HostRecord, Record};
use crate::tool::PATH;

/// From the start of the shell until it is in its group; longer only where the machine is out of breath.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Status with which systemd-nspawn asks to be started again (`EXIT_FORCE_RESTART`).
///
/// A host that was cut off stays so: its port is new after a restart, and open until its carrier is up.
const SUPERVISE: &str = r#"
folder=$1 link=$2
shift 2
trap '' HUP
for group in $SUPERVISOR_GROUPS; do echo $$ >"$group/cgroup.procs" || exit 1; done
echo $$ >"$folder/pid"
enter='for group in $HOST_GROUPS; do echo $$ >"$group/cgroup.procs" || exit 1; done; exec "$@"'
while :; do
    if [ -e "$folder/cut" ]; then
        (
            tries=50
            while [ "$tries" -gt 0 ] && [ -e "$folder/cut" ]; do
                bridge link set dev "$link" state 0 2>/dev/null
                tries=$((tries - 1))
                sleep 0.2
            done
        ) &
    fi
    sh -c "$enter" sh "$@"
    status=$?
    echo "systemd-nspawn ended with status $status"
    [ "$status" = 133 ] || break
done
exit "$status"
"#;

/// Starts the host. It is on its own from then on.
pub(crate) async fn start(lab: &Record, host: &HostRecord, files: &RootFs) -> Result<(), Error> {
    let (own, supervisor) = (Groups::of_host(&lab.name, &host.name)?, Groups::of_supervisor(&lab.name, &host.name)?);
    own.create()?;
    supervisor.create()?;
    network::remove_port(&lab.link(host)).await?;
    let _absent = std::fs::remove_file(files.pid());
    let console = File::create(files.console()).map_err(file("writing", files.console()))?;
    let errors = console.try_clone().map_err(file("writing", files.console()))?;
    let mut command = Command::new("setsid");
    command.args(["--fork", "/bin/sh", "-c", SUPERVISE, "rkctl-lab"]);
    command.arg(&files.folder).arg(lab.link(host)).args(nspawn(lab, host, files));
    command
        .env_clear()
        .env("PATH", PATH)
        .env("SUPERVISOR_GROUPS", supervisor.joined())
        .env("HOST_GROUPS", own.joined());
    command.current_dir("/").stdin(Stdio::null()).stdout(console).stderr(errors);
    let status = command.status().await.map_err(|source| Error::ToolStart { command: "setsid".to_owned(), source })?;
    if !status.success() {
        return Err(Error::Tool { command: "setsid".to_owned(), stderr: status.to_string() });
    }
    // From when it is in its group, whoever asks sees that the host runs, or that it ended.
    let deadline = Instant::now() + START_TIMEOUT;
    while !files.pid().exists() {
        if Instant::now() > deadline {
            return Err(files.late(&host.name, "start", START_TIMEOUT));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn nspawn(lab: &Record, host: &HostRecord, files: &RootFs) -> Vec<String> {
    let mut words: Vec<String> = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        // Without systemd or machined on this machine, and without their leave.
        "--keep-unit",
        "--register=no",
        "--console=pipe",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        // A host is not confined: it runs containers of its own. The clock alone has no namespace, so that a host that
        // set it, or keeps it by NTP, would set this machine's.
        "--capability=all",
        "--drop-capability=CAP_SYS_TIME",
        "--system-call-filter=@known",
    ]
    .map(str::to_owned)
    .to_vec();
    words.push(format!("--directory={}", files.root().display()));
    words.push(format!("--machine={}", lab.machine(host)));
    words.push(format!("--hostname={}", host.name));
    words.push(format!("--network-bridge={}", lab.bridge()));
    words.extend(PLAIN.map(|inside| format!("--bind={}:{inside}", files.plain(inside).display())));
    words
}
