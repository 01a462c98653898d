//! A small DNS server over UDP that knows the addresses of a few names (RFC 1035), for whoever forwards questions.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const HEADER_BYTES: usize = 12;
/// The question's name, as answers repeat it: a pointer to what follows the header.
const POINTER_TO_QUESTION: [u8; 2] = [0xc0, HEADER_BYTES as u8];
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
const TTL_SECONDS: u32 = 30;
const NAME_ERROR: u8 = 3;
/// How soon it notices that it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// The server; it ends when this is dropped.
pub struct NameServer {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Answers on `listen` (port 0 takes a free one) with the addresses of these names; there are no others.
    ///
    /// # Panics
    /// Where the address cannot be listened on.
    pub fn start(listen: (IpAddr, u16), names: &[(&str, Ipv4Addr)]) -> Self {
        let socket = UdpSocket::bind(listen).unwrap_or_else(|error| panic!("{listen:?}: {error}"));
        socket.set_read_timeout(Some(LOOK)).expect("a bound socket takes a time-out");
        let address = socket.local_addr().expect("a bound socket has an address");
        let names: BTreeMap<String, Ipv4Addr> =
            names.iter().map(|(name, address)| (name.to_ascii_lowercase(), *address)).collect();
        let (questions, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (questions.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 1500];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(reply) = answer(&bytes[..length], &names) {
                    // Who has gone meanwhile needs no answer.
                    let _gone = socket.send_to(&reply, from);
                }
            }
        });
        Self { address, questions, stop, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many questions have come.
    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// The answer to a message with one question; none to what is no question.
fn answer(message: &[u8], names: &BTreeMap<String, Ipv4Addr>) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    let question = message.get(HEADER_BYTES..at + 4)?;
    let address = names.get(&labels.join("."));
    let record = address.filter(|_| kind == TYPE_A);
    let code = if address.is_some() { 0 } else { NAME_ERROR };

    let mut reply = message[..2].to_vec();
    // An answer, authoritative; recursion as it was asked for and available.
    reply.extend([0x84 | message[2] & 0x01, 0x80 | code]);
    for count in [1, u16::from(record.is_some()), 0, 0] {
        reply.extend(count.to_be_bytes());
    }
    reply.extend(question);
    if let Some(address) = record {
        reply.extend(POINTER_TO_QUESTION);
        reply.extend(TYPE_A.to_be_bytes());
        reply.extend(CLASS_IN.to_be_bytes());
        reply.extend(TTL_SECONDS.to_be_bytes());
        reply.extend(4u16.to_be_bytes());
        reply.extend(address.octets());
    }
    Some(reply)
}
