use super::*;

const SECRET: &str = "/registry/secrets/default/s";

fn key(name: &str, byte: u8) -> Key {
    Key::new(name, vec![byte; 32])
}

fn rule(providers: Vec<Provider>) -> Encryption {
    Encryption::new(vec![Rule { keys: vec![Keys::Prefix("/registry/secrets/".to_string())], providers }])
}

fn aesgcm(keys: &[(&str, u8)]) -> Provider {
    Provider::aesgcm(keys.iter().map(|(name, byte)| key(name, *byte)).collect()).expect("keys")
}

fn secretbox(keys: &[(&str, u8)]) -> Provider {
    Provider::secretbox(keys.iter().map(|(name, byte)| key(name, *byte)).collect()).expect("keys")
}

fn value() -> Bytes {
    Bytes::from_static(b"{\"kind\":\"Secret\"}")
}

#[test]
fn values_of_the_rule_are_sealed_and_others_stay_as_they_are() {
    for (provider, mark) in
        [(aesgcm(&[("k", 1)]), "k8s:enc:aesgcm:v1:k:"), (secretbox(&[("k", 1)]), "k8s:enc:secretbox:v1:k:")]
    {
        let encryption = rule(vec![provider]);
        let kept = encryption.seal(SECRET, &value()).expect("sealed");
        assert!(kept.starts_with(mark.as_bytes()) && !kept.windows(6).any(|window| window == b"Secret"));
        assert_ne!(encryption.seal(SECRET, &value()).expect("sealed"), kept, "no nonce comes twice");
        assert_eq!(encryption.open(SECRET, kept.clone()), Ok(Opened { value: value(), stale: false }));
        for length in [0, mark.len(), mark.len() + 20, kept.len() - 1] {
            assert!(encryption.open(SECRET, kept.slice(..length)).is_err(), "cut to {length}");
        }
        let mut changed = kept.to_vec();
        *changed.last_mut().expect("bytes") ^= 1;
        assert!(encryption.open(SECRET, changed.into()).expect_err("was changed").contains("key k"));
        let other = "/registry/configmaps/default/c";
        assert_eq!(encryption.seal(other, &value()).expect("plain"), value());
        assert!(encryption.open(other, kept).is_err(), "what is encrypted is never handed on");
    }
}

#[test]
fn keys_of_one_name_in_two_providers_are_told_apart_by_what_they_open() {
    for of in [aesgcm, secretbox] {
        let old = rule(vec![of(&[("k", 1)])]).seal(SECRET, &value()).expect("sealed");
        let both = rule(vec![of(&[("k", 2)]), of(&[("k", 1)])]);
        assert_eq!(both.open(SECRET, old.clone()), Ok(Opened { value: value(), stale: true }));
        let new = both.seal(SECRET, &value()).expect("sealed");
        assert_eq!(both.open(SECRET, new), Ok(Opened { value: value(), stale: false }));
        let neither = rule(vec![of(&[("k", 2)]), of(&[("k", 3)])]);
        assert!(neither.open(SECRET, old).expect_err("another key").contains("cannot be decrypted with key k"));
    }
}

#[test]
fn aesgcm_binds_a_value_to_its_key() {
    let encryption = rule(vec![aesgcm(&[("k", 1)])]);
    let kept = encryption.seal(SECRET, &value()).expect("sealed");
    assert!(encryption.open("/registry/secrets/default/other", kept).is_err());
}

#[test]
fn the_first_provider_writes_all_read_and_what_is_not_of_the_first_is_stale() {
    let old = rule(vec![aesgcm(&[("old", 1)])]).seal(SECRET, &value()).expect("sealed");
    let boxed = rule(vec![secretbox(&[("box", 2)])]).seal(SECRET, &value()).expect("sealed");
    let rotated = rule(vec![aesgcm(&[("new", 3), ("old", 1)]), secretbox(&[("box", 2)]), Provider::identity()]);
    for kept in [old.clone(), boxed.clone(), value()] {
        assert_eq!(rotated.open(SECRET, kept), Ok(Opened { value: value(), stale: true }));
    }
    assert!(rotated.seal(SECRET, &value()).expect("sealed").starts_with(b"k8s:enc:aesgcm:v1:new:"));
    let gone = rule(vec![aesgcm(&[("new", 3)])]);
    let why = gone.open(SECRET, old).expect_err("the key is gone");
    assert!(why.contains("k8s:enc:aesgcm:v1:old,"), "{why}");
    assert!(gone.open(SECRET, value()).expect_err("plain").contains("identity"));
    let plain = rule(vec![Provider::identity(), secretbox(&[("box", 2)])]);
    assert_eq!(plain.seal(SECRET, &value()).expect("plain"), value());
    assert_eq!(plain.open(SECRET, boxed), Ok(Opened { value: value(), stale: true }));
    let wrong = rule(vec![aesgcm(&[("new", 9)])]);
    assert!(
        wrong.open(SECRET, rotated.seal(SECRET, &value()).expect("sealed")).is_err(),
        "another key of the same name"
    );
}

#[test]
fn keys_that_cannot_be_used_are_refused_and_never_printed() {
    let with = |name: &str, length| vec![Key::new(name, vec![0x5a; length])];
    assert!(matches!(Provider::aesgcm(with("k", 20)), Err(KeyError::Length { found: 20, .. })));
    assert!(matches!(Provider::secretbox(with("k", 16)), Err(KeyError::Length { found: 16, .. })));
    assert_eq!(Provider::aesgcm(with("a:b", 32)).err(), Some(KeyError::Name("a:b".to_string())));
    assert_eq!(Provider::aesgcm(vec![]).err(), Some(KeyError::None("aesgcm")));
    assert_eq!(Provider::aesgcm(vec![key("k", 1), key("k", 2)]).err(), Some(KeyError::Twice("k".to_string())));
    for length in [16, 24, 32] {
        let encryption = rule(vec![Provider::aesgcm(with("k", length)).expect("a key")]);
        let kept = encryption.seal(SECRET, &value()).expect("sealed");
        assert_eq!(encryption.open(SECRET, kept).expect("opened").value, value());
        assert!(!format!("{encryption:?}").contains("90"), "{encryption:?}");
    }
}
