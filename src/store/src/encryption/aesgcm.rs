//! AES-GCM as Kubernetes keeps it: a random nonce of 12 bytes, the sealed value with its tag.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;

fn key(secret: &[u8]) -> Option<LessSafeKey> {
    let algorithm = match secret.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    UnboundKey::new(algorithm, secret).ok().map(LessSafeKey::new)
}

pub(super) fn seal(secret: &[u8], context: &str, value: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).ok()?;
    let mut sealed = value.to_vec();
    let aad = Aad::from(context.as_bytes());
    key(secret)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
    Some([&nonce[..], &sealed].concat())
}

pub(super) fn open(secret: &[u8], context: &str, kept: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = kept.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut sealed = sealed.to_vec();
    let length = key(secret)?.open_in_place(nonce, Aad::from(context.as_bytes()), &mut sealed).ok()?.len();
    sealed.truncate(length);
    Some(sealed)
}
