//! Quantities, and the amounts of eviction thresholds: what is read and written again is the same amount, and the
//! written form is canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::eviction;
use machinery::quantity::Quantity;

fuzz_target!(|data: &[u8]| {
    let Some([text, other]) = fuzz::parts::<2>(data) else { return };
    let _ = eviction::check("memory.available", text);
    let Ok(quantity) = text.parse::<Quantity>() else { return };
    let written = quantity.to_string();
    let again: Quantity = written.parse().unwrap_or_else(|error| panic!("{text:?} as {written:?}: {error}"));
    assert_eq!(again, quantity, "{text:?} as {written:?}");
    assert_eq!(again.to_string(), written, "{text:?}");
    let (units, millis) = (quantity.to_units(), quantity.to_millis());
    assert!(i128::from(millis) <= i128::from(units) * 1000 || units == i64::MAX || units < 0);
    quantity.to_bytes();
    quantity.to_f64();
    let Ok(other) = other.parse::<Quantity>() else { return };
    assert_eq!(quantity + other, other + quantity);
    assert_eq!(quantity < other, other > quantity);
    (quantity - other).to_string();
});
