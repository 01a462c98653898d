//! `patches`, `patchesStrategicMerge` and `patchesJson6902`.

use machinery::{meta, patch, strict};
use serde_json::Value;

use crate::build::{local_path, read};
use crate::kustomization::{Kustomization, Patch, PatchOptions, refused};
use crate::resource::{Id, Resource};
use crate::select::Matcher;
use crate::tree::Tree;
use crate::{Error, merge};

/// The objects or the operations of a patch.
enum Content {
    Merge(Vec<Value>),
    Json(Value),
}

/// `patchesStrategicMerge`: each entry is a file or the patch itself.
pub(crate) fn strategic_merge_list(
    tree: &dyn Tree,
    folder: &str,
    kustomization: &Kustomization,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    for (index, entry) in kustomization.patches_strategic_merge.iter().enumerate() {
        let field = format!("patchesStrategicMerge[{index}]");
        let is_file = !entry.contains('\n')
            && local_path(folder, &kustomization.file, &field, entry).is_ok_and(|path| tree.read(&path).is_some());
        let bytes = match is_file {
            true => read(tree, folder, &kustomization.file, &field, entry)?,
            false => entry.clone().into_bytes(),
        };
        let refuse = |message: String| refused(&kustomization.file, &field, message);
        match content(&bytes).map_err(refuse)? {
            Content::Merge(changes) => {
                for change in changes {
                    merge_by_id(&change, &PatchOptions::default(), resources)
                        .map_err(|message| refused(&kustomization.file, &field, message))?;
                }
            }
            Content::Json(_) => return Err(refuse("this is a JSON 6902 patch; list it under patches".to_string())),
        }
    }
    Ok(())
}

/// `patches` and `patchesJson6902`.
pub(crate) fn run(
    tree: &dyn Tree,
    folder: &str,
    kustomization: &Kustomization,
    name: &str,
    patches: &[Patch],
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    for (index, entry) in patches.iter().enumerate() {
        let field = format!("{name}[{index}]");
        let bytes = match (entry.path.as_str(), entry.patch.as_str()) {
            ("", "") => return Err(refused(&kustomization.file, &field, "one of patch and path is required")),
            (path, "") => read(tree, folder, &kustomization.file, &field, path)?,
            ("", text) => text.as_bytes().to_vec(),
            _ => return Err(refused(&kustomization.file, &field, "patch and path can't be set at the same time")),
        };
        let source = if entry.path.is_empty() { field } else { format!("{field} ({})", entry.path) };
        one(&bytes, entry, resources).map_err(|message| refused(&kustomization.file, &source, message))?;
    }
    Ok(())
}

fn one(bytes: &[u8], entry: &Patch, resources: &mut Vec<Resource>) -> Result<(), String> {
    let matcher = match &entry.target {
        Some(target) => Some(Matcher::new(target).map_err(|error| format!("target.{error}"))?),
        None => None,
    };
    match (content(bytes)?, matcher) {
        (Content::Merge(changes), None) => {
            changes.iter().try_for_each(|change| merge_by_id(change, &entry.options, resources))
        }
        (Content::Merge(changes), Some(matcher)) => match changes.as_slice() {
            [change] => {
                let selected: Vec<usize> = positions(resources, |resource| matcher.selects(resource));
                merge_into(change, &entry.options, resources, &selected)
            }
            _ => Err("several strategic merge patches in one entry may not have a target".to_string()),
        },
        (Content::Json(_), None) => Err("a JSON 6902 patch needs a target".to_string()),
        (Content::Json(operations), Some(matcher)) => {
            for resource in resources.iter_mut().filter(|resource| matcher.selects(resource)) {
                resource.remember();
                patch::json(&mut resource.object, &operations)
                    .map_err(|error| format!("{}: {error}", resource.id()))?;
            }
            Ok(())
        }
    }
}

/// A list is a JSON 6902 patch, objects are strategic merge patches.
fn content(bytes: &[u8]) -> Result<Content, String> {
    let documents = strict::decode_yaml_documents(bytes, strict::MAX_BYTES, strict::Booleans::Yaml12)
        .map_err(|error| error.to_string())?;
    let mut changes = Vec::new();
    for document in documents {
        if let Some(message) = document.messages().next() {
            return Err(message);
        }
        match document.value {
            Value::Array(operations) if changes.is_empty() => return Ok(Content::Json(Value::Array(operations))),
            Value::Object(change) => changes.push(Value::Object(change)),
            Value::Null => {}
            other => return Err(format!("a patch is an object or a list, not {}", crate::resource::kind_of(&other))),
        }
    }
    if changes.is_empty() {
        return Err("the patch is empty".to_string());
    }
    Ok(Content::Merge(changes))
}

fn positions(resources: &[Resource], is_meant: impl Fn(&Resource) -> bool) -> Vec<usize> {
    resources.iter().enumerate().filter(|(_, resource)| is_meant(resource)).map(|(at, _)| at).collect()
}

/// A patch without a target is for the object that it names.
fn merge_by_id(change: &Value, options: &PatchOptions, resources: &mut Vec<Resource>) -> Result<(), String> {
    let id = Id::of(change);
    if id.kind.is_empty() || id.name.is_empty() {
        return Err("a strategic merge patch without a target needs apiVersion, kind and metadata.name".to_string());
    }
    let found = positions(resources, |resource| resource.ids().iter().any(|other| other.is_same(&id)));
    match found.as_slice() {
        [] => Err(format!("no resource matches strategic merge patch {id}")),
        [_] => merge_into(change, options, resources, &found),
        _ => Err(format!("multiple resources match strategic merge patch {id}")),
    }
}

fn merge_into(
    change: &Value,
    options: &PatchOptions,
    resources: &mut Vec<Resource>,
    selected: &[usize],
) -> Result<(), String> {
    if change.get("$patch").and_then(Value::as_str) == Some("delete") {
        let mut at = 0;
        resources.retain(|_| {
            at += 1;
            !selected.contains(&(at - 1))
        });
        return Ok(());
    }
    for at in selected {
        let resource = &mut resources[*at];
        let id = resource.id();
        resource.remember();
        merge::strategic(&mut resource.object, change, &id).map_err(|message| format!("{id}: {message}"))?;
        if !options.allow_kind_change {
            let api_version =
                if id.group.is_empty() { id.version.clone() } else { format!("{}/{}", id.group, id.version) };
            resource.object["apiVersion"] = api_version.into();
            resource.object["kind"] = id.kind.into();
        }
        if !options.allow_name_change {
            meta::set_name(&mut resource.object, &id.name);
        }
        meta::set_namespace(&mut resource.object, &id.namespace);
    }
    Ok(())
}
