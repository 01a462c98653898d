//! What goes wrong on a host during `up`: one message with host, step, cause and remedy; run again, it goes on. On the
//! host that is in no cluster, as a cluster of its own.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::kubectl::Ran;

use crate::harness::{PATIENCE, Running, SPARE, Scene, differences, drills, on_a_shared_disk, on_a_terminal};

drills![
    tells_what_is_wrong_with_a_host_and_goes_on,
    converges_after_it_was_killed,
    converges_after_control_c,
    converges_after_the_host_was_rebooted,
];

const BOUND: Duration = Duration::from_secs(180);
/// Who is interrupted ends at once.
const ENDED_BOUND: Duration = Duration::from_secs(10);
/// 128 and the number of SIGINT, as script(1) tells of it.
const INTERRUPTED: i32 = 130;
/// Moments at which `up` is killed: while it looks, prepares, copies, starts and waits.
const KILLED_AFTER_MS: [u64; 6] = [300, 900, 1700, 2600, 3800, 5500];

fn inventory(scene: &Scene) -> Value {
    let ssh = json!({ "user": "root", "identityFile": scene.cluster.key(),
        "hostKeys": { "policy": "strict", "file": scene.cluster.known_hosts() } });
    let host =
        json!({ "name": SPARE, "address": scene.cluster.address(SPARE), "ssh": ssh, "agent": on_a_shared_disk() });
    json!({ "metadata": { "name": "spare" }, "spec": { "hosts": [host] } })
}

/// `up` that is not waited for.
fn up_begun(scene: &Scene) -> Command {
    let path = scene.cluster.file("spare.yaml");
    std::fs::write(&path, inventory(scene).to_string()).expect("a file of ours");
    let mut command = Command::new(scene.cluster.program());
    command.arg("up").arg(path).arg("--kubeconfig").arg(scene.cluster.file("spare.kubeconfig"));
    command
}

fn up(scene: &Scene) -> Ran {
    let kubeconfig = scene.cluster.file("spare.kubeconfig");
    let words = ["--kubeconfig", &kubeconfig.to_string_lossy()];
    scene.cluster.rkctl_with("up", &inventory(scene).to_string(), &words, BOUND)
}

/// `up` fails with the exit code for it, and says these words.
#[track_caller]
fn fails(scene: &Scene, wanted: &[&str]) {
    let ran = up(scene);
    assert_eq!(ran.status.code(), Some(3), "{}", ran.report());
    let lacking: Vec<_> = wanted.iter().filter(|words| !ran.stdout.contains(**words)).collect();
    assert!(lacking.is_empty(), "{lacking:?}\n{}", ran.report());
}

fn reset(scene: &Scene) {
    scene.cluster.rkctl_with("reset", &inventory(scene).to_string(), &["--yes"], BOUND).ok();
}

fn tells_what_is_wrong_with_a_host_and_goes_on(scene: &Scene) {
    let host = |script: &str| scene.cluster.host(SPARE, script);
    host("systemd-run -q --collect --unit rkctl-drill-port socat TCP-LISTEN:6443,fork,reuseaddr /dev/null");
    fails(scene, &["w3: port 6443/tcp is in use by socat; stop socat"]);
    host("systemctl stop rkctl-drill-port");

    host("mount -t tmpfs -o size=20m tmpfs /usr/local/bin");
    fails(scene, &["w3: /usr/local/bin has 20 MiB free", "make room on the disk"]);
    host("umount /usr/local/bin");

    let drop_in = "/etc/systemd/system/rkctl-server.service.d";
    host(&format!(
        "mkdir -p {drop_in} && printf '[Service]\\nExecStartPre=/bin/sh -c \"echo the drill broke it; exit 1\"\\n' \
         >{drop_in}/drill.conf"
    ));
    fails(scene, &["w3: start the control plane: ", "the drill broke it", "journalctl -u rkctl-server", "again"]);
    host(&format!("rm -r {drop_in}"));

    let ready = up(scene).ok();
    assert!(ready.contains("The cluster spare is ready"), "{ready}");
    assert!(up(scene).ok().contains("nothing to do"));
    reset(scene);
}

fn converges_after_it_was_killed(scene: &Scene) {
    let before = scene.cluster.snapshot(SPARE);
    for after_ms in KILLED_AFTER_MS {
        let mut child = up_begun(scene)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("rkctl starts");
        // The moment is the point of the drill; whatever was done by then, the next run goes on from it.
        let until = Instant::now() + Duration::from_millis(after_ms);
        while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ended = child.kill();
        child.wait().expect("a child of ours is waited for");
    }
    converges(scene, &before);
}

/// `up` finishes what was begun, and `reset` leaves the host as it was before that.
#[track_caller]
fn converges(scene: &Scene, before: &str) {
    let ready = up(scene).ok();
    assert!(ready.contains("The cluster spare is "), "{ready}");
    assert!(up(scene).ok().contains("nothing to do"));
    reset(scene);
    let now = scene.cluster.snapshot(SPARE);
    assert!(now == before, "{}", differences(before, &now));
}

fn converges_after_control_c(scene: &Scene) {
    let before = scene.cluster.snapshot(SPARE);
    for step in ["copy rkctl", "wait until the node is Ready"] {
        let mut command = up_begun(scene);
        // Bars are drawn for terminals that can move their cursor.
        command.env("TERM", "xterm");
        let mut session = Running::start(on_a_terminal(command));
        let mut keys = session.stdin();
        session.wait_for(PATIENCE, &format!("the bar shows `{step}`"), |said| said.contains(step).then_some(()));
        keys.write_all(b"\x03").expect("it reads");
        let status = session.wait_for_end(ENDED_BOUND);
        assert_eq!(status.code(), Some(INTERRUPTED), "{}", session.said());
    }
    converges(scene, &before);
}

fn converges_after_the_host_was_rebooted(scene: &Scene) {
    let before = scene.cluster.snapshot(SPARE);
    let mut command = Running::start(up_begun(scene));
    let done = "start containerd: done";
    command.wait_for(PATIENCE, "a good part is done", |said| said.contains(done).then_some(()));
    scene.cluster.host_verb("reboot", SPARE);
    let status = command.wait_for_end(BOUND);
    let said = command.said();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("FAILED w3: ") && said.contains("run `rkctl up` again"), "{said}");
    converges(scene, &before);
}
