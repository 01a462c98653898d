//! Methods, paths and queries: what a path is judged as is what it is read as by others, a token goes on where it
//! says, and nobody waits longer than the server does.
#![no_main]

use std::time::Duration;

use apiserver::decoders::{At, DeleteOptions, Page, connections, deadline, place, token};
use apiserver::request::{Query, RequestInfo};
use http::{Method, Uri};
use libfuzzer_sys::fuzz_target;
use machinery::gvk::{GroupVersion, GroupVersionKind};

const KINDS: [&str; 5] =
    ["PodExecOptions", "PodAttachOptions", "PodPortForwardOptions", "PodProxyOptions", "NodeProxyOptions"];

fuzz_target!(|data: &[u8]| {
    let Some([method, path, query]) = fuzz::parts::<3>(data) else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let query = Query::parse(query);
    let info = RequestInfo::parse(&method, path, &query);
    if info.is_clear() {
        let whole: String = info.segments.iter().map(|segment| connections::encoded(&format!("/{segment}"))).collect();
        let again = RequestInfo::parse(&method, &whole, &query);
        assert_eq!(
            (again.segments, again.parts, again.name),
            (info.segments.clone(), info.parts.clone(), info.name.clone())
        );
        assert_eq!((again.resource, again.namespace), (info.resource.clone(), info.namespace.clone()));
        assert!(!info.name.contains('/') && !info.namespace.contains('/'));
    }
    assert!(info.is_resource || info.resource.is_empty(), "{info:?}");
    info.attributes();
    if let Ok(within) = deadline(&query) {
        assert!(within > Duration::ZERO && within <= Duration::from_secs(60));
    }
    let _ = DeleteOptions::read(&query, None);
    if let Ok(page) = Page::read(&query)
        && let Some(after) = page.after
    {
        let revision = match page.at {
            At::Newest => None,
            At::Exactly(revision) => Some(revision),
            At::NotOlderThan(_) => panic!("a token names a revision or none"),
        };
        let again = Page::read(&Query(vec![("continue".to_string(), token(revision, &after))])).expect("it is a token");
        assert_eq!((again.at, again.after), (page.at, Some(after)));
    }
    let group_version = GroupVersion::parse("v1").expect("a version");
    let tail = connections::tail(&info.parts, path.ends_with('/'));
    connections::encoded(&tail).parse::<Uri>().expect("a path is a URL's");
    for kind in KINDS {
        let kind = GroupVersionKind { group_version: group_version.clone(), kind: kind.to_string() };
        if let Ok(options) = connections::read(&kind, &query, None) {
            let again = connections::read(&kind, &connections::write(&kind, &options), None);
            assert_eq!(again.ok(), Some(options));
        }
    }
    if let Ok(named) = place::named(&info.name) {
        assert!(!named.name.is_empty() && !named.name.contains(':') && !named.port.contains(':'));
    }
});
