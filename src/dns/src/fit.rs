//! Answers that fit into a datagram. hickory stops where a record does not fit and leaves the record's beginning in
//! the message; clients that read to the end (busybox) then refuse all of it.

use hickory_proto::op::Metadata;
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;

/// Removes what does not fit into `limit_bytes` of the answer to `request`, and answers whether the client must ask
/// again over TCP.
///
/// Additional records go first and without a word: a client can ask for them (RFC 2181, section 9). Answers that go
/// are told of.
pub(crate) fn fit(
    request: &Request,
    answers: &mut Vec<Record>,
    authorities: &mut Vec<Record>,
    additionals: &mut Vec<Record>,
    limit_bytes: usize,
) -> bool {
    if fits(request, answers, authorities, additionals, limit_bytes) {
        return false;
    }
    additionals.clear();
    if fits(request, answers, authorities, &[], limit_bytes) {
        return false;
    }
    authorities.clear();
    let counts: Vec<usize> = (1..=answers.len()).collect();
    let fitting = counts.partition_point(|count| fits(request, &answers[..*count], &[], &[], limit_bytes));
    answers.truncate(fitting);
    true
}

/// Whether the encoder puts every record into the message. Only it can tell: it needs room for the whole of a name
/// before it makes a pointer of it.
fn fits(
    request: &Request,
    answers: &[Record],
    authorities: &[Record],
    additionals: &[Record],
    limit_bytes: usize,
) -> bool {
    let metadata = Metadata::response_from_request(&request.metadata);
    let builder = MessageResponseBuilder::from_message_request(request);
    let message = builder.build(metadata, answers, authorities, &[], additionals);
    let mut bytes = Vec::with_capacity(limit_bytes);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(u16::try_from(limit_bytes).unwrap_or(u16::MAX));
    message.destructive_emit(&mut encoder).is_ok_and(|written| {
        let counts = written.counts();
        let all = (answers.len(), authorities.len(), additionals.len());
        (usize::from(counts.answers), usize::from(counts.authorities), usize::from(counts.additionals)) == all
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::{A, SRV};
    use hickory_proto::rr::{Name, RData, RecordType};
    use hickory_server::net::xfer::Protocol;

    use super::*;

    const NAMESPACE: &str = "a-namespace-with-a-rather-long-name";

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn records(count: u16) -> (Request, Vec<Record>, Vec<Record>) {
        let service = name(&format!("_http._tcp.peers.{NAMESPACE}.svc.cluster.local."));
        let target = |n: u16| name(&format!("10-42-1-{n}.peers.{NAMESPACE}.svc.cluster.local."));
        let answers = (0..count).map(|n| RData::SRV(SRV::new(0, 33, 8080, target(n))));
        let answers = answers.map(|data| Record::from_rdata(service.clone(), 5, data)).collect();
        let address = |n: u16| Record::from_rdata(target(n), 5, RData::A(A::new(10, 42, 1, n as u8)));
        let mut question = Message::new(1, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(service, RecordType::SRV));
        let asker = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        let request = Request::from_bytes(question.to_vec().unwrap(), asker, Protocol::Udp).unwrap();
        (request, answers, (0..count).map(address).collect())
    }

    /// How many bytes are sent.
    fn sent(request: &Request, answers: &[Record], additionals: &[Record], limit_bytes: u16) -> usize {
        let metadata = Metadata::response_from_request(&request.metadata);
        let message =
            MessageResponseBuilder::from_message_request(request).build(metadata, answers, &[], &[], additionals);
        let mut bytes = Vec::new();
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit_bytes);
        message.destructive_emit(&mut encoder).unwrap();
        bytes.len()
    }

    #[test]
    fn additional_records_go_before_answers_and_only_lost_answers_are_told() {
        for (count, limit, expected) in [
            (1, 512, (1, 1, false)),
            (3, 512, (3, 0, false)),
            (4, 512, (3, 0, true)),
            (9, 512, (3, 0, true)),
            (9, 4096, (9, 9, false)),
            (1000, 512, (3, 0, true)),
            (1, 20, (0, 0, true)),
        ] {
            let (request, mut answers, mut additionals) = records(count);
            let truncated = fit(&request, &mut answers, &mut vec![], &mut additionals, limit);
            assert_eq!((answers.len(), additionals.len(), truncated), expected, "{count} in {limit}");
        }
    }

    #[test]
    fn no_part_of_a_record_is_sent() {
        for count in 1..12 {
            let (request, mut answers, mut additionals) = records(count);
            fit(&request, &mut answers, &mut vec![], &mut additionals, 512);
            let limited = sent(&request, &answers, &additionals, 512);
            let free = sent(&request, &answers, &additionals, 65535);
            assert_eq!(limited, free, "{count}");
        }
    }
}
