//! Two servers on one etcd: what is written on one is there on the other at once, with the real kubectl.

use serde_json::json;

use crate::member::Member;
use crate::support::{eventually, start_on};

#[tokio::test(flavor = "multi_thread")]
async fn servers_on_one_etcd_are_one_cluster() {
    let mut member = Member::start(true);
    let one = start_on(member.open(member.options()).await).await;
    let two = start_on(member.open(member.options()).await).await;
    let mut events = two.watch("/api/v1/namespaces/default/configmaps?watch=1", "application/json").await;
    for number in 0..20 {
        let (writer, reader) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let name = format!("c{number}");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}});
        let made = writer.create("/api/v1/namespaces/default/configmaps", object).await;
        let (code, read) = reader.get(&format!("/api/v1/namespaces/default/configmaps/{name}")).await;
        assert_eq!((code, &read), (200, &made), "{name}");
        let (_, list) = reader.get("/api/v1/namespaces/default/configmaps").await;
        let count = list["items"].as_array().expect("items").len();
        assert_eq!(count, number + 1);
        assert_eq!(events.next_name().await, ("ADDED".to_string(), name));
    }
    one.kubectl(&["create", "configmap", "settings", "--from-literal=a=b"]).await;
    two.kubectl(&["label", "configmap", "settings", "from=two"]).await;
    let label = one.kubectl(&["get", "cm", "settings", "-o", "jsonpath={.metadata.labels.from}"]).await;
    assert_eq!(label, "two");

    // A write that rests on what was there before the other server's is refused.
    let path = "/api/v1/namespaces/default/configmaps/settings";
    let (_, mut old) = one.get(path).await;
    two.kubectl(&["label", "configmap", "settings", "from=again", "--overwrite"]).await;
    old["data"]["a"] = "lost".into();
    let (code, refusal) = one.json("PUT", path, "application/json", &old.to_string()).await;
    assert_eq!((code, refusal["reason"].as_str()), (409, Some("Conflict")), "{refusal}");

    // Without etcd a server says so, and goes on when it is back.
    member.kill();
    let (code, status) = one.json("POST", "/api/v1/namespaces", "application/json", &namespace("x")).await;
    assert_eq!((code, status["kind"].as_str()), (500, Some("Status")), "{status}");
    member.run();
    eventually("the server works again", || async {
        let (code, _) = one.json("POST", "/api/v1/namespaces", "application/json", &namespace("y")).await;
        (code == 201 || code == 409).then_some(())
    })
    .await;
    two.kubectl(&["get", "namespace", "y"]).await;
    one.stop().await;
    two.stop().await;
}

fn namespace(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string()
}
