//! exec and port-forward through the API server and the agent into containerd, with the real kubectl.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::json;
use testkit::tools::KubectlVersion;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::PATIENCE;
use crate::bench::Bench;
use crate::lives::condition;

/// A command that does not end with its input would never.
const SOON: Duration = Duration::from_secs(30);

fn kubectl(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = Command::new(testkit::tools::kubectl(KubectlVersion::V1_32));
    command.args(arguments).env("KUBECONFIG", bench.folder.path().join("kubeconfig"));
    command.env("HOME", bench.folder.path()).kill_on_drop(true);
    command
}

/// Runs kubectl with an input that ends.
async fn run(bench: &Bench, arguments: &[&str], input: &str) -> Output {
    let mut command = kubectl(bench, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await;
    output.unwrap_or_else(|_| panic!("kubectl {arguments:?} does not end with its input")).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub async fn kubectl_speaks_with_containers_over_websockets(bench: &Bench) {
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 1 });
    bench
        .run(
            "spoken",
            json!({ "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": "rkctl.local/web:1",
                "imagePullPolicy": "Never", "readinessProbe": probe }] }),
        )
        .await;
    bench.until("spoken", "it is ready", |pod| condition(pod, "Ready") == "True").await;
    // The agent's first certificate does not name its address; it asks for another at once.
    testkit::eventually_async(PATIENCE, "the server reaches the agent", async || {
        let output = run(bench, &["exec", "spoken", "--", "true"], "").await;
        if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
    })
    .await;
    // Enough for several messages each way; the end of the input ends the command.
    let long = "hello \n".repeat(20_000);
    for input in ["hi\n", "", long.as_str()] {
        let output = run(bench, &["exec", "-i", "-v=8", "spoken", "--", "cat"], input).await;
        let log = text(&output.stderr);
        assert!(
            output.status.success() && text(&output.stdout) == input,
            "{} of {}: {log}",
            output.stdout.len(),
            input.len()
        );
        assert!(log.contains("Sec-Websocket-Protocol: v5.channel.k8s.io") && !log.contains("fallback"), "{log}");
    }
    let output = run(bench, &["exec", "spoken", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], "").await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(7), "out\n"));
    assert!(text(&output.stderr).starts_with("err\n"), "{}", text(&output.stderr));
    forward(bench).await;
    bench.delete("spoken").await;
}

async fn forward(bench: &Bench) {
    let log = bench.folder.path().join("port-forward.log");
    let mut command = kubectl(bench, &["port-forward", "-v=8", "spoken", ":8080"]);
    command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true");
    command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(SOON, lines.next_line()).await.expect("kubectl listens").unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let line = line.unwrap_or_else(|| panic!("kubectl ended: {}", said()));
    // Forwarding from 127.0.0.1:40001 -> 8080
    let port = line.split([':', ' ']).find_map(|word| word.parse::<u16>().ok()).expect("a port");
    for _ in 0..3 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await;
        assert!(read.is_ok() && answer.contains("200 OK") && answer.ends_with("ok\n"), "{answer}: {}", said());
    }
    assert!(said().contains("Sec-Websocket-Protocol: SPDY/3.1+portforward.k8s.io"), "{}", said());
    assert!(!said().contains("fallback"), "{}", said());
    child.kill().await.unwrap();
}
