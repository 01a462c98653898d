//! The images run in a host's containerd, as they would for a cluster's tests.

use ssh::{Command, Remote};
use testkit::{TestLab, images};

#[tokio::test(flavor = "multi_thread")]
async fn images_are_imported_and_answer_over_http() {
    let lab = TestLab::up("images", &["w1"]).await;
    let session = lab.session("w1").await;
    let config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\n";
    session.upload(ssh::Upload::bytes(config, "/etc/containerd/config.toml", 0o644)).await.unwrap();
    let archive = images::archive(&[images::busybox(), images::web(1), images::web(2)]);
    let run = async |command: Command| match session.run(command).await {
        Ok(output) => output.text().into_owned(),
        Err(error) => panic!("{}", stdx::error::chain(&error)),
    };
    run("systemctl start containerd".into()).await;
    run(Command::new("ctr -n k8s.io images import --digests=false -").stdin(archive)).await;
    let names = run("ctr -n k8s.io images list -q".into()).await;
    for name in ["rkctl.local/busybox:1", "rkctl.local/web:1", "rkctl.local/web:2"] {
        assert!(names.lines().any(|line| line == name), "{name} is among {names}");
    }
    let shell = "ctr -n k8s.io run --rm rkctl.local/busybox:1 b sh -c 'id -un; wget --help 2>&1 | head -1; nslookup localhost >/dev/null; echo $PATH'";
    let said = run(shell.into()).await;
    assert!(said.starts_with("root\nBusyBox") && said.ends_with("/bin"), "{said}");
    for version in [1, 2] {
        let script = format!(
            "set -e; ctr -n k8s.io run -d --net-host rkctl.local/web:{version} web
             for try in $(seq 50); do curl -sf http://127.0.0.1:8080/healthz && break; sleep 0.1; done
             curl -sf http://127.0.0.1:8080/
             ctr -n k8s.io task kill --signal SIGTERM web
             for try in $(seq 50); do ctr -n k8s.io task list | grep -q RUNNING || break; sleep 0.1; done
             ctr -n k8s.io task list | tail -n +2; ctr -n k8s.io task rm web; ctr -n k8s.io container rm web"
        );
        let said = run(script.into()).await;
        assert!(said.starts_with(&format!("ok\nw1 v{version} 127.0.0.1\n")), "{said}");
        assert!(!said.contains("RUNNING"), "SIGTERM ends it: {said}");
    }
}
