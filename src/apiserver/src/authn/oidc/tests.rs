use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::EcdsaKeyPair;
use bytes::Bytes;
use serde_json::json;
use stdx::clock::ManualClock;

use super::jwk::tests::elliptic_pair;
use super::*;

const URL: &str = "https://issuer.example/realm";

/// An issuer whose documents are in memory.
struct Pretended {
    documents: Mutex<Vec<(String, String)>>,
    asked: AtomicUsize,
    /// How long it takes to answer.
    slowness: std::time::Duration,
}

#[async_trait]
impl Fetch for Pretended {
    async fn get(&self, url: &str, _authorities: Option<&[u8]>) -> Result<Bytes, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.slowness).await;
        let documents = self.documents.lock().expect("not poisoned");
        let found = documents.iter().find(|(own, _)| own == url);
        found.map(|(_, text)| Bytes::from(text.clone())).ok_or_else(|| "404".to_string())
    }
}

impl Pretended {
    fn new(issuer: &str, keys: &[Value]) -> Arc<Self> {
        Self::slow(issuer, keys, std::time::Duration::ZERO)
    }

    fn slow(issuer: &str, keys: &[Value], slowness: std::time::Duration) -> Arc<Self> {
        let documents = vec![
            (
                format!("{URL}/.well-known/openid-configuration"),
                json!({"issuer": issuer, "jwks_uri": "https://issuer.example/keys"}).to_string(),
            ),
            ("https://issuer.example/keys".to_string(), json!({"keys": keys}).to_string()),
        ];
        Arc::new(Self { documents: Mutex::new(documents), asked: AtomicUsize::new(0), slowness })
    }
}

fn token(pair: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signed = pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signed.as_ref()))
}

fn reader(fetch: Arc<Pretended>) -> (OidcTokens<ManualClock>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authentication.yaml");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {{url: '{URL}', \
         audiences: [kube, other], audienceMatchPolicy: MatchAny}}\n  claimMappings: {{username: {{claim: sub, prefix: \
         'oidc:'}}}}\n"
    );
    std::fs::write(&path, text).expect("written");
    let configuration = Arc::new(crate::authn::configuration::load(&path, "https://own").expect("a configuration"));
    let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().expect("a time"));
    (OidcTokens { configuration, clock, fetch, api_audiences: vec!["api".to_string()] }, folder)
}

fn claims(now_s: i64) -> Value {
    json!({"iss": URL, "sub": "ann", "aud": ["kube"], "exp": now_s + 60})
}

async fn name(reader: &OidcTokens<ManualClock>, token: &str) -> Result<Option<String>, String> {
    let read = reader.read(token, &["api".to_string()]).await;
    read.map(|bearer| bearer.map(|bearer| bearer.user.name)).map_err(|refusal| refusal.0)
}

#[tokio::test]
async fn tokens_hold_by_issuer_signature_time_and_audience() {
    let (pair, jwk) = elliptic_pair("k");
    let (reader, _folder) = reader(Pretended::new(URL, &[jwk]));
    let now_s = reader.clock.now().as_second();
    let header = json!({"alg": "ES256", "kid": "k"});
    let with = |field: &str, value: Value| {
        let mut claims = claims(now_s);
        claims[field] = value;
        token(&pair, &header, &claims)
    };
    assert_eq!(name(&reader, &token(&pair, &header, &claims(now_s))).await, Ok(Some("oidc:ann".to_string())));
    assert_eq!(name(&reader, &with("aud", json!("other"))).await, Ok(Some("oidc:ann".to_string())));
    assert_eq!(name(&reader, &with("nbf", json!(now_s + 200))).await, Ok(Some("oidc:ann".to_string())));
    assert_eq!(name(&reader, &with("iss", json!("https://another"))).await, Ok(None), "another reader's");
    assert_eq!(name(&reader, "abcdef.0123456789abcdef").await, Ok(None));
    for (field, value) in [
        ("aud", json!(["else"])),
        ("aud", json!(null)),
        ("exp", json!(now_s - 1)),
        ("exp", json!(null)),
        ("exp", json!("never")),
        ("nbf", json!(now_s + 400)),
        ("nbf", json!("x")),
        ("sub", json!(null)),
    ] {
        assert!(name(&reader, &with(field, value.clone())).await.is_err(), "{field} {value}");
    }
    for header in
        [json!({"alg": "none"}), json!({"alg": "HS256", "kid": "k"}), json!({"alg": "ES256", "crit": ["b64"]})]
    {
        assert!(name(&reader, &token(&pair, &header, &claims(now_s))).await.is_err(), "{header}");
    }
    let mut changed = token(&pair, &header, &claims(now_s));
    changed.pop();
    assert!(name(&reader, &changed).await.is_err());
    let elsewhere = reader.read(&token(&pair, &header, &claims(now_s)), &["vault".to_string()]).await;
    assert!(elsewhere.is_err(), "no token of an issuer is meant for other audiences than this server's");
}

#[tokio::test]
async fn an_issuer_is_asked_for_unknown_keys_but_not_for_each_token() {
    let (pair, jwk) = elliptic_pair("k");
    let (stranger, _) = elliptic_pair("s");
    let fetch = Pretended::new(URL, &[jwk]);
    let (reader, _folder) = reader(fetch.clone());
    let claims = claims(reader.clock.now().as_second());
    let good = token(&pair, &json!({"alg": "ES256", "kid": "k"}), &claims);
    let forged = token(&stranger, &json!({"alg": "ES256", "kid": "s"}), &claims);
    for _ in 0..5 {
        assert!(name(&reader, &forged).await.is_err());
        assert!(name(&reader, &good).await.is_ok());
    }
    assert_eq!(fetch.asked.load(Ordering::SeqCst), 2, "one discovery document, one set of keys");
}

#[tokio::test]
async fn an_issuer_that_says_it_is_another_is_not_believed() {
    let (pair, jwk) = elliptic_pair("k");
    let (reader, _folder) = reader(Pretended::new("https://another", &[jwk]));
    let claims = claims(reader.clock.now().as_second());
    assert!(name(&reader, &token(&pair, &json!({"alg": "ES256", "kid": "k"}), &claims)).await.is_err());
}

#[tokio::test]
async fn whoever_gives_up_does_not_have_the_issuer_asked_anew() {
    let (pair, jwk) = elliptic_pair("k");
    let fetch = Pretended::slow(URL, &[jwk], std::time::Duration::from_millis(400));
    let (reader, _folder) = reader(fetch.clone());
    let claims = claims(reader.clock.now().as_second());
    let good = token(&pair, &json!({"alg": "ES256", "kid": "k"}), &claims);
    for _ in 0..5 {
        let hasty = tokio::time::timeout(std::time::Duration::from_millis(20), name(&reader, &good)).await;
        assert!(hasty.is_err(), "the issuer is slow");
    }
    let (one, other) = tokio::join!(name(&reader, &good), name(&reader, &good));
    assert_eq!((one, other), (Ok(Some("oidc:ann".to_string())), Ok(Some("oidc:ann".to_string()))));
    assert_eq!(fetch.asked.load(Ordering::SeqCst), 2, "one discovery document, one set of keys");
}
