//! The rules for names of every sort, versions and API versions: no text panics them, versions are in an order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::gvk::{GroupVersion, compare_versions};
use machinery::names;
use machinery::table::IncludeObject;

const RULES: [fn(&str) -> Vec<String>; 14] = [
    names::dns1123_label,
    names::dns1123_subdomain,
    names::wildcard_dns1123_subdomain,
    names::dns1035_label,
    names::path_segment,
    names::qualified_name,
    names::label_value,
    names::env_var_name,
    names::strict_env_var_name,
    names::c_identifier,
    names::config_map_key,
    names::port_name,
    names::percent,
    names::http_header_name,
];

fuzz_target!(|data: &[u8]| {
    let Some([a, b, c]) = fuzz::parts::<3>(data) else { return };
    for rule in RULES {
        rule(a);
    }
    // A label is a subdomain, and any of them can stand in a path.
    if names::dns1123_label(a).is_empty() {
        assert!(names::dns1123_subdomain(a).is_empty() && names::label_value(a).is_empty());
        assert!(names::path_segment(a).is_empty() && names::qualified_name(a).is_empty());
    }
    let generated = names::generate(a, || 7);
    assert!(generated.len() <= 253 || a.len() > 248, "{generated:?}");
    if let Some(read) = GroupVersion::parse(a) {
        assert_eq!(GroupVersion::parse(&read.to_string()), Some(read));
    }
    IncludeObject::parse(a);
    assert_eq!(compare_versions(a, b), compare_versions(b, a).reverse());
    if compare_versions(a, b).is_le() && compare_versions(b, c).is_le() {
        assert!(compare_versions(a, c).is_le());
    }
});
