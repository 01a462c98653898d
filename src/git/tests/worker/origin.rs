//! A repository to fetch from, in a temporary folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct Origin {
    folder: tempfile::TempDir,
}

impl Origin {
    pub fn new() -> Self {
        let origin = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(origin.path("")).unwrap();
        origin.git(&["init", "-q", "-b", "main"]);
        origin
    }

    /// Holds the repository, and has room beside it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("origin").join(name)
    }

    pub fn file_url(&self) -> String {
        format!("file://{}", self.path("").display())
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.path(""))
            // Nobody minds the loss of what a test makes; thousands of syncs take their time.
            .args(["-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "core.fsync=none"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git is missing: apt-get install git");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes files, commits everything and answers the commit's id.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (name, text) in files {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Small files in `many/` that [`Origin::commit_many`] makes, beside a large one.
    pub const MANY: usize = 3000;

    /// Commits many files that do not compress well: more than the buffers and windows on the way hold.
    pub fn commit_many(&self) -> String {
        let mut state = 1_u64;
        let mut noise = |length: usize| -> String {
            let digit = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'!' + (state >> 58) as u8)
            };
            (0..length).map(digit).collect()
        };
        let mut files: Vec<(String, String)> =
            (0..Self::MANY).map(|index| (format!("many/{}/{index}", index % 50), noise(500))).collect();
        files.push(("many/large".to_owned(), noise(5 << 20)));
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        self.commit(&files, "Many")
    }

    /// Puts the repository away and makes another one in its place, with a history of `length` commits; answers the
    /// last one's id. What the two have is all different where `name` is.
    pub fn anew(&self, name: &str, length: usize) -> String {
        std::fs::remove_dir_all(self.path("")).unwrap();
        std::fs::create_dir(self.path("")).unwrap();
        self.git(&["init", "-q", "-b", "main"]);
        let words: String = (0..length)
            .map(|index| {
                let text = format!("{name} {index}");
                let data = format!("data {}\n{text}\n", text.len());
                format!(
                    "commit refs/heads/main\ncommitter me <me@example.com> {} +0000\n{data}M 644 inline a\n{data}",
                    1_700_000_000 + index
                )
            })
            .collect();
        let mut import = Command::new("git")
            .arg("-C")
            .arg(self.path(""))
            .args(["fast-import", "--quiet"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        import.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
        assert!(import.wait().unwrap().success());
        self.git(&["rev-parse", "main"])
    }
}
