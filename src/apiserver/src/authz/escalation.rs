//! Nobody grants what they do not have: checked when roles and bindings are written.

use async_trait::async_trait;
use machinery::gvk::GroupResource;
use serde_json::Value;

use super::index::{GROUP, Roles, read_rules};
use super::rule::{Rule, uncovered};
use crate::follow::Followed;
use crate::live::{Live, text};
use crate::plugin::{Admission, Admit, Authorizer, Decision, Operation};
use crate::request::{Attributes, User};
use crate::status::{Result, Status};
use std::sync::Arc;

/// A longer list of what somebody lacks is cut.
const REFUSAL_CHARS_MAX: usize = 16 << 10;

/// Refuses roles and bindings that would give more than the user has.
pub struct Escalation {
    /// What users have.
    pub roles: Followed<Roles>,
    /// Who may `escalate` and `bind` all the same.
    pub authorizer: Arc<dyn Authorizer>,
    /// For roles younger than the index.
    pub live: Live,
}

#[async_trait]
impl Admission for Escalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(object) = object.filter(|_| request.group_version.group == GROUP && request.subresource.is_empty())
        else {
            return Ok(());
        };
        if request.old.is_some_and(|old| is_for_collector(object, old)) {
            return Ok(());
        }
        match request.resource {
            "roles" | "clusterroles" => self.role(request, object).await,
            "rolebindings" | "clusterrolebindings" => self.binding(request, object).await,
            _ => Ok(()),
        }
    }
}

/// Nothing is changed but what the garbage collector needs to change: owners and finalizers. Labels count, since roles
/// are gathered by them.
pub(crate) fn is_for_collector(object: &Value, old: &Value) -> bool {
    let rest = |object: &Value| {
        let mut rest = object.clone();
        if let Some(metadata) = rest.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion", "selfLink"] {
                metadata.remove(field);
            }
        }
        rest
    };
    rest(object) == rest(old)
}

/// The role has the rules of others, whichever they are.
fn gathers(role: &Value) -> bool {
    role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

impl Escalation {
    async fn may(&self, request: &Admit<'_>, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let attributes = Attributes {
            verb: verb.to_string(),
            namespace: namespace.to_string(),
            group: GROUP.to_string(),
            version: "v1".to_string(),
            resource: resource.to_string(),
            name: name.to_string(),
            is_resource: true,
            ..Attributes::default()
        };
        matches!(self.authorizer.authorize(request.user, &attributes).await, Decision::Allow(_))
    }

    async fn role(&self, request: &Admit<'_>, object: &Value) -> Result<()> {
        let name = text(object, "/metadata/name");
        if self.may(request, "escalate", request.resource, request.namespace, name).await {
            return Ok(());
        }
        let mut wanted = read_rules(object);
        if gathers(object) || request.old.is_some_and(gathers) {
            // What a selector will gather cannot be known: it is worth everything.
            let all = || vec!["*".to_string()];
            wanted.push(Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() });
            wanted.push(Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() });
        }
        self.check(request, name, &wanted)
    }

    async fn binding(&self, request: &Admit<'_>, object: &Value) -> Result<()> {
        let name = text(object, "/metadata/name");
        let role = text(object, "/roleRef/name");
        let (resource, role_namespace) = match text(object, "/roleRef/kind") {
            "Role" => ("roles", request.namespace),
            _ => ("clusterroles", ""),
        };
        if self.may(request, "bind", resource, request.namespace, role).await {
            return Ok(());
        }
        let kept = self.live.get(GROUP, resource, role_namespace, role).await?;
        let named = GroupResource { group: GROUP.to_string(), resource: resource.to_string() };
        let wanted = kept.as_ref().map(read_rules).ok_or_else(|| Status::not_found(&named, role))?;
        self.check(request, name, &wanted)
    }

    fn check(&self, request: &Admit<'_>, name: &str, wanted: &[Rule]) -> Result<()> {
        let owned = self.roles.read().rules_of(request.user, request.namespace);
        let lacking = uncovered(&owned, wanted);
        if lacking.is_empty() {
            return Ok(());
        }
        let resource = GroupResource { group: GROUP.to_string(), resource: request.resource.to_string() };
        Err(Status::forbidden(&resource, name, refusal(request.user, &lacking)))
    }
}

fn refusal(user: &User, lacking: &[Rule]) -> String {
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    let mut text = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:",
        user.name,
        groups.join(" ")
    );
    for (told, rule) in lacking.iter().enumerate() {
        let line = rule.to_string();
        if text.len() + line.len() > REFUSAL_CHARS_MAX {
            text.push_str(&format!("\nand {} more", lacking.len() - told));
            break;
        }
        text.push('\n');
        text.push_str(&line);
    }
    text
}
