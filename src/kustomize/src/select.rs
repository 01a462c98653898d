//! Which objects a patch or a replacement is for.

use machinery::meta;
use machinery::selector::LabelSelector;
use regex::Regex;

use crate::kustomization::Selector;
use crate::resource::{Id, Resource};

/// A selector with its expressions compiled.
pub(crate) struct Matcher {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: LabelSelector,
    annotations: LabelSelector,
}

impl Matcher {
    /// Compiles a selector.
    ///
    /// # Errors
    /// Which part of it is malformed.
    pub(crate) fn new(selector: &Selector) -> Result<Self, String> {
        let whole = |name: &str, text: &str| match text {
            "" => Ok(None),
            text => Regex::new(&format!("^(?:{text})$")).map(Some).map_err(|error| format!("{name}: {error}")),
        };
        let labels = |name: &str, text: &str| LabelSelector::parse(text).map_err(|error| format!("{name}: {error}"));
        Ok(Self {
            group: whole("group", &selector.group)?,
            version: whole("version", &selector.version)?,
            kind: whole("kind", &selector.kind)?,
            name: whole("name", &selector.name)?,
            namespace: whole("namespace", &selector.namespace)?,
            labels: labels("labelSelector", &selector.label_selector)?,
            annotations: labels("annotationSelector", &selector.annotation_selector)?,
        })
    }

    /// Names and namespaces match as they are and as they were.
    pub(crate) fn selects(&self, resource: &Resource) -> bool {
        let fits = |regex: &Option<Regex>, text: &str| regex.as_ref().is_none_or(|regex| regex.is_match(text));
        let id = resource.id();
        let is_called = |id: &Id| fits(&self.name, &id.name) && fits(&self.namespace, id.effective_namespace());
        fits(&self.group, &id.group)
            && fits(&self.version, &id.version)
            && fits(&self.kind, &id.kind)
            && resource.ids().iter().any(is_called)
            && self.labels.matches(&meta::labels(&resource.object))
            && self.annotations.matches(&meta::annotations(&resource.object))
    }
}
