//! `Impersonate-*` headers: a user who may acts as another.

use http::HeaderMap;
use machinery::names;

use super::authorize::refusal;
use crate::audit::Trail;
use crate::authz::MASTERS;
use crate::plugin::{Authorizer, Decision};
use crate::request::{Attributes, RequestInfo, User};
use crate::state::State;
use crate::status::{Result, Status};

const EXTRA_PREFIX: &str = "impersonate-extra-";
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The groups of a node, which follow from its name.
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
/// How a service account's token says on which node its pod runs.
const OWN_NODE: &str = "authentication.kubernetes.io/node-name";
/// What an authorizer is told instead of all that is known of a service account that acts for its own node.
const NODE_KEYS: &str = "authentication.kubernetes.io/associated-node-keys";
const GROUP: &str = "authentication.k8s.io";

/// The user whom the headers name; the caller where they name nobody.
///
/// # Errors
/// 403 where the caller may not impersonate all of what is named; 400 where groups come without a user.
pub async fn impersonate(
    state: &State,
    caller: User,
    info: &RequestInfo,
    headers: &HeaderMap,
    audit: &Trail,
) -> Result<User> {
    let Some(wanted) = wanted(headers)? else { return Ok(caller) };
    let mut refused = None;
    for mode in Mode::ALL.into_iter().filter(|mode| mode.fits(&caller, &wanted)) {
        match mode.check(&*state.plugins.authorizer, &caller, &wanted, info).await {
            Ok(()) => {
                let user = mode.user(wanted);
                audit.impersonate(&user);
                if let Some(mode) = mode.name() {
                    audit.constrain(&format!("impersonate:{mode}"));
                }
                return Ok(user);
            }
            Err(status) => drop(refused.get_or_insert(status)),
        }
    }
    Err(refused.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
}

/// How somebody may act in the name of another (KEP-5284): for certain requests alone, or for all. The first that
/// permits counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A service account, for the node that its pod runs on.
    AssociatedNode,
    /// For any node.
    ArbitraryNode,
    /// For a service account.
    ServiceAccount,
    /// For others.
    UserInfo,
    /// For anybody and every request, by the verb `impersonate`.
    Everything,
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Everything];

    /// As verbs have it; none of the mode that is not constrained.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::AssociatedNode => Some("associated-node"),
            Self::ArbitraryNode => Some("arbitrary-node"),
            Self::ServiceAccount => Some("serviceaccount"),
            Self::UserInfo => Some("user-info"),
            Self::Everything => None,
        }
    }

    /// Whether the mode is for such users at all.
    fn fits(self, caller: &User, wanted: &User) -> bool {
        let is_name_alone = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node(&wanted.name), service_account(&wanted.name));
        match self {
            Self::AssociatedNode => {
                let own = caller.extra.get(OWN_NODE).filter(|own| own.len() == 1).map(|own| own[0].as_str());
                is_name_alone && node.is_some() && own == node && service_account(&caller.name).is_some()
            }
            Self::ArbitraryNode => is_name_alone && node.is_some(),
            Self::ServiceAccount => is_name_alone && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Everything => true,
        }
    }

    async fn check(self, authorizer: &dyn Authorizer, caller: &User, wanted: &User, info: &RequestInfo) -> Result<()> {
        let mut caller = caller.clone();
        if self == Self::AssociatedNode {
            // What is decided must not depend on which node it is: that it is the caller's own was looked at.
            let keys = std::mem::take(&mut caller.extra).into_keys().collect();
            caller.extra.insert(NODE_KEYS.to_string(), keys);
        }
        if let Some(mode) = self.name() {
            let verb = format!("impersonate-on:{mode}:{}", info.verb);
            ask(authorizer, &caller, Attributes { verb, ..info.attributes() }).await?;
        }
        for attributes in self.needed(wanted)? {
            ask(authorizer, &caller, attributes).await?;
        }
        Ok(())
    }

    /// What the caller must be allowed to impersonate, one check each.
    fn needed(self, user: &User) -> Result<Vec<Attributes>> {
        let verb = self.name().map_or_else(|| "impersonate".to_string(), |mode| format!("impersonate:{mode}"));
        // Without constraints users, groups and service accounts are of the core group, as they always were.
        let base = if self == Self::Everything { "" } else { GROUP };
        let one = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
            verb: verb.clone(),
            group: group.to_string(),
            version: "v1".to_string(),
            resource: resource.to_string(),
            subresource: subresource.to_string(),
            namespace: namespace.to_string(),
            name: name.to_string(),
            is_resource: true,
            ..Attributes::default()
        };
        let mut needed = vec![match (self, service_account(&user.name), node(&user.name)) {
            (Self::AssociatedNode, ..) => one(base, "nodes", "", "", "*"),
            (Self::ArbitraryNode, _, Some(node)) => one(base, "nodes", "", "", node),
            (_, Some((namespace, name)), _) => one(base, "serviceaccounts", "", namespace, name),
            _ => one(base, "users", "", "", &user.name),
        }];
        if !user.uid.is_empty() {
            needed.push(one(GROUP, "uids", "", "", &user.uid));
        }
        needed.extend(user.groups.iter().map(|group| one(base, "groups", "", "", group)));
        if self != Self::Everything {
            check_constrained(user, &one(base, "groups", "", "", ""), &one(GROUP, "userextras", "", "", ""))?;
        }
        for (key, values) in &user.extra {
            needed.extend(values.iter().map(|value| one(GROUP, "userextras", key, "", value)));
        }
        Ok(needed)
    }

    fn user(self, mut user: User) -> User {
        if matches!(self, Self::AssociatedNode | Self::ArbitraryNode) {
            user.groups = vec![NODES.to_string()];
        }
        add_implied_groups(&mut user);
        user
    }
}

/// What nobody may be by a constrained mode, whatever roles say.
fn check_constrained(user: &User, groups: &Attributes, extras: &Attributes) -> Result<()> {
    if user.groups.iter().any(String::is_empty) {
        return Err(refusal_of("impersonating the empty string group is not allowed", groups));
    }
    if user.in_group(MASTERS) {
        let named = Attributes { name: MASTERS.to_string(), ..groups.clone() };
        return Err(refusal_of("impersonating the system:masters group is not allowed", &named));
    }
    for (key, values) in &user.extra {
        let (domain, path) = key.split_once('/').unwrap_or_default();
        if path.is_empty() || !names::dns1123_subdomain(domain).is_empty() {
            return Err(refusal_of(&format!("impersonating an invalid key in extra is not allowed: {key:?}"), extras));
        }
        if values.is_empty() || values.iter().any(String::is_empty) {
            return Err(refusal_of("impersonating the empty string value in extra is not allowed", extras));
        }
    }
    Ok(())
}

async fn ask(authorizer: &dyn Authorizer, caller: &User, attributes: Attributes) -> Result<()> {
    match authorizer.authorize(caller, &attributes).await {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(refusal(caller, &attributes.into(), &reason)),
    }
}

fn refusal_of(why: &str, attributes: &Attributes) -> Status {
    let resource =
        machinery::gvk::GroupResource { group: attributes.group.clone(), resource: attributes.resource.clone() };
    Status::forbidden(&resource, &attributes.name, why)
}

/// The user whom the headers name; `None` where they name nobody.
///
/// # Errors
/// 400 where they say something of a user and not who it is.
pub fn wanted(headers: &HeaderMap) -> Result<Option<User>> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut user = User {
        name: headers.get("impersonate-user").map(text).unwrap_or_default(),
        uid: headers.get("impersonate-uid").map(text).unwrap_or_default(),
        groups: headers.get_all("impersonate-group").iter().map(text).collect(),
        extra: Default::default(),
    };
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
            user.extra.entry(key).or_default().push(text(value));
        }
    }
    match (user.name.is_empty(), user == User::default()) {
        (true, true) => Ok(None),
        (true, false) => Err(Status::bad_request("requested impersonation without impersonating a user")),
        (false, _) => Ok(Some(user)),
    }
}

/// Namespace and name of the service account that is called so; of others the name is a user's.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let is_one = names::dns1123_label(namespace).is_empty() && names::dns1123_subdomain(name).is_empty();
    is_one.then_some((namespace, name))
}

/// The node that is called so.
fn node(user: &str) -> Option<&str> {
    let name = user.strip_prefix(NODE_PREFIX)?;
    names::dns1123_subdomain(name).is_empty().then_some(name)
}

/// The groups that follow from the name: all of a service account's where none are named, and whether it is somebody.
fn add_implied_groups(user: &mut User) {
    const SOMEBODY: &str = "system:authenticated";
    const NOBODY: &str = "system:unauthenticated";
    if let (true, Some((namespace, _))) = (user.groups.is_empty(), service_account(&user.name)) {
        user.groups = vec!["system:serviceaccounts".to_string(), format!("system:serviceaccounts:{namespace}")];
    }
    let implied = if user.name == "system:anonymous" { NOBODY } else { SOMEBODY };
    if !user.in_group(implied) && !user.in_group(NOBODY) {
        user.groups.push(implied.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, groups: &[&str]) -> User {
        User { name: name.to_string(), groups: groups.iter().map(ToString::to_string).collect(), ..User::default() }
    }

    #[test]
    fn a_service_account_is_named_by_its_namespace_and_name() {
        for (name, resource, namespace, asked) in [
            ("system:serviceaccount:ns:a", "serviceaccounts", "ns", "a"),
            ("system:serviceaccount:ns:a.b", "serviceaccounts", "ns", "a.b"),
            ("system:serviceaccount:ns:a:b", "users", "", "system:serviceaccount:ns:a:b"),
            ("system:serviceaccount:ns:", "users", "", "system:serviceaccount:ns:"),
            ("system:serviceaccount:ns", "users", "", "system:serviceaccount:ns"),
            ("system:serviceaccount:n.s:a", "users", "", "system:serviceaccount:n.s:a"),
            ("jane", "users", "", "jane"),
        ] {
            let first = Mode::Everything.needed(&user(name, &[])).expect("no refusal").remove(0);
            assert_eq!((&*first.resource, &*first.namespace, &*first.name), (resource, namespace, asked), "{name}");
        }
    }

    #[test]
    fn groups_follow_from_a_name_where_none_are_given() {
        let of = |name: &str, groups: &[&str]| {
            let mut user = user(name, groups);
            add_implied_groups(&mut user);
            user.groups
        };
        let account = "system:serviceaccount:ns:a";
        let own = ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"];
        assert_eq!(of(account, &[]), own);
        assert_eq!(of(account, &["g"]), ["g", "system:authenticated"]);
        assert_eq!(of("system:serviceaccount:ns:a:b", &[]), ["system:authenticated"]);
        assert_eq!(of("jane", &["system:unauthenticated"]), ["system:unauthenticated"]);
        assert_eq!(of("system:anonymous", &[]), ["system:unauthenticated"]);
    }

    /// Allows what stands in a list, as `VERB RESOURCE NAME`.
    struct Listed(Vec<&'static str>);

    #[async_trait::async_trait]
    impl Authorizer for Listed {
        async fn authorize(&self, _user: &User, asked: &Attributes) -> Decision {
            let asked = format!("{} {} {}", asked.verb, asked.resource, asked.name);
            if self.0.contains(&asked.as_str()) { Decision::Allow(asked) } else { Decision::NoOpinion(asked) }
        }
    }

    async fn mode_of(allowed: &[&'static str], caller: &User, wanted: &User) -> Option<Mode> {
        let info = RequestInfo::parse(&http::Method::GET, "/api/v1/pods", &crate::request::Query::default());
        let authorizer = Listed(allowed.to_vec());
        for mode in Mode::ALL.into_iter().filter(|mode| mode.fits(caller, wanted)) {
            if mode.check(&authorizer, caller, wanted, &info).await.is_ok() {
                return Some(mode);
            }
        }
        None
    }

    #[tokio::test]
    async fn a_constrained_mode_asks_for_the_request_and_for_the_user() {
        let (ann, bob) = (user("ann", &[]), user("bob", &[]));
        let (on, who) = ("impersonate-on:user-info:list pods ", "impersonate:user-info users bob");
        assert_eq!(mode_of(&[on, who], &ann, &bob).await, Some(Mode::UserInfo));
        assert_eq!(mode_of(&[on], &ann, &bob).await, None);
        assert_eq!(mode_of(&[who], &ann, &bob).await, None);
        assert_eq!(mode_of(&["impersonate users bob"], &ann, &bob).await, Some(Mode::Everything));
        let masters = user("bob", &["system:masters"]);
        assert_eq!(mode_of(&[on, who, "impersonate:user-info groups system:masters"], &ann, &masters).await, None);
        let account = user("system:serviceaccount:n:a", &[]);
        let (on, who) = ("impersonate-on:serviceaccount:list pods ", "impersonate:serviceaccount serviceaccounts a");
        assert_eq!(mode_of(&[on, who], &ann, &account).await, Some(Mode::ServiceAccount));
        assert_eq!(mode_of(&[on, who], &ann, &user("system:serviceaccount:n:a", &["g"])).await, None);
        let node = user("system:node:w1", &[]);
        let (on, who) = ("impersonate-on:arbitrary-node:list pods ", "impersonate:arbitrary-node nodes w1");
        assert_eq!(mode_of(&[on, who], &ann, &node).await, Some(Mode::ArbitraryNode));
        assert_eq!(Mode::ArbitraryNode.user(node).groups, ["system:nodes", "system:authenticated"]);
    }

    #[tokio::test]
    async fn a_service_account_may_act_for_the_node_of_its_pod() {
        let mut agent = user("system:serviceaccount:n:agent", &[]);
        agent.extra.insert(OWN_NODE.to_string(), vec!["w1".to_string()]);
        let allowed = ["impersonate-on:associated-node:list pods ", "impersonate:associated-node nodes *"];
        assert_eq!(mode_of(&allowed, &agent, &user("system:node:w1", &[])).await, Some(Mode::AssociatedNode));
        assert_eq!(mode_of(&allowed, &agent, &user("system:node:w2", &[])).await, None);
    }
}
