//! A lab of two hosts, from nothing to nothing: SSH, containers, networks, faults, and what is left behind.
//!
//! Needs root and the tools that `lab::check_prerequisites` names; the first run builds the base.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lab::{HostState, Lab, Options, Outcome, Role};
use ssh::{Auth, ClientConfig, HostKeyPolicy, KeyFile, Remote, Session, Target, Upload};

/// Its number in linux/capability.h.
const CAP_SYS_TIME: u32 = 25;

/// Downs the lab whatever happens to the test.
struct Guard(Lab);

impl Drop for Guard {
    fn drop(&mut self) {
        let lab = self.0.clone();
        let down = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(lab.down())
        });
        if let Ok(Err(error)) = down.join() {
            eprintln!("lab was not removed: {}", stdx::error::chain(&error));
        }
    }
}

fn target(lab: &Lab, host: &str) -> Target {
    let status = lab.status().unwrap();
    let host = status.hosts.iter().find(|h| h.name == host).unwrap();
    let mut target = Target::new(host.address.to_string(), "root");
    target.name = host.name.clone();
    target.auth = vec![Auth::Key(KeyFile::new(&status.key_path))];
    target.host_key = HostKeyPolicy::Strict(vec![status.known_hosts_path]);
    target.timeouts.connect = Duration::from_secs(3);
    target
}

async fn session(lab: &Lab, host: &str) -> Session {
    ssh::connect(&target(lab, host)).await.unwrap()
}

async fn run(session: &Session, script: &str) -> String {
    session.run(script.into()).await.unwrap().text().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_from_nothing_to_nothing() {
    let name = format!("t{}", std::process::id());
    let lab = Lab::named(&name).unwrap();
    let guard = Guard(lab.clone());
    let exported = tempfile::tempdir().unwrap();
    let options = Options {
        hosts: vec!["cp1".into(), "w1".into()],
        export: Some(exported.path().join("lab")),
        ..Options::default()
    };
    let begin = Instant::now();
    let report = lab.up(&options, &|event| println!("{event}")).await.unwrap();
    println!("up: {:?}", begin.elapsed());
    assert!(report.hosts.iter().all(|host| host.outcome == Outcome::Created), "{report:?}");
    assert_eq!(report.lab.hosts.iter().map(|host| host.role).collect::<Vec<_>>(), [Role::Controller, Role::Worker]);
    assert!(lab::list().unwrap().contains(&report.lab));

    again_changes_nothing(&lab).await;
    what_is_written_leads_to_the_hosts(&lab, &options.export.clone().unwrap()).await;
    hosts_are_whole(&lab).await;
    sudo_becomes_root(&lab).await;
    cut_and_heal(&lab).await;
    reboot(&lab).await;
    kill_and_start_again(&lab).await;

    let before = lab.traces().unwrap();
    for kind in ["process", "mount", "link", "folder"] {
        assert!(before.iter().any(|trace| trace.starts_with(kind)), "{kind} is among {before:?}");
    }
    let bridge = lab.status().unwrap().bridge;
    assert!(lab.down().await.unwrap());
    assert_eq!(lab.traces().unwrap(), Vec::<String>::new());
    assert!(!PathBuf::from("/sys/class/net").join(bridge).exists());
    assert!(!exported.path().join("lab").exists());
    assert!(!lab.down().await.unwrap(), "there is nothing left to remove");
    drop(guard);
}

/// Labs of the same host names share nothing: neither networks, nor faults, nor their end.
#[tokio::test(flavor = "multi_thread")]
async fn two_labs_side_by_side() {
    let [one, two] = ["a", "b"].map(|suffix| Lab::named(&format!("two-{}-{suffix}", std::process::id())).unwrap());
    let guards = [Guard(one.clone()), Guard(two.clone())];
    let options = Options { hosts: vec!["cp1".into()], ..Options::default() };
    let quiet = |_: lab::Event| {};
    // At once, so that both look for the first network that is free.
    let (first, second) = tokio::join!(one.up(&options, &quiet), two.up(&options, &quiet));
    let (first, second) = (first.unwrap().lab, second.unwrap().lab);
    assert_ne!((&first.network, &first.bridge), (&second.network, &second.bridge));
    assert_ne!(first.hosts[0].address, second.hosts[0].address);
    let listed = lab::list().unwrap();
    assert!(listed.contains(&first) && listed.contains(&second), "{listed:?}");
    for lab in [&one, &two] {
        let session = session(lab, "cp1").await;
        run(&session, &format!("echo {} >/root/whose", lab.name())).await;
    }
    // Each lab's key lets into its own hosts alone.
    let mut stranger = target(&two, "cp1");
    stranger.auth = vec![Auth::Key(KeyFile::new(&first.key_path))];
    assert!(ssh::connect(&stranger).await.is_err(), "the other lab's key");

    one.cut("cp1").await.unwrap();
    assert_eq!(run(&session(&two, "cp1").await, "cat /root/whose").await.trim(), two.name());
    assert!(one.down().await.unwrap());
    assert_eq!(one.traces().unwrap(), Vec::<String>::new());
    assert_eq!(two.up(&Options::default(), &quiet).await.unwrap().hosts[0].outcome, Outcome::Unchanged);
    assert_eq!(run(&session(&two, "cp1").await, "cat /root/whose").await.trim(), two.name());
    assert!(two.down().await.unwrap());
    assert_eq!(two.traces().unwrap(), Vec::<String>::new());
    drop(guards);
}

async fn again_changes_nothing(lab: &Lab) {
    let report = lab.up(&Options::default(), &|event| panic!("{event}")).await.unwrap();
    assert!(report.hosts.iter().all(|host| host.outcome == Outcome::Unchanged), "{report:?}");
    assert_eq!(report.hosts.len(), 2);
}

/// The inventory is one that rkctl reads, and ssh_config one that a client goes in with.
async fn what_is_written_leads_to_the_hosts(lab: &Lab, exported: &std::path::Path) {
    for folder in [lab.status().unwrap().folder.as_path(), exported] {
        let cluster = inventory::load(folder.join("inventory.yaml")).unwrap();
        assert_eq!(cluster.hosts.len(), 2);
        let config = ClientConfig::load_file(&folder.join("ssh_config"), folder).unwrap();
        let session = ssh::connect(&config.target("w1").unwrap()).await.unwrap();
        assert_eq!(run(&session, "hostname").await, "w1");
    }
    let words = lab.ssh_command("cp1", &["hostname".into()]).unwrap();
    let output = tokio::process::Command::new(&words[0]).args(&words[1..]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "cp1", "{output:?}");
}

/// systemd is content, containers run with groups of the host's own, VXLAN and nftables work.
async fn hosts_are_whole(lab: &Lab) {
    let session = session(lab, "w1").await;
    assert_eq!(run(&session, "systemctl is-system-running --wait").await, "running");
    assert_eq!(run(&session, "systemctl is-enabled containerd || true").await, "disabled");
    let config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\n";
    session.upload(Upload::bytes(config, "/etc/containerd/config.toml", 0o644)).await.unwrap();
    let container = run(
        &session,
        "set -e; systemctl start containerd; mkdir -p /root/c/bin; cp /bin/busybox /root/c/bin/sh
         ctr run --rm --rootfs /root/c trial /bin/sh -c 'echo from a container; cat /proc/self/cgroup'",
    )
    .await;
    assert!(container.starts_with("from a container\n"), "{container}");
    assert!(container.contains(":pids:/default/trial") || container.contains("0::/default/trial"), "{container}");
    let network = run(
        &session,
        "set -e; ip link add vx type vxlan id 4096 dstport 8472 dev host0 nolearning; ip link set vx up
         nft add table inet trial; nft list tables; sysctl -qw net.ipv4.ip_forward=1; stat -fc %T /var/lib/containerd
         ip link delete vx; nft delete table inet trial",
    )
    .await;
    assert_eq!(network, "table inet trial\next2/ext3");
    // Read and not tried: the clock is this machine's.
    let capabilities = run(&session, "sed -n 's/^CapBnd:[[:space:]]*//p' /proc/1/status").await;
    let capabilities = u64::from_str_radix(&capabilities, 16).unwrap();
    assert_eq!(capabilities & (1 << CAP_SYS_TIME), 0, "a host cannot set this machine's clock");
    let pinged =
        run(&session, &format!("ping -c 1 -W 2 -q {} >/dev/null; echo $?", lab.host("cp1").unwrap().address)).await;
    assert_eq!(pinged, "0");
}

async fn sudo_becomes_root(lab: &Lab) {
    let root = session(lab, "w1").await;
    run(
        &root,
        "set -e; for user in free asked never; do useradd -m -s /bin/bash $user; mkdir -p /home/$user/.ssh
           cp /root/.ssh/authorized_keys /home/$user/.ssh/; chown -R $user: /home/$user/.ssh; done
         echo 'asked:open sesame' | chpasswd
         printf 'free ALL=(ALL) NOPASSWD: ALL\\nasked ALL=(ALL) ALL\\n' >/etc/sudoers.d/trial; chmod 440 /etc/sudoers.d/trial",
    )
    .await;
    let password = |text: &str| ssh::Become { password: Some(ssh::Secret::new(text)) };
    let connect = async |user: &str, how: ssh::Become| {
        let mut target = target(lab, "w1");
        target.user = user.to_owned();
        ssh::connect(&target).await.unwrap().becoming_root(how)
    };
    for (user, how) in
        [("free", ssh::Become::default()), ("free", password("unused")), ("asked", password("open sesame"))]
    {
        let session = connect(user, how).await;
        let output = session.exec(ssh::Command::new("id -un; cat").stdin("input")).await.unwrap();
        assert_eq!((output.text().as_ref(), output.error_text().as_ref()), ("root\ninput", ""), "{user}");
        assert_eq!(session.exec(ssh::Command::new("id -un").as_login_user()).await.unwrap().text(), user);
        session.upload(Upload::bytes(user.to_owned(), "/root/written", 0o600)).await.unwrap();
        assert_eq!(run(&root, "stat -c '%U %a' /root/written; cat /root/written").await, format!("root 600\n{user}"));
    }
    for (user, how, reason) in [
        ("asked", ssh::Become::default(), "it wants a password"),
        ("asked", password("wrong"), "the password is wrong"),
        ("never", ssh::Become::default(), "it wants a password"),
    ] {
        let error = connect(user, how).await.exec("true").await.unwrap_err().to_string();
        assert!(error.contains(reason), "{user}: {error}");
    }
}

async fn cut_and_heal(lab: &Lab) {
    let cp1 = session(lab, "cp1").await;
    let reach = format!("ping -c 1 -W 1 -q {} >/dev/null; echo $?", lab.host("w1").unwrap().address);
    let mut watched = target(lab, "w1");
    watched.timeouts.keepalive = Duration::from_secs(1);
    let watched = ssh::connect(&watched).await.unwrap();
    let long = tokio::spawn({
        let watched = watched.clone();
        async move { watched.exec("sleep 60").await }
    });
    lab.cut("w1").await.unwrap();
    assert_eq!(lab.host("w1").unwrap().state, HostState::Cut);
    let lost = tokio::time::timeout(Duration::from_secs(10), long).await.expect("a lost host is noticed").unwrap();
    let lost = lost.unwrap_err();
    assert!(lost.is_unreachable(), "{lost:?}");
    let again = watched.exec("true").await.unwrap_err();
    assert!(again.is_unreachable() && watched.is_closed(), "{again:?}");
    assert_eq!(run(&cp1, &reach).await, "1");
    assert!(ssh::connect(&target(lab, "w1")).await.unwrap_err().is_unreachable());
    let inside = lab.exec("w1", &["ip", "-brief", "address", "show", "host0"]).await.unwrap();
    assert!(inside.contains("UP") && inside.contains("10.88."), "it keeps link and address: {inside}");
    lab.heal("w1").await.unwrap();
    assert_eq!(run(&cp1, &reach).await, "0");
}

async fn reboot(lab: &Lab) {
    let before = session(lab, "w1").await;
    run(&before, "echo kept >/root/kept; touch /run/gone; ip link add vx type vxlan id 1 dstport 8472 dev host0").await;
    let old = lab.host("w1").unwrap();
    let begin = Instant::now();
    lab.reboot("w1").await.unwrap();
    println!("reboot: {:?}", begin.elapsed());
    let new = lab.host("w1").unwrap();
    assert_ne!(old.pid, new.pid);
    assert_eq!(old.address, new.address);
    let after = session(lab, "w1").await;
    assert_eq!(run(&after, "cat /root/kept; ls /run/gone 2>/dev/null; ls /sys/class/net").await, "kept\nhost0\nlo");
    assert_eq!(run(&after, "systemctl is-system-running --wait").await, "running");
    // From inside, as an operator would.
    let asked = after.exec("systemctl reboot").await;
    assert!(asked.is_ok() || asked.unwrap_err().is_unreachable());
    let deadline = Instant::now() + Duration::from_secs(60);
    while lab.host("w1").unwrap().pid.is_none_or(|pid| Some(pid) == new.pid) {
        assert!(Instant::now() < deadline, "it did not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.up(&Options::default(), &|_| {}).await.unwrap();
    assert_eq!(run(&session(lab, "w1").await, "hostname").await, "w1");
}

/// The name of the link of the lab's second host on this machine, as the lab tells of it.
fn link_of_second_host(lab: &Lab) -> String {
    let bridge = lab.status().unwrap().bridge;
    format!("vb-rk{}-h3", bridge.trim_start_matches("rklab"))
}

async fn kill_and_start_again(lab: &Lab) {
    lab.kill("w1").await.unwrap();
    assert_eq!(lab.host("w1").unwrap().state, HostState::Stopped);
    assert!(ssh::connect(&target(lab, "w1")).await.unwrap_err().is_unreachable());
    assert!(lab.cut("w1").await.unwrap_err().to_string().contains("not running"));
    // The kernel may take its time to remove the link of a host that was killed.
    let link = link_of_second_host(lab);
    while PathBuf::from("/sys/class/net").join(&link).exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let add = tokio::process::Command::new("ip").args(["link", "add", &link, "type", "bridge"]).status().await;
    assert!(add.unwrap().success());
    let more = Options { hosts: vec!["cp1".into(), "w1".into(), "w2".into()], ..Options::default() };
    let report = lab.up(&more, &|_| {}).await.unwrap();
    let outcomes: Vec<Outcome> = report.hosts.iter().map(|host| host.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unchanged, Outcome::Started, Outcome::Created]);
    assert_eq!(run(&session(lab, "w1").await, "cat /root/kept").await, "kept");
    assert_eq!(run(&session(lab, "w2").await, "hostname").await, "w2");
}
