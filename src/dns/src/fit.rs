//! Answers that fit into a datagram. hickory stops where a record does not fit and leaves the record's beginning in
//! the message; clients that read to the end (busybox) then refuse all of it.

use hickory_proto::op::{Message, OpCode, Query};
use hickory_proto::rr::Record;

/// Removes what does not fit into `limit_bytes`, and answers whether the client must ask again over TCP.
///
/// Additional records go first and without a word: a client can ask for them (RFC 2181, section 9). Answers that go
/// are told of.
pub(crate) fn fit(
    query: &Query,
    answers: &mut Vec<Record>,
    authorities: &mut Vec<Record>,
    additionals: &mut Vec<Record>,
    limit_bytes: usize,
) -> bool {
    let size = |answers: &[Record], authorities: &[Record], additionals: &[Record]| {
        let mut message = Message::response(0, OpCode::Query);
        message.add_query(query.clone());
        message.add_answers(answers.iter().cloned());
        message.add_authorities(authorities.iter().cloned());
        message.add_additionals(additionals.iter().cloned());
        // The server repeats the question as it came, so that the first answer cannot point to the name in it. What
        // cannot be written is too large.
        message.to_vec().map_or(usize::MAX, |bytes| bytes.len() + query.name().len())
    };
    if size(answers, authorities, additionals) <= limit_bytes {
        return false;
    }
    additionals.clear();
    if size(answers, authorities, &[]) <= limit_bytes {
        return false;
    }
    authorities.clear();
    let counts: Vec<usize> = (1..=answers.len()).collect();
    let fitting = counts.partition_point(|count| size(&answers[..*count], &[], &[]) <= limit_bytes);
    answers.truncate(fitting);
    true
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, SRV};
    use hickory_proto::rr::{Name, RData, RecordType};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn records(count: u16) -> (Query, Vec<Record>, Vec<Record>) {
        let service = name("_http._tcp.peers.a-namespace-with-a-rather-long-name.svc.cluster.local.");
        let target =
            |n: u16| name(&format!("10-42-1-{n}.peers.a-namespace-with-a-rather-long-name.svc.cluster.local."));
        let answers = (0..count).map(|n| RData::SRV(SRV::new(0, 33, 8080, target(n))));
        let answers = answers.map(|data| Record::from_rdata(service.clone(), 5, data)).collect();
        let address = |n: u16| Record::from_rdata(target(n), 5, RData::A(A::new(10, 42, 1, n as u8)));
        (Query::query(service, RecordType::SRV), answers, (0..count).map(address).collect())
    }

    #[test]
    fn additional_records_go_before_answers_and_only_lost_answers_are_told() {
        for (count, limit, expected) in [
            (1, 512, (1, 1, false)),
            (3, 470, (3, 0, false)),
            (4, 512, (3, 0, true)),
            (9, 512, (3, 0, true)),
            (9, 4096, (9, 9, false)),
            (1000, 512, (3, 0, true)),
            (1, 20, (0, 0, true)),
        ] {
            let (query, mut answers, mut additionals) = records(count);
            let truncated = fit(&query, &mut answers, &mut vec![], &mut additionals, limit);
            assert_eq!((answers.len(), additionals.len(), truncated), expected, "{count} in {limit}");
        }
    }
}
