use tokio::io::{AsyncReadExt, DuplexStream};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

const EVERYTHING: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };

#[test]
fn the_streams_are_those_that_runtimes_count() {
    let names =
        |wanted: Wanted| wanted.channels().into_iter().map(|(_, name, stream)| (name, stream)).collect::<Vec<_>>();
    assert_eq!(names(EVERYTHING), [("error", 1), ("stdin", 3), ("stdout", 5), ("stderr", 7)]);
    let terminal = Wanted { tty: true, ..EVERYTHING };
    assert_eq!(names(terminal), [("error", 1), ("stdin", 3), ("stdout", 5), ("resize", 7)]);
    assert_eq!(names(Wanted { stdout: true, ..Wanted::default() }), [("error", 1), ("stdout", 3)]);
}

#[test]
fn messages_go_to_the_clients_own_streams() {
    let channels = Wanted { tty: true, ..EVERYTHING }.channels();
    for (message, expected) in [
        (&[0, b'a'][..], Inward::Data(3, b"a")),
        (&[4, b'{'], Inward::Data(7, b"{")),
        (&[255, 0], Inward::End(3)),
        // Outputs are not the client's.
        (&[1, b'a'], Inward::Nothing),
        (&[255, 1], Inward::Nothing),
        (&[255, 9], Inward::Nothing),
        (&[255], Inward::Nothing),
        (&[0], Inward::Nothing),
        (&[9, 1], Inward::Nothing),
        (&[], Inward::Nothing),
    ] {
        assert_eq!(inward(&channels, message), expected, "{message:?}");
    }
    let output_alone = Wanted { stdout: true, ..Wanted::default() }.channels();
    assert_eq!(inward(&output_alone, &[0, b'a']), Inward::Nothing);
}

type Client = WebSocketStream<DuplexStream>;

/// A client and a runtime with the translation between them.
async fn between() -> (Client, DuplexStream, tokio::task::JoinHandle<std::io::Result<()>>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (own, runtime) = tokio::io::duplex(1 << 16);
    let socket = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let translation = tokio::spawn(translate(socket, own, EVERYTHING));
    (WebSocketStream::from_raw_socket(near, Role::Client, None).await, runtime, translation)
}

/// Passes over the frames that open the streams.
async fn take_openings(runtime: &mut DuplexStream, count: usize) {
    for _ in 0..count {
        let mut head = [0; 8];
        runtime.read_exact(&mut head).await.expect("a frame");
        assert_eq!(head[..4], [0x80, 3, 0, 1]);
        let mut body = vec![0; u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize];
        runtime.read_exact(&mut body).await.expect("its body");
    }
}

async fn messages(mut client: Client) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        if let Message::Binary(bytes) = message {
            seen.push(bytes.to_vec());
        }
    }
    seen
}

#[tokio::test]
async fn the_end_of_an_input_reaches_the_command_and_its_end_the_client() {
    let (mut client, mut runtime, translation) = between().await;
    client.send(message(STDIN, b"hi")).await.expect("is sent");
    client.send(Message::binary(vec![CLOSE, STDIN])).await.expect("is sent");
    take_openings(&mut runtime, 4).await;
    let (read, write) = tokio::io::split(runtime);
    let mut frames = Reader::new(read);
    let data = |bytes: &'static [u8], last| Some(Frame::Data { stream: 3, bytes: bytes.into(), last });
    assert_eq!(frames.next().await.expect("a frame"), data(b"hi", false));
    assert_eq!(frames.next().await.expect("a frame"), data(b"", true));
    let mut answers = Writer::new(write);
    answers.pong(7).await.expect("is written");
    answers.data(5, b"out", false).await.expect("is written");
    answers.data(7, b"err", true).await.expect("is written");
    answers.data(1, br#"{"status":"Success"}"#, true).await.expect("is written");
    // What comes after the verdict and before the end of the output is not lost.
    answers.data(5, b"late", true).await.expect("is written");
    assert_eq!(frames.next().await.expect("a frame"), Some(Frame::Ping(7)));
    let expected: [&[u8]; 4] = [b"\x01out", b"\x02err", b"\x01late", b"\x03{\"status\":\"Success\"}"];
    assert_eq!(messages(client).await, expected);
    translation.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_ping_holds_up_no_output_while_the_input_is_stuck() {
    let patience = std::time::Duration::from_secs(5);
    let (client, mut runtime, _translation) = between().await;
    take_openings(&mut runtime, 4).await;
    let (mut sink, mut answers) = client.split();
    // Until the runtime, which does not read, has let the way to it fill up.
    let input = || message(STDIN, &[0; 1 << 14]);
    while tokio::time::timeout(std::time::Duration::from_millis(200), sink.send(input())).await.is_ok() {}
    let mut output = Writer::new(runtime);
    output.pong(7).await.expect("is written");
    output.data(5, b"out", false).await.expect("is written");
    let answer = tokio::time::timeout(patience, answers.next()).await.expect("the output comes");
    assert_eq!(answer.expect("a message").expect("no error"), message(STDOUT, b"out"));
}

#[tokio::test]
async fn a_runtime_that_goes_away_is_told_of() {
    let (client, mut runtime, _translation) = between().await;
    take_openings(&mut runtime, 4).await;
    drop(runtime);
    let seen = messages(client).await;
    assert_eq!(seen.len(), 1);
    let status: Value = serde_json::from_slice(&seen[0][1..]).expect("a status");
    assert_eq!((seen[0][0], status["status"].as_str()), (ERROR, Some("Failure")), "{status}");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_connection_to_the_runtime() {
    let (client, mut runtime, translation) = between().await;
    take_openings(&mut runtime, 4).await;
    drop(client);
    let _ = translation.await.expect("no panic");
    assert_eq!(runtime.read(&mut [0; 8]).await.expect("an end"), 0);
}
