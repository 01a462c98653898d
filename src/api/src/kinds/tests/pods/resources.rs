//! Environments, resources, hooks.

use super::*;

#[test]
fn environments() {
    let field = |path: &str| json!({"env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": path}}}]});
    let divided = |resource: &str, divisor: &str| json!({"env": [{"name": "E", "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}]});
    let at = "spec.containers[0].env[0].valueFrom";
    let supported = "supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \
                     \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"";
    let bytes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    refused(&[
        (
            field("metadata.labels['a b']"),
            json!({}),
            &[&format!(
                "{at}.fieldRef: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            )],
        ),
        (
            field("metadata.name['a']"),
            json!({}),
            &[&format!(
                "{at}.fieldRef.fieldPath: Invalid value: \"metadata.name['a']\": error converting fieldPath: field label does not support subscript: metadata.name['a']"
            )],
        ),
        (
            field("status.phase"),
            json!({}),
            &[&format!("{at}.fieldRef.fieldPath: Unsupported value: \"status.phase\": {supported}")],
        ),
        (
            divided("limits.cpu", "2"),
            json!({}),
            &[&format!(
                "{at}.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"
            )],
        ),
        (
            divided("limits.ephemeral-storage", "2"),
            json!({}),
            &[&format!(
                "{at}.resourceFieldRef.divisor: Invalid value: \"limits.ephemeral-storage\": only divisor's values {bytes} are supported with the local ephemeral storage resource"
            )],
        ),
        (
            divided("requests.hugepages-2Mi", "2"),
            json!({}),
            &[&format!(
                "{at}.resourceFieldRef.divisor: Invalid value: \"requests.hugepages-2Mi\": only divisor's values {bytes} are supported with the hugepages resource"
            )],
        ),
        (
            json!({"env": [{"name": "E=", "value": "x"}]}),
            json!({}),
            &[
                "spec.containers[0].env[0].name: Invalid value: \"E=\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ],
        ),
        (
            json!({"envFrom": [{}]}),
            json!({}),
            &["spec.containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"],
        ),
    ]);
}

#[test]
fn resources_of_containers_and_pods() {
    let limits = |limits: Value| json!({"resources": {"limits": limits}});
    let at = "spec.containers[0].resources";
    refused(&[
        (
            limits(json!({"gpu": "1"})),
            json!({}),
            &[
                &format!(
                    "{at}.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified"
                ),
                &format!("{at}.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers"),
                &format!(
                    "{at}.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified"
                ),
                &format!("{at}.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers"),
            ],
        ),
        (
            json!({"resources": {"requests": {"storage": "1"}}}),
            json!({}),
            &[&format!(
                "{at}.requests[storage]: Invalid value: \"storage\": must be a standard resource for containers"
            )],
        ),
        (
            json!({"resources": {"requests": {"requests.a.b/c": "1"}, "limits": {"requests.a.b/c": "1"}}}),
            json!({}),
            &[
                &format!(
                    "{at}.limits[requests.a.b/c]: Invalid value: \"requests.a.b/c\": doesn't follow extended resource name standard"
                ),
                &format!(
                    "{at}.requests[requests.a.b/c]: Invalid value: \"requests.a.b/c\": doesn't follow extended resource name standard"
                ),
            ],
        ),
        (
            json!({"resources": {"requests": {"a.b/c": "500m"}, "limits": {"a.b/c": "500m"}}}),
            json!({}),
            &[
                &format!("{at}.limits[a.b/c]: Invalid value: \"500m\": must be an integer"),
                &format!("{at}.requests[a.b/c]: Invalid value: \"500m\": must be an integer"),
            ],
        ),
        (
            json!({"resources": {"requests": {"a.b/c": "1"}}}),
            json!({}),
            &[&format!("{at}.limits: Required value: Limit must be set for non overcommitable resources")],
        ),
        (
            json!({"resources": {"requests": {"hugepages-2Mi": "3Mi"}, "limits": {"hugepages-2Mi": "3Mi"}}}),
            json!({}),
            &[
                &format!(
                    "{at}.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"
                ),
                &format!(
                    "{at}.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"
                ),
                &format!("{at}: Forbidden: HugePages require cpu or memory"),
            ],
        ),
        (limits(json!({"hugepages-2Mi": "4Mi", "memory": "1Gi"})), json!({}), &[]),
        (
            json!({"resources": {"claims": [{"name": "d"}, {"name": "d", "request": "r"}]}}),
            json!({"resourceClaims": [{"name": "e", "resourceClaimName": "x"}]}),
            &[
                &format!("{at}.claims[0]: Not found: \"d\": must be one of the names in pod.spec.resourceClaims: e"),
                &format!("{at}.claims[1]: Duplicate value: \"d\""),
                &format!("{at}.claims[1]: Not found: \"d\": must be one of the names in pod.spec.resourceClaims: e"),
            ],
        ),
        (
            json!({}),
            json!({"resourceClaims": [{"name": "e"}, {"name": "e", "resourceClaimName": "x", "resourceClaimTemplateName": "y"}]}),
            &[
                "spec.resourceClaims[0]: Invalid value: {\"name\":\"e\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                "spec.resourceClaims[1].name: Duplicate value: \"e\"",
                "spec.resourceClaims[1]: Invalid value: {\"name\":\"e\",\"resourceClaimName\":\"x\",\"resourceClaimTemplateName\":\"y\"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ],
        ),
        (
            json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "4"}}}),
            json!({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}}}),
            &[
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
                "spec.resources.containers[0][cpu].limits: Invalid value: \"4\": must be less than or equal to pod limits of 3",
            ],
        ),
        (
            json!({}),
            json!({"resources": {"limits": {"ephemeral-storage": "1"}, "claims": [{"name": "x"}]}}),
            &[
                "spec.resources.claims: Forbidden: claims cannot be set for Resources at pod-level",
                "spec.resources.limits[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
                "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
            ],
        ),
        (
            json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}, {"resourceName": "cpu", "restartPolicy": "NotRequired"}]}),
            json!({"restartPolicy": "Never"}),
            &[
                "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'",
                "spec.containers[0].resizePolicy[1]: Duplicate value: \"cpu\"",
            ],
        ),
    ]);
    // What is limited as a whole and asked for in parts is requested as the parts are.
    let (object, errors) = create(
        "pods",
        pod(
            json!({"resources": {"requests": {"cpu": "200m"}}}),
            json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}),
        ),
    );
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(object["spec"]["resources"]["requests"], json!({"cpu": "200m", "memory": "1Gi"}));
}

#[test]
fn hooks_and_probes() {
    let container = |hook: Value| json!({"lifecycle": {"preStop": hook}});
    refused(&[
        (
            container(json!({"sleep": {"seconds": 31}})),
            json!({}),
            &[
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        (
            container(json!({"httpGet": {"port": 1, "httpHeaders": [{"name": "a b", "value": "v"}]}})),
            json!({}),
            &[
                "spec.containers[0].lifecycle.preStop.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        (
            json!({}),
            json!({"initContainers": [{"name": "i", "image": "i:1", "ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]}]}),
            &["spec.initContainers[0].ports[1].hostPort: Duplicate value: \"TCP//5\""],
        ),
    ]);
}
