//! The paths of the agent's API.

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/healthz`.
    Health,
    /// `/pods`.
    Pods,
    /// `/stats/summary`.
    Summary,
    /// `/metrics/resource`.
    ResourceMetrics,
    /// `/metrics`.
    Metrics,
    /// `/containerLogs/NAMESPACE/POD/CONTAINER`.
    Logs {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// `/run/NAMESPACE/POD/CONTAINER`, with the UID before the container where it is given.
    Run {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// `/exec/…`, as `/run/…`.
    Exec {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// `/attach/…`, as `/run/…`.
    Attach {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// `/portForward/NAMESPACE/POD`, with the UID after it where it is given.
    PortForward {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
    },
}

impl Route {
    /// The subresources of `nodes` one of which a client must be allowed, the finest first.
    pub fn subresources(&self) -> &'static [&'static str] {
        match self {
            Route::Health => &["healthz", "proxy"],
            Route::Pods => &["pods", "proxy"],
            Route::Summary => &["stats"],
            Route::ResourceMetrics | Route::Metrics => &["metrics"],
            _ => &["proxy"],
        }
    }
}

/// The route of a path; `None` where there is none.
pub fn parse(path: &str) -> Option<Route> {
    let parts: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let of =
        |namespace: &str, pod: &str, container: &str| (namespace.to_string(), pod.to_string(), container.to_string());
    Some(match parts.as_slice() {
        ["healthz"] => Route::Health,
        ["pods"] => Route::Pods,
        ["stats", "summary"] | ["stats"] => Route::Summary,
        ["metrics", "resource"] => Route::ResourceMetrics,
        ["metrics"] => Route::Metrics,
        ["containerLogs", namespace, pod, container] => {
            let (namespace, pod, container) = of(namespace, pod, container);
            Route::Logs { namespace, pod, container }
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            Route::PortForward { namespace: namespace.to_string(), pod: pod.to_string() }
        }
        [kind, namespace, pod, container] | [kind, namespace, pod, _, container] => {
            let (namespace, pod, container) = of(namespace, pod, container);
            match *kind {
                "run" => Route::Run { namespace, pod, container },
                "exec" => Route::Exec { namespace, pod, container },
                "attach" => Route::Attach { namespace, pod, container },
                _ => return None,
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_and_without_the_uid() {
        let exec = Route::Exec { namespace: "n".into(), pod: "p".into(), container: "c".into() };
        assert_eq!(parse("/exec/n/p/c"), Some(exec.clone()));
        assert_eq!(parse("/exec/n/p/uid/c"), Some(exec));
        assert_eq!(parse("/portForward/n/p/uid"), parse("/portForward/n/p"));
        assert_eq!(parse("/other/n/p/c"), None);
        assert_eq!(parse("/"), None);
    }
}
