//! Commands, files, forwarded ports, jump hosts, sudo.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use ssh::{Command, Error, Remote, Status, Upload, connect};

use crate::server::Server;

#[tokio::test]
async fn a_command_gets_its_input_and_gives_output_and_status() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let output = session.exec(Command::new("cat; echo bad >&2; exit 3").stdin("good")).await.unwrap();
    assert_eq!((output.status.clone(), output.text().as_ref()), (Status::Exited(3), "good"));
    assert_eq!(output.error_text(), "bad");
    let echoed = session.exec(Command::new("printf '<%s>' \"$@\"").arg("it's $HOME").arg("")).await.unwrap();
    assert_eq!(echoed.text(), "<it's $HOME><>");
    assert_eq!(session.exec("kill -KILL $$").await.unwrap().status, Status::Signaled("KILL".into()));
    let error = session.run("echo no such thing >&2; exit 9".into()).await.unwrap_err();
    assert!(error.to_string().ends_with("exited with 9: no such thing"), "{error}");
}

#[tokio::test]
async fn a_command_that_does_not_read_its_input_does_not_hang() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let output = session.exec(Command::new("echo done").stdin(vec![b'x'; 8 << 20])).await.unwrap();
    assert_eq!(output.text(), "done");
    // And the connection still serves.
    assert!(session.exec("true").await.unwrap().success());
}

#[tokio::test]
async fn output_and_time_have_bounds() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let error = session.exec(Command::new("yes").output_limit_bytes(1000)).await.unwrap_err();
    assert!(matches!(error, Error::OutputTooLarge { limit_bytes: 1000, .. }), "{error}");
    let begin = Instant::now();
    let error = session.exec(Command::new("sleep 60").timeout(Duration::from_millis(300))).await.unwrap_err();
    assert!(matches!(error, Error::ExecTimeout { .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    let error = session.exec(Command::new("x".repeat(200_000))).await.unwrap_err();
    assert!(matches!(error, Error::CommandTooLong { .. }), "{error}");
    assert!(session.exec("true").await.unwrap().success());
}

#[tokio::test]
async fn many_commands_share_one_connection() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let commands = (0..30).map(|n| {
        let session = session.clone();
        tokio::spawn(async move { session.exec(format!("sleep 0.05; echo {n}")).await.unwrap().text().into_owned() })
    });
    let answers = futures_join(commands.collect()).await;
    assert_eq!(answers, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(server.log().matches("Accepted publickey").count(), 1);
}

async fn futures_join(tasks: Vec<tokio::task::JoinHandle<String>>) -> Vec<String> {
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn streamed_output_comes_while_the_command_runs() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let mut process =
        session.start(&Command::new("read line; echo got $line; read line; echo got $line")).await.unwrap();
    for word in ["one", "two"] {
        process.write(format!("{word}\n")).await.unwrap();
        let event = process.next().await.unwrap().unwrap();
        assert_eq!(event, ssh::Event::Stdout(format!("got {word}\n").into()));
    }
    assert_eq!(process.next().await.unwrap(), None);
    assert_eq!(process.status(), Some(&Status::Exited(0)));
    let mut lines = 0;
    let status =
        session.exec_streaming("seq 1000", |event| lines += matches!(event, ssh::Event::Stdout(_)) as usize).await;
    assert!(status.unwrap().success() && lines > 0);
}

#[tokio::test]
async fn an_upload_is_whole_or_not_at_all() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let path = server.path("deep/er/it's.conf");
    let text = path.to_str().unwrap();
    session.upload(Upload::bytes("first", text, 0o640).owner("root:root")).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(session.download(text, 100).await.unwrap(), "first");
    assert!(matches!(session.download(text, 4).await.unwrap_err(), Error::OutputTooLarge { .. }));

    let error = session.upload(Upload::bytes("second", text, 0o640).owner("nobody-here")).await.unwrap_err();
    assert!(error.to_string().contains("nobody-here"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
    let folder = path.parent().unwrap();
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "nothing is left beside the target");

    let error = session.upload(Upload::bytes("x", folder.to_str().unwrap(), 0o600)).await.unwrap_err();
    assert!(error.to_string().contains("it is a directory"), "{error}");
}

#[tokio::test]
async fn a_large_file_arrives_unchanged() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let from = server.path("from");
    let content: Vec<u8> = (0..40u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&from, &content).unwrap();
    let to = server.path("to");
    let begin = Instant::now();
    session.upload(Upload::file(&from, to.to_str().unwrap(), 0o755)).await.unwrap();
    println!("40 MiB uploaded in {:?}", begin.elapsed());
    assert!(std::fs::read(&to).unwrap() == content);
    let missing = session.upload(Upload::file(server.path("none"), to.to_str().unwrap(), 0o755)).await.unwrap_err();
    assert!(matches!(missing, Error::LocalFile { .. }), "{missing}");
}

#[tokio::test]
async fn a_forwarded_port_carries_connections_until_it_is_dropped() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
    });
    let forward = session.forward("127.0.0.1:0".parse().unwrap(), "127.0.0.1", port).await.unwrap();
    let local = forward.local_addr();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(local).unwrap();
        stream.write_all(b"ping").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert_eq!(answer.await.unwrap(), "ping");
    echo.join().unwrap();
    drop(forward);
    let deadline = Instant::now() + Duration::from_secs(5);
    while std::net::TcpStream::connect(local).is_ok() {
        assert!(Instant::now() < deadline, "the port is still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_jump_host_is_gone_through() {
    let (gate, inner) = (Server::start(""), Server::start(""));
    let mut target = inner.target();
    target.jump = Some(Box::new(gate.target()));
    let session = connect(&target).await.unwrap();
    assert_eq!(session.exec("echo through").await.unwrap().text(), "through");
    assert_eq!(gate.log().matches("Accepted publickey").count(), 1);
}

#[tokio::test]
async fn a_connection_that_ends_is_noticed() {
    let server = Server::start("");
    let session = connect(&server.target()).await.unwrap();
    let error = session.exec("kill -KILL $PPID; sleep 5").await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let error = session.exec("true").await.unwrap_err();
    assert!(error.is_unreachable() && session.is_closed(), "{error}");
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_its_connection() {
    let server = Server::start("LogLevel VERBOSE");
    let session = connect(&server.target()).await.unwrap();
    assert!(session.clone().exec("true").await.unwrap().success());
    assert!(!session.is_closed());
    drop(session);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !server.log().contains("Closing connection") && !server.log().contains("Disconnected") {
        assert!(Instant::now() < deadline, "it is still open: {}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
