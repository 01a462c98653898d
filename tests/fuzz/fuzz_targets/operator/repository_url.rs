//! URLs of repositories: whatever is refused, a password in it is not repeated; whatever is taken is safe as a word of a
//! command.
#![no_main]

use git::url::{Way, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(url) = std::str::from_utf8(data) else { return };
    match parse(url) {
        Ok(Way::Ssh(place)) => {
            assert!(!place.user.is_empty() && !place.host.is_empty() && !place.path.is_empty());
            assert!(!place.path.starts_with('-') && !place.path.contains('\0'));
            assert!(!place.host.contains('/'));
        }
        Ok(_) => assert!(!url.chars().any(|c| c.is_whitespace() || c.is_control())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
