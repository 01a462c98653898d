//! exec, attach, cp and port-forward: bytes between a user and a container.

use std::io::Write as _;
use std::time::Duration;

use testkit::{Kubectl, eventually};

use crate::harness::{PATIENCE, Running, Scene, busybox_pod, deployment, drills, get, on_a_terminal, service};

drills![
    exec_in_a_terminal,
    exec_hands_on_bytes_and_exit_codes,
    attach_with_and_without_a_terminal,
    cp_both_ways,
    forward_ports
];

/// One that only speaks, one that answers, and a shell on a terminal of its own.
const ATTACHED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: attached}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  containers:
    - {name: speaks, image: 'rkctl.local/busybox:1', imagePullPolicy: Never, command: [sh, -c, 'while sleep 1; do echo tick; echo tock >&2; done']}
    - {name: answers, image: 'rkctl.local/busybox:1', imagePullPolicy: Never, stdin: true, command: [sh, -c, 'while read line; do echo answer: $line; done; sleep 3600']}
    - {name: shell, image: 'rkctl.local/busybox:1', imagePullPolicy: Never, stdin: true, tty: true, command: [sh]}
";

fn exec_in_a_terminal(scene: &Scene) {
    scene.apply(&busybox_pod("shell", None));
    scene.ready("pod/shell");
    let mut session = Running::start(on_a_terminal(scene.kubectl.command("exec -it shell -- sh")));
    let mut keys = session.stdin();
    session.wait_for(PATIENCE, "a prompt", |said| said.contains('#').then_some(()));
    writeln!(keys, "test -t 0 && test -t 1 && echo terminal-$((40 + 2))").expect("it reads");
    session.wait_for(PATIENCE, "the shell has a terminal", |said| said.contains("terminal-42").then_some(()));
    // A key that only a terminal makes a signal of.
    writeln!(keys, "sleep 3600").expect("it reads");
    session.wait_for(PATIENCE, "the command is echoed", |said| said.contains("sleep 3600").then_some(()));
    eventually(PATIENCE, "control-C ends the command", || {
        keys.write_all(b"\x03").map_err(|error| error.to_string())?;
        writeln!(keys, "echo free-$((1 + 1))").map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_millis(200));
        if session.said().contains("free-2") { Ok(()) } else { Err(session.said()) }
    });
    writeln!(keys, "exit").expect("it reads");
    eventually(PATIENCE, "the session ends with its shell", || !session.runs());
}

fn exec_hands_on_bytes_and_exit_codes(scene: &Scene) {
    scene.apply(&busybox_pod("shell", None));
    scene.ready("pod/shell");
    let failed = scene.sh("shell", "echo out; echo err >&2; exit 7");
    assert_eq!((failed.status.code(), failed.stdout.as_str()), (Some(7), "out\n"), "{}", failed.report());
    assert!(failed.stderr.starts_with("err\n"), "{}", failed.report());
    let text: String = (0..100_000).map(|line| format!("{line}\n")).collect();
    let back = scene.kubectl.with_input(&["exec", "-i", "shell", "--", "cat"], &text).ok();
    assert!(back == text, "{} bytes of {} came back", back.len(), text.len());
    let environment = scene.sh("shell", "echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT").ok();
    assert_eq!(environment, "10.43.0.1:443\n");
    let missing = scene.kubectl.run(&["exec", "shell", "--", "no-such-program"]);
    assert!(!missing.status.success() && missing.stderr.contains("no-such-program"), "{}", missing.report());
}

fn attach_with_and_without_a_terminal(scene: &Scene) {
    attach(scene, &scene.kubectl);
}

/// `attach`, `attach -i` and `attach -it` with some kubectl.
pub fn attach(scene: &Scene, kubectl: &Kubectl) {
    scene.apply(ATTACHED);
    scene.ready("pod/attached");
    let listening = Running::start(kubectl.command("attach attached --container speaks"));
    listening.wait_for(PATIENCE, "both outputs", |said| (said.contains("tick") && said.contains("tock")).then_some(()));
    listening.stop();

    // The process goes on reading when one who spoke with it has gone.
    for word in ["one", "two"] {
        let mut talk = Running::start(kubectl.command("attach -i attached --container answers"));
        let mut words = talk.stdin();
        eventually(PATIENCE, "what is written is answered", || {
            // Before the streams are there, nobody reads; the pod answers each line that came.
            writeln!(words, "{word}").map_err(|error| error.to_string())?;
            std::thread::sleep(Duration::from_millis(200));
            if talk.said().contains(&format!("answer: {word}")) { Ok(()) } else { Err(talk.said()) }
        });
        talk.stop();
    }

    let mut session = Running::start(on_a_terminal(kubectl.command("attach -it attached --container shell")));
    let mut keys = session.stdin();
    eventually(PATIENCE, "the shell has a terminal", || {
        writeln!(keys, "test -t 0 && test -t 1 && echo terminal-$((40 + 2))").map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_millis(200));
        if session.said().contains("terminal-42") { Ok(()) } else { Err(session.said()) }
    });
    writeln!(keys, "exit 5").expect("it reads");
    eventually(PATIENCE, "the session ends with the shell", || !session.runs());
    let code = "get pod attached -o jsonpath={.status.containerStatuses[?(@.name=='shell')].state.terminated.exitCode}";
    scene.until("the shell has ended as it was told", code, |said| (said == "5").then_some(()));
    let others = scene.pod("attached")["status"]["containerStatuses"].clone();
    let running = others.as_array().into_iter().flatten().filter(|status| status["state"]["running"].is_object());
    assert_eq!(running.count(), 2, "nothing else has ended: {others:#}");
}

fn cp_both_ways(scene: &Scene) {
    scene.apply(&busybox_pod("shell", None));
    scene.ready("pod/shell");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Every byte, many times over, in no order.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(path("there"), &bytes).expect("a file of ours");
    scene.kubectl.ok(&["cp", &path("there"), "shell:/tmp/file"]);
    scene.kubectl.ok(&["cp", "shell:/tmp/file", &path("back")]);
    assert!(std::fs::read(path("back")).expect("kubectl has written it") == bytes, "it came back as it was");
    std::fs::create_dir_all(path("tree/below")).expect("a folder of ours");
    std::fs::write(path("tree/below/leaf"), "green").expect("a file of ours");
    scene.kubectl.ok(&["cp", &path("tree"), "shell:/tmp/tree"]);
    assert_eq!(scene.sh("shell", "cat /tmp/tree/below/leaf").ok(), "green");
    scene.kubectl.ok(&["cp", "shell:/tmp/tree", &path("again")]);
    assert_eq!(std::fs::read_to_string(path("again/below/leaf")).expect("kubectl has written it"), "green");
}

fn forward_ports(scene: &Scene) {
    scene.apply(&[deployment("web", 1, 1), service("web", "ClusterIP")].concat());
    scene.rolled_out("deployment/web");
    for (what, port) in [("deployment/web", ":8080"), ("service/web", ":80")] {
        let forward = Running::start(scene.kubectl.command(&["port-forward", what, port]));
        let local = forward.wait_for(PATIENCE, "the port is forwarded", |said| {
            let (_, rest) = said.split_once("Forwarding from 127.0.0.1:")?;
            rest.split_once(' ').map(|(port, _)| port.to_owned())
        });
        let url = format!("http://127.0.0.1:{local}/");
        for round in 0..10 {
            let answer = get(&url, None).unwrap_or_else(|error| panic!("{what}, {round}: {error}\n{}", forward.said()));
            assert!(answer.starts_with("web-") && answer.contains(" v1 "), "{answer}");
        }
        std::thread::scope(|scope| {
            let at_once: Vec<_> = (0..5).map(|_| scope.spawn(|| get(&url, None))).collect();
            for request in at_once {
                request.join().expect("a request does not panic").unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        });
    }
}
