//! The operator's files about access to the API, looked at before they go to a control plane: one that its server
//! cannot use would keep it from starting.

use std::collections::BTreeMap;

use apiserver::policy::check::{File, check};
use inventory::Cluster;
use provision::secrets::{GitFiles, access_files};

/// Passes where the server can use every file that the inventory names.
///
/// # Errors
/// What is wrong with the first that it cannot use, where it stands and what to do.
pub fn check_files(cluster: &Cluster, files: &GitFiles) -> Result<(), String> {
    let kinds = BTreeMap::from([
        ("auditPolicyFile", File::AuditPolicy),
        ("authenticationConfigFile", File::Authentication),
        ("tokenWebhookConfigFile", File::TokenWebhook),
        ("authorizationConfigFile", File::Authorization),
    ]);
    for (key, on_server, path) in access_files(&cluster.security) {
        let (Some(kind), Some(content)) = (kinds.get(key), files.0.get(&on_server)) else { continue };
        let checked = std::str::from_utf8(content).map_err(|_| "it is not text".to_owned());
        let checked = checked.and_then(|text| check(*kind, text, &cluster.network.cluster_domain));
        checked.map_err(|why| {
            let key = key.trim_end_matches("File");
            format!(
                "spec.security.{key} of the inventory: {}: {why}; put the file right: the API server would not start \
                 with it, and nothing was changed",
                path.display()
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn a_file_that_the_server_cannot_use_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let inventory = "spec:\n  hosts: [{address: 192.0.2.10}]\n  security: {auditPolicy: policy.yaml, \
                         authorizationConfig: authz.yaml}\n";
        write("inventory.yaml", inventory);
        write("policy.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n");
        let check = async |path: &Path| {
            let cluster = inventory::load(path).unwrap();
            let files = GitFiles::read(None, &cluster.security).await.unwrap();
            check_files(&cluster, &files)
        };
        let path = folder.path().join("inventory.yaml");
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n";
        write("authz.yaml", &format!("{head}- {{type: Node, name: n}}\n- {{type: RBAC, name: r}}\n"));
        assert_eq!(check(&path).await, Ok(()));
        write("authz.yaml", &format!("{head}- {{type: Node, name: n}}\n"));
        let refused = check(&path).await.unwrap_err();
        assert!(refused.starts_with("spec.security.authorizationConfig of the inventory: "), "{refused}");
        assert!(refused.contains("authz.yaml: authorizers: type RBAC is missing"), "{refused}");
    }
}
