//! A real containerd of this test's own: in a folder, with a process and a mount namespace that end together with it, so
//! that nothing outlives the test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use testkit::images::{archive, busybox, web};

/// What sandboxes are made from: the agent's own image holds this test's binary here, which is none to hold them open.
const SANDBOX: &str = "rkctl.local/sandbox:1";
/// How an image that comes late is called.
pub const LATE: &str = "rkctl.local/late:1";

/// Started by [`Containerd::start`], ended when dropped.
pub struct Containerd {
    process: Child,
    folder: PathBuf,
    /// `unix:///path`.
    pub endpoint: String,
}

/// Runs a program to its end.
fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}: install it, and run as root"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, text).expect("writing a script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// A network plugin that gives each sandbox a link to this machine and an address. Nothing leads further.
fn network(folder: &Path) {
    let (plugins, configuration) = (folder.join("cni/bin"), folder.join("cni/net.d"));
    std::fs::create_dir_all(&plugins).expect("a folder");
    std::fs::create_dir_all(&configuration).expect("a folder");
    let net = std::process::id() % 250;
    let prefix = format!("10.253.{net}");
    let next = folder.join("cni/next");
    std::fs::write(&next, "2").expect("writing a file");
    let next = next.display();
    script(
        &plugins.join("testnet"),
        &format!(
            "#!/bin/sh\nset -e\nfound='\"cniVersion\":\"0.4.0\"'\n[ \"$CNI_COMMAND\" = ADD ] || {{ echo \
             \"{{$found,\\\"supportedVersions\\\":[\\\"0.4.0\\\"]}}\"; exit 0; }}\n\
             exec 9<{next}\nflock 9\nn=$(cat {next})\necho $((n + 1)) >{next}\nexec 9<&-\n\
             link=rt{net}x$n\nip link add \"$link\" type veth peer name eth0 netns \"$CNI_NETNS\"\n\
             ip addr add {prefix}.1/32 dev \"$link\"\nip link set \"$link\" up\n\
             nsenter --net=\"$CNI_NETNS\" sh -c \"ip addr add {prefix}.$n/24 dev eth0 && ip link set eth0 up\"\n\
             ip route add {prefix}.$n/32 dev \"$link\"\n\
             echo \"{{$found,\\\"interfaces\\\":[{{\\\"name\\\":\\\"eth0\\\",\\\"sandbox\\\":\\\"$CNI_NETNS\\\"}}],\
             \\\"ips\\\":[{{\\\"version\\\":\\\"4\\\",\\\"interface\\\":0,\\\"address\\\":\\\"{prefix}.$n/24\\\"}}]}}\"\n"
        ),
    );
    script(
        &plugins.join("loopback"),
        "#!/bin/sh\n[ \"$CNI_COMMAND\" != ADD ] || nsenter --net=\"$CNI_NETNS\" ip link set lo up\n\
         echo '{\"cniVersion\":\"0.3.1\",\"supportedVersions\":[\"0.3.1\"],\"ips\":[]}'\n",
    );
    let list = r#"{"cniVersion":"0.4.0","name":"test","plugins":[{"type":"testnet"}]}"#;
    std::fs::write(configuration.join("10-test.conflist"), list).expect("writing a file");
}

impl Containerd {
    /// Starts it in `folder` with the images of the tests and one for sandboxes.
    pub fn start(folder: &Path) -> Self {
        let here = folder.display().to_string();
        // What the agent mounts in the folder is to be seen in containerd's namespace.
        run("mount", &["--bind", &here, &here]);
        run("mount", &["--make-rshared", &here]);
        network(folder);
        let config = format!(
            "version = 2\nroot = \"{here}/root\"\nstate = \"{here}/state\"\n[grpc]\naddress = \"{here}/c.sock\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{}\"\nrestrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"{here}/cni/bin\"\nconf_dir = \"{here}/cni/net.d\"\n",
            SANDBOX
        );
        std::fs::write(folder.join("containerd.toml"), config).expect("writing a file");
        let log = std::fs::File::create(folder.join("containerd.log")).expect("a log");
        let process = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--propagation", "slave", "sh", "-c"])
            .arg(format!("mount -t tmpfs tmpfs /run && exec containerd --config {here}/containerd.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unshare of util-linux, as root");
        let made = Self { process, folder: folder.to_path_buf(), endpoint: format!("unix://{here}/c.sock") };
        testkit::eventually(crate::PATIENCE, "containerd listens", || folder.join("c.sock").exists());
        let sandbox = busybox().renamed(SANDBOX).command(&["/bin/sleep", "86400"]);
        made.import(&[busybox(), web(1), sandbox]);
        made
    }

    /// Brings images.
    pub fn import(&self, images: &[testkit::images::Image]) {
        let file = self.folder.join("images.tar");
        std::fs::write(&file, archive(images)).expect("writing a file");
        let socket = self.folder.join("c.sock").display().to_string();
        run(
            "ctr",
            &["--address", &socket, "--namespace", cri::NAMESPACE, "images", "import", &file.display().to_string()],
        );
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // The first process of the namespace ends with `unshare`, and everything in the namespace with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("umount").args(["--recursive", "--lazy"]).arg(&self.folder).status();
    }
}
