//! What the claims of a token make of its bearer, and what they and the user have to be.

use std::collections::BTreeMap;

use cel::{Env, Program, Type, Variables};
use serde_json::{Map, Value};

use crate::authn::Refusal;
use crate::authn::reviews::user_info;
use crate::request::User;

/// The key under which a user has the name of its token.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// How a user comes from claims.
#[derive(Debug)]
pub struct ClaimMappings {
    /// The name.
    pub username: Mapping,
    /// The groups, where there are any.
    pub groups: Option<Mapping>,
    /// The uid.
    pub uid: Option<Mapping>,
    /// What else is told of the user, by key.
    pub extra: Vec<(String, Mapping)>,
}

/// Where a value comes from.
#[derive(Debug)]
pub enum Mapping {
    /// A claim, with something before it.
    Claim {
        /// Which.
        claim: String,
        /// Put before each value.
        prefix: String,
    },
    /// An expression of `claims`.
    Expression(Program),
}

/// What a claim has to be.
#[derive(Debug)]
pub enum Rule {
    /// Has this value.
    Claim {
        /// Which.
        claim: String,
        /// Its value.
        required: String,
    },
    /// An expression of `claims` that has to be true.
    Expression {
        /// The expression.
        program: Program,
        /// What is said where it is not.
        message: String,
    },
}

/// What the user has to be: an expression of `user`.
#[derive(Debug)]
pub struct UserRule {
    program: Program,
    message: String,
}

fn claims_env() -> Env {
    Env::new().with_variable("claims", Type::map(Type::String, Type::Dyn))
}

fn compile(env: &Env, text: &str) -> Result<Program, String> {
    if text.trim().is_empty() {
        return Err("Required value".to_string());
    }
    env.compile(text).map_err(|error| format!("Invalid value: {text:?}: compilation failed: {error}"))
}

fn condition(env: &Env, text: &str) -> Result<Program, String> {
    let program = compile(env, text)?;
    match *program.result_type() == Type::Bool {
        true => Ok(program),
        false => Err(format!("Invalid value: {text:?}: must evaluate to bool")),
    }
}

impl Mapping {
    /// By an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn expression(text: &str) -> Result<Self, String> {
        compile(&claims_env(), text).map(Self::Expression)
    }

    /// The value; null where the claim is not there.
    fn value(&self, claims: &Value) -> Result<Value, String> {
        match self {
            Self::Claim { claim, .. } => Ok(claims.get(claim).cloned().unwrap_or_default()),
            Self::Expression(program) => evaluate(program, "claims", claims),
        }
    }
}

impl Rule {
    /// By an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn expression(text: &str, message: &str) -> Result<Self, String> {
        let message = told(text, message);
        Ok(Self::Expression { program: condition(&claims_env(), text)?, message })
    }

    /// Whether the claims are as they have to be.
    ///
    /// # Errors
    /// What they are not.
    pub fn check(&self, claims: &Value) -> Result<(), Refusal> {
        match self {
            Self::Claim { claim, required } => match claims.get(claim) {
                None => Err(Refusal(format!("oidc: required claim {claim} not present in ID token"))),
                Some(Value::String(value)) if value == required => Ok(()),
                Some(_) => Err(Refusal(format!("oidc: required claim {claim} value does not match"))),
            },
            Self::Expression { program, message } => holds(program, "claims", claims, message),
        }
    }
}

impl UserRule {
    /// By an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str, message: &str) -> Result<Self, String> {
        let program = condition(&Env::new().with_variable("user", api::policy::user_info()), text)?;
        Ok(Self { program, message: told(text, message) })
    }

    /// Whether the user is as it has to be.
    ///
    /// # Errors
    /// What it is not.
    pub fn check(&self, user: &User) -> Result<(), Refusal> {
        let mut info = user_info(user);
        // What is empty is there all the same.
        for (field, empty) in
            [("uid", Value::from("")), ("groups", Value::Array(Vec::new())), ("extra", Map::new().into())]
        {
            if info.get(field).is_none() {
                info[field] = empty;
            }
        }
        holds(&self.program, "user", &info, &self.message)
    }
}

fn told(text: &str, message: &str) -> String {
    if message.is_empty() { format!("validation expression '{text}' failed") } else { message.to_string() }
}

fn evaluate(program: &Program, name: &str, value: &Value) -> Result<Value, String> {
    let variables = Variables::new().with(name, cel::Value::from_json(value));
    let result = program.eval(&variables, cel::PER_CALL_COST_LIMIT).result.map_err(|error| error.to_string())?;
    result.to_json().map_err(|error| error.to_string())
}

fn holds(program: &Program, name: &str, value: &Value, message: &str) -> Result<(), Refusal> {
    match evaluate(program, name, value) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(_) => Err(Refusal(format!("oidc: {message}"))),
        Err(why) => Err(Refusal(format!("oidc: error evaluating a validation rule: {why}"))),
    }
}

impl ClaimMappings {
    /// The user that claims make.
    ///
    /// # Errors
    /// Claims that are missing or of a wrong type.
    pub fn user(&self, claims: &Value) -> Result<User, Refusal> {
        let refuse = |why: String| Refusal(format!("oidc: {why}"));
        let mut user = User { name: self.name(claims).map_err(refuse)?, ..User::default() };
        if let Some(groups) = &self.groups {
            user.groups = group_names(groups, claims).map_err(refuse)?;
        }
        if let Some(uid) = &self.uid {
            let value = uid.value(claims).map_err(|why| refuse(format!("uid: {why}")))?;
            user.uid = value.as_str().ok_or_else(|| refuse("the uid is no string".to_string()))?.to_string();
        }
        user.extra = self.extra(claims).map_err(refuse)?;
        if let Some(id) = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            user.extra.insert(CREDENTIAL_ID.to_string(), vec![format!("JTI={id}")]);
        }
        Ok(user)
    }

    fn name(&self, claims: &Value) -> Result<String, String> {
        let value = self.username.value(claims).map_err(|why| format!("username: {why}"))?;
        let Some(name) = value.as_str().filter(|name| !name.is_empty()) else {
            return Err("the username is no string, or empty".to_string());
        };
        let Mapping::Claim { claim, prefix } = &self.username else { return Ok(name.to_string()) };
        if claim == "email" && claims.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
            return Err("email not verified".to_string());
        }
        Ok(format!("{prefix}{name}"))
    }

    fn extra(&self, claims: &Value) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        for (key, mapping) in &self.extra {
            let value = mapping.value(claims).map_err(|why| format!("extra {key:?}: {why}"))?;
            let values = texts(&value).ok_or_else(|| format!("extra {key:?} is neither string nor list of strings"))?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }
}

fn group_names(mapping: &Mapping, claims: &Value) -> Result<Vec<String>, String> {
    let prefix = if let Mapping::Claim { claim, prefix } = mapping {
        if claims.get(claim).is_none() && claims.pointer(&format!("/_claim_names/{claim}")).is_some() {
            return Err(format!(
                "claim {claim:?} is distributed, which is not supported: have the issuer put it into the token"
            ));
        }
        prefix.as_str()
    } else {
        ""
    };
    let value = mapping.value(claims).map_err(|why| format!("groups: {why}"))?;
    let names = texts(&value).ok_or("the groups are neither a string nor a list of strings")?;
    Ok(names.into_iter().map(|name| format!("{prefix}{name}")).collect())
}

/// A string or the strings of a list; none where there is nothing.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) if text.is_empty() => Some(Vec::new()),
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_string)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(claim: &str, prefix: &str) -> Mapping {
        Mapping::Claim { claim: claim.to_string(), prefix: prefix.to_string() }
    }

    fn mappings(username: Mapping, groups: Option<Mapping>) -> ClaimMappings {
        ClaimMappings { username, groups, uid: None, extra: Vec::new() }
    }

    #[test]
    fn names_and_groups_come_from_claims_with_a_prefix() {
        let mapping = mappings(claim("sub", "oidc:"), Some(claim("groups", "g:")));
        let user = |claims: Value| mapping.user(&claims).map(|user| (user.name, user.groups));
        let named = |groups: &[&str]| Ok(("oidc:ann".to_string(), groups.iter().map(ToString::to_string).collect()));
        assert_eq!(user(json!({"sub": "ann", "groups": ["a", "b"]})), named(&["g:a", "g:b"]));
        assert_eq!(user(json!({"sub": "ann", "groups": "a"})), named(&["g:a"]));
        assert_eq!(user(json!({"sub": "ann"})), named(&[]));
        for wrong in [
            json!({}),
            json!({"sub": ""}),
            json!({"sub": 1}),
            json!({"sub": "ann", "groups": [1]}),
            json!({"sub": "ann", "_claim_names": {"groups": "src1"}}),
        ] {
            assert!(user(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mail_address_is_a_name_unless_the_issuer_says_that_it_is_not_verified() {
        let mapping = mappings(claim("email", ""), None);
        assert!(mapping.user(&json!({"email": "a@b.c"})).is_ok());
        assert!(mapping.user(&json!({"email": "a@b.c", "email_verified": true})).is_ok());
        assert!(mapping.user(&json!({"email": "a@b.c", "email_verified": false})).is_err());
        assert!(mapping.user(&json!({"email": "a@b.c", "email_verified": "true"})).is_err());
    }

    #[test]
    fn expressions_make_every_part_of_a_user() {
        let expression = |text: &str| Mapping::expression(text).expect(text);
        let mapping = ClaimMappings {
            username: expression("claims.sub + ':external'"),
            groups: Some(expression("claims.roles.split(',')")),
            uid: Some(claim("id", "")),
            extra: vec![
                ("acme.io/team".to_string(), expression("claims.?team.orValue('')")),
                ("acme.io/none".to_string(), expression("claims.?none.orValue('')")),
            ],
        };
        let claims = json!({"sub": "ann", "roles": "a,b", "id": "7", "team": "x", "jti": "t"});
        let user = mapping.user(&claims).expect("a user");
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("ann:external", "7"));
        assert_eq!(user.groups, ["a", "b"]);
        let extra = [("acme.io/team", "x"), (CREDENTIAL_ID, "JTI=t")];
        let extra = extra.map(|(key, value)| (key.to_string(), vec![value.to_string()]));
        assert_eq!(user.extra, BTreeMap::from(extra));
        assert!(mapping.user(&json!({"sub": "ann", "roles": "a"})).is_err(), "the uid is missing");
    }

    #[test]
    fn rules_have_to_hold() {
        let claims = json!({"hd": "example.com", "level": 3});
        let required = |value: &str| Rule::Claim { claim: "hd".to_string(), required: value.to_string() };
        assert!(required("example.com").check(&claims).is_ok());
        assert!(required("other.com").check(&claims).is_err());
        let rule = |text: &str| Rule::expression(text, "too low").expect(text);
        assert!(rule("claims.level > 2").check(&claims).is_ok());
        assert_eq!(rule("claims.level > 3").check(&claims), Err(Refusal("oidc: too low".to_string())));
        assert!(rule("claims.missing == 'a'").check(&claims).is_err());
        assert!(Rule::expression("claims.level", "").is_err(), "no condition");
        let user = User { name: "system:ann".to_string(), ..User::default() };
        let rule = UserRule::new("!user.username.startsWith('system:')", "").expect("a rule");
        let why = "oidc: validation expression '!user.username.startsWith('system:')' failed";
        assert_eq!(rule.check(&user), Err(Refusal(why.to_string())));
        assert!(
            UserRule::new("user.groups.all(g, g != 'x') && user.uid == ''", "").expect("a rule").check(&user).is_ok()
        );
    }
}
