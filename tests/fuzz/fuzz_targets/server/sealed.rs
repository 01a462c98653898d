//! Values as the store keeps them: what was sealed is opened under its key and no other,
//! and nothing else is.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use store::encryption::{Encryption, Key, Keys, Provider, Rule};

/// Keys that every target may know: what is looked for is what is done without them.
static OWN: LazyLock<[Encryption; 2]> = LazyLock::new(|| {
    let with = |provider| Encryption::new(vec![Rule { keys: vec![Keys::All], providers: vec![provider] }]);
    let keys = || vec![Key::new("k", vec![7; 32])];
    [Provider::aesgcm(keys()), Provider::secretbox(keys())].map(|provider| with(provider.expect("a provider")))
});

fn round(encryption: &Encryption, value: &Bytes) {
    let Ok(sealed) = encryption.seal("/registry/secrets/n/a", value) else { return };
    // A value that is kept as it is must not look sealed; JSON does not.
    if sealed == *value {
        return;
    }
    assert_eq!(encryption.open("/registry/secrets/n/a", sealed.clone()).expect("what was sealed").value, value);
    let mut changed = sealed.to_vec();
    *changed.last_mut().expect("it is sealed") ^= 1;
    assert!(encryption.open("/registry/secrets/n/a", changed.into()).is_err());
}

fuzz_target!(|data: &[u8]| {
    let value = Bytes::copy_from_slice(data);
    for own in OWN.iter() {
        round(own, &value);
        assert!(own.open("/registry/secrets/n/a", value.clone()).is_err(), "it was not sealed with the key");
        for cipher in ["aesgcm", "secretbox"] {
            let marked = [format!("k8s:enc:{cipher}:v1:k:").as_bytes(), data].concat();
            assert!(own.open("/registry/secrets/n/a", marked.into()).is_err(), "it was not sealed with the key");
        }
    }
});
