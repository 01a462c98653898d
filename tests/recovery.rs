//! What goes wrong on a host during `up`: one message with host, step, cause and remedy; run again, it goes on. On the
//! host that is in no cluster, as a cluster of its own.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::kubectl::Ran;

use crate::harness::{SPARE, Scene, drills};

drills![tells_what_is_wrong_with_a_host_and_goes_on, converges_after_it_was_killed];

const BOUND: Duration = Duration::from_secs(180);
/// Moments at which `up` is killed: while it looks, prepares, copies, starts and waits.
const KILLED_AFTER_MS: [u64; 6] = [300, 900, 1700, 2600, 3800, 5500];

fn inventory(scene: &Scene) -> Value {
    let ssh = json!({ "user": "root", "identityFile": scene.cluster.key(),
        "hostKeys": { "policy": "strict", "file": scene.cluster.known_hosts() } });
    json!({ "metadata": { "name": "spare" },
        "spec": { "hosts": [{ "name": SPARE, "address": scene.cluster.address(SPARE), "ssh": ssh }] } })
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
    let path = scene.cluster.file("killed.yaml");
    std::fs::write(&path, inventory(scene).to_string()).expect("a file of ours");
    for after_ms in KILLED_AFTER_MS {
        let mut child = Command::new(scene.cluster.program())
            .arg("up")
            .arg(&path)
            .arg("--kubeconfig")
            .arg(scene.cluster.file("spare.kubeconfig"))
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
    let ready = up(scene).ok();
    assert!(ready.contains("The cluster spare is "), "{ready}");
    assert!(up(scene).ok().contains("nothing to do"));
    reset(scene);
    let now = scene.cluster.snapshot(SPARE);
    assert!(now == before, "{}", crate::harness::differences(&before, &now));
}
