//! Putting a kustomization together: what it is made of first, then what it does to it, then the names.

use machinery::{meta, strict};
use serde_json::Value;

use crate::Error;
use crate::kustomization::{Kustomization, refused};
use crate::resource::{self, Resource};
use crate::tree::{KUSTOMIZATION_FILES, Tree, is_remote, join};
use crate::{generate, hash, images, labels, names, patches, references, replacements};

/// Kustomizations within kustomizations; deeper is a loop or a mistake.
const MAX_DEPTH: usize = 32;
/// More objects than this are no application.
const MAX_OBJECTS: usize = 20_000;
/// Objects with this annotation are for tools and not for the cluster.
const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";

pub(crate) fn build(tree: &dyn Tree, folder: &str) -> Result<Vec<Value>, Error> {
    let folder = join("", folder).ok_or_else(|| Error::Missing(format!("{folder}: outside of the tree")))?;
    let mut resources = Builder { tree, open: Vec::new() }.kustomization(&folder, Vec::new(), false)?;
    hash::add(&mut resources);
    references::update(&mut resources)?;
    resources.retain(|resource| meta::annotation(&resource.object, LOCAL_CONFIG).is_none_or(|value| value == "false"));
    Ok(resources.into_iter().map(|resource| resource.object).collect())
}

struct Builder<'a> {
    tree: &'a dyn Tree,
    /// The folders that are being read, outermost first.
    open: Vec<String>,
}

impl Builder<'_> {
    /// What a kustomization makes of `resources`, which is empty save for components.
    fn kustomization(
        &mut self,
        folder: &str,
        resources: Vec<Resource>,
        is_component: bool,
    ) -> Result<Vec<Resource>, Error> {
        let kustomization = self.load(folder)?;
        let file = kustomization.file.clone();
        if self.open.iter().any(|open| open == folder) {
            let way = self.open.join(" -> ");
            return Err(Error::File { file, message: format!("cycle detected: {way} -> {folder}") });
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Error::TooLarge { file, message: format!("more than {MAX_DEPTH} kustomizations deep") });
        }
        if kustomization.is_component != is_component {
            let (expected, field) =
                if is_component { ("Component", "resources") } else { ("Kustomization", "components") };
            return Err(refused(&file, "kind", format!("expected a {expected} here; list it under {field} instead")));
        }
        self.open.push(folder.to_string());
        let result = self.accumulate(folder, &kustomization, resources);
        self.open.pop();
        result
    }

    fn load(&self, folder: &str) -> Result<Kustomization, Error> {
        let mut found: Option<Kustomization> = None;
        for name in KUSTOMIZATION_FILES {
            let path = join(folder, name).unwrap_or_default();
            let Some(bytes) = self.tree.read(&path) else { continue };
            if let Some(other) = found {
                let message = format!("{path} is there too; keep one of them");
                return Err(Error::File { file: other.file, message });
            }
            found = Some(Kustomization::parse(&path, &bytes)?);
        }
        let shown = if folder.is_empty() { "." } else { folder };
        found.ok_or_else(|| {
            Error::Missing(format!("{shown}: no {}", KUSTOMIZATION_FILES.join(", ")).replace(", K", " or K"))
        })
    }

    fn accumulate(
        &mut self,
        folder: &str,
        kustomization: &Kustomization,
        mut resources: Vec<Resource>,
    ) -> Result<Vec<Resource>, Error> {
        let file = &kustomization.file;
        for (index, path) in kustomization.resources.iter().enumerate() {
            let field = format!("resources[{index}]");
            let added = self.resource(folder, file, &field, path)?;
            for resource in added {
                append(&mut resources, resource, file)?;
            }
        }
        generate::run(self.tree, folder, kustomization, &mut resources)?;
        for (index, path) in kustomization.components.iter().enumerate() {
            let field = format!("components[{index}]");
            let folder = local_path(folder, file, &field, path)?;
            resources = self.kustomization(&folder, resources, true)?;
        }
        patches::strategic_merge_list(self.tree, folder, kustomization, &mut resources)?;
        patches::run(self.tree, folder, kustomization, "patches", &kustomization.patches, &mut resources)?;
        names::set_namespace(&kustomization.namespace, &mut resources);
        names::add_prefix(&kustomization.name_prefix, &mut resources);
        names::add_suffix(&kustomization.name_suffix, &mut resources);
        labels::run(kustomization, &mut resources);
        let json_patches = &kustomization.patches_json6902;
        patches::run(self.tree, folder, kustomization, "patchesJson6902", json_patches, &mut resources)?;
        names::set_replicas(kustomization, &mut resources)?;
        images::run(kustomization, &mut resources)?;
        replacements::run(self.tree, folder, kustomization, &mut resources)?;
        check_unique(&resources, file)?;
        Ok(resources)
    }

    fn resource(&mut self, folder: &str, file: &str, field: &str, path: &str) -> Result<Vec<Resource>, Error> {
        let at = local_path(folder, file, field, path)?;
        if let Some(bytes) = self.tree.read(&at) {
            return Ok(resource::parse(&at, &bytes)?.into_iter().map(Resource::new).collect());
        }
        let is_folder =
            KUSTOMIZATION_FILES.iter().any(|name| join(&at, name).is_some_and(|at| self.tree.read(&at).is_some()));
        if !is_folder {
            let message = format!("{path:?} is neither a file nor a folder with a kustomization.yaml");
            return Err(refused(file, field, message));
        }
        self.kustomization(&at, Vec::new(), false)
    }
}

/// The place in the tree that a path of a kustomization means.
pub(crate) fn local_path(folder: &str, file: &str, field: &str, path: &str) -> Result<String, Error> {
    if is_remote(path) {
        return Err(refused(file, field, format!("{path:?} is remote, which is not supported: commit a copy of it")));
    }
    join(folder, path).ok_or_else(|| refused(file, field, format!("{path:?} is outside of the repository")))
}

/// The bytes of a file that a kustomization names.
pub(crate) fn read(tree: &dyn Tree, folder: &str, file: &str, field: &str, path: &str) -> Result<Vec<u8>, Error> {
    let at = local_path(folder, file, field, path)?;
    let bytes = tree.read(&at).ok_or_else(|| refused(file, field, format!("there is no file {at:?}")))?;
    if bytes.len() > strict::MAX_BYTES {
        return Err(Error::TooLarge { file: at, message: format!("larger than {} bytes", strict::MAX_BYTES) });
    }
    Ok(bytes)
}

fn append(resources: &mut Vec<Resource>, resource: Resource, file: &str) -> Result<(), Error> {
    let id = resource.id();
    if resources.iter().any(|other| other.id().is_same(&id)) {
        return Err(Error::Conflict { file: file.to_string(), id: Box::new(id) });
    }
    if resources.len() >= MAX_OBJECTS {
        return Err(Error::TooLarge { file: file.to_string(), message: format!("more than {MAX_OBJECTS} objects") });
    }
    resources.push(resource);
    Ok(())
}

/// Renaming may make two objects one.
fn check_unique(resources: &[Resource], file: &str) -> Result<(), Error> {
    let mut seen = std::collections::HashSet::new();
    for resource in resources {
        let id = resource.id();
        if !seen.insert((id.group.clone(), id.kind.clone(), id.effective_namespace().to_string(), id.name.clone())) {
            return Err(Error::Conflict { file: file.to_string(), id: Box::new(id) });
        }
    }
    Ok(())
}
