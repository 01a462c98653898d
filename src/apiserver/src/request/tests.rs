use super::*;

fn parse(method: &str, uri: &str) -> RequestInfo {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    RequestInfo::parse(&Method::from_bytes(method.as_bytes()).expect("a method"), path, &Query::parse(query))
}

/// verb, group, version, namespace, resource, subresource, name
type Expected = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

#[test]
fn what_is_passed_on_is_understood_as_it_was_judged() {
    for (path, clear) in [
        ("/apis/g.io/v1/namespaces/n/pods/x", true),
        ("/apis//g.io/v1/pods/", true),
        ("/apis/g.io/v1/pods/a%20b", true),
        ("/apis%2Fg.io/v1/pods", false),
        ("/apis/g.io%2Fv1/pods/x", false),
        ("/apis/g.io/v1/namespaces/n/pods%2Fx", false),
        ("/apis/g.io/v1/namespaces/n/../m/pods", false),
        ("/apis/g.io/v1/namespaces/n/%2e%2E/m/pods", false),
        ("/apis/g.io/v1/./pods", false),
    ] {
        let info = RequestInfo::parse(&Method::GET, path, &Query::default());
        assert_eq!(info.is_clear(), clear, "{path}");
    }
    let info = RequestInfo::parse(&Method::GET, "/apis%2Fg.io/v1/pods", &Query::default());
    assert_eq!(info.segments, ["apis/g.io", "v1", "pods"]);
}

#[test]
fn resource_paths_are_understood() {
    let cases: &[(&str, &str, Expected)] = &[
        ("GET", "/api/v1/namespaces", ("list", "", "v1", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/x", ("get", "", "v1", "x", "namespaces", "", "x")),
        ("PUT", "/api/v1/namespaces/x/finalize", ("update", "", "v1", "x", "namespaces", "finalize", "x")),
        ("PATCH", "/api/v1/namespaces/x/status", ("patch", "", "v1", "x", "namespaces", "status", "x")),
        ("GET", "/api/v1/namespaces/x/pods", ("list", "", "v1", "x", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=true", ("watch", "", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=0", ("list", "", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/watch/namespaces/x/pods", ("watch", "", "v1", "x", "pods", "", "")),
        ("GET", "/api/v1/watch/namespaces/x/pods/a", ("watch", "", "v1", "x", "pods", "", "a")),
        ("HEAD", "/apis/apps/v1/watch/deployments", ("watch", "apps", "v1", "", "deployments", "", "")),
        ("PUT", "/api/v1/namespaces/x/pods/a/proxy/b", ("update", "", "v1", "x", "pods", "proxy", "a")),
        ("POST", "/api/v1/namespaces/x/pods", ("create", "", "v1", "x", "pods", "", "")),
        ("DELETE", "/api/v1/namespaces/x/pods", ("deletecollection", "", "v1", "x", "pods", "", "")),
        ("DELETE", "/api/v1/namespaces/x/pods/a", ("delete", "", "v1", "x", "pods", "", "a")),
        ("POST", "/api/v1/namespaces/x/pods/a/exec?command=ls", ("create", "", "v1", "x", "pods", "exec", "a")),
        ("GET", "/api/v1/namespaces/x/services/a:80/proxy/b", ("get", "", "v1", "x", "services", "proxy", "a:80")),
        ("GET", "/apis/apps/v1/deployments", ("list", "apps", "v1", "", "deployments", "", "")),
        (
            "GET",
            "/apis/apps/v1/namespaces/x/deployments/d/scale",
            ("get", "apps", "v1", "x", "deployments", "scale", "d"),
        ),
        ("GET", "/api/v1/nodes/n?watch=1", ("get", "", "v1", "", "nodes", "", "n")),
        ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn", ("list", "", "v1", "", "nodes", "", "n")),
        ("GET", "/api/v1/namespaces/a%2Fb/pods", ("list", "", "v1", "a/b", "pods", "", "")),
    ];
    for (method, uri, expected) in cases {
        let info = parse(method, uri);
        let found = (
            info.verb.as_str(),
            info.group.as_str(),
            info.version.as_str(),
            info.namespace.as_str(),
            info.resource.as_str(),
            info.subresource.as_str(),
            info.name.as_str(),
        );
        assert!(info.is_resource, "{uri}");
        assert_eq!(found, *expected, "{method} {uri}");
    }
}

#[test]
fn other_paths_keep_their_method() {
    for (method, uri, verb) in [
        ("GET", "/healthz", "get"),
        ("POST", "/", "post"),
        ("GET", "/api", "get"),
        ("GET", "/api/v1", "get"),
        ("GET", "/apis/apps/v1", "get"),
        ("GET", "/openapi/v3/apis/apps/v1", "get"),
        // Nothing but a GET of a resource is a watch, so that the right to read opens nothing else.
        ("GET", "/api/v1/watch", "get"),
        ("POST", "/api/v1/watch/nodes/n/proxy/run/x/y/z", "post"),
        ("GET", "/api/v1/watch/nodes/n/proxy/exec/x/y/z", "get"),
        ("GET", "/api/v1/watch/namespaces/x/pods/a/log", "get"),
        ("POST", "/api/v1/watch/namespaces/x/pods", "post"),
        ("DELETE", "/apis/apps/v1/watch/namespaces/x/deployments/d", "delete"),
        ("POST", "/apis/demo.example.com/v1/watch/things", "post"),
        ("POST", "/api/v1/watch/proxy/nodes/n", "post"),
        ("GET", "/api/v1/watch/proxy/nodes/n", "get"),
        ("POST", "/api/v1/proxy/nodes/n/run", "post"),
    ] {
        let info = parse(method, uri);
        assert!(!info.is_resource, "{uri}");
        assert_eq!((info.verb.as_str(), info.resource.as_str(), info.group.as_str()), (verb, "", ""), "{uri}");
    }
}

#[test]
fn a_selectors_name_leads_nowhere_else() {
    for (selector, expected) in [
        ("metadata.name%3D%20n%20", "n"),
        ("metadata.name%3D%20.", ""),
        ("metadata.name%3D..%20", ""),
        ("metadata.name%3Da%2Fb", ""),
        ("metadata.name%3D%20", ""),
    ] {
        let info = parse("GET", &format!("/api/v1/nodes?fieldSelector={selector}"));
        assert_eq!(info.name, expected, "{selector}");
    }
}

#[test]
fn parts_carry_the_tail_of_a_proxied_path() {
    assert_eq!(parse("GET", "/api/v1/namespaces/x/pods/a/proxy/b/c").parts, ["pods", "a", "proxy", "b", "c"]);
}

#[test]
fn flags_read_as_kubernetes_reads_them() {
    for (query, expected) in
        [("watch", true), ("watch=1", true), ("watch=true", true), ("watch=false", false), ("", false)]
    {
        assert_eq!(Query::parse(query).flag("watch"), expected, "{query}");
    }
}
