//! Clients that ask and do not read, and what else holds connections for nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::plugin::Plugins;
use http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::streams::{connect_over, connect_with, exchange};
use crate::support::{PATIENCE, TestServer, eventually, start, start_configured};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// More than the kernel keeps for a connection that nobody reads.
const OBJECTS: usize = 14;
const OBJECT_BYTES: usize = 1_000_000;

/// A server with a long list, which cuts clients off soon.
async fn start_with_much() -> TestServer {
    let server = start_configured(Plugins::allow_all(), |config| {
        config.limits.taken_within = Duration::from_secs(2);
    })
    .await;
    for at in 0..OBJECTS {
        let object = json!({"metadata": {"name": format!("large-{at}")}, "data": {"a": "x".repeat(OBJECT_BYTES)}});
        server.create(CONFIG_MAPS, object).await;
    }
    server
}

async fn figure(server: &TestServer, name: &str) -> f64 {
    let (_, text) = exchange(server, "GET /metrics HTTP/1.1\nHost: a\n\n").await;
    let text = String::from_utf8_lossy(&text).into_owned();
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}

async fn seats(server: &TestServer) -> f64 {
    // The question has one itself.
    figure(server, "apiserver_flowcontrol_current_executing_requests{").await - 1.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_that_does_not_read_keeps_its_seat_and_is_cut_off() {
    let server = start_with_much().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    let address = server.address.trim_start_matches("https://").parse().expect("an address");
    let stream = socket.connect(address).await.expect("a connection");
    let mut stream = connect_over(&server, stream, &[]).await;
    let list = format!("GET {CONFIG_MAPS} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(list.as_bytes()).await.expect("bytes are sent");
    eventually("the answer that is not sent yet has its seat", || async {
        (seats(&server).await >= 1.0).then_some(())
    })
    .await;
    eventually("it is cut off, and the seat given back", || async {
        let stalled = figure(&server, "rkctl_apiserver_answers_stalled_total").await;
        (stalled >= 1.0 && seats(&server).await < 1.0).then_some(())
    })
    .await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection has ended");
    assert!(rest.len() < OBJECTS * OBJECT_BYTES, "{} bytes", rest.len());
    // Who reads, however slowly, gets everything.
    let (head, body) = exchange(&server, &format!("GET {CONFIG_MAPS} HTTP/1.1\nHost: a\n\n")).await;
    assert!(head.starts_with("http/1.1 200") && body.len() > OBJECTS * OBJECT_BYTES, "{head}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_http_2_whose_window_stays_closed_ends_and_then_its_connection() {
    let server = start_with_much().await;
    let stream = connect_with(&server, &[b"h2"]).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (client, connection) = builder.handshake::<_, bytes::Bytes>(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let ask = |path: &str| {
        let request = Request::get(format!("https://a{path}")).body(()).expect("a request");
        let mut client = client.clone();
        async move {
            let (response, _) = client.send_request(request, true).expect("a stream");
            let response = tokio::time::timeout(PATIENCE, response).await.expect("a head in time").expect("a head");
            assert_eq!(response.status(), 200);
            response.into_body()
        }
    };
    let ended = |mut body: h2::RecvStream| async move {
        let data = tokio::time::timeout(PATIENCE, body.data()).await.expect("the stream ends in time");
        let error = data.expect("no end as if it were whole").expect_err("no data");
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{error}");
    };
    // A list, a watch with its first objects, and something small: each by itself, while the connection goes on.
    for path in [CONFIG_MAPS.to_string(), format!("{CONFIG_MAPS}?watch=1"), "/version".to_string()] {
        ended(ask(&path).await).await;
    }
    eventually("their seats are given back", || async { (seats(&server).await < 1.0).then_some(()) }).await;
    // A watch that has nothing to tell waits for the server and not for its client.
    let quiet = ask("/api/v1/namespaces/quiet/configmaps?watch=1").await;
    let bodies = futures::future::join_all((0..30).map(|_| ask("/version"))).await;
    tokio::time::timeout(PATIENCE, connection).await.expect("the connection ends in time").expect("a task").ok();
    drop((quiet, bodies));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_does_not_wait_for_who_has_not_said_anything() {
    let server = start().await;
    let silent = TcpStream::connect(server.address.trim_start_matches("https://")).await.expect("a connection");
    eventually("the connection is counted", || async {
        (figure(&server, "rkctl_apiserver_connections ").await >= 2.0).then_some(())
    })
    .await;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_upgraded_counts_as_one() {
    let server = Arc::new(crate::streams::start_with_pod().await);
    let head = "POST /api/v1/namespaces/default/pods/p/exec?command=ls&stdout=1 HTTP/1.1\nHost: a\nConnection: Upgrade\n\
                Upgrade: SPDY/3.1\nX-Stream-Protocol-Version: v4.channel.k8s.io\n\n";
    let (answer, stream) = crate::streams::upgrade(&server, head).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // With that of the question itself.
    let connections = || figure(&server, "rkctl_apiserver_connections ");
    eventually("it counts", || async { (connections().await >= 2.0).then_some(()) }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(connections().await >= 2.0, "and goes on to count");
    drop(stream);
    eventually("it ends", || async { (connections().await < 2.0).then_some(()) }).await;
}
