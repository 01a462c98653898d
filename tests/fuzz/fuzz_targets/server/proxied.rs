//! Pages and redirects of what is proxied: a page is the same however it comes in pieces and keeps what is no link,
//! and a redirect leads below the path of its proxy or stays.
#![no_main]

use apiserver::decoders::{led_below, rewritten};
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;

const PREFIX: &str = "/api/v1/namespaces/n/pods/p:80/proxy";

fn lead(link: &str) -> Option<String> {
    link.starts_with('/').then(|| format!("/p{link}"))
}

fuzz_target!(|data: &[u8]| {
    let Some((size, page)) = data.split_first() else { return };
    let whole = rewritten(std::iter::once(page), Box::new(lead));
    assert_eq!(rewritten(page.chunks(1), Box::new(lead)), whole, "byte by byte");
    assert_eq!(rewritten(page.chunks(1 + usize::from(*size)), Box::new(lead)), whole, "in pieces");
    assert_eq!(rewritten(std::iter::once(page), Box::new(|_| None)), page, "a page without links stays");
    let grown = whole.len() - page.len();
    assert!(grown.is_multiple_of(2) && grown / 2 <= page.iter().filter(|byte| **byte == b'/').count());
    let Some([location, asked]) = fuzz::parts::<2>(page) else { return };
    let to = ([10, 42, 0, 5], 80).into();
    if let Some(led) = led_below(location, PREFIX, to, asked) {
        let behind = led.strip_prefix(PREFIX).unwrap_or_else(|| panic!("{led:?} is elsewhere"));
        assert!(behind.is_empty() || behind.starts_with(['/', '?', '#']), "{led:?}");
        assert!(!behind.split(['?', '#']).next().unwrap_or_default().split('/').any(|part| part == ".."), "{led:?}");
        HeaderValue::try_from(led.as_str()).expect("a header");
    }
});
