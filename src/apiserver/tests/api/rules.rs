//! Rules in CEL of CustomResourceDefinitions, with kubectl and kube-rs.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use crate::support::{TestServer, start};

const FLEETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: fleets.rules.example.com}
spec:
  group: rules.example.com
  scope: Namespaced
  names: {plural: fleets, singular: fleet, kind: Fleet, listKind: FleetList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    schema:
      openAPIV3Schema:
        type: object
        x-kubernetes-validations:
        - rule: "!self.metadata.name.startsWith('bad')"
          message: names begin well
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - rule: self.replicas <= self.max
              messageExpression: "'at most %d replicas'.format([self.max])"
              reason: FieldValueForbidden
              fieldPath: .replicas
            properties:
              replicas: {type: integer, default: 1}
              max: {type: integer, default: 5}
              colour:
                type: string
                maxLength: 20
                x-kubernetes-validations: [{rule: self == oldSelf, message: colour is immutable}]
              template:
                type: object
                x-kubernetes-embedded-resource: true
                x-kubernetes-preserve-unknown-fields: true
                x-kubernetes-validations: [{rule: "self.kind == 'Pod' && self.metadata.name != ''"}]
          status:
            type: object
            properties:
              replicas: {type: integer, x-kubernetes-validations: [{rule: self >= 0, message: no less than nothing}]}
"#;

async fn start_with_fleets() -> (TestServer, Api<DynamicObject>) {
    let server = start().await;
    server.kubectl(&["create", "-f", &server.file("fleets.yaml", FLEETS)]).await;
    server.kubectl(&["wait", "--for=condition=Established", "crd/fleets.rules.example.com", "--timeout=20s"]).await;
    let kind = GroupVersionKind::gvk("rules.example.com", "v1", "Fleet");
    let resource = ApiResource::from_gvk_with_plural(&kind, "fleets");
    let api = Api::namespaced_with(server.client.clone(), "default", &resource);
    (server, api)
}

fn fleet(name: &str, spec: &serde_json::Value) -> DynamicObject {
    let object =
        json!({"apiVersion": "rules.example.com/v1", "kind": "Fleet", "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(object).expect("an object")
}

fn refusal<T: std::fmt::Debug>(answer: kube::Result<T>) -> Box<kube::core::Status> {
    match answer.expect_err("is refused") {
        kube::Error::Api(status) => status,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_writing_is_held_to_the_rules() {
    let (server, api) = start_with_fleets().await;
    let file = server.file("fleet.json", &json!(fleet("bad", &json!({"replicas": 9}))).to_string());
    let refused = server.kubectl_fails(&["create", "-f", &file]).await;
    assert!(refused.contains("The Fleet \"bad\" is invalid:"), "{refused}");
    assert!(refused.contains("* spec.replicas: Forbidden: at most 5 replicas"), "{refused}");
    assert!(refused.contains("* <nil>: Invalid value: \"object\": names begin well"), "{refused}");

    let made = api.create(&PostParams::default(), &fleet("one", &json!({"colour": "red"}))).await.expect("created");
    let mut changed = made.clone();
    changed.data["spec"]["colour"] = json!("blue");
    let status = refusal(api.replace("one", &PostParams::default(), &changed).await);
    let colour = "spec.colour: Invalid value: \"blue\": colour is immutable";
    assert_eq!(
        (status.code, status.reason.as_str(), status.message.as_str()),
        (422, "Invalid", &*format!("Fleet.rules.example.com \"one\" is invalid: {colour}"))
    );
    let merge = |spec: serde_json::Value| Patch::Merge(json!({"spec": spec}));
    let params = PatchParams::default();
    let status = refusal(api.patch("one", &params, &merge(json!({"replicas": 6}))).await);
    let causes: Vec<_> = status.details.iter().flat_map(|details| &details.causes).collect();
    assert_eq!((causes[0].reason.as_str(), causes[0].field.as_str()), ("FieldValueForbidden", "spec.replicas"));
    let applied = server.file("apply.json", &json!(fleet("one", &json!({"colour": "green"}))).to_string());
    let refused = server.kubectl_fails(&["apply", "--server-side", "--force-conflicts", "-f", &applied]).await;
    assert!(refused.contains("colour is immutable"), "{refused}");
    let refused = server.kubectl_fails(&["scale", "fleet", "one", "--replicas=7"]).await;
    assert!(refused.contains("at most 5 replicas"), "{refused}");
    server.kubectl(&["scale", "fleet", "one", "--replicas=5"]).await;
    let wrong = Patch::Merge(json!({"status": {"replicas": -1}}));
    let status = refusal(api.patch_status("one", &params, &wrong).await);
    assert!(status.message.contains("status.replicas: Invalid value: -1: no less than nothing"), "{status:?}");
    let template = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "t"}});
    let status = refusal(api.patch("one", &params, &merge(json!({"template": template}))).await);
    assert!(status.message.contains("spec.template: Invalid value: \"object\": failed rule: self.kind"), "{status:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_come_later_leave_unchanged_parts_alone() {
    let (server, api) = start_with_fleets().await;
    api.create(&PostParams::default(), &fleet("old", &json!({"colour": "red", "replicas": 4}))).await.expect("created");
    let stricter = FLEETS.replace("rule: self == oldSelf, message: colour is immutable", "rule: self != 'red'");
    server
        .kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &server.file("stricter.yaml", &stricter)])
        .await;
    let params = PatchParams::default();
    let fewer = Patch::Merge(json!({"spec": {"replicas": 3}}));
    api.patch("old", &params, &fewer).await.expect("the colour is as it was");
    let status = refusal(api.create(&PostParams::default(), &fleet("new", &json!({"colour": "red"}))).await);
    assert!(status.message.contains("spec.colour: Invalid value: \"red\": failed rule: self != 'red'"), "{status:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_with_rules_that_cannot_be_are_refused() {
    let server = start().await;
    let refused = |text: String| {
        let (server, file) = (&server, server.file("wrong.yaml", &text));
        async move { server.kubectl_fails(&["create", "-f", &file]).await }
    };
    let unknown = refused(FLEETS.replace("self.replicas <= self.max", "self.replica <= self.max")).await;
    assert!(unknown.contains("compilation failed: ERROR: <input>:1:5: undefined field 'replica'"), "{unknown}");
    let dear =
        refused(FLEETS.replace("maxLength: 20", "").replace("self == oldSelf", "self.matches(self + self)")).await;
    assert!(dear.contains("estimated rule cost exceeds budget by factor of"), "{dear}");
    assert!(server.kubectl(&["get", "crd", "-o", "name"]).await.is_empty());
    server.stop().await;
}
