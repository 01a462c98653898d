//! The gRPC health check protocol: one call with one field each way, which needs no generated code.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// A health answer has two bytes.
const BODY_MAX_BYTES: usize = 4096;

/// Asks whether a service is serving; the error is text for an event.
pub async fn check(host: &str, port: u16, service: &str) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| stdx::error::chain(error);
    let stream = tokio::net::TcpStream::connect((host, port)).await.map_err(|error| format!("dial tcp: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| text(&error))?;
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("Content-Type", "application/grpc")
        .header("TE", "trailers")
        .header("User-Agent", "kube-probe/1.37")
        .body(Full::new(Bytes::from(message(service))))
        .map_err(|error| text(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        let header = response.headers().get("grpc-status").cloned();
        let body = Limited::new(response.into_body(), BODY_MAX_BYTES).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        let trailer = body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned());
        judge(header.or(trailer).as_ref().and_then(|status| status.to_str().ok()), &body.to_bytes())
    };
    let result = answer.await;
    driver.abort();
    result
}

/// A message with the service's name in field 1, behind gRPC's prefix.
fn message(service: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if !service.is_empty() {
        body.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            body.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
        body.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend(body);
    framed
}

fn judge(status: Option<&str>, body: &[u8]) -> Result<(), String> {
    match status {
        Some("0") => {}
        Some("5") => return Err("service unknown to the health server".into()),
        Some("12") => {
            return Err("this server does not implement the grpc health protocol (grpc.health.v1.Health)".into());
        }
        other => return Err(format!("health rpc failed with status {}", other.unwrap_or("none"))),
    }
    // Behind the five bytes of the prefix: field 1, a number; 1 is SERVING.
    match body.get(5..) {
        Some([0x08, 1, ..]) => Ok(()),
        Some([0x08, code, ..]) => Err(format!("service unhealthy (responded with {code})")),
        _ => Err("service unhealthy (responded with \"UNKNOWN\")".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serving_is_healthy() {
        assert!(judge(Some("0"), &[0, 0, 0, 0, 2, 0x08, 1]).is_ok());
        assert!(judge(Some("0"), &[0, 0, 0, 0, 2, 0x08, 2]).is_err());
        assert!(judge(Some("0"), &[]).is_err());
        assert!(judge(Some("12"), &[]).is_err());
        assert_eq!(message("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    }
}
