//! The files that say who may come in, do what, and is written of: audit policies, authentication and authorization
//! configurations, kubeconfigs of webhooks, encryption configurations.
#![no_main]

use apiserver::audit::policy::Policy;
use apiserver::authn::configuration::Configuration;
use apiserver::request::{Query, RequestInfo, User};
use apiserver::webhook::kubeconfig::Remote;
use apiserver::{authz, encryption};
use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some([text, path]) = fuzz::parts::<2>(data) else { return };
    if let Ok(policy) = Policy::parse(text) {
        let info = RequestInfo::parse(&Method::GET, path, &Query::default());
        for user in [None, Some(&User::anonymous()), Some(&User::service_account("n", "a"))] {
            let once = policy.judge(user, &info);
            assert_eq!(once.level, policy.judge(user, &info).level);
        }
    }
    if let Ok(read) = Configuration::parse(text, "https://kubernetes.default.svc", None) {
        read.anonymous.allows(path);
        assert!(read.issuers.iter().all(|issuer| issuer.url.starts_with("https://")));
        assert!(Configuration::parse(text, "https://kubernetes.default.svc", Some(&read)).is_ok());
    }
    let _ = authz::configuration::check(text);
    let _ = encryption::parse(text);
    let _ = Remote::check(text);
});
