//! `namespace`, `namePrefix`, `nameSuffix` and `replicas`. What refers to a name follows in [`crate::references`].

use std::convert::Infallible;

use machinery::meta;
use serde_json::Value;

use crate::Error;
use crate::fieldspec::FieldSpec;
use crate::kustomization::{Kustomization, refused};
use crate::resource::{Id, Resource};

/// Kinds that keep their name whatever the prefix: what they are called is what they are.
const UNPREFIXED: [(&str, &str); 3] =
    [("", "CustomResourceDefinition"), ("apiregistration.k8s.io", "APIService"), ("", "Namespace")];

const SCALABLE: [&str; 4] = ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"];

/// Puts every namespaced object into a namespace, and names Namespace objects by it.
pub(crate) fn set_namespace(namespace: &str, resources: &mut [Resource]) {
    if namespace.is_empty() {
        return;
    }
    let service_fields = [
        FieldSpec::new("apiregistration.k8s.io", "APIService", "spec/service/namespace", true),
        FieldSpec::new(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "spec/conversion/webhook/clientConfig/service/namespace",
            false,
        ),
    ];
    for resource in resources {
        resource.remember();
        let id = resource.id();
        if (id.group.as_str(), id.kind.as_str()) == ("", "Namespace") {
            meta::set_name(&mut resource.object, namespace);
        } else if !id.is_cluster_scoped() {
            meta::set_namespace(&mut resource.object, namespace);
        }
        if matches!(id.kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
            set_default_subjects(&mut resource.object, namespace);
        }
        for field in service_fields.iter().filter(|field| field.selects(&id)) {
            let Ok(()) = field.visit::<Infallible>(&mut resource.object, &mut |value| {
                *value = namespace.into();
                Ok(())
            });
        }
    }
}

/// The account called `default` is in every namespace, so that it is always the one of this namespace. Others follow
/// their ServiceAccount, where it is part of the build.
fn set_default_subjects(object: &mut Value, namespace: &str) {
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        if subject.get("name").and_then(Value::as_str) == Some("default")
            && let Value::Object(fields) = subject
        {
            fields.insert("namespace".to_string(), namespace.into());
        }
    }
}

fn is_renamed(id: &Id) -> bool {
    !UNPREFIXED.iter().any(|(group, kind)| id.kind == *kind && (group.is_empty() || id.group == *group))
}

/// Puts a prefix before names.
pub(crate) fn add_prefix(prefix: &str, resources: &mut [Resource]) {
    if prefix.is_empty() {
        return;
    }
    for resource in resources.iter_mut().filter(|resource| is_renamed(&resource.original_id())) {
        resource.remember();
        let name = format!("{prefix}{}", meta::name(&resource.object));
        meta::set_name(&mut resource.object, &name);
        resource.prefixes.push(prefix.to_string());
    }
}

/// Puts a suffix after names.
pub(crate) fn add_suffix(suffix: &str, resources: &mut [Resource]) {
    if suffix.is_empty() {
        return;
    }
    for resource in resources.iter_mut().filter(|resource| is_renamed(&resource.original_id())) {
        resource.remember();
        let name = format!("{}{suffix}", meta::name(&resource.object));
        meta::set_name(&mut resource.object, &name);
        resource.suffixes.push(suffix.to_string());
    }
}

/// Sets `spec.replicas` of what is or was called by a name.
pub(crate) fn set_replicas(kustomization: &Kustomization, resources: &mut [Resource]) -> Result<(), Error> {
    for (index, replicas) in kustomization.replicas.iter().enumerate() {
        let mut is_found = false;
        for resource in resources.iter_mut() {
            let is_meant = |id: &Id| id.name == replicas.name && SCALABLE.contains(&id.kind.as_str());
            if !resource.ids().iter().any(is_meant) {
                continue;
            }
            is_found = true;
            let field = FieldSpec::new("", "", "spec/replicas", true);
            let Ok(()) = field.visit::<Infallible>(&mut resource.object, &mut |value| {
                *value = replicas.count.into();
                Ok(())
            });
        }
        if !is_found {
            let message = format!("no {} is called {:?}", SCALABLE.join(", "), replicas.name);
            return Err(refused(&kustomization.file, &format!("replicas[{index}]"), message));
        }
    }
    Ok(())
}
