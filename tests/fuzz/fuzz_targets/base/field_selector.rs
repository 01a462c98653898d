//! Field selectors: what is read and written again selects the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::selector::FieldSelector;
use machinery::selector::field::Term;

fn order(term: &Term) -> (&str, bool, &str) {
    (&term.field, term.equal, &term.value)
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(mut selector) = FieldSelector::parse(text) else { return };
    let written = selector.to_string();
    let mut again = FieldSelector::parse(&written).unwrap_or_else(|error| panic!("{written:?}: {error}"));
    // All terms must hold, so their order says nothing; it is that of the text, in which `=` may be `==`.
    for terms in [&mut selector.0, &mut again.0] {
        terms.sort_by(|one, other| order(one).cmp(&order(other)));
    }
    assert_eq!(again, selector, "{written:?}");
    for term in &selector.0 {
        let one = FieldSelector(vec![term.clone()]);
        assert_eq!(one.matches(|_| term.value.clone()), term.equal);
        selector.required_value(&term.field);
    }
});
