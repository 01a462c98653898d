//! `replacements`: values copied from one object's field, or given, to fields of others.

use machinery::strict;
use serde_json::{Map, Value};

use crate::Error;
use crate::build::{local_path, read};
use crate::kustomization::{FieldOptions, Kustomization, Replacement, Selector, Source, Target, refused};
use crate::resource::{Id, Resource};
use crate::select::Matcher;
use crate::tree::Tree;

/// Carries out the replacements of a kustomization.
pub(crate) fn run(
    tree: &dyn Tree,
    folder: &str,
    kustomization: &Kustomization,
    resources: &mut [Resource],
) -> Result<(), Error> {
    for (index, replacement) in kustomization.replacements.iter().enumerate() {
        let field = format!("replacements[{index}]");
        let refuse = |message: String| refused(&kustomization.file, &field, message);
        for replacement in load(tree, folder, kustomization, &field, replacement)? {
            let value = source_value(&replacement, resources).map_err(refuse)?;
            for target in &replacement.targets {
                apply(&value, target, resources).map_err(refuse)?;
            }
        }
    }
    Ok(())
}

/// The replacement itself, or those of the file that it names.
fn load(
    tree: &dyn Tree,
    folder: &str,
    kustomization: &Kustomization,
    field: &str,
    replacement: &Replacement,
) -> Result<Vec<Replacement>, Error> {
    if replacement.path.is_empty() {
        return Ok(vec![replacement.clone()]);
    }
    let at = local_path(folder, &kustomization.file, field, &replacement.path)?;
    let bytes = read(tree, folder, &kustomization.file, field, &replacement.path)?;
    let wrong = |message: String| Error::File { file: at.clone(), message };
    let value = strict::decode_yaml(&bytes, strict::MAX_BYTES).map_err(|error| wrong(error.to_string()))?.value;
    let list = if value.is_array() { value } else { Value::Array(vec![value]) };
    serde_json::from_value(list).map_err(|error| wrong(error.to_string()))
}

fn source_value(replacement: &Replacement, resources: &[Resource]) -> Result<Value, String> {
    match (&replacement.source, &replacement.source_value) {
        (None, Some(value)) => Ok(Value::String(value.clone())),
        (Some(source), None) => from_source(source, resources),
        _ => Err("exactly one of source and sourceValue is required".to_string()),
    }
}

fn from_source(source: &Source, resources: &[Resource]) -> Result<Value, String> {
    let fits = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    let is_source = |id: &Id| {
        fits(&source.group, &id.group)
            && fits(&source.version, &id.version)
            && fits(&source.kind, &id.kind)
            && fits(&source.name, &id.name)
            && fits(&source.namespace, id.effective_namespace())
    };
    let found: Vec<&Resource> = resources.iter().filter(|resource| resource.ids().iter().any(is_source)).collect();
    let [resource] = found.as_slice() else {
        return Err(format!("source selects {} objects instead of one", found.len()));
    };
    let path = if source.field_path.is_empty() { "metadata.name" } else { &source.field_path };
    let mut object = resource.object.clone();
    let mut values = Vec::new();
    visit(&mut object, &split(path), false, &mut |value| values.push(value.clone()));
    let value =
        values.into_iter().next().ok_or_else(|| format!("fieldPath {path:?} is missing in {}", resource.id()))?;
    if source.options.delimiter.is_empty() {
        return Ok(value);
    }
    let text = text_of(&value).ok_or("delimiter option can only be used with scalar values")?;
    let index = usize::try_from(source.options.index).map_err(|_| "options.index must not be negative".to_string())?;
    let part = text.split(&source.options.delimiter).nth(index);
    part.map(Value::from).ok_or_else(|| format!("options.index {index} is out of bounds for {text:?}"))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn apply(value: &Value, target: &Target, resources: &mut [Resource]) -> Result<(), String> {
    if is_empty(&target.select) {
        return Err("targets[].select is required".to_string());
    }
    let select = Matcher::new(&target.select).map_err(|error| format!("targets[].select.{error}"))?;
    let reject: Vec<Matcher> = target.reject.iter().map(Matcher::new).collect::<Result<_, _>>()?;
    let default = vec!["metadata.name".to_string()];
    let paths = if target.field_paths.is_empty() { &default } else { &target.field_paths };
    for resource in resources.iter_mut() {
        if !select.selects(resource) || reject.iter().any(|reject| reject.selects(resource)) {
            continue;
        }
        resource.remember();
        for path in paths {
            let mut count = 0;
            let mut wrong = None;
            visit(&mut resource.object, &split(path), target.options.create, &mut |place| {
                count += 1;
                match replaced(place, value, &target.options) {
                    Ok(value) => *place = value,
                    Err(error) => wrong = Some(error),
                }
            });
            if let Some(error) = wrong {
                return Err(format!("{path:?} in {}: {error}", resource.id()));
            }
            if count == 0 {
                return Err(format!("unable to find field {path:?} in {}", resource.id()));
            }
        }
    }
    Ok(())
}

fn is_empty(selector: &Selector) -> bool {
    let Selector { group, version, kind, name, namespace, label_selector, annotation_selector } = selector;
    [group, version, kind, name, namespace, label_selector, annotation_selector].iter().all(|text| text.is_empty())
}

/// The whole value, or one part of a text between delimiters.
fn replaced(place: &Value, value: &Value, options: &FieldOptions) -> Result<Value, String> {
    if options.delimiter.is_empty() {
        // Text stays text: a number in an annotation would be no annotation.
        return Ok(match (place, value) {
            (Value::String(_), Value::Number(_) | Value::Bool(_)) => value.to_string().into(),
            _ => value.clone(),
        });
    }
    let value = text_of(value).ok_or("delimiter option can only be used with scalar values")?;
    let text = text_of(place).ok_or("delimiter option can only be used with scalar fields")?;
    let mut parts: Vec<&str> = text.split(&options.delimiter).collect();
    match usize::try_from(options.index) {
        Err(_) => parts.insert(0, &value),
        Ok(index) if index >= parts.len() => parts.push(&value),
        Ok(index) => parts[index] = &value,
    }
    Ok(parts.join(&options.delimiter).into())
}

/// `spec.containers.[name=web].image`, `spec.rules.*.host`, `metadata.annotations.[a.b/c]`, `a\.b`.
fn split(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_bracketed = false;
    let mut chars = path.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'.') => {
                chars.next();
                parts.last_mut().into_iter().for_each(|part| part.push('.'));
            }
            '.' if !is_bracketed => parts.push(String::new()),
            c => {
                is_bracketed = (is_bracketed || c == '[') && c != ']';
                parts.last_mut().into_iter().for_each(|part| part.push(c));
            }
        }
    }
    parts
}

fn visit(value: &mut Value, path: &[String], create: bool, change: &mut dyn FnMut(&mut Value)) {
    let Some((part, rest)) = path.split_first() else { return change(value) };
    let bracketed = part.strip_prefix('[').and_then(|part| part.strip_suffix(']'));
    let condition = bracketed.and_then(|part| part.split_once('='));
    match (value, condition) {
        (Value::Array(list), Some((name, wanted))) => {
            let is_meant = |element: &Value| match name {
                "" => text_of(element).as_deref() == Some(wanted),
                name => element.get(name).and_then(text_of).as_deref() == Some(wanted),
            };
            list.iter_mut()
                .filter(|element| is_meant(element))
                .for_each(|element| visit(element, rest, create, change));
        }
        (Value::Array(list), None) if part == "*" => {
            list.iter_mut().for_each(|element| visit(element, rest, create, change));
        }
        (Value::Array(list), None) => {
            if let Some(element) = part.parse::<usize>().ok().and_then(|index| list.get_mut(index)) {
                visit(element, rest, create, change);
            }
        }
        (Value::Object(fields), None) if part == "*" => {
            fields.values_mut().for_each(|value| visit(value, rest, create, change));
        }
        (Value::Object(fields), None) => {
            let name = bracketed.unwrap_or(part);
            if create && !fields.contains_key(name) {
                let made = if rest.is_empty() { Value::Null } else { Value::Object(Map::new()) };
                fields.insert(name.to_string(), made);
            }
            if let Some(value) = fields.get_mut(name) {
                visit(value, rest, create, change);
            }
        }
        _ => {}
    }
}
