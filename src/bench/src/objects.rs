//! The objects that loads are made of, and the requests about them as bytes.

use std::io::Write as _;

use crate::drive::Requests;

/// Beside names and labels an object has this much in it.
pub const DATA_BYTES: usize = 1024;

/// What is done with ConfigMaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// A new one for each request.
    Create,
    Get,
    /// The whole object, without a version.
    Update,
    /// One key changes.
    Merge,
    /// Likewise.
    Strategic,
    /// Server-side apply of the whole object.
    Apply,
}

impl Verb {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::Update => "update",
            Self::Merge => "merge patch",
            Self::Strategic => "strategic merge patch",
            Self::Apply => "server-side apply",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Create => "POST",
            Self::Get => "GET",
            Self::Update => "PUT",
            Self::Merge | Self::Strategic | Self::Apply => "PATCH",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Create | Self::Get | Self::Update => "application/json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// Requests of one verb for ConfigMaps of a namespace. Each worker has objects of its own: who changes one never waits
/// for another.
#[derive(Debug, Clone)]
pub struct ConfigMaps {
    /// The server, for the header.
    pub host: String,
    /// Where.
    pub namespace: String,
    /// What.
    pub verb: Verb,
    /// Creates begin with this number; everything else goes round the objects below it.
    pub kept: u64,
}

impl ConfigMaps {
    fn name(&self, worker: usize, sequence: u64) -> String {
        let number = match self.verb {
            Verb::Create => self.kept + sequence,
            _ => sequence % self.kept.max(1),
        };
        format!("bench-{worker:03}-{number:07}")
    }

    fn body(&self, name: &str, sequence: u64) -> String {
        // What changes has one length; the rest is the same in every request.
        let fresh = format!("{sequence:010}");
        let filling = "x".repeat(DATA_BYTES - fresh.len());
        match self.verb {
            Verb::Get => String::new(),
            Verb::Merge | Verb::Strategic => format!("{{\"data\":{{\"fresh\":\"{fresh}\"}}}}"),
            Verb::Create | Verb::Update | Verb::Apply => format!(
                "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"{name}\",\
                 \"labels\":{{\"app\":\"bench\"}}}},\"data\":{{\"filling\":\"{filling}\",\"fresh\":\"{fresh}\"}}}}"
            ),
        }
    }
}

impl Requests for ConfigMaps {
    fn write(&self, worker: usize, sequence: u64, out: &mut Vec<u8>) {
        let name = self.name(worker, sequence);
        let body = self.body(&name, sequence);
        let collection = format!("/api/v1/namespaces/{}/configmaps", self.namespace);
        let path = match self.verb {
            Verb::Create => collection,
            Verb::Apply => format!("{collection}/{name}?fieldManager=bench&force=true"),
            _ => format!("{collection}/{name}"),
        };
        let (method, media_type) = (self.verb.method(), self.verb.media_type());
        write_request(out, method, &path, &self.host, media_type, body.as_bytes());
    }
}

/// One path, over and over.
#[derive(Debug, Clone)]
pub struct Same(pub Vec<u8>);

impl Same {
    /// A GET of `path` that accepts `accept`.
    pub fn get(host: &str, path: &str, accept: &str) -> Self {
        let mut out = Vec::new();
        // Writing to memory cannot fail.
        let _ = write!(out, "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: {accept}\r\n\r\n");
        Self(out)
    }
}

impl Requests for Same {
    fn write(&self, _worker: usize, _sequence: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// Appends a request with a body; without one where it is empty.
pub fn write_request(out: &mut Vec<u8>, method: &str, path: &str, host: &str, media_type: &str, body: &[u8]) {
    // Writing to memory cannot fail.
    let _ =
        write!(out, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: application/json\r\n");
    if !body.is_empty() {
        let _ = write!(out, "Content-Type: {media_type}\r\nContent-Length: {}\r\n", body.len());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: Verb, sequence: u64) -> String {
        let requests = ConfigMaps { host: "h:1".into(), namespace: "default".into(), verb, kept: 3 };
        let mut out = Vec::new();
        requests.write(7, sequence, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_changed_is_what_was_made_before() {
        assert!(request(Verb::Create, 4).contains("\"name\":\"bench-007-0000007\""));
        let get = request(Verb::Get, 4);
        assert!(get.starts_with("GET /api/v1/namespaces/default/configmaps/bench-007-0000001 HTTP/1.1\r\n"), "{get}");
        assert!(get.ends_with("Accept: application/json\r\n\r\n"), "{get}");
        // Bodies differ from one time to the next: otherwise nothing would be written.
        assert_ne!(request(Verb::Update, 1), request(Verb::Update, 4));
    }

    #[test]
    fn bodies_are_objects_of_the_size_that_is_told() {
        for verb in [Verb::Create, Verb::Update, Verb::Apply] {
            let request = request(verb, 1);
            let body = request.split("\r\n\r\n").nth(1).unwrap();
            let object: serde_json::Value = serde_json::from_str(body).unwrap();
            let data = object["data"].as_object().unwrap();
            let size: usize = data.values().map(|value| value.as_str().unwrap().len()).sum();
            assert_eq!(size, DATA_BYTES);
            assert!(request.contains(&format!("Content-Length: {}\r\n", body.len())));
        }
    }
}
