//! Certificates and requests for them, as clients and signers send them: DER, and PEM around it.
#![no_main]

use apiserver::authn::certificate::Named;
use apiserver::plugin::{Authority, ClientCertificate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let named = Named::read(&ClientCertificate { der: data.to_vec().into(), authority: Authority::Client });
    for now_s in [0, i64::MIN, i64::MAX, 1_800_000_000] {
        if let Ok(Some(user)) = named.at(now_s) {
            assert!(!user.name.is_empty() && user.extra.len() == 1);
        }
    }
    let pem = match std::str::from_utf8(data) {
        Ok(text) => text.to_string(),
        Err(_) => stdx::pem::encode(stdx::pem::CERTIFICATE, data),
    };
    for block in stdx::pem::blocks(&pem) {
        let again = stdx::pem::encode(stdx::pem::CERTIFICATE, &block.data);
        let read = stdx::pem::blocks(&again);
        assert!(read.len() == 1 && read[0].data == block.data, "one block was written");
        let _ = pki::parse_request(&stdx::pem::encode("CERTIFICATE REQUEST", &block.data));
    }
    let _ = pki::parse_request(&pem);
    if let Ok(found) = pki::inspect("a certificate", &pem) {
        pki::renewal_at(&found);
        found.sans();
    }
    pki::node_of(&pem);
});
