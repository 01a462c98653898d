//! Manifests that several drills apply. Images are those of [`testkit::images`], imported on every host.

/// A Deployment of `rkctl.local/web:VERSION` that answers on port 8080 and is ready when it does.
pub fn deployment(name: &str, replicas: u32, version: u32) -> String {
    format!(
        "
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: web
          image: rkctl.local/web:{version}
          imagePullPolicy: Never
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1, timeoutSeconds: 5}}
"
    )
}

/// A Service of the pods of [`deployment`]: port 80, of the given type.
pub fn service(name: &str, kind: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: {kind}
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
"
    )
}

/// A pod with a shell that waits to be told what to do; on `node` where one is given.
pub fn busybox_pod(name: &str, node: Option<&str>) -> String {
    let selector = node.map(|node| format!("nodeSelector: {{kubernetes.io/hostname: {node}}}")).unwrap_or_default();
    format!(
        "
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  {selector}
  containers:
    - name: shell
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done\"]
"
    )
}
