//! DefaultStorageClass and DefaultIngressClass: claims and ingresses that name no class get the default one.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{forbidden, is};
use crate::live::{Live, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

/// Fills in the class of one kind.
pub struct DefaultClass {
    live: Live,
    name: &'static str,
    /// Group and resource of what gets a class.
    of: (&'static str, &'static str),
    /// The field of its spec.
    field: &'static str,
    /// The old form of saying it, as a JSON pointer.
    annotation: &'static str,
    /// Group and resource of the classes.
    classes: (&'static str, &'static str),
    /// What marks the default one, as a JSON pointer.
    marks: &'static [&'static str],
    /// Several defaults are an error, or the newest counts.
    only_one: bool,
}

impl DefaultClass {
    /// `storageClassName` of claims.
    pub fn storage(live: Live) -> Self {
        Self {
            live,
            name: "DefaultStorageClass",
            of: ("", "persistentvolumeclaims"),
            field: "storageClassName",
            annotation: "/metadata/annotations/volume.beta.kubernetes.io~1storage-class",
            classes: ("storage.k8s.io", "storageclasses"),
            marks: &[
                "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
                "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class",
            ],
            only_one: false,
        }
    }

    /// `ingressClassName` of ingresses.
    pub fn ingress(live: Live) -> Self {
        Self {
            live,
            name: "DefaultIngressClass",
            of: ("networking.k8s.io", "ingresses"),
            field: "ingressClassName",
            annotation: "/metadata/annotations/kubernetes.io~1ingress.class",
            classes: ("networking.k8s.io", "ingressclasses"),
            marks: &["/metadata/annotations/ingressclass.kubernetes.io~1is-default-class"],
            only_one: true,
        }
    }
}

#[async_trait]
impl Admission for DefaultClass {
    fn name(&self) -> &'static str {
        self.name
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        // An empty name is a word too: no class.
        let named = object["spec"].get(self.field).is_some_and(|class| !class.is_null());
        let annotated = object.pointer(self.annotation).is_some();
        if !is(request, self.of.0, self.of.1) || !object["spec"].is_object() || named || annotated {
            return Ok(());
        }
        let mut classes = self.live.list(self.classes.0, self.classes.1, "").await?;
        classes.retain(|class| self.marks.iter().any(|mark| text(class, mark) == "true"));
        if classes.len() > 1 && self.only_one {
            let why = format!("{} default {} found; only one may be marked as default", classes.len(), self.classes.1);
            return Err(forbidden(request, Some(object), why));
        }
        let newest = classes.iter().max_by(|a, b| {
            let order =
                |class| (text(class, "/metadata/creationTimestamp"), std::cmp::Reverse(text(class, "/metadata/name")));
            order(a).cmp(&order(b))
        });
        if let Some(class) = newest {
            object["spec"][self.field] = json!(text(class, "/metadata/name"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Cluster, create, run};
    use super::*;

    #[tokio::test]
    async fn what_names_no_class_gets_the_newest_default() {
        let cluster = Cluster::new();
        let class = |name: &str, made: &str, default: &str| {
            json!({"apiVersion": "storage.k8s.io/v1", "metadata": {"name": name, "creationTimestamp": made,
                "annotations": {"storageclass.kubernetes.io/is-default-class": default}}})
        };
        cluster.put("storageclasses", class("old", "2026-01-01T00:00:00Z", "true")).await;
        cluster.put("storageclasses", class("new", "2026-02-01T00:00:00Z", "true")).await;
        cluster.put("storageclasses", class("other", "2026-03-01T00:00:00Z", "false")).await;
        let plugin = DefaultClass::storage(cluster.live.clone());
        let asked = create("", "persistentvolumeclaims", "ns");
        for (spec, expected) in [
            (json!({}), json!("new")),
            (json!({"storageClassName": ""}), json!("")),
            (json!({"storageClassName": "old"}), json!("old")),
        ] {
            let claim = run(&plugin, &asked, Some(json!({"spec": spec}))).await.expect("admitted");
            assert_eq!(claim["spec"]["storageClassName"], expected);
        }
    }

    #[tokio::test]
    async fn two_default_ingress_classes_are_refused() {
        let cluster = Cluster::new();
        let plugin = DefaultClass::ingress(cluster.live.clone());
        let asked = create("networking.k8s.io", "ingresses", "ns");
        for (name, expected) in [("a", Some("a")), ("b", None)] {
            let class = json!({"apiVersion": "networking.k8s.io/v1", "metadata": {"name": name,
                "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}});
            cluster.put("ingressclasses", class).await;
            let found = run(&plugin, &asked, Some(json!({"spec": {}}))).await.ok();
            assert_eq!(found.as_ref().map(|found| text(found, "/spec/ingressClassName")), expected);
        }
    }
}
