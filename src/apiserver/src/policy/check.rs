//! Looks at the operator's files about access before a server has them, by the readers of the server: it would not
//! start with one that it cannot use.

use crate::audit::policy::Policy;
use crate::authn::configuration::Configuration;
use crate::authz;
use crate::encryption;
use crate::webhook::kubeconfig::Remote;

/// Which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// An `audit.k8s.io/v1` Policy.
    AuditPolicy,
    /// An `apiserver.config.k8s.io/v1` AuthenticationConfiguration.
    Authentication,
    /// A kubeconfig whose cluster knows tokens.
    TokenWebhook,
    /// An `apiserver.config.k8s.io/v1` AuthorizationConfiguration.
    Authorization,
    /// A kubeconfig whose cluster authorizes requests.
    AuthorizationWebhook,
    /// An `apiserver.config.k8s.io/v1` EncryptionConfiguration.
    Encryption,
}

/// Passes where a server of a cluster with this DNS domain can use the file. What the file names is on the server's
/// host and is not looked at.
///
/// # Errors
/// What is wrong, with the field that has it.
pub fn check(file: File, text: &str, cluster_domain: &str) -> Result<(), String> {
    match file {
        File::AuditPolicy => Policy::parse(text).map(|_| ()),
        File::Authentication => Configuration::parse(text, &super::issuer(cluster_domain), None).map(|_| ()),
        File::TokenWebhook | File::AuthorizationWebhook => Remote::check(text),
        File::Authorization => authz::configuration::check(text),
        File::Encryption => encryption::parse(text).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\n";

    #[test]
    fn files_are_read_as_the_server_reads_them() {
        let refusal = |file, text: &str| check(file, text, "cluster.local").err();
        let rules = "- {type: Node, name: node}\n- {type: RBAC, name: rbac}\n";
        let webhook = "- type: Webhook\n  name: w\n  webhook: {timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: \
                       Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: FILE}}\n";
        let authorizers = |file: &str| {
            format!("{HEAD}kind: AuthorizationConfiguration\nauthorizers:\n{rules}{}", webhook.replace("FILE", file))
        };
        assert_eq!(refusal(File::Authorization, &authorizers("/etc/rkctl/on-the-host.kubeconfig")), None);
        assert_eq!(refusal(File::Authentication, &format!("{HEAD}kind: AuthenticationConfiguration\n")), None);
        let own = "jwt: [{issuer: {url: 'https://kubernetes.default.svc.cluster.local', audiences: [a]}, claimMappings: \
                   {username: {claim: sub, prefix: ''}}}]\n";
        for (file, text, why) in [
            (File::Authorization, authorizers("beside.kubeconfig"), "absolute path"),
            (File::Authorization, format!("{HEAD}kind: AuthorizationConfiguration\n"), "authorizers: Required value"),
            (File::Authentication, format!("{HEAD}kind: AuthenticationConfiguration\n{own}"), "jwt[0].issuer.url"),
            (File::AuditPolicy, "apiVersion: audit.k8s.io/v1\nkind: Policy\n".to_string(), "no rules"),
            (File::TokenWebhook, "a: [".to_string(), "no kubeconfig"),
            (File::AuthorizationWebhook, "a: [".to_string(), "no kubeconfig"),
            (
                File::Encryption,
                format!(
                    "{HEAD}kind: EncryptionConfiguration\nresources: [{{resources: [secrets], providers: [{{kms: {{}}}}]}}]\n"
                ),
                "kms is not supported",
            ),
        ] {
            let refusal = refusal(file, &text).unwrap_or_else(|| panic!("{file:?} {text}"));
            assert!(refusal.contains(why), "{refusal}");
        }
    }
}
