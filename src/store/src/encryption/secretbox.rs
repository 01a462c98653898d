//! NaCl's `crypto_secretbox_xsalsa20poly1305`: a random nonce of 24 bytes, a tag of 16, the encrypted value. The first
//! 32 bytes of the cipher's stream are the tag's key.

use aws_lc_rs::{constant_time, rand};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// The cipher behind its first 32 bytes, and the tag that those make.
fn begin(secret: &[u8], nonce: &[u8]) -> Option<(XSalsa20, Poly1305)> {
    let (secret, nonce) = (<[u8; KEY_BYTES]>::try_from(secret).ok()?, <[u8; NONCE_BYTES]>::try_from(nonce).ok()?);
    let mut cipher = XSalsa20::new(&secret.into(), &nonce.into());
    let mut tag_key = [0; KEY_BYTES];
    cipher.apply_keystream(&mut tag_key);
    Some((cipher, Poly1305::new(&tag_key.into())))
}

fn seal_with(secret: &[u8], nonce: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let (mut cipher, tag) = begin(secret, nonce)?;
    let mut sealed = value.to_vec();
    cipher.apply_keystream(&mut sealed);
    let tag = tag.compute_unpadded(&sealed);
    Some([nonce, &tag[..], &sealed].concat())
}

pub(super) fn seal(secret: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(&mut nonce).ok()?;
    seal_with(secret, &nonce, value)
}

pub(super) fn open(secret: &[u8], kept: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = kept.split_at_checked(NONCE_BYTES)?;
    let (found, sealed) = rest.split_at_checked(TAG_BYTES)?;
    let (mut cipher, tag) = begin(secret, nonce)?;
    constant_time::verify_slices_are_equal(&tag.compute_unpadded(sealed)[..], found).ok()?;
    let mut value = sealed.to_vec();
    cipher.apply_keystream(&mut value);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    /// The example of NaCl's own tests.
    #[test]
    fn boxes_are_those_of_nacl() {
        let key = bytes("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = bytes("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let value = bytes(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01\
             233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd\
             4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
        );
        let sealed = bytes(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c\
             98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfea\
             bd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
        );
        let kept = seal_with(&key, &nonce, &value).expect("sealed");
        assert_eq!(kept[..NONCE_BYTES], nonce);
        assert_eq!(kept[NONCE_BYTES..], sealed);
        assert_eq!(open(&key, &kept), Some(value));
    }
}
