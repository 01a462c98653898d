//! `serviceaccounts/token`: issues a token for a service account, bound to a pod, a secret or a node.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use machinery::field::{FieldError, FieldErrors, Path};
use machinery::gvk::GroupResource;
use serde_json::{Value, json};
use stdx::clock::Clock;

use super::claims::{Claims, Kubernetes, Reference, sign};
use super::keys::Signer;
use crate::live::{Live, text, texts};
use crate::plugin::{Review, Reviewer};
use crate::status::{Result, Status};

const DEFAULT_EXPIRATION_S: i64 = 3600;
const EXPIRATION_MIN_S: i64 = 600;
const EXPIRATION_MAX_S: i64 = 1 << 32;
/// Longer wishes are granted this much: a token that is bound to nothing should not outlive a year.
const EXPIRATION_GRANTED_MAX_S: i64 = 365 * 24 * 3600;

/// Answers TokenRequests.
pub struct TokenRequests<C> {
    /// Where bound objects are looked up.
    pub live: Live,
    /// Sets the times.
    pub clock: C,
    /// Who we are.
    pub issuer: String,
    /// What a token is meant for where the request names nothing.
    pub api_audiences: Vec<String>,
    /// Signs.
    pub signer: Signer,
}

#[async_trait]
impl<C: Clock> Reviewer for TokenRequests<C> {
    async fn review(&self, request: &Review<'_>, mut object: Value) -> Result<Value> {
        let accounts = GroupResource { group: String::new(), resource: "serviceaccounts".to_string() };
        let account = request.parent.ok_or_else(|| Status::not_found(&accounts, request.name))?;
        let wish = Wish::read(&object)?;
        let name = text(&object, "/metadata/name");
        if !name.is_empty() && name != request.name {
            let (own, given) = (request.name, name);
            let why = format!("must match the service account name: {own:?} but {given:?}");
            return Err(invalid(FieldError::invalid(&Path::new("metadata").child("name"), name, why)));
        }
        let now = self.clock.now();
        let bound = self.bind(&wish, account, request).await?;
        let claims = self.claims(&wish, bound, request, now);
        let token = sign(&claims, &self.signer)
            .map_err(|error| Status::internal(format!("failed to generate token: {error}")))?;
        let expires = Timestamp::from_second(claims.exp)
            .map_err(|error| Status::internal(format!("the token's end is no time: {error}")))?;
        object["metadata"] = json!({"name": request.name, "namespace": request.namespace,
            "creationTimestamp": Timestamp::from_second(claims.iat).map(|time| time.to_string()).ok()});
        object["spec"]["audiences"] = json!(claims.aud);
        object["spec"]["expirationSeconds"] = json!(wish.expiration_s);
        object["status"] = json!({"token": token, "expirationTimestamp": expires.to_string()});
        Ok(object)
    }
}

/// What a TokenRequest asks for.
struct Wish {
    audiences: Vec<String>,
    expiration_s: i64,
    /// Kind, name and uid.
    bound: Option<(String, Reference)>,
}

impl Wish {
    fn read(object: &Value) -> Result<Self> {
        let expiration = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
        let expiration_s = expiration.unwrap_or(DEFAULT_EXPIRATION_S);
        let path = Path::new("spec").child("expirationSeconds");
        if expiration_s < EXPIRATION_MIN_S {
            let why = "may not specify a duration less than 10 minutes";
            return Err(invalid(FieldError::invalid(&path, expiration_s, why)));
        }
        if expiration_s > EXPIRATION_MAX_S {
            let why = "may not specify a duration larger than 2^32 seconds";
            return Err(invalid(FieldError::invalid(&path, expiration_s, why)));
        }
        let bound = object.pointer("/spec/boundObjectRef").filter(|bound| bound.is_object()).map(|bound| {
            let reference = Reference { name: text(bound, "/name").into(), uid: text(bound, "/uid").into() };
            (text(bound, "/kind").to_string(), reference)
        });
        Ok(Self { audiences: texts(object, "/spec/audiences"), expiration_s, bound })
    }
}

fn invalid(error: FieldError) -> Status {
    let errors: FieldErrors = vec![error];
    Status::invalid("authentication.k8s.io", "TokenRequest", "", &errors)
}

/// What a token is bound to, with uids.
#[derive(Default)]
struct Bound {
    account_uid: String,
    node: Option<Reference>,
    pod: Option<Reference>,
    secret: Option<Reference>,
}

impl<C: Clock> TokenRequests<C> {
    fn claims(&self, wish: &Wish, bound: Bound, request: &Review<'_>, now: Timestamp) -> Claims {
        let audiences = if wish.audiences.is_empty() { self.api_audiences.clone() } else { wish.audiences.clone() };
        let granted_s = SignedDuration::from_secs(wish.expiration_s.min(EXPIRATION_GRANTED_MAX_S)).as_secs();
        Claims {
            aud: audiences,
            exp: now.as_second() + granted_s,
            iat: now.as_second(),
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            kubernetes: Kubernetes {
                namespace: request.namespace.to_string(),
                node: bound.node,
                pod: bound.pod,
                secret: bound.secret,
                serviceaccount: Reference { name: request.name.to_string(), uid: bound.account_uid },
            },
            nbf: now.as_second(),
            sub: format!("system:serviceaccount:{}:{}", request.namespace, request.name),
        }
    }

    async fn bind(&self, wish: &Wish, account: &Value, request: &Review<'_>) -> Result<Bound> {
        let mut bound = Bound { account_uid: text(account, "/metadata/uid").to_string(), ..Bound::default() };
        let Some((kind, wanted)) = &wish.bound else { return Ok(bound) };
        match kind.as_str() {
            "Pod" => {
                let pod = self.found("pods", request.namespace, wanted).await?;
                if text(&pod, "/spec/serviceAccountName") != request.name {
                    let account = request.name;
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                    )));
                }
                bound.pod = Some(reference(&pod));
                bound.node = self.node_of(&pod).await?;
            }
            "Secret" => bound.secret = Some(reference(&self.found("secrets", request.namespace, wanted).await?)),
            "Node" => bound.node = Some(reference(&self.found("nodes", "", wanted).await?)),
            other => {
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of kind {other:?}; it may be a Pod, a Secret or a Node"
                )));
            }
        }
        Ok(bound)
    }

    async fn found(&self, resource: &str, namespace: &str, wanted: &Reference) -> Result<Value> {
        let named = GroupResource { group: String::new(), resource: resource.to_string() };
        let found = self.live.get("", resource, namespace, &wanted.name).await?;
        let found = found.ok_or_else(|| Status::not_found(&named, &wanted.name))?;
        let uid = text(&found, "/metadata/uid");
        if !wanted.uid.is_empty() && wanted.uid != uid {
            let asked = &wanted.uid;
            let why = format!(
                "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have \
                 been deleted and then recreated"
            );
            return Err(Status::conflict(&named, &wanted.name, why));
        }
        Ok(found)
    }

    /// The node a pod runs on; without uid where it has gone.
    async fn node_of(&self, pod: &Value) -> Result<Option<Reference>> {
        let name = text(pod, "/spec/nodeName");
        if name.is_empty() {
            return Ok(None);
        }
        let node = self.live.get("", "nodes", "", name).await?;
        Ok(Some(node.as_ref().map_or_else(|| Reference { name: name.to_string(), uid: String::new() }, reference)))
    }
}

fn reference(object: &Value) -> Reference {
    Reference { name: text(object, "/metadata/name").to_string(), uid: text(object, "/metadata/uid").to_string() }
}
