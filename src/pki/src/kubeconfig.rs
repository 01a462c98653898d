//! The text of a kubeconfig.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One cluster, one user, one context.
#[derive(Clone)]
pub struct Kubeconfig {
    /// Names cluster and context.
    pub cluster: String,
    /// Names the user, as `USER@CLUSTER` in lists.
    pub user: String,
    /// `https://HOST:PORT`.
    pub server: String,
    /// PEM of the authority that signed the server's certificate.
    pub ca_pem: String,
    /// How the user shows who it is.
    pub auth: UserAuth,
}

/// How a user shows who it is.
#[derive(Clone)]
pub enum UserAuth {
    /// A client certificate; both PEM, embedded.
    Certificate {
        /// The certificate.
        certificate_pem: String,
        /// Its key.
        key_pem: String,
    },
    /// A client certificate in files, which may be renewed while the kubeconfig stays.
    CertificateFile {
        /// Path of the certificate.
        certificate: String,
        /// Path of its key.
        key: String,
    },
    /// A bearer token.
    Token(String),
}

impl Kubeconfig {
    /// The file's text. It holds a secret: the file must be 0600.
    pub fn to_yaml(&self) -> String {
        // A JSON string is a YAML string, whatever it holds.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let user = match &self.auth {
            UserAuth::Certificate { certificate_pem, key_pem } => format!(
                "    client-certificate-data: {}\n    client-key-data: {}\n",
                STANDARD.encode(certificate_pem),
                STANDARD.encode(key_pem)
            ),
            UserAuth::CertificateFile { certificate, key } => {
                format!("    client-certificate: {}\n    client-key: {}\n", quoted(certificate), quoted(key))
            }
            UserAuth::Token(token) => format!("    token: {}\n", quoted(token)),
        };
        let (cluster, name) = (quoted(&self.cluster), quoted(&format!("{}@{}", self.user, self.cluster)));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {cluster}\nclusters:\n- name: {cluster}\n  cluster:\n    \
             server: {server}\n    certificate-authority-data: {ca}\nusers:\n- name: {name}\n  user:\n{user}contexts:\n\
             - name: {cluster}\n  context:\n    cluster: {cluster}\n    user: {name}\n",
            server = quoted(&self.server),
            ca = STANDARD.encode(&self.ca_pem),
        )
    }
}
