//! Bounds of time and size as clients meet them, and how a server ends.

use std::time::{Duration, Instant};

use apiserver::plugin::Plugins;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::streams::{connect, connect_with, exchange, read_answer};
use crate::support::{PATIENCE, eventually, start, start_configured};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn status(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(body)))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_too_large_or_take_too_long_are_refused_in_words() {
    let server = start_configured(Plugins::allow_all(), |config| config.limits.body_bytes = 1000).await;
    let post = |query: &str, length: usize, body: &str| {
        format!(
            "POST {CONFIG_MAPS}{query} HTTP/1.1\nHost: a\nContent-Type: application/json\nContent-Length: {length}\n\n{body}"
        )
    };
    let (head, body) = exchange(&server, &post("", 2000, &"a".repeat(2000))).await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
    assert_eq!(status(&body)["reason"], "RequestEntityTooLarge");
    let (head, body) = exchange(&server, &post("?timeout=ten", 2, "{}")).await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
    assert_eq!(
        status(&body)["message"],
        "invalid timeout specified in the request URL - time: invalid duration \"ten\""
    );
    let (head, body) = exchange(&server, &post("?timeout=200ms", 100, "{")).await;
    assert!(head.starts_with("http/1.1 504"), "{head}");
    assert_eq!(status(&body)["reason"], "Timeout");
    let large = format!("GET /version HTTP/1.1\nHost: a\nX-Large: {}\n\n", "a".repeat(100_000));
    let (head, body) = exchange(&server, &large).await;
    assert!(head.starts_with("http/1.1 431"), "{head}");
    assert!(status(&body)["message"].as_str().is_some_and(|text| text.contains("more than 65536")), "{head}");
    // Of what is larger still no more is read.
    let mut endless = connect(&server).await;
    let head = format!("GET /version HTTP/1.1\r\nHost: a\r\nX-Large: {}", "a".repeat(400_000));
    let _ = endless.write_all(head.as_bytes()).await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, endless.read_to_end(&mut rest)).await.expect("it is closed in time");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_nothing_or_slowly_are_cut_off() {
    let server = start_configured(Plugins::allow_all(), |config| {
        config.limits.headers_within = Duration::from_millis(300);
        config.limits.idle = Duration::from_millis(300);
    })
    .await;
    let ended = |mut stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>| async move {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed in time");
        // With or without an answer to the half of a request.
        drop(read);
    };
    let mut slow = connect(&server).await;
    slow.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\nX-Slow: a").await.expect("bytes are sent");
    ended(slow).await;
    ended(connect(&server).await).await;
    // One that is used stays, for as long as it is: a watch is a use.
    let mut used = connect(&server).await;
    let watch = format!("GET {CONFIG_MAPS}?watch=1&timeoutSeconds=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let began = Instant::now();
    used.write_all(watch.as_bytes()).await.expect("bytes are sent");
    let (head, _) = read_answer(&mut used).await;
    assert!(head.starts_with("http/1.1 200") && began.elapsed() >= Duration::from_millis(900), "{head}");
    ended(used).await;
    // HTTP/2 has no heads to wait for; the connection is told to end where it is idle.
    let mut idle = connect_with(&server, &[b"h2"]).await;
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("bytes are sent");
    ended(idle).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_that_are_taken_back_ends_its_connection() {
    let server = start().await;
    let mut attacker = connect_with(&server, &[b"h2"]).await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // :method GET, :scheme https, :path /, by HPACK's static table; then RST_STREAM.
    for stream in (0..500u32).map(|number| 2 * number + 1) {
        bytes.extend_from_slice(&[0, 0, 3, 1, 5]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&[0x82, 0x87, 0x84]);
        bytes.extend_from_slice(&[0, 0, 4, 3, 0]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&8u32.to_be_bytes());
    }
    // The end may come while bytes are on their way.
    let _ = attacker.write_all(&bytes).await;
    let mut seen = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, attacker.read_to_end(&mut seen)).await.expect("it is closed in time");
    // GOAWAY with ENHANCE_YOUR_CALM.
    let calm = seen.windows(4).any(|window| window == 11u32.to_be_bytes());
    assert!(calm, "{seen:?}");
    assert_eq!(exchange(&server, "GET /version HTTP/1.1\nHost: a\n\n").await.0.split(' ').nth(1), Some("200"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_says_so_first_and_finishes_what_it_has_begun() {
    let server = start_configured(Plugins::allow_all(), |config| {
        config.limits.shutdown_delay = Duration::from_secs(4);
    })
    .await;
    let object = json!({"metadata": {"name": "slow"}}).to_string();
    let (half, rest) = object.split_at(10);
    let mut post = connect(&server).await;
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{half}",
        object.len()
    );
    post.write_all(head.as_bytes()).await.expect("bytes are sent");
    let mut watch = connect(&server).await;
    watch.write_all(format!("GET {CONFIG_MAPS}?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.expect("sent");
    eventually("the watch has begun", || async {
        let (_, metrics) = exchange(&server, "GET /metrics HTTP/1.1\nHost: a\n\n").await;
        let line = "apiserver_longrunning_requests{group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"} 1\n";
        String::from_utf8_lossy(&metrics).contains(line).then_some(())
    })
    .await;
    server.begin_stop();
    eventually("readiness says no", || async {
        let (head, _) = exchange(&server, "GET /readyz HTTP/1.1\nHost: a\n\n").await;
        head.starts_with("http/1.1 500").then_some(())
    })
    .await;
    // Until the balancers have seen it everything else goes on, for new connections as well.
    let (head, _) = exchange(&server, "GET /livez HTTP/1.1\nHost: a\n\n").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let (head, events) = read_answer(&mut watch).await;
    assert!(head.starts_with("http/1.1 200") && events.is_empty(), "the watch ends whole: {head}{events:?}");
    post.write_all(rest.as_bytes()).await.expect("the rest is sent");
    let (head, body) = read_answer(&mut post).await;
    assert!(head.starts_with("http/1.1 201"), "{head}");
    assert_eq!(status(&body)["metadata"]["name"], "slow");
    server.stop().await;
}
