//! The kinds that come as protobuf: those of the registry, and the bodies of subresources.

use std::sync::LazyLock;

use api::definitions::closure;
use machinery::gvk::GroupVersion;
use machinery::schema::Definitions;

/// Kinds that are no resource of their own.
struct Bodies {
    scale: Definitions,
    eviction: Definitions,
    token_request: Definitions,
    delete_options: Definitions,
    status: Definitions,
}

const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
const EVICTION: &str = "io.k8s.api.policy.v1.Eviction";
const TOKEN_REQUEST: &str = "io.k8s.api.authentication.v1.TokenRequest";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

static BODIES: LazyLock<Bodies> = LazyLock::new(|| Bodies {
    scale: closure(SCALE),
    eviction: closure(EVICTION),
    token_request: closure(TOKEN_REQUEST),
    delete_options: closure(DELETE_OPTIONS),
    status: closure(STATUS),
});

/// The definitions of a Status, the metadata of lists among them.
pub fn status() -> &'static Definitions {
    &BODIES.status
}

/// The schema's name and definitions of a kind.
pub fn find(api_version: &str, kind: &str) -> Option<(&'static str, &'static Definitions)> {
    match kind {
        "Scale" => return Some((SCALE, &BODIES.scale)),
        "Eviction" => return Some((EVICTION, &BODIES.eviction)),
        "Status" => return Some((STATUS, &BODIES.status)),
        "TokenRequest" => return Some((TOKEN_REQUEST, &BODIES.token_request)),
        // Every group has its own name for them.
        "DeleteOptions" => return Some((DELETE_OPTIONS, &BODIES.delete_options)),
        _ => {}
    }
    let GroupVersion { group, version } = GroupVersion::parse(api_version)?;
    let resource = api::registry().by_kind(&group, &version, kind)?;
    Some((&*resource.schema_name, resource.definitions()))
}
