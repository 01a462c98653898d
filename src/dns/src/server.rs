//! DNS on the wire: turns questions into zone look-ups and answers into messages; forwards the rest.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::op::{Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use crate::fit::fit;
use crate::zone::{Data, View, resolve, reverse};

/// How long clients may keep an answer, in seconds: an endpoint may go at any time.
const TTL_SECONDS: u32 = 5;
/// RFC 1035, section 4.2.1. Answers carry no EDNS, so that clients expect no more.
const DATAGRAM_BYTES: usize = 512;
/// Aliases that lead to aliases end after this many.
const MAX_ALIASES: usize = 8;

/// Answers questions.
pub struct Server {
    view: Arc<dyn View + Send + Sync>,
    /// `cluster.local.`
    zone: Name,
    resolver: Option<TokioResolver>,
}

/// What goes into a message.
#[derive(Default)]
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Reply {
    fn failure(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }
}

impl Server {
    /// A server for `zone`, which must be absolute; without a resolver, names outside of it are refused.
    pub fn new(view: Arc<dyn View + Send + Sync>, zone: Name, resolver: Option<TokioResolver>) -> Self {
        Self { view, zone, resolver }
    }

    async fn answer(&self, name: &Name, kind: RecordType) -> Reply {
        if self.zone.zone_of(name) {
            return self.answer_own(name, kind).await;
        }
        if let Some(pointers) = reverse_address(name).and_then(|address| reverse(&*self.view, address)) {
            let mut reply = Reply { authoritative: true, ..Reply::default() };
            if matches!(kind, RecordType::PTR | RecordType::ANY) {
                let records = pointers.iter().filter_map(|data| self.record(name, data));
                reply.answers = records.collect();
            }
            return reply;
        }
        self.forward(name, kind).await
    }

    async fn answer_own(&self, name: &Name, kind: RecordType) -> Reply {
        let found = self.labels(name).and_then(|labels| {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            resolve(&*self.view, &labels)
        });
        let mut reply = Reply { authoritative: true, ..Reply::default() };
        let Some(found) = found else {
            reply.code = ResponseCode::NXDomain;
            reply.authorities.push(self.start_of_authority());
            return reply;
        };
        for data in &found {
            let Some(record) = self.record(name, data) else { continue };
            let own_type = record.record_type();
            if own_type == kind || own_type == RecordType::CNAME || kind == RecordType::ANY {
                reply.answers.push(record);
                self.add_target(&mut reply, data);
            }
        }
        if name == &self.zone && kind == RecordType::SOA {
            reply.answers.push(self.start_of_authority());
        }
        let alias = found.iter().find_map(|data| if let Data::Alias(target) = data { Some(target) } else { None });
        if let Some(target) = alias.filter(|_| kind != RecordType::CNAME) {
            self.follow(&mut reply, target, kind).await;
        }
        if reply.answers.is_empty() {
            reply.authorities.push(self.start_of_authority());
        }
        reply
    }

    /// The address of an SRV target goes along, so that the client need not ask again.
    fn add_target(&self, reply: &mut Reply, data: &Data) {
        if let Data::Port { target, address, .. } = data
            && let Some(name) = self.within_zone(target)
        {
            reply.additionals.push(address_record(name, *address));
        }
    }

    /// Adds what an alias leads to, whether it is ours or someone else's.
    async fn follow(&self, reply: &mut Reply, target: &str, kind: RecordType) {
        let mut target = target.to_string();
        for _ in 0..MAX_ALIASES {
            let Ok(mut name) = Name::from_ascii(&target) else { return };
            name.set_fqdn(true);
            if !self.zone.zone_of(&name) {
                reply.answers.extend(self.forward(&name, kind).await.answers);
                return;
            }
            let Some(labels) = self.labels(&name) else { return };
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let found = resolve(&*self.view, &labels).unwrap_or_default();
            let mut next = None;
            for data in &found {
                let record = self.record(&name, data);
                reply.answers.extend(record.filter(|record| [kind, RecordType::CNAME].contains(&record.record_type())));
                if let Data::Alias(onward) = data {
                    next = Some(onward.clone());
                }
            }
            match next {
                Some(onward) => target = onward,
                None => return,
            }
        }
    }

    async fn forward(&self, name: &Name, kind: RecordType) -> Reply {
        let Some(resolver) = &self.resolver else { return Reply::failure(ResponseCode::Refused) };
        match resolver.lookup(name.clone(), kind).await {
            Ok(found) => Reply { answers: found.answers().to_vec(), ..Reply::default() },
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let authorities = none.authorities.as_deref().map(<[Record]>::to_vec).unwrap_or_default();
                Reply { code: none.response_code, authorities, ..Reply::default() }
            }
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Reply::failure(code),
            Err(error) => {
                tracing::debug!(%name, %kind, %error, "cannot forward");
                Reply::failure(ResponseCode::ServFail)
            }
        }
    }

    /// The labels in front of the zone, lower case.
    fn labels(&self, name: &Name) -> Option<Vec<String>> {
        let count = usize::from(name.num_labels()).checked_sub(usize::from(self.zone.num_labels()))?;
        let text = |label: &[u8]| String::from_utf8(label.to_ascii_lowercase()).ok();
        name.iter().take(count).map(text).collect()
    }

    fn within_zone(&self, relative: &str) -> Option<Name> {
        Name::from_ascii(relative).ok()?.append_domain(&self.zone).ok()
    }

    fn record(&self, name: &Name, data: &Data) -> Option<Record> {
        let data = match data {
            Data::Address(address) => return Some(address_record(name.clone(), *address)),
            Data::Port { port, weight, target, .. } => {
                RData::SRV(SRV::new(0, *weight, *port, self.within_zone(target)?))
            }
            Data::Alias(target) => {
                let mut target = Name::from_ascii(target).ok()?;
                target.set_fqdn(true);
                RData::CNAME(CNAME(target))
            }
            Data::Pointer(target) => RData::PTR(PTR(self.within_zone(target)?)),
            Data::Text(text) => RData::TXT(TXT::new(vec![text.clone()])),
        };
        Some(Record::from_rdata(name.clone(), TTL_SECONDS, data))
    }

    fn start_of_authority(&self) -> Record {
        let own = |label: &str| self.within_zone(label).unwrap_or_else(|| self.zone.clone());
        let soa = SOA::new(own("ns.dns"), own("hostmaster"), 1, 7200, 1800, 86400, TTL_SECONDS);
        Record::from_rdata(self.zone.clone(), TTL_SECONDS, RData::SOA(soa))
    }
}

fn address_record(name: Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name, TTL_SECONDS, data)
}

/// The address that a reverse name asks for: all of it, not a part.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    let whole = if net.addr().is_ipv4() { 32 } else { 128 };
    (net.prefix_len() == whole).then(|| net.addr())
}

#[async_trait]
impl RequestHandler for Server {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut response: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = self.resolver.is_some();
        let reply = match request.request_info() {
            Ok(info) if info.metadata.op_code == OpCode::Query => {
                let mut name = Name::from(info.query.name());
                name.set_fqdn(true);
                let mut reply = self.answer(&name, info.query.query_type()).await;
                if info.protocol == Protocol::Udp {
                    let (answers, authorities, additionals) =
                        (&mut reply.answers, &mut reply.authorities, &mut reply.additionals);
                    metadata.truncation = fit(request, answers, authorities, additionals, DATAGRAM_BYTES);
                }
                reply
            }
            Ok(_) => Reply::failure(ResponseCode::NotImp),
            Err(_) => Reply::failure(ResponseCode::FormErr),
        };
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        let builder = MessageResponseBuilder::from_message_request(request);
        let message = builder.build(metadata, &reply.answers, &reply.authorities, &[], &reply.additionals);
        match response.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "cannot send an answer");
                hickory_proto::op::Header { metadata, counts: Default::default() }.into()
            }
        }
    }
}

#[cfg(test)]
mod tests;
