//! TokenReview and SelfSubjectReview: who is the bearer of a token, and who am I.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Tokens;
use crate::live::{text, texts};
use crate::plugin::{Review, Reviewer};
use crate::request::User;
use crate::status::{Result, Status};

/// Answers TokenReviews.
pub struct TokenReviews(pub Tokens);

#[async_trait]
impl Reviewer for TokenReviews {
    async fn review(&self, _request: &Review<'_>, mut object: Value) -> Result<Value> {
        let token = text(&object, "/spec/token").to_string();
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let asked = texts(&object, "/spec/audiences");
        let audiences = if asked.is_empty() { self.0.api_audiences.clone() } else { asked };
        object["status"] = match self.0.read(&token, &audiences).await {
            Ok(mut bearer) => {
                if !bearer.user.in_group("system:authenticated") {
                    bearer.user.groups.push("system:authenticated".to_string());
                }
                let mut status = json!({"authenticated": true, "user": user_info(&bearer.user)});
                // A kind of token that knows no audiences is meant for this server.
                let meant = if bearer.audiences.is_empty() { self.for_us(&audiences) } else { bearer.audiences };
                if meant.is_empty() {
                    status = json!({"authenticated": false, "error": "the token is not meant for these audiences"});
                } else {
                    status["audiences"] = json!(meant);
                }
                status
            }
            Err(refusal) => json!({"error": refusal.to_string(), "user": {}}),
        };
        Ok(object)
    }
}

impl TokenReviews {
    fn for_us(&self, audiences: &[String]) -> Vec<String> {
        audiences.iter().filter(|audience| self.0.api_audiences.contains(audience)).cloned().collect()
    }
}

/// Answers SelfSubjectReviews.
#[derive(Debug, Clone, Copy, Default)]
pub struct SelfSubjectReviews;

#[async_trait]
impl Reviewer for SelfSubjectReviews {
    async fn review(&self, request: &Review<'_>, mut object: Value) -> Result<Value> {
        object["status"] = json!({"userInfo": user_info(request.user)});
        Ok(object)
    }
}

/// A user as `authentication.k8s.io/v1` UserInfo.
pub fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
