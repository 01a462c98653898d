//! Answers in protobuf, as Go clients ask for them.

use http_body_util::BodyExt;
use serde_json::json;

use crate::support::{PATIENCE, TestServer, start};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const BOTH: &str = "application/vnd.kubernetes.protobuf,application/json";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn ask(server: &TestServer, path: &str, accept: &str) -> (u16, String, Vec<u8>) {
    let request = http::Request::get(path).header("accept", accept).body(Vec::new()).expect("a request");
    let (code, headers, body) = server.request(request).await;
    (code, headers["content-type"].clone(), body)
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_lists_are_answered_in_protobuf_where_asked_for() {
    let server = start().await;
    let object = json!({"metadata": {"name": "settings"}, "data": {"color": "blue"}});
    let request = http::Request::post(MAPS).header("accept", BOTH).header("content-type", "application/json");
    let (code, headers, created) = server.request(request.body(object.to_string().into()).expect("a request")).await;
    assert_eq!((code, headers["content-type"].as_str()), (201, PROTOBUF));
    assert!(created.starts_with(b"k8s\0") && holds(&created, "blue"));
    let (code, media_type, got) = ask(&server, &format!("{MAPS}/settings"), PROTOBUF).await;
    assert_eq!((code, media_type.as_str()), (200, PROTOBUF));
    assert_eq!(got, created);
    // What was answered can be sent back.
    let request = http::Request::put(format!("{MAPS}/settings")).header("content-type", PROTOBUF);
    let (code, _, answer) = server.request(request.body(got).expect("a request")).await;
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&answer));
    let (_, media_type, list) = ask(&server, MAPS, BOTH).await;
    assert_eq!(media_type, PROTOBUF);
    assert!(holds(&list, "ConfigMapList") && holds(&list, "blue"));
    // Who names nothing gets JSON.
    assert_eq!(ask(&server, MAPS, "*/*").await.1, "application/json");
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(ask(&server, definitions, BOTH).await.1, PROTOBUF);
    // A failure is told as its client wants objects.
    let (code, media_type, failure) = ask(&server, &format!("{MAPS}/nothing"), BOTH).await;
    assert_eq!((code, media_type.as_str()), (404, PROTOBUF));
    assert!(failure.starts_with(b"k8s\0") && holds(&failure, "Status") && holds(&failure, "NotFound"));
    assert_eq!(ask(&server, &format!("{MAPS}/nothing"), "application/json").await.1, "application/json");
    let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    assert_eq!(ask(&server, &format!("{MAPS}/nothing"), metadata).await.1, "application/json");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_in_protobuf_is_a_stream_of_frames() {
    let server = start().await;
    server.create(MAPS, json!({"metadata": {"name": "settings"}, "data": {"color": "blue"}})).await;
    let request = http::Request::get(format!("{MAPS}?watch=1&timeoutSeconds=5")).header("accept", BOTH);
    let request = request.body(kube::client::Body::empty()).expect("a request");
    let mut answer = server.client.send(request).await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let mut read = Vec::new();
    let first = async {
        while read.len() < 4 || read.len() < 4 + u32::from_be_bytes([read[0], read[1], read[2], read[3]]) as usize {
            let frame = answer.body_mut().frame().await.expect("a frame").expect("bytes");
            read.extend_from_slice(&frame.into_data().expect("data"));
        }
    };
    tokio::time::timeout(PATIENCE, first).await.expect("an event in time");
    // The type is the first field, and the object has the envelope of its own.
    assert_eq!(&read[4..11], b"\x0a\x05ADDED");
    assert!(holds(&read, "k8s\0") && holds(&read, "blue"));
    drop(answer);
    server.stop().await;
}
