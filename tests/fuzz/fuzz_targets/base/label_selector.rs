//! Label selectors of query strings and of objects: what is read and written again selects the same.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use machinery::field::Path;
use machinery::selector::{LabelSelector, label};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some([text, labels]) = fuzz::parts::<2>(data) else { return };
    let labels: BTreeMap<String, String> =
        labels.split(';').filter_map(|label| label.split_once(':')).map(|(k, v)| (k.into(), v.into())).collect();
    if let Ok(selector) = LabelSelector::parse(text) {
        let written = selector.to_string();
        let again = LabelSelector::parse(&written).unwrap_or_else(|error| panic!("{written:?}: {error}"));
        assert_eq!(again.to_string(), written);
        assert_eq!(again.matches(&labels), selector.matches(&labels));
        let mut own = BTreeMap::new();
        for requirement in selector.requirements() {
            own.insert(requirement.key().to_string(), requirement.values().first().cloned().unwrap_or_default());
        }
        assert_eq!(again.matches(&own), selector.matches(&own));
    }
    if let Ok(object) = serde_json::from_str::<Value>(text) {
        let read = LabelSelector::from_json(Some(&object));
        label::validate(&object, &Path::new("selector"));
        if let Ok(selector) = read {
            selector.matches(&labels);
        }
    }
});
