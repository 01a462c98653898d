//! Field selectors: what is read and written again selects the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::selector::FieldSelector;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(selector) = FieldSelector::parse(text) else { return };
    let written = selector.to_string();
    assert_eq!(FieldSelector::parse(&written).as_ref(), Ok(&selector), "{written:?}");
    for term in &selector.0 {
        let one = FieldSelector(vec![term.clone()]);
        assert_eq!(one.matches(|_| term.value.clone()), term.equal);
        selector.required_value(&term.field);
    }
});
