//! One node for all cases: API server, containerd, agent; and ways to look at its pods.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;
use crate::containerd::Containerd;
use crate::server::{self, NODE};

/// Its parts end in this order.
pub struct Bench {
    _agent: Agent,
    pub containerd: Containerd,
    pub pods: Api<Pod>,
    pub config_maps: Api<ConfigMap>,
    pub secrets: Api<Secret>,
    pub client: kube::Client,
    /// Where the agent's own server listens.
    pub serving: SocketAddr,
    _cgroup: Cgroup,
    _address: Address,
    pub folder: TempDir,
}

/// The agent, as in a process of its own: a thread with a runtime of its own.
struct Agent {
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(config: agent::Config, shutdown: CancellationToken) -> Self {
        let ends = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.expect("a runtime").block_on(agent::run(config, ends)).expect("the agent runs");
        });
        Self { shutdown, thread: Some(thread) }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let ended = self.thread.take().map_or(Ok(()), JoinHandle::join);
        // The first failure is the one to tell.
        assert!(ended.is_ok() || std::thread::panicking(), "the agent did not end well");
    }
}

impl Bench {
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let shutdown = CancellationToken::new();
        let containerd = Containerd::start(folder.path());
        let server = server::start(folder.path(), shutdown.clone()).await;
        let cgroup = format!("/rkctl-test-{}", std::process::id());
        let address = Address::new();
        let serving = SocketAddr::from((address.0, testkit::free_port()));
        let config = config(folder.path(), &server.url, &containerd.endpoint, &cgroup, serving);
        let client = server.client;
        Self {
            _agent: Agent::start(config, shutdown),
            containerd,
            pods: Api::namespaced(client.clone(), "default"),
            config_maps: Api::namespaced(client.clone(), "default"),
            secrets: Api::namespaced(client.clone(), "default"),
            client,
            serving,
            _cgroup: Cgroup(cgroup),
            _address: address,
            folder,
        }
    }

    /// Makes a pod of that name on the node.
    pub async fn run(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!(NODE);
        spec["automountServiceAccountToken"] = json!(false);
        let pod = json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": spec });
        let pod = serde_json::from_value(pod).expect("a pod");
        self.pods.create(&PostParams::default(), &pod).await.expect("the pod is taken")
    }

    /// Waits until a pod is as wanted.
    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        self.within(PATIENCE, name, what, wanted).await
    }

    /// As [`Bench::until`], with a limit.
    pub async fn within(&self, limit: Duration, name: &str, what: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        testkit::eventually_async(limit, &format!("{name}: {what}"), async || {
            let pod = self.pods.get(name).await.map_err(|error| error.to_string())?;
            if wanted(&pod) { Ok(pod) } else { Err(format!("{:?}", pod.status)) }
        })
        .await
    }

    /// Deletes a pod and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.pods.delete(name, &DeleteParams::default()).await.expect("the pod is deleted");
        testkit::eventually_async(PATIENCE, &format!("{name} is gone"), async || {
            self.pods.get_opt(name).await.is_ok_and(|pod| pod.is_none())
        })
        .await;
    }

    /// What a container's first run printed.
    pub fn log(&self, pod: &Pod, container: &str) -> String {
        let (name, uid) = (pod.metadata.name.as_deref().unwrap(), pod.metadata.uid.as_deref().unwrap());
        let path = self.folder.path().join(format!("pods/default_{name}_{uid}/{container}/0.log"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Each line begins with time, stream and tag.
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(|line| format!("{line}\n")).collect()
    }

    /// Where a volume lies.
    pub fn volume(&self, pod: &Pod, plugin: &str, volume: &str) -> std::path::PathBuf {
        let uid = pod.metadata.uid.as_deref().unwrap();
        self.folder.path().join(format!("kubelet/pods/{uid}/volumes/kubernetes.io~{plugin}/{volume}"))
    }

    /// Ends every pod, and sees that none left anything.
    pub async fn clear(&self) {
        for pod in self.pods.list(&ListParams::default()).await.expect("a list") {
            self.delete(pod.metadata.name.as_deref().unwrap()).await;
        }
        let left = || std::fs::read_dir(self.folder.path().join("kubelet/pods")).map_or(0, Iterator::count);
        testkit::eventually_async(PATIENCE, "no pod leaves a folder", async || left() == 0).await;
    }
}

/// The node's address, on this machine's loopback link: no node has one of 127.0.0.0/8.
struct Address(Ipv4Addr);

impl Address {
    fn new() -> Self {
        let address = Ipv4Addr::new(10, 254, (std::process::id() % 250) as u8, 1);
        testkit::netns::run(&format!("ip addr replace {address}/32 dev lo"));
        Self(address)
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["addr", "del", &format!("{}/32", self.0), "dev", "lo"]).status();
    }
}

fn config(folder: &Path, url: &str, endpoint: &str, cgroup: &str, serving: SocketAddr) -> agent::Config {
    let any = "127.0.0.1:0".parse().expect("an address");
    let manifests = folder.join("manifests");
    std::fs::create_dir(&manifests).expect("a folder");
    std::fs::write(folder.join("resolv.conf"), "nameserver 192.0.2.53\n").expect("writing a file");
    agent::Config {
        node_ip: Some(serving.ip()),
        servers: vec![url.to_string()],
        ca_file: folder.join("ca.crt"),
        data_dir: folder.join("agent"),
        static_pod_path: manifests,
        container_runtime_endpoint: endpoint.to_string(),
        listen_address: serving,
        health_address: any,
        balancer_address: any,
        kubelet_dir: folder.join("kubelet"),
        pod_logs_dir: folder.join("pods"),
        container_logs_dir: folder.join("containers"),
        resolv_conf: folder.join("resolv.conf"),
        cgroup_root: cgroup.to_string(),
        // How full this machine's disk is, is no matter of the node's.
        eviction_hard: DISKS.map(|signal| (signal.to_string(), "0%".to_string())).into(),
        image_gc_high_threshold_percent: 100,
        ..agent::Config::for_node(NODE)
    }
}

/// The signals of disks.
const DISKS: [&str; 4] = ["nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"];

/// Under which the node's pods are; removed when dropped, which is after containerd's end.
struct Cgroup(String);

/// What was killed leaves its cgroup a little later.
const CGROUP_EMPTY: Duration = Duration::from_secs(5);

impl Drop for Cgroup {
    fn drop(&mut self) {
        let name = self.0.trim_start_matches('/');
        let mounts = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let mut left: Vec<_> = mounts.map(|mount| mount.path().join(name)).collect();
        left.push(Path::new("/sys/fs/cgroup").join(name));
        let begun = std::time::Instant::now();
        while !left.is_empty() && begun.elapsed() < CGROUP_EMPTY {
            left.iter().for_each(|folder| remove_cgroup(folder));
            left.retain(|folder| folder.exists());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The kernel removes a cgroup only when those in it are gone.
fn remove_cgroup(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path());
    }
    let _ = std::fs::remove_dir(folder);
}
