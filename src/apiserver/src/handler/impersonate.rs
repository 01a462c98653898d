//! `Impersonate-*` headers: a user who may acts as another.

use http::HeaderMap;
use machinery::names;

use crate::plugin::Decision;
use crate::request::{Attributes, User};
use crate::state::State;
use crate::status::{Result, Status};

const EXTRA_PREFIX: &str = "impersonate-extra-";
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The user whom the headers name; the caller where they name nobody.
///
/// # Errors
/// 403 where the caller may not impersonate all of what is named; 400 where groups come without a user.
pub async fn impersonate(state: &State, caller: User, headers: &HeaderMap) -> Result<User> {
    let Some(mut user) = wanted(headers)? else { return Ok(caller) };
    for attributes in needed(&user) {
        let decision = state.plugins.authorizer.authorize(&caller, &attributes).await;
        if !matches!(decision, Decision::Allow(_)) {
            let Attributes { resource, group, name, .. } = attributes;
            let why = format!("User {:?} cannot impersonate resource {resource:?} in API group {group:?}", caller.name);
            let resource = machinery::gvk::GroupResource { group, resource };
            return Err(Status::forbidden(&resource, &name, format!("{why} at the cluster scope")));
        }
    }
    add_implied_groups(&mut user);
    Ok(user)
}

fn wanted(headers: &HeaderMap) -> Result<Option<User>> {
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

/// What the caller must be allowed to impersonate, one check each.
fn needed(user: &User) -> Vec<Attributes> {
    let one = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
        verb: "impersonate".to_string(),
        group: group.to_string(),
        version: "v1".to_string(),
        resource: resource.to_string(),
        subresource: subresource.to_string(),
        namespace: namespace.to_string(),
        name: name.to_string(),
        is_resource: true,
        ..Attributes::default()
    };
    let mut needed = vec![match service_account(&user.name) {
        Some((namespace, name)) => one("", "serviceaccounts", "", namespace, name),
        None => one("", "users", "", "", &user.name),
    }];
    needed.extend(user.groups.iter().map(|group| one("", "groups", "", "", group)));
    if !user.uid.is_empty() {
        needed.push(one("authentication.k8s.io", "uids", "", "", &user.uid));
    }
    for (key, values) in &user.extra {
        needed.extend(values.iter().map(|value| one("authentication.k8s.io", "userextras", key, "", value)));
    }
    needed
}

/// Namespace and name of the service account that is called so; of others the name is a user's.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let is_one = names::dns1123_label(namespace).is_empty() && names::dns1123_subdomain(name).is_empty();
    is_one.then_some((namespace, name))
}

/// The groups that follow from the name: all of a service account's where none are named, and whether it is somebody,
/// unless that is named too.
fn add_implied_groups(user: &mut User) {
    let everybodys = ["system:authenticated", "system:unauthenticated"];
    let is_told = user.groups.iter().any(|group| everybodys.contains(&group.as_str()));
    if let (true, Some((namespace, _))) = (user.groups.is_empty(), service_account(&user.name)) {
        user.groups = vec!["system:serviceaccounts".to_string(), format!("system:serviceaccounts:{namespace}")];
    }
    if !is_told {
        let is_anonymous = user.name == "system:anonymous";
        user.groups.push(everybodys[usize::from(is_anonymous)].to_string());
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
            let first = needed(&user(name, &[])).remove(0);
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
}
