//! Which resources a cluster serves, and where: for those who work on any kind.

use std::collections::HashMap;

use kube::api::ApiResource;
use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// A resource in one version, as discovery tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerResource {
    /// Empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// `get`, `list`, `watch`, `delete`, …
    pub verbs: Vec<String>,
}

impl ServerResource {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether every verb of `verbs` is served.
    pub fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|served| served == verb))
    }

    /// The path that lists it in all namespaces: `/apis/apps/v1/deployments`.
    pub fn list_path(&self) -> String {
        self.path(None, None)
    }

    /// The path of a namespace's objects, or of one object; the namespace is not used for cluster-scoped resources.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace.filter(|namespace| self.namespaced && !namespace.is_empty()) {
            path.push_str(&format!("/namespaces/{namespace}"));
        }
        path.push_str(&format!("/{}", self.plural));
        if let Some(name) = name {
            path.push_str(&format!("/{name}"));
        }
        path
    }

    /// As kube-rs' dynamic API wants it.
    pub fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// What a discovery found, and which groups did not answer: absence from `resources` means nothing for those.
#[derive(Debug, Clone, Default)]
pub struct Discovered {
    /// Every resource, each in every version that is served; a group's preferred version comes first.
    pub resources: Vec<ServerResource>,
    /// Groups and versions that failed, such as an aggregated API whose server is down.
    pub failed: Vec<String>,
}

impl Discovered {
    /// The resources in one version each, the preferred one that serves it.
    pub fn preferred(&self) -> Vec<ServerResource> {
        let mut seen = std::collections::HashSet::new();
        self.resources.iter().filter(|r| seen.insert((r.group.clone(), r.plural.clone()))).cloned().collect()
    }

    /// The resources by apiVersion and kind.
    pub fn by_kind(&self) -> HashMap<(String, String), ServerResource> {
        self.resources.iter().map(|r| ((r.api_version(), r.kind.clone()), r.clone())).collect()
    }
}

/// Aggregated discovery (KEP-3352), or the plain one of servers that have no other.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// Asks the server what it serves, in two requests that nobody else has a part in: of an aggregated API whose server is
/// lost they say so at once, where a request to it would wait. A group that fails does not hide the others.
///
/// # Errors
/// Where the lists of groups themselves cannot be read.
pub async fn discover(client: &kube::Client) -> Result<Discovered, Error> {
    let mut found = Discovered::default();
    for path in ["/api", "/apis"] {
        let request = http::Request::get(path).header(http::header::ACCEPT, AGGREGATED).body(Vec::new());
        let request =
            request.map_err(|error| Error::request(format!("discover {path}"))(kube::Error::HttpError(error)))?;
        let answer: Value = client.request(request).await.map_err(Error::request(format!("discover {path}")))?;
        if answer["kind"] != "APIGroupDiscoveryList" {
            return one_by_one(client).await;
        }
        let groups = serde_json::from_value(answer).map_err(kube::Error::SerdeError);
        found.add_groups(groups.map_err(Error::request(format!("discover {path}")))?);
    }
    Ok(found)
}

/// An APIGroupDiscoveryList.
#[derive(Debug, Deserialize)]
struct GroupList {
    items: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    metadata: Named,
    /// The preferred one first. Each is read by itself: what a server behind an APIService says wrong hides no other.
    #[serde(default)]
    versions: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Named {
    /// Missing of the core group.
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
    /// `Stale` where the server behind it does not answer.
    #[serde(default)]
    freshness: String,
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    response_kind: Option<Kind>,
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: String,
}

/// Asks for each group and version by itself.
async fn one_by_one(client: &kube::Client) -> Result<Discovered, Error> {
    let mut found = Discovered::default();
    let core = client.list_core_api_versions().await.map_err(Error::request("discover the core versions"))?;
    for version in core.versions {
        match client.list_core_api_resources(&version).await {
            Ok(list) => found.add("", &version, list.resources),
            Err(_) => found.failed.push(version),
        }
    }
    let groups = client.list_api_groups().await.map_err(Error::request("discover the groups"))?;
    for group in groups.groups {
        let mut versions = group.versions;
        let preferred = group.preferred_version.map(|preferred| preferred.version);
        // False sorts first.
        versions.sort_by_key(|version| Some(&version.version) != preferred.as_ref());
        for version in versions {
            match client.list_api_group_resources(&version.group_version).await {
                Ok(list) => found.add(&group.name, &version.version, list.resources),
                Err(_) => found.failed.push(version.group_version),
            }
        }
    }
    Ok(found)
}

/// Asks what one group serves in one version, and nobody else: a group whose server is down holds up no other.
///
/// # Errors
/// Where the list cannot be read, 404 where there is no such group or version.
pub async fn resources_of(client: &kube::Client, api_version: &str) -> Result<Vec<ServerResource>, Error> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let list = match group {
        "" => client.list_core_api_resources(version).await,
        _ => client.list_api_group_resources(api_version).await,
    };
    let list = list.map_err(Error::request(format!("discover {api_version}")))?;
    let mut found = Discovered::default();
    found.add(group, version, list.resources);
    Ok(found.resources)
}

impl Discovered {
    fn add_groups(&mut self, list: GroupList) {
        for Group { metadata: Named { name: group }, versions } in list.items {
            for version in versions {
                let name = version["version"].as_str().unwrap_or_default();
                let failed = if group.is_empty() { name.to_string() } else { format!("{group}/{name}") };
                let Ok(Version { version, freshness, resources }) = serde_json::from_value(version) else {
                    self.failed.push(failed);
                    continue;
                };
                if freshness == "Stale" {
                    self.failed.push(failed);
                    continue;
                }
                self.resources.extend(resources.into_iter().map(|served| ServerResource {
                    group: group.clone(),
                    version: version.clone(),
                    kind: served.response_kind.map(|kind| kind.kind).unwrap_or_default(),
                    plural: served.resource,
                    namespaced: served.scope == "Namespaced",
                    verbs: served.verbs,
                }));
            }
        }
    }

    fn add(
        &mut self,
        group: &str,
        version: &str,
        resources: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource>,
    ) {
        let main = resources.into_iter().filter(|resource| !resource.name.contains('/'));
        self.resources.extend(main.map(|resource| ServerResource {
            group: resource.group.filter(|group| !group.is_empty()).unwrap_or_else(|| group.to_string()),
            version: resource.version.filter(|v| !v.is_empty()).unwrap_or_else(|| version.to_string()),
            kind: resource.kind,
            plural: resource.name,
            namespaced: resource.namespaced,
            verbs: resource.verbs,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, version: &str, plural: &str, namespaced: bool) -> ServerResource {
        ServerResource {
            group: group.into(),
            version: version.into(),
            kind: "X".into(),
            plural: plural.into(),
            namespaced,
            verbs: vec!["get".into()],
        }
    }

    #[test]
    fn paths_follow_group_and_scope() {
        let pods = resource("", "v1", "pods", true);
        assert_eq!(pods.list_path(), "/api/v1/pods");
        assert_eq!(pods.path(Some("a"), Some("b")), "/api/v1/namespaces/a/pods/b");
        let roles = resource("rbac.authorization.k8s.io", "v1", "clusterroles", false);
        assert_eq!(roles.path(Some("a"), Some("b")), "/apis/rbac.authorization.k8s.io/v1/clusterroles/b");
    }

    #[test]
    fn a_lost_server_is_a_failed_group_and_hides_no_other() {
        let list = serde_json::json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"creationTimestamp": null}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                {"resource": "pods", "responseKind": {"group": "", "version": "v1", "kind": "Pod"}, "scope": "Namespaced",
                 "singularResource": "pod", "verbs": ["get"], "subresources": [{"subresource": "log", "verbs": ["get"]}]}]}]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Stale", "resources": [
                {"resource": "nodes", "responseKind": null, "scope": "Cluster", "singularResource": "", "verbs": ["get"]}]}]},
            {"metadata": {"name": "odd.io"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                {"resource": "odds", "responseKind": null, "scope": "Cluster", "verbs": "get"}]}]},
        ]});
        let mut found = Discovered::default();
        found.add_groups(serde_json::from_value(list).unwrap());
        let pods = ServerResource { kind: "Pod".into(), ..resource("", "v1", "pods", true) };
        assert_eq!(
            (found.resources, found.failed),
            (vec![pods], ["metrics.k8s.io/v1beta1", "odd.io/v1"].map(str::to_string).to_vec())
        );
    }

    #[test]
    fn the_first_version_that_serves_a_resource_is_preferred() {
        let found = Discovered {
            resources: vec![
                resource("autoscaling", "v2", "hpas", true),
                resource("autoscaling", "v1", "hpas", true),
                resource("autoscaling", "v1", "old", true),
            ],
            failed: vec![],
        };
        let versions: Vec<_> = found.preferred().into_iter().map(|r| (r.plural, r.version)).collect();
        assert_eq!(versions, [("hpas".into(), "v2".into()), ("old".to_string(), "v1".to_string())]);
    }
}
