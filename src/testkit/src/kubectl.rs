//! Running a real kubectl against a cluster, and saying what it said when it fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::tools::{self, KubectlVersion};

/// A kubectl that hangs is ended after this long; `wait` and `rollout status` have their own, shorter bounds.
const TIMEOUT_S: u32 = 120;

/// Arguments: words in one text (split at white space), or words as they are.
pub trait Args {
    /// The words.
    fn words(&self) -> Vec<String>;
}

impl Args for str {
    fn words(&self) -> Vec<String> {
        self.split_whitespace().map(str::to_owned).collect()
    }
}

impl Args for String {
    fn words(&self) -> Vec<String> {
        self.as_str().words()
    }
}

impl Args for [&str] {
    fn words(&self) -> Vec<String> {
        self.iter().map(|word| (*word).to_owned()).collect()
    }
}

impl<const N: usize> Args for [&str; N] {
    fn words(&self) -> Vec<String> {
        self.as_slice().words()
    }
}

/// What one run of kubectl left behind.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line, for messages.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output of a run that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{}", self.report());
        self.stdout
    }

    /// Standard error of a run that must have failed.
    #[track_caller]
    pub fn err(self) -> String {
        assert!(!self.status.success(), "it should have failed\n{}", self.report());
        self.stderr
    }

    /// Everything about the run, for a person.
    pub fn report(&self) -> String {
        let timed_out = if self.status.code() == Some(124) { " (timed out)" } else { "" };
        format!("$ {}\n{}{}{}{timed_out}", self.line, self.stdout, self.stderr, self.status)
    }
}

/// A kubectl with a kubeconfig. Its caches are its own, so that one test's cluster is not another's.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Option<String>,
    cache: Arc<tempfile::TempDir>,
}

impl Kubectl {
    /// The newer kubectl.
    ///
    /// # Panics
    /// Where it is missing.
    pub fn new(kubeconfig: impl AsRef<Path>) -> Self {
        Self::version(KubectlVersion::V1_32, kubeconfig)
    }

    /// A certain kubectl.
    ///
    /// # Panics
    /// Where it is missing.
    pub fn version(version: KubectlVersion, kubeconfig: impl AsRef<Path>) -> Self {
        Self {
            program: tools::kubectl(version),
            kubeconfig: kubeconfig.as_ref().to_owned(),
            namespace: None,
            cache: Arc::new(tempfile::tempdir().expect("a temporary folder")),
        }
    }

    /// The same with `--namespace`.
    pub fn namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// The command, for tests that talk with it while it runs. `timeout` is around it.
    pub fn command(&self, args: &(impl Args + ?Sized)) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &TIMEOUT_S.to_string()]).arg(&self.program);
        command.arg("--cache-dir").arg(self.cache.path());
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(args.words());
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.cache.path()).env_remove("KUBECTL_EXTERNAL_DIFF");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end, whatever that is.
    ///
    /// # Panics
    /// Where kubectl cannot be started.
    #[track_caller]
    pub fn run(&self, args: &(impl Args + ?Sized)) -> Ran {
        self.run_with(args, None)
    }

    #[track_caller]
    fn run_with(&self, args: &(impl Args + ?Sized), input: Option<&str>) -> Ran {
        let mut command = self.command(args);
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().expect("kubectl starts");
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // It may end without reading; what it says then is what counts.
            let _unread = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().expect("kubectl is waited for");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            line: format!("kubectl {}", args.words().join(" ")),
            status: output.status,
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs, and answers standard output.
    ///
    /// # Panics
    /// Where it fails, with the whole conversation.
    #[track_caller]
    pub fn ok(&self, args: &(impl Args + ?Sized)) -> String {
        self.run(args).ok()
    }

    /// Runs, and answers standard error of the failure.
    ///
    /// # Panics
    /// Where it succeeds.
    #[track_caller]
    pub fn err(&self, args: &(impl Args + ?Sized)) -> String {
        self.run(args).err()
    }

    /// Runs with `input` on standard input.
    #[track_caller]
    pub fn with_input(&self, args: &(impl Args + ?Sized), input: &str) -> Ran {
        self.run_with(args, Some(input))
    }

    /// Applies a manifest.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.run_with("apply -f -", Some(manifest)).ok()
    }

    /// Runs with `-o json` and reads the answer.
    ///
    /// # Panics
    /// Where it fails or answers no JSON.
    #[track_caller]
    pub fn json(&self, args: &(impl Args + ?Sized)) -> Value {
        let mut words = args.words();
        words.extend(["-o".to_owned(), "json".to_owned()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = self.ok(words.as_slice());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl answered no JSON ({error}): {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_run_and_failures_say_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let port = crate::free_port();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{{name: x, context: {{cluster: x, user: x}}}}]\n\
             clusters: [{{name: x, cluster: {{server: 'https://127.0.0.1:{port}'}}}}]\nusers: [{{name: x, user: {{token: t}}}}]\n"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        for (version, minor) in [(KubectlVersion::V1_20, "20"), (KubectlVersion::V1_32, "32")] {
            let kubectl = Kubectl::version(version, &kubeconfig);
            let said = kubectl.json("version --client");
            assert_eq!(said["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+'), minor);
            let refused = kubectl.err("get nodes");
            assert!(refused.contains("refused"), "{refused}");
            assert!(kubectl.run(&["get", "nodes"]).report().starts_with("$ kubectl get nodes\n"));
        }
    }
}
