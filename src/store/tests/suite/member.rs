//! A member of etcd for a test: Debian's, on loopback, with its data in a temporary folder.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use store::etcd::{Etcd, Options, Tls};
use tempfile::TempDir;

/// How long a member has until it answers.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A member; ends with the value.
pub struct Member {
    folder: TempDir,
    name: String,
    client_port: u16,
    peer_port: u16,
    /// `NAME=URL` of every member.
    cluster: String,
    tls: bool,
    process: Option<Child>,
}

impl Member {
    /// Starts a member; with TLS, it takes only clients whose certificate its authority has signed.
    pub fn start(tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if tls {
            write_certificates(folder.path());
        }
        let mut member = Self::new("one".to_string(), folder, tls);
        member.cluster = member.peer();
        member.run();
        member
    }

    /// Starts the members of one cluster.
    pub fn start_cluster(count: usize) -> Vec<Self> {
        let folder = || tempfile::tempdir().expect("a temporary folder");
        let mut members: Vec<Self> = (0..count).map(|at| Self::new(format!("m{at}"), folder(), false)).collect();
        let cluster = members.iter().map(Self::peer).collect::<Vec<_>>().join(",");
        for member in &mut members {
            member.cluster.clone_from(&cluster);
            member.run();
        }
        members
    }

    fn new(name: String, folder: TempDir, tls: bool) -> Self {
        let (client_port, peer_port) = (free_port(), free_port());
        Self { folder, name, client_port, peer_port, cluster: String::new(), tls, process: None }
    }

    fn peer(&self) -> String {
        format!("{}=http://127.0.0.1:{}", self.name, self.peer_port)
    }

    /// Starts the process again with the data it had.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "runs already");
        let client = self.url();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        // Ends with the test, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "etcd", "--name", &self.name, "--log-level", "error", "--logger", "zap"]);
        command.arg("--data-dir").arg(self.folder.path().join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &self.cluster]);
        // On loopback nobody need wait long for others.
        command.args(["--heartbeat-interval", "20", "--election-timeout", "200"]);
        if self.tls {
            for (flag, file) in [("--cert-file", "server.crt"), ("--key-file", "server.key")] {
                command.arg(flag).arg(self.folder.path().join(file));
            }
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(self.folder.path().join("ca.crt"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("etcd starts; it comes with the package etcd-server");
        self.process = Some(process);
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("SIGKILL");
            process.wait().expect("is gone");
        }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.client_port)
    }

    /// The port on loopback where clients find it.
    pub fn port(&self) -> u16 {
        self.client_port
    }

    /// How a store finds it.
    pub fn options(&self) -> Options {
        let file = |name: &str| self.folder.path().join(name);
        let tls =
            self.tls.then(|| Tls { ca: file("ca.crt"), certificate: file("client.crt"), key: file("client.key") });
        Options::new(vec![self.url()], tls)
    }

    /// A store on it; waits until the member answers.
    pub async fn open(&self, options: Options) -> std::sync::Arc<Etcd> {
        let began = std::time::Instant::now();
        loop {
            match Etcd::open(options.clone()).await {
                Ok(store) => return store,
                Err(error) if began.elapsed() > START_WITHIN => panic!("{}", stdx::error::chain(&error)),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn write_certificates(folder: &Path) {
    let now = Timestamp::now();
    let mut random = rand::rng();
    let issued = pki::Authority::generate("etcd-ca", now, &mut random).expect("an authority");
    let authority =
        pki::Authority::from_pem("etcd-ca", &issued.certificate_pem, &issued.key_pem).expect("an authority");
    std::fs::write(folder.join("ca.crt"), &issued.certificate_pem).expect("written");
    for (name, usage) in [("server", pki::Usage::ClientAndServer), ("client", pki::Usage::Client)] {
        let profile = pki::Profile {
            common_name: name.to_string(),
            organizations: vec![],
            sans: vec![pki::San::Ip(Ipv4Addr::LOCALHOST.into())],
            usage,
            lifetime: pki::LEAF_LIFETIME,
        };
        let issued = authority.issue(&profile, now, &mut random).expect("a certificate");
        std::fs::write(folder.join(format!("{name}.crt")), &issued.certificate_pem).expect("written");
        std::fs::write(folder.join(format!("{name}.key")), &issued.key_pem).expect("written");
    }
}
