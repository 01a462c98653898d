//! `Impersonate-*` headers: a user who may acts as another.

use http::HeaderMap;

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
    let account = user.name.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
    let mut needed = vec![match account {
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

fn add_implied_groups(user: &mut User) {
    let mut add = |group: String| {
        if !user.groups.contains(&group) {
            user.groups.push(group);
        }
    };
    if let Some((namespace, _)) = user.name.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':')) {
        add("system:serviceaccounts".to_string());
        add(format!("system:serviceaccounts:{namespace}"));
    }
    if user.name == "system:anonymous" {
        add("system:unauthenticated".to_string());
    } else {
        add("system:authenticated".to_string());
    }
}
