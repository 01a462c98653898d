//! The operator's files about access to the API, looked at before they go to a control plane: one that its server
//! cannot use would keep it from starting.

use std::collections::BTreeMap;

use apiserver::policy::check::{File, check};
use inventory::Cluster;
use provision::secrets::{AUTHORIZATION_KUBECONFIGS, ENCRYPTION_FILE, GitFiles, access_files};

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
        let key = key.trim_end_matches("File");
        check_file(cluster, key, &path.display().to_string(), *kind, content)?;
    }
    // They were read where the configuration names them, in its order.
    for (at, on_server) in AUTHORIZATION_KUBECONFIGS.iter().enumerate() {
        if let Some(content) = files.0.get(*on_server) {
            let which = format!("the kubeconfig of its webhook {}", at + 1);
            check_file(cluster, "authorizationConfig", &which, File::AuthorizationWebhook, content)?;
        }
    }
    if let (Some(path), Some(content)) = (&cluster.security.encryption_config, files.0.get(ENCRYPTION_FILE)) {
        check_file(cluster, "encryptionConfig", &path.display().to_string(), File::Encryption, content)?;
    }
    Ok(())
}

fn check_file(cluster: &Cluster, key: &str, which: &str, kind: File, content: &[u8]) -> Result<(), String> {
    let checked = std::str::from_utf8(content).map_err(|_| "it is not text".to_owned());
    checked.and_then(|text| check(kind, text, &cluster.network.cluster_domain)).map_err(|why| {
        format!(
            "spec.security.{key} of the inventory: {which}: {why}; put the file right: the API server would not start \
             with it, and nothing was changed"
        )
    })
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
        let webhook = "- type: Webhook\n  name: w\n  webhook: {timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: \
                       Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: hook.kubeconfig}}\n";
        write("authz.yaml", &format!("{head}- {{type: RBAC, name: r}}\n{webhook}"));
        write("hook.kubeconfig", "a: [");
        let refused = check(&path).await.unwrap_err();
        assert!(
            refused.contains("authorizationConfig of the inventory: the kubeconfig of its webhook 1: "),
            "{refused}"
        );
        let hook = "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\nclusters: [{name: k, cluster: \
                    {server: 'https://hook.example.com'}}]\n";
        write("hook.kubeconfig", hook);
        assert_eq!(check(&path).await, Ok(()));
        write("inventory.yaml", "spec:\n  hosts: [{address: 192.0.2.10}]\n  security: {encryptionConfig: keys.yaml}\n");
        write("keys.yaml", "apiVersion: apiserver.config.k8s.io/v1\nkind: Nothing\nresources: []\n");
        let refused = check(&path).await.unwrap_err();
        assert!(refused.starts_with("spec.security.encryptionConfig of the inventory: "), "{refused}");
    }
}
