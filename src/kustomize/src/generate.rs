//! `configMapGenerator` and `secretGenerator`: objects made of files, literals and environment files.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use machinery::{meta, names};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::build::read;
use crate::kustomization::{Generator, Kustomization, refused};
use crate::resource::Resource;
use crate::tree::Tree;

/// Adds what a kustomization generates, or merges it into what is there.
pub(crate) fn run(
    tree: &dyn Tree,
    folder: &str,
    kustomization: &Kustomization,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    let maps =
        kustomization.config_map_generator.iter().map(|generator| ("ConfigMap", "configMapGenerator", generator));
    let secrets = kustomization.secret_generator.iter().map(|generator| ("Secret", "secretGenerator", generator));
    let mut index = BTreeMap::new();
    for (kind, field, generator) in maps.chain(secrets) {
        let at = index.entry(field).or_insert(0usize);
        let place = Place { tree, folder, file: &kustomization.file, field: format!("{field}[{at}]") };
        *at += 1;
        let generated = place.generate(kind, generator, kustomization)?;
        place.absorb(generated, &generator.behavior, resources)?;
    }
    Ok(())
}

/// Where a generator stands, for reading and for errors.
struct Place<'a> {
    tree: &'a dyn Tree,
    folder: &'a str,
    file: &'a str,
    field: String,
}

impl Place<'_> {
    fn refused<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(refused(self.file, &self.field, message))
    }

    fn generate(&self, kind: &str, generator: &Generator, kustomization: &Kustomization) -> Result<Resource, Error> {
        if generator.name.is_empty() {
            return self.refused("a name is required");
        }
        if kind == "ConfigMap" && !generator.type_.is_empty() {
            return self.refused("unknown field `type`: a ConfigMap has none");
        }
        let pairs = self.pairs(generator)?;
        let mut object = json!({"apiVersion": "v1", "kind": kind});
        meta::set_name(&mut object, &generator.name);
        meta::set_namespace(&mut object, &generator.namespace);
        let mut data = Map::new();
        let mut binary = Map::new();
        for (key, bytes) in pairs {
            match String::from_utf8(bytes) {
                Ok(text) if kind == "ConfigMap" => data.insert(key, Value::String(text)),
                Ok(text) => data.insert(key, Value::String(STANDARD.encode(text))),
                Err(bytes) if kind == "ConfigMap" => binary.insert(key, STANDARD.encode(bytes.into_bytes()).into()),
                Err(bytes) => data.insert(key, STANDARD.encode(bytes.into_bytes()).into()),
            };
        }
        if !data.is_empty() || kind == "Secret" {
            object["data"] = Value::Object(data);
        }
        if !binary.is_empty() {
            object["binaryData"] = Value::Object(binary);
        }
        if kind == "Secret" {
            object["type"] = if generator.type_.is_empty() { "Opaque".into() } else { generator.type_.as_str().into() };
        }
        let (common, own) = (&kustomization.generator_options, &generator.options);
        for (key, value) in common.labels.iter().chain(&own.labels) {
            meta::set_label(&mut object, key, value);
        }
        for (key, value) in common.annotations.iter().chain(&own.annotations) {
            meta::set_annotation(&mut object, key, value);
        }
        if common.immutable || own.immutable {
            object["immutable"] = true.into();
        }
        let mut resource = Resource::new(object);
        resource.needs_hash = !(common.disable_name_suffix_hash || own.disable_name_suffix_hash);
        Ok(resource)
    }

    fn pairs(&self, generator: &Generator) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut pairs = Vec::new();
        for path in generator.envs.iter().chain(Some(&generator.env).filter(|env| !env.is_empty())) {
            pairs.append(&mut self.env_file(path)?);
        }
        for literal in &generator.literals {
            pairs.push(self.literal(literal)?);
        }
        for source in &generator.files {
            pairs.push(self.file_source(source)?);
        }
        let mut data = BTreeMap::new();
        for (key, value) in pairs {
            if let Some(message) = names::config_map_key(&key).first() {
                return self.refused(format!("{key:?} is no valid key: {message}"));
            }
            if data.insert(key.clone(), value).is_some() {
                return self.refused(format!("{} illegally repeats the key {key:?}", generator.name));
            }
        }
        Ok(data)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        read(self.tree, self.folder, self.file, &self.field, path)
    }

    /// `path`, whose file name is the key, or `key=path`.
    fn file_source(&self, source: &str) -> Result<(String, Vec<u8>), Error> {
        let (key, path) = match source.split_once('=') {
            None => (source.rsplit('/').next().unwrap_or(source), source),
            Some(("", _)) => return self.refused(format!("missing key name in file source {source:?}")),
            Some((_, "")) => return self.refused(format!("missing file path in file source {source:?}")),
            Some((_, path)) if path.contains('=') => {
                return self.refused(format!("key name or file path contains '=' in file source {source:?}"));
            }
            Some(pair) => pair,
        };
        Ok((key.to_string(), self.read(path)?))
    }

    /// `key=value`, with or without quotes around the value.
    fn literal(&self, literal: &str) -> Result<(String, Vec<u8>), Error> {
        let Some((key, value)) = literal.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return self.refused(format!("invalid literal source {literal:?}, expected key=value"));
        };
        let unquoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = unquoted('"').or_else(|| unquoted('\'')).unwrap_or(value);
        Ok((key.to_string(), value.as_bytes().to_vec()))
    }

    /// Lines of `KEY=value`, empty ones and comments.
    fn env_file(&self, path: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let text = String::from_utf8(self.read(path)?);
        let Ok(text) = text else { return self.refused(format!("{path:?} is not UTF-8")) };
        let mut pairs = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            if let Some(message) = names::strict_env_var_name(key).first() {
                return self.refused(format!("{path:?}: {key:?}: {message}"));
            }
            pairs.push((key.to_string(), value.as_bytes().to_vec()));
        }
        Ok(pairs)
    }

    fn absorb(&self, mut new: Resource, behavior: &str, resources: &mut Vec<Resource>) -> Result<(), Error> {
        let id = new.id();
        let mut matching = resources.iter_mut().filter(|other| other.ids().iter().any(|other| other.is_same(&id)));
        let found = matching.next();
        if matching.next().is_some() {
            return self.refused(format!("several objects are or were called {id}"));
        }
        match (behavior, found) {
            ("" | "create" | "unspecified", None) => resources.push(new),
            ("" | "create" | "unspecified", Some(_)) => {
                return self.refused(format!("{id} exists already; behavior must be merge or replace"));
            }
            ("merge" | "replace", None) => {
                return self.refused(format!("id {id} does not exist; cannot merge or replace"));
            }
            ("merge", Some(old)) => {
                for name in ["data", "binaryData", "stringData"] {
                    merge_map(&mut new.object, &old.object, &[name]);
                }
                take_identity(&mut new, old);
                *old = new;
            }
            ("replace", Some(old)) => {
                take_identity(&mut new, old);
                *old = new;
            }
            (other, _) => return self.refused(format!("unknown behavior {other:?}; use create, merge or replace")),
        }
        Ok(())
    }
}

/// What is called as the old object, and labelled as both, with the new one's values first.
fn take_identity(new: &mut Resource, old: &Resource) {
    for name in ["labels", "annotations"] {
        merge_map(&mut new.object, &old.object, &["metadata", name]);
    }
    meta::set_name(&mut new.object, meta::name(&old.object));
    meta::set_namespace(&mut new.object, meta::namespace(&old.object));
    new.previous = old.previous.clone();
    new.prefixes = old.prefixes.clone();
    new.suffixes = old.suffixes.clone();
    // What was written by hand keeps its name.
    new.needs_hash &= old.needs_hash;
}

fn merge_map(new: &mut Value, old: &Value, path: &[&str]) {
    let Some(Value::Object(old)) = meta::value_at(old, path) else { return };
    let target = path.iter().try_fold(new, |at, name| Some(at.as_object_mut()?.entry(*name).or_insert(Value::Null)));
    let Some(target) = target else { return };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(fields) = target {
        for (key, value) in old {
            fields.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}
