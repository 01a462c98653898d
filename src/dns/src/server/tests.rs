//! What is not of the cluster, asked of a real name server.

use std::net::Ipv4Addr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use testkit::NameServer;

use super::*;

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

/// A cluster without a service.
struct Nothing;

impl View for Nothing {
    fn service(&self, _: &str, _: &str) -> Option<Arc<Service>> {
        None
    }
    fn slices(&self, _: &str, _: &str) -> Vec<Arc<EndpointSlice>> {
        Vec::new()
    }
    fn has_namespace(&self, _: &str) -> bool {
        false
    }
    fn service_at(&self, _: IpAddr) -> Option<Arc<Service>> {
        None
    }
    fn slices_at(&self, _: IpAddr) -> Vec<Arc<EndpointSlice>> {
        Vec::new()
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A server that forwards to `upstream`.
fn forwarding_to(upstream: Option<&NameServer>) -> Server {
    let resolver = upstream.map(|upstream| {
        let mut udp = ConnectionConfig::udp();
        udp.port = upstream.address().port();
        let server = NameServerConfig::new(upstream.address().ip(), true, vec![udp]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        TokioResolver::builder_with_config(config, Default::default()).build().unwrap()
    });
    Server::new(Arc::new(Nothing), name("cluster.local."), resolver)
}

#[tokio::test]
async fn names_outside_of_the_cluster_are_asked_of_the_hosts_name_server() {
    let upstream = NameServer::start((Ipv4Addr::LOCALHOST.into(), 0), &[("www.example.test", OUTSIDE)]);
    let server = forwarding_to(Some(&upstream));
    let found = server.answer(&name("www.example.test."), RecordType::A).await;
    assert_eq!((found.code, found.authoritative), (ResponseCode::NoError, false));
    let addresses: Vec<String> = found.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(addresses, [OUTSIDE.to_string()]);

    let none = server.answer(&name("nothing.example.test."), RecordType::A).await;
    assert_eq!((none.code, none.answers.len()), (ResponseCode::NXDomain, 0));
    let other = server.answer(&name("www.example.test."), RecordType::MX).await;
    assert_eq!((other.code, other.answers.len()), (ResponseCode::NoError, 0), "the name is there, the type is not");
    let asked = upstream.questions();
    assert_eq!(server.answer(&name("web.shop.svc.cluster.local."), RecordType::A).await.code, ResponseCode::NXDomain);
    assert_eq!(upstream.questions(), asked, "names of the cluster are nobody else's business");
}

#[tokio::test]
async fn without_a_name_server_names_outside_of_the_cluster_are_refused() {
    let refused = forwarding_to(None).answer(&name("www.example.test."), RecordType::A).await;
    assert_eq!(refused.code, ResponseCode::Refused);
}
