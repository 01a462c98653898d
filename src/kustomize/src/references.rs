//! References by name: once every object has its final name, what refers to it by an earlier one follows.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::Error;
use crate::fieldspec::FieldSpec;
use crate::resource::{Id, Resource};

/// Kinds with a pod in them, and where its spec is.
const PODS: [(&str, &str); 9] = [
    ("Pod", "spec"),
    ("PodTemplate", "template/spec"),
    ("ReplicationController", "spec/template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
];

/// References out of a pod's spec: group and kind they are to, and where they are.
const POD_FIELDS: [(&str, &str, &str); 16] = [
    ("", "ConfigMap", "volumes/configMap/name"),
    ("", "ConfigMap", "volumes/projected/sources/configMap/name"),
    ("", "ConfigMap", "containers/env/valueFrom/configMapKeyRef/name"),
    ("", "ConfigMap", "containers/envFrom/configMapRef/name"),
    ("", "ConfigMap", "initContainers/env/valueFrom/configMapKeyRef/name"),
    ("", "ConfigMap", "initContainers/envFrom/configMapRef/name"),
    ("", "Secret", "volumes/secret/secretName"),
    ("", "Secret", "volumes/projected/sources/secret/name"),
    ("", "Secret", "containers/env/valueFrom/secretKeyRef/name"),
    ("", "Secret", "containers/envFrom/secretRef/name"),
    ("", "Secret", "initContainers/env/valueFrom/secretKeyRef/name"),
    ("", "Secret", "initContainers/envFrom/secretRef/name"),
    ("", "Secret", "imagePullSecrets/name"),
    ("", "ServiceAccount", "serviceAccountName"),
    ("", "PersistentVolumeClaim", "volumes/persistentVolumeClaim/claimName"),
    ("scheduling.k8s.io", "PriorityClass", "priorityClassName"),
];

/// Other references: group and kind they are to, kind they are of, and where they are.
const FIELDS: [(&str, &str, &str, &str); 29] = [
    ("", "ConfigMap", "Role", "rules/resourceNames"),
    ("", "ConfigMap", "ClusterRole", "rules/resourceNames"),
    ("", "ConfigMap", "Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap"),
    ("", "Secret", "Role", "rules/resourceNames"),
    ("", "Secret", "ClusterRole", "rules/resourceNames"),
    ("", "Secret", "Ingress", "spec/tls/secretName"),
    ("", "Secret", "Ingress", r"metadata/annotations/ingress.kubernetes.io\/auth-secret"),
    ("", "Secret", "Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret"),
    ("", "Secret", "Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret"),
    ("", "Secret", "ServiceAccount", "imagePullSecrets/name"),
    ("", "Secret", "StorageClass", "parameters/secretName"),
    ("", "Secret", "StorageClass", "parameters/adminSecretName"),
    ("", "Secret", "StorageClass", "parameters/userSecretName"),
    ("", "Secret", "StorageClass", "parameters/secretRef"),
    ("", "Secret", "PersistentVolume", "spec/azureFile/secretName"),
    ("", "Service", "StatefulSet", "spec/serviceName"),
    ("", "Service", "Ingress", "spec/rules/http/paths/backend/service/name"),
    ("", "Service", "Ingress", "spec/defaultBackend/service/name"),
    ("", "Service", "APIService", "spec/service"),
    ("", "Service", "ValidatingWebhookConfiguration", "webhooks/clientConfig/service"),
    ("", "Service", "MutatingWebhookConfiguration", "webhooks/clientConfig/service"),
    ("", "PersistentVolume", "PersistentVolumeClaim", "spec/volumeName"),
    ("", "PersistentVolume", "ClusterRole", "rules/resourceNames"),
    ("storage.k8s.io", "StorageClass", "PersistentVolume", "spec/storageClassName"),
    ("storage.k8s.io", "StorageClass", "PersistentVolumeClaim", "spec/storageClassName"),
    ("storage.k8s.io", "StorageClass", "StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName"),
    ("networking.k8s.io", "IngressClass", "Ingress", "spec/ingressClassName"),
    ("", "ServiceAccount", "RoleBinding", "subjects"),
    ("", "ServiceAccount", "ClusterRoleBinding", "subjects"),
];

/// References to objects of a kind that the reference itself names, in the same way.
const TYPED_FIELDS: [(&str, &str, &str, &str); 8] = [
    ("apps", "Deployment", "HorizontalPodAutoscaler", "spec/scaleTargetRef"),
    ("apps", "ReplicaSet", "HorizontalPodAutoscaler", "spec/scaleTargetRef"),
    ("apps", "StatefulSet", "HorizontalPodAutoscaler", "spec/scaleTargetRef"),
    ("", "ReplicationController", "HorizontalPodAutoscaler", "spec/scaleTargetRef"),
    ("rbac.authorization.k8s.io", "Role", "RoleBinding", "roleRef"),
    ("rbac.authorization.k8s.io", "ClusterRole", "RoleBinding", "roleRef"),
    ("rbac.authorization.k8s.io", "ClusterRole", "ClusterRoleBinding", "roleRef"),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "spec/policyName",
    ),
];

struct Rule {
    group: &'static str,
    kind: &'static str,
    field: FieldSpec,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |group, kind, referrer: &str, path: &str| Rule {
        group,
        kind,
        field: FieldSpec::new("", referrer, path, false),
    };
    let of_pods = PODS.iter().flat_map(|(referrer, pod)| {
        POD_FIELDS.iter().map(move |(group, kind, path)| rule(group, kind, referrer, &format!("{pod}/{path}")))
    });
    let others =
        FIELDS.iter().chain(&TYPED_FIELDS).map(|(group, kind, referrer, path)| rule(group, kind, referrer, path));
    of_pods.chain(others).collect()
});

/// An object that others may refer to.
struct Target {
    id: Id,
    ids: Vec<Id>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

/// Brings every reference up to date.
pub(crate) fn update(resources: &mut [Resource]) -> Result<(), Error> {
    let target = |resource: &Resource| Target {
        id: resource.id(),
        ids: resource.ids(),
        prefixes: resource.prefixes.clone(),
        suffixes: resource.suffixes.clone(),
    };
    let targets: Vec<Target> = resources.iter().map(target).collect();
    for (at, resource) in resources.iter_mut().enumerate() {
        let referrer = &targets[at];
        for rule in RULES.iter().filter(|rule| rule.field.selects(&referrer.id)) {
            let candidates: Vec<&Target> = targets
                .iter()
                .filter(|target| (target.id.group.as_str(), target.id.kind.as_str()) == (rule.group, rule.kind))
                .collect();
            if !candidates.is_empty() {
                let update = Update { referrer, rule, candidates };
                rule.field.visit(&mut resource.object, &mut |value| update.value(value))?;
            }
        }
    }
    Ok(())
}

struct Update<'a> {
    referrer: &'a Target,
    rule: &'a Rule,
    candidates: Vec<&'a Target>,
}

impl Update<'_> {
    fn value(&self, value: &mut Value) -> Result<(), Error> {
        match value {
            Value::String(name) => {
                if let Some(target) = self.target(name, None)? {
                    *name = target.id.name.clone();
                }
                Ok(())
            }
            Value::Array(list) => list.iter_mut().try_for_each(|value| self.value(value)),
            Value::Object(fields) => self.fields(fields),
            _ => Ok(()),
        }
    }

    /// An object with a name, and perhaps a kind, a group and a namespace.
    fn fields(&self, fields: &mut Map<String, Value>) -> Result<(), Error> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        if text("kind").is_some_and(|kind| kind != self.rule.kind)
            || text("apiGroup").is_some_and(|group| !group.is_empty() && group != self.rule.group)
        {
            return Ok(());
        }
        let Some(name) = text("name") else { return Ok(()) };
        let Some(target) = self.target(name, text("namespace"))? else { return Ok(()) };
        let (name, namespace) = (target.id.name.clone(), target.id.namespace.clone());
        let has_namespace = matches!(self.rule.kind, "ServiceAccount" | "Service");
        fields.insert("name".to_string(), name.into());
        if has_namespace && !namespace.is_empty() {
            fields.insert("namespace".to_string(), namespace.into());
        }
        Ok(())
    }

    /// The one object that is or was called so and that this one may mean.
    fn target(&self, name: &str, namespace: Option<&str>) -> Result<Option<&Target>, Error> {
        let mut found: Vec<&Target> = self
            .candidates
            .iter()
            .copied()
            .filter(|target| target.ids.iter().any(|id| id.name == name))
            .filter(|target| match namespace {
                Some(namespace) => target.ids.iter().any(|id| id.effective_namespace() == namespace),
                None => self.is_in_reach(target),
            })
            .collect();
        // Of the same name in several bases, the one of this object's own base is meant.
        for may_be_bare in [true, false] {
            if found.len() > 1 {
                found.retain(|target| self.is_of_same_base(target, may_be_bare));
            }
        }
        if found.len() > 1 && found.iter().any(|target| target.id.name != found[0].id.name) {
            return Err(Error::Ambiguous { referrer: Box::new(self.referrer.id.clone()), name: name.to_string() });
        }
        Ok(found.first().copied())
    }

    fn is_in_reach(&self, target: &Target) -> bool {
        let (referrer, target) = (&self.referrer.id, &target.id);
        referrer.is_cluster_scoped()
            || target.is_cluster_scoped()
            || target.kind == "ServiceAccount" && referrer.kind.ends_with("RoleBinding")
            || target.effective_namespace() == referrer.effective_namespace()
    }

    fn is_of_same_base(&self, target: &Target, may_be_bare: bool) -> bool {
        let ends_alike = |a: &[String], b: &[String]| match (a.is_empty(), b.is_empty()) {
            (true, true) => true,
            (true, false) | (false, true) => may_be_bare,
            (false, false) => a.ends_with(b) || b.ends_with(a),
        };
        ends_alike(&self.referrer.prefixes, &target.prefixes) && ends_alike(&self.referrer.suffixes, &target.suffixes)
    }
}
