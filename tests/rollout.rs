//! Deployments that change while they are used: scale, set image, undo, history, restart.

use crate::harness::{PATIENCE, Running, Scene, busybox_pod, deployment, drills, names, service};

drills![scale, roll_without_a_failed_request, keep_what_works_when_an_image_is_missing];

fn scale(scene: &Scene) {
    scene.apply(&deployment("web", 1, 1));
    scene.rolled_out("deployment/web");
    scene.kubectl.ok("scale deployment/web --replicas=3");
    scene.rolled_out("deployment/web");
    assert_eq!(scene.pods("app=web").len(), 3);
    scene.kubectl.ok("scale deployment/web --replicas=1 --current-replicas=3");
    scene.until("two pods are gone", "get pods --selector app=web -o name", |said| {
        (said.lines().count() == 1).then_some(())
    });
    let refused = scene.kubectl.err("scale deployment/web --replicas=2 --current-replicas=3");
    assert!(refused.contains("Expected replicas to be 3, was 1"), "{refused}");
    scene.kubectl.ok("scale deployment/web --replicas=0");
    scene.until("no pod is left", "get pods --selector app=web -o name", |said| said.is_empty().then_some(()));
}

/// Enough for kubectl's own and the proxies' caches to see that a pod is going before it stops to answer.
const STRATEGY: &str = "  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}\n  selector:";
const PRE_STOP: &str = "          lifecycle: {preStop: {exec: {command: [sleep, '2']}}}\n          readinessProbe:";

/// Asks until it is told to stop; says who answered, and FAILED where nobody did.
const ASK: &str = "while [ ! -e /tmp/stop ]; do timeout 5 wget -q -O - http://web || echo FAILED; done";

fn roll_without_a_failed_request(scene: &Scene) {
    let web = deployment("web", 3, 1)
        .replace("  selector:", STRATEGY)
        .replace("          readinessProbe:", PRE_STOP)
        .replace("terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds: 15");
    scene.apply(&[web, service("web", "ClusterIP"), busybox_pod("client", None)].concat());
    scene.rolled_out("deployment/web");
    scene.ready("pod/client");
    let asking = Running::start(scene.kubectl.command(&["exec", "client", "--", "sh", "-c", ASK]));
    asking.wait_for(PATIENCE, "the service answers", |said| said.contains(" v1 ").then_some(()));
    let before = asking.said().matches("FAILED").count();
    let available = "jsonpath={.status.availableReplicas} {.status.updatedReplicas}{'\\n'}";
    let watch = Running::start(scene.kubectl.command(&["get", "deployment", "web", "--watch", "-o", available]));

    let said = scene.kubectl.ok("set image deployment/web web=rkctl.local/web:2");
    assert_eq!(said, "deployment.apps/web image updated\n");
    scene.rolled_out("deployment/web");
    asking.wait_for(PATIENCE, "the new version answers", |said| said.contains(" v2 ").then_some(()));
    let history = scene.kubectl.ok("rollout history deployment/web");
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    let second = scene.kubectl.ok("rollout history deployment/web --revision=2");
    assert!(second.contains("rkctl.local/web:2"), "{second}");

    scene.kubectl.ok("rollout undo deployment/web");
    scene.rolled_out("deployment/web");
    let image = scene.kubectl.ok("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}");
    assert_eq!(image, "rkctl.local/web:1");
    scene.kubectl.ok("rollout restart deployment/web");
    scene.rolled_out("deployment/web");

    scene.sh("client", "touch /tmp/stop").ok();
    let answers = asking.stop();
    let failed = answers.lines().filter(|line| line.contains("FAILED") || line.contains("wget:")).count();
    assert_eq!((failed, before), (0, 0), "of {} requests:\n{answers}", answers.lines().count());
    let watched = watch.stop();
    let lowest = watched.lines().filter_map(|line| line.split(' ').next()?.parse::<u32>().ok()).min();
    assert!(lowest.is_some_and(|lowest| lowest >= 3), "never fewer than 3 are available:\n{watched}");
}

fn keep_what_works_when_an_image_is_missing(scene: &Scene) {
    scene.apply(&deployment("web", 2, 1));
    scene.rolled_out("deployment/web");
    let old = names(&scene.pods("app=web"));
    scene.kubectl.ok("set image deployment/web web=rkctl.local/web:99");
    scene.until("the pod tells that the image is not there", "get pods --selector app=web", |said| {
        said.contains("ErrImageNeverPull").then_some(())
    });
    let late = scene.kubectl.err("rollout status deployment/web --timeout=1s");
    assert!(late.contains("timed out"), "{late}");
    let kept = names(&scene.pods("app=web"));
    assert!(old.iter().all(|pod| kept.contains(pod)), "{old:?} are kept: {kept:?}");
    scene.kubectl.ok("rollout undo deployment/web");
    scene.kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(names(&scene.pods("app=web")), old, "the pods that worked were never restarted");
}
