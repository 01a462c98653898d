//! A repository that the cluster follows no longer, since the inventory does not name it any more.

use serde_json::Value;

use crate::gitops::{applied, becomes, map, value};
use crate::harness::{PATIENCE, Scene, drills};

drills![its_objects_stay_and_nobody_puts_them_right];

/// Lets the cluster follow its repository again, however the drill ends.
struct Followed<'a>(&'a Scene, Value);

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        self.0.cluster.change_spec(|spec| spec["gitops"] = self.1.clone());
    }
}

fn its_objects_stay_and_nobody_puts_them_right(scene: &Scene) {
    let (cluster, git) = (&scene.cluster, scene.cluster.git());
    let files = [("cluster/kustomization.yaml", "resources: [a.yaml]\n"), ("cluster/a.yaml", &map(scene, "a", "1"))];
    applied(scene, &git.commit("One map", &files.map(|(name, text)| (name, Some(text)))));

    let mut gitops = Value::Null;
    cluster
        .change_spec(|spec| gitops = spec.as_object_mut().and_then(|spec| spec.remove("gitops")).unwrap_or_default());
    let followed = Followed(scene, gitops);
    let said = cluster.rkctl("plan", &[], PATIENCE).ok();
    assert!(said.contains("no longer: its objects stay"), "it is told before: {said}");
    cluster.up();
    let status = cluster.gitops(&["status"]);
    assert!(!status.status.success() && status.stderr.contains("follows no repository"), "{}", status.report());
    assert_eq!(value(scene, "a").as_deref(), Some("1"));
    scene.kubectl.ok(&["patch", "configmap", "a", "--patch", r#"{"data": {"x": "theirs"}}"#]);
    let credentials = cluster.host("cp1", "ls /etc/rkctl/gitops 2>/dev/null || true");
    assert_eq!(credentials, "", "nobody needs them there");

    drop(followed);
    assert_eq!(value(scene, "a").as_deref(), Some("theirs"), "nobody puts it right");
    cluster.up();
    becomes(scene, "what was changed meanwhile is put right", "a", Some("1"));
    let last = git.commit("Nothing any more", &[("cluster/kustomization.yaml", Some("resources: []\n"))]);
    applied(scene, &last);
    assert_eq!(value(scene, "a"), None);
}
