//! SPDY frames of container runtimes: no more is made of bytes than they are, and what is written is read.
#![no_main]

use apiserver::decoders::spdy::{Frame, PIECE_BYTES_MAX, Reader, Writer};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

async fn read(mut bytes: &[u8]) -> (Vec<Frame>, bool) {
    let mut reader = Reader::new(&mut bytes);
    let mut frames = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, true),
            Err(_) => return (frames, false),
        }
    }
}

async fn run(data: &[u8]) {
    let (frames, _) = read(data).await;
    let mut bytes_read = 0;
    for frame in &frames {
        if let Frame::Data { stream, bytes, .. } = frame {
            assert!(*stream < 1 << 31 && bytes.len() <= PIECE_BYTES_MAX);
            bytes_read += bytes.len();
        }
    }
    assert!(bytes_read <= data.len() && frames.len() <= data.len() / 8 + 1);
    let mut written = Vec::new();
    let mut writer = Writer::new(&mut written);
    writer.open(1, &[("streamtype", "stdin")]).await.expect("memory");
    writer.data(1, data, true).await.expect("memory");
    writer.pong(7).await.expect("memory");
    let (frames, whole) = read(&written).await;
    let data = Frame::Data { stream: 1, bytes: data.to_vec().into(), last: true };
    assert!(whole);
    assert_eq!(frames, [data, Frame::Ping(7)]);
}

fuzz_target!(|data: &[u8]| {
    RUNTIME.with(|runtime| runtime.block_on(run(data)));
});
