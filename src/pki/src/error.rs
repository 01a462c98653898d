//! What can go wrong with keys and certificates. No variant ever holds key material.

/// Why something could not be issued, read or planned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that should be a certificate is not.
    #[error("{what} is not a readable certificate: {detail}")]
    Certificate {
        /// File or role.
        what: String,
        /// What the parser said.
        detail: String,
    },
    /// Text that should be a private key is not.
    #[error("{what} is not a readable private key")]
    Key {
        /// File or role.
        what: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate signing request is damaged or not signed by its own key.
    #[error("the certificate signing request is not valid: {detail}")]
    Request {
        /// What is wrong with it.
        detail: String,
    },
    /// A name cannot stand in a certificate.
    #[error("`{name}` cannot stand in a certificate")]
    Name {
        /// The name.
        name: String,
    },
    /// A pod asks for a type of key that there is not.
    #[error("no pod has keys of type `{key_type}`: take one of {}", crate::KEY_TYPES.join(", "))]
    KeyType {
        /// The type.
        key_type: String,
    },
    /// Key generation or signing failed.
    #[error("while {doing}")]
    Crypto {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
    /// One half of an authority is there and the other is not; making a new one would break every certificate of it.
    #[error("{present} is there but {missing} is missing: restore it, or remove both to begin with new keys")]
    Half {
        /// The file that is there.
        present: &'static str,
        /// The file that is not.
        missing: &'static str,
    },
    /// A step needs an authority that is not there.
    #[error("{what} is needed and not there")]
    Missing {
        /// The file.
        what: &'static str,
    },
}
