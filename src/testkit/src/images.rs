//! Container images made on the spot: no registry is asked. An image is one layer with busybox in it; an archive
//! (OCI image layout 1.0 in a tar file) is what `ctr -n k8s.io images import` takes.

mod oci;

use std::path::Path;

pub use oci::{Entry, Image, archive};

/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// Names that lead to busybox in the images: what pods of tests call.
const APPLETS: [&str; 43] = [
    "[", "arping", "awk", "basename", "cat", "chmod", "cp", "cut", "date", "dd", "df", "echo", "env", "false", "find",
    "free", "grep", "head", "hostname", "httpd", "id", "ip", "kill", "ls", "mkdir", "mount", "mv", "nc", "nslookup",
    "ping", "ps", "rm", "sed", "seq", "sh", "sleep", "stat", "tail", "tar", "test", "timeout", "true", "wget",
];

/// Answers every request for `/` with `HOSTNAME VERSION CLIENT`; an IPv4 client is named as such.
const PAGE: &str = r#"#!/bin/sh
client=${REMOTE_ADDR#[}
client=${client%]}
printf 'Content-Type: text/plain\r\n\r\n%s %s %s\n' "$(hostname)" "$(cat /version)" "${client#::ffff:}"
"#;

/// Serves until it is told to end; a first process that ignores SIGTERM would take its whole grace period.
const SERVE: &str = "trap 'kill $!; exit 0' TERM INT\nhttpd -f -p \"${PORT:-8080}\" -h /www &\nwait $!\n";

/// `rkctl.local/busybox:1`: a shell and the usual tools; runs `sh`.
///
/// # Panics
/// Where Debian's busybox-static is not installed.
pub fn busybox() -> Image {
    let busybox =
        std::fs::read(BUSYBOX).unwrap_or_else(|error| panic!("{BUSYBOX}: {error}: apt-get install busybox-static"));
    let mut image = Image::new("rkctl.local/busybox:1").file("/bin/busybox", busybox, 0o755);
    for applet in APPLETS {
        image = image.link(&format!("/bin/{applet}"), "busybox");
    }
    image
        .folder("/tmp", 0o1777)
        .folder("/root", 0o700)
        .folder("/etc", 0o755)
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", 0o644)
        .file("/etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
        .env("PATH", "/bin")
        .command(&["/bin/sh"])
}

/// `rkctl.local/web:VERSION`: HTTP on port 8080 (or `$PORT`). `/` answers `HOSTNAME VERSION CLIENT` in a line,
/// `/healthz` answers `ok`.
///
/// # Panics
/// Where Debian's busybox-static is not installed.
pub fn web(version: u32) -> Image {
    busybox()
        .renamed(&format!("rkctl.local/web:{version}"))
        .file("/version", format!("v{version}"), 0o644)
        .file("/www/cgi-bin/index.cgi", PAGE, 0o755)
        .file("/www/healthz", "ok\n", 0o644)
        .file("/bin/serve", format!("#!/bin/sh\n{SERVE}"), 0o755)
        .command(&["/bin/serve"])
}

/// `rkctl.local/tls:1`: busybox, and this machine's openssl with the libraries it needs.
///
/// # Panics
/// Where busybox-static or openssl is not installed.
pub fn tls() -> Image {
    const OPENSSL: &str = "/usr/bin/openssl";
    let read =
        |path: &str| std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}: apt-get install openssl"));
    let listed = std::process::Command::new("ldd").arg(OPENSSL).output().expect("ldd of libc-bin");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    // `NAME => PATH (ADDRESS)`, and the loader as its path alone.
    let libraries = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let mut image = busybox().renamed("rkctl.local/tls:1").file("/bin/openssl", read(OPENSSL), 0o755);
    for library in libraries {
        image = image.file(library, read(library), 0o755);
    }
    ["base64", "tr", "xxd"].iter().fold(image, |image, applet| image.link(&format!("/bin/{applet}"), "busybox"))
}

/// `busybox:1`, `web:1` and `web:2` as one archive.
///
/// # Panics
/// Where busybox-static is not installed.
pub fn all() -> Vec<u8> {
    archive(&[busybox(), web(1), web(2)])
}

/// Writes what [`all`] makes.
///
/// # Panics
/// Where busybox-static is not installed or the file cannot be written.
pub fn write_all(path: &Path) {
    std::fs::write(path, all()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
