//! The structured authentication configuration (KEP-3331): which issuers of JSON Web Tokens are believed, how their
//! claims become users, and who may come without credentials. The file is looked at again while the server runs;
//! what cannot be used does not replace what is in use.

mod file;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use url::Url;

use super::oidc::keys::Keys;
use super::oidc::mapping::{ClaimMappings, Mapping, Rule, UserRule};
use crate::error::Error;
use crate::reread::{Reread, Said};
use file::{AnonymousFile, ClaimRuleFile, File, IssuerFile, Jwt, MappingFile, MappingsFile, UserRuleFile};

/// How many issuers there may be; Kubernetes takes as many.
const ISSUERS_MAX: usize = 64;

/// Whom tokens are believed from, and what is made of them.
#[derive(Debug)]
pub struct Issuer {
    /// The `iss` of its tokens.
    pub url: String,
    /// Where its discovery document is.
    pub discovery: String,
    /// PEM of whom its HTTPS is believed by; the machine's own authorities where `None`.
    pub authorities: Option<Vec<u8>>,
    /// A token is meant for one of these.
    pub audiences: Vec<String>,
    /// What its claims have to be.
    pub rules: Vec<Rule>,
    /// How they become a user.
    pub mappings: ClaimMappings,
    /// What the user has to be.
    pub user_rules: Vec<UserRule>,
    /// Its keys, as far as they are known.
    pub keys: Arc<Keys>,
}

impl Issuer {
    /// Its keys are got from the same place, by the same authorities.
    fn has_keys_of(&self, other: &Self) -> bool {
        (&self.url, &self.discovery, &self.authorities) == (&other.url, &other.discovery, &other.authorities)
    }
}

/// Who may come without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Anonymous {
    /// Nobody.
    Never,
    /// Everybody, to be judged by the authorizer.
    #[default]
    Always,
    /// Who asks for one of these paths.
    Paths(Vec<String>),
}

impl Anonymous {
    /// Whether a request of a path may come without credentials.
    pub fn allows(&self, path: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Paths(paths) => paths.iter().any(|own| own == path),
        }
    }
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Issuers, each by another URL.
    pub issuers: Vec<Arc<Issuer>>,
    /// Who may come without credentials.
    pub anonymous: Anonymous,
}

impl Configuration {
    /// Reads a configuration; `own_issuer` makes this server's own tokens and cannot be configured. Issuers that are the
    /// same as `before` keep their keys.
    ///
    /// # Errors
    /// What is wrong, with the field that has it.
    pub fn parse(text: &str, own_issuer: &str, before: Option<&Self>) -> Result<Self, String> {
        let file: File =
            serde_yaml::from_str(text).map_err(|error| format!("no AuthenticationConfiguration: {error}"))?;
        let versions = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
        if file.kind != "AuthenticationConfiguration" || !versions.contains(&file.api_version.as_str()) {
            return Err(format!("kind has to be AuthenticationConfiguration and apiVersion {}", versions[0]));
        }
        if file.jwt.len() > ISSUERS_MAX {
            return Err(format!("jwt: Too many: {}: must have at most {ISSUERS_MAX} items", file.jwt.len()));
        }
        let anonymous = file.anonymous.map(AnonymousFile::read).transpose()?.unwrap_or_default();
        let (mut urls, mut discoveries, mut issuers) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (index, jwt) in file.jwt.into_iter().enumerate() {
            let at = |why: String| format!("jwt[{index}].{why}");
            let given_discovery = jwt.issuer.discovery_url.clone();
            let mut issuer = jwt.read(own_issuer).map_err(at)?;
            let is_same = |known: &&Arc<Issuer>| known.has_keys_of(&issuer);
            if let Some(known) = before.and_then(|before| before.issuers.iter().find(is_same)) {
                issuer.keys = known.keys.clone();
            }
            if !urls.insert(issuer.url.clone()) {
                return Err(at(format!("issuer.url: Duplicate value: {:?}", issuer.url)));
            }
            if !given_discovery.is_empty() && !discoveries.insert(given_discovery.clone()) {
                return Err(at(format!("issuer.discoveryURL: Duplicate value: {given_discovery:?}")));
            }
            issuers.push(Arc::new(issuer));
        }
        Ok(Self { issuers, anonymous })
    }
}

impl AnonymousFile {
    fn read(self) -> Result<Anonymous, String> {
        match (self.enabled, self.conditions.is_empty()) {
            (false, false) => {
                Err("anonymous.conditions: enabled should be set to true when conditions are defined".to_string())
            }
            (false, true) => Ok(Anonymous::Never),
            (true, true) => Ok(Anonymous::Always),
            (true, false) => Ok(Anonymous::Paths(self.conditions.into_iter().map(|one| one.path).collect())),
        }
    }
}

impl Jwt {
    fn read(self, own_issuer: &str) -> Result<Issuer, String> {
        self.issuer.check(own_issuer)?;
        let mappings = self.claim_mappings.read()?;
        let rules = rules(&self.claim_validation_rules)?;
        let texts = self.claim_validation_rules.iter().map(|rule| rule.expression.as_str());
        let texts: Vec<&str> =
            texts.chain(self.claim_mappings.extra.iter().map(|extra| extra.value_expression.as_str())).collect();
        check_email(&self.claim_mappings.username.expression, &texts)?;
        let user_rules = user_rules(&self.user_validation_rules)?;
        let IssuerFile { url, discovery_url, certificate_authority, audiences, .. } = self.issuer;
        let discovery = match discovery_url.as_str() {
            "" => format!("{}/.well-known/openid-configuration", url.trim_end_matches('/')),
            _ => discovery_url,
        };
        let authorities = (!certificate_authority.is_empty()).then(|| certificate_authority.into_bytes());
        Ok(Issuer { url, discovery, authorities, audiences, rules, mappings, user_rules, keys: Arc::default() })
    }
}

impl IssuerFile {
    fn check(&self, own_issuer: &str) -> Result<(), String> {
        if self.url.is_empty() {
            return Err("issuer.url: Required value".to_string());
        }
        if self.url == own_issuer {
            return Err(format!("issuer.url: {own_issuer:?} makes the tokens of this cluster's service accounts"));
        }
        check_url(&self.url).map_err(|why| format!("issuer.url: Invalid value: {:?}: {why}", self.url))?;
        if !self.discovery_url.is_empty() {
            let invalid = |why: &str| format!("issuer.discoveryURL: Invalid value: {:?}: {why}", self.discovery_url);
            if self.discovery_url.trim_end_matches('/') == self.url.trim_end_matches('/') {
                return Err(invalid("discoveryURL must be different from URL"));
            }
            check_url(&self.discovery_url).map_err(|why| invalid(&why))?;
        }
        let unique: BTreeSet<&String> = self.audiences.iter().collect();
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err("issuer.audiences: Required value: at least one issuer.audiences is required".to_string());
        }
        if unique.len() != self.audiences.len() {
            return Err("issuer.audiences: Duplicate value".to_string());
        }
        match (self.audiences.len(), self.audience_match_policy.as_str()) {
            (1, "") | (_, "MatchAny") => {}
            (1, _) => return Err("issuer.audienceMatchPolicy must be empty or MatchAny for single audience".into()),
            _ => return Err("issuer.audienceMatchPolicy must be MatchAny for multiple audiences".to_string()),
        }
        if !self.egress_selector_type.is_empty() {
            return Err("issuer.egressSelectorType: this server has no egress selectors; leave it out".to_string());
        }
        let mut certificates = CertificateDer::pem_slice_iter(self.certificate_authority.as_bytes());
        let is_sound = self.certificate_authority.is_empty() || matches!(certificates.next(), Some(Ok(_)));
        if is_sound { Ok(()) } else { Err("issuer.certificateAuthority: it holds no certificate".to_string()) }
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let refusal = if url.scheme() != "https" {
        "URL scheme must be https"
    } else if !url.username().is_empty() || url.password().is_some() {
        "URL must not contain a username or password"
    } else if url.query().is_some() {
        "URL must not contain a query"
    } else if url.fragment().is_some() {
        "URL must not contain a fragment"
    } else {
        return Ok(());
    };
    Err(refusal.to_string())
}

impl MappingsFile {
    fn read(&self) -> Result<ClaimMappings, String> {
        let within = |why: String| format!("claimMappings.{why}");
        let username = self.username.read("username").map_err(within)?;
        let username = username.ok_or("claimMappings.username: Required value: claim or expression is required")?;
        let uid = match (self.uid.claim.as_str(), self.uid.expression.as_str()) {
            ("", "") => None,
            (claim, "") => Some(Mapping::Claim { claim: claim.to_string(), prefix: String::new() }),
            ("", expression) => {
                let program = Mapping::expression(expression);
                Some(program.map_err(|why| format!("claimMappings.uid.expression: {why}"))?)
            }
            _ => return Err("claimMappings.uid: claim and expression can't both be set".to_string()),
        };
        let mut extra: Vec<(String, Mapping)> = Vec::new();
        for (index, one) in self.extra.iter().enumerate() {
            let at = |why: String| format!("claimMappings.extra[{index}].{why}");
            check_key(&one.key).map_err(|why| at(format!("key: Invalid value: {:?}: {why}", one.key)))?;
            if extra.iter().any(|(key, _)| *key == one.key) {
                return Err(at(format!("key: Duplicate value: {:?}", one.key)));
            }
            let mapping = Mapping::expression(&one.value_expression);
            extra.push((one.key.clone(), mapping.map_err(|why| at(format!("valueExpression: {why}")))?));
        }
        Ok(ClaimMappings { username, groups: self.groups.read("groups").map_err(within)?, uid, extra })
    }
}

/// A key of a user's extra belongs to a domain, and not to one of Kubernetes'.
fn check_key(key: &str) -> Result<(), &'static str> {
    let (domain, path) = key.split_once('/').unwrap_or_default();
    if path.is_empty() || !machinery::names::dns1123_subdomain(domain).is_empty() {
        return Err("must be a domain-prefixed path (such as \"acme.io/foo\")");
    }
    if key.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("must be lowercase");
    }
    let is_theirs = |own: &str| domain == own || domain.ends_with(&format!(".{own}"));
    if is_theirs("kubernetes.io") || is_theirs("k8s.io") {
        return Err("k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
    }
    Ok(())
}

impl MappingFile {
    fn read(&self, field: &str) -> Result<Option<Mapping>, String> {
        match (self.claim.as_str(), self.expression.as_str(), &self.prefix) {
            ("", "", None) => Ok(None),
            ("", "", Some(_)) => Err(format!("{field}.prefix: may only be specified with a claim")),
            ("", expression, None) => match Mapping::expression(expression) {
                Ok(mapping) => Ok(Some(mapping)),
                Err(why) => Err(format!("{field}.expression: {why}")),
            },
            ("", _, Some(_)) => Err(format!("{field}.prefix: may not be specified when expression is set")),
            (claim, "", Some(prefix)) => Ok(Some(Mapping::Claim { claim: claim.to_string(), prefix: prefix.clone() })),
            (_, "", None) => Err(format!(
                "{field}.prefix: Required value: prefix is required when claim is set. It can be set to an empty string \
                 to disable prefixing"
            )),
            _ => Err(format!("{field}: claim and expression can't both be set")),
        }
    }
}

fn rules(files: &[ClaimRuleFile]) -> Result<Vec<Rule>, String> {
    let mut seen = BTreeSet::new();
    let mut rules = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let at = |why: String| format!("claimValidationRules[{index}]{why}");
        rules.push(match (file.claim.as_str(), file.expression.as_str()) {
            ("", "") => return Err(at(": Required value: claim or expression is required".to_string())),
            (claim, "") if !file.message.is_empty() => {
                return Err(at(format!(".message: may not be specified when claim {claim:?} is set")));
            }
            (claim, "") => Rule::Claim { claim: claim.to_string(), required: file.required_value.clone() },
            ("", _) if !file.required_value.is_empty() => {
                return Err(at(".requiredValue: may not be specified when expression is set".to_string()));
            }
            ("", expression) => {
                Rule::expression(expression, &file.message).map_err(|why| at(format!(".expression: {why}")))?
            }
            _ => return Err(at(": claim and expression can't both be set".to_string())),
        });
        if !seen.insert((&file.claim, &file.expression)) {
            return Err(at(": Duplicate value".to_string()));
        }
    }
    Ok(rules)
}

fn user_rules(files: &[UserRuleFile]) -> Result<Vec<UserRule>, String> {
    let mut seen = BTreeSet::new();
    let mut rules = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let at = |why: String| format!("userValidationRules[{index}].expression: {why}");
        if !seen.insert(&file.expression) {
            return Err(at("Duplicate value".to_string()));
        }
        rules.push(UserRule::new(&file.expression, &file.message).map_err(at)?);
    }
    Ok(rules)
}

/// Whoever names users by their mail address has to look whether it is theirs.
fn check_email(username: &str, others: &[&str]) -> Result<(), String> {
    let uses = |text: &str, claim: &str| {
        let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        [format!("claims.{claim}"), format!("claims.?{claim}")].iter().any(|term| {
            dense.match_indices(term.as_str()).any(|(at, _)| {
                let next = dense[at + term.len()..].chars().next();
                !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
            })
        })
    };
    let is_verified = || std::iter::once(&username).chain(others).any(|text| uses(text, "email_verified"));
    if uses(username, "email") && !is_verified() {
        return Err("claimMappings.username.expression: claims.email_verified must be used in \
                    claimMappings.username.expression or claimMappings.extra[*].valueExpression or \
                    claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"
            .to_string());
    }
    Ok(())
}

/// The configuration in use.
pub type Current = Reread<Configuration>;

/// Reads a file, and again when it changes.
///
/// # Errors
/// A file that cannot be read or used.
pub fn load(path: &Path, own_issuer: &str) -> Result<Current, Error> {
    let own_issuer = own_issuer.to_string();
    Reread::load(path, move |reading| {
        let value = Configuration::parse(reading.text, &own_issuer, reading.before)?;
        Ok(Said { value, named: Vec::new() })
    })
}

#[cfg(test)]
mod tests;
