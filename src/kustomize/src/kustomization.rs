//! The kustomization file: its fields, and what is refused.

use std::collections::BTreeMap;

use machinery::strict;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Error;

/// `configMapGenerator[]` and `secretGenerator[]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Generator {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) behavior: String,
    pub(crate) files: Vec<String>,
    pub(crate) literals: Vec<String>,
    pub(crate) envs: Vec<String>,
    pub(crate) env: String,
    pub(crate) options: GeneratorOptions,
    /// Of secrets only.
    #[serde(rename = "type")]
    pub(crate) type_: String,
}

/// `generatorOptions`, and `options` of one generator.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct GeneratorOptions {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) disable_name_suffix_hash: bool,
    pub(crate) immutable: bool,
}

/// `labels[]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Labels {
    pub(crate) pairs: BTreeMap<String, String>,
    pub(crate) include_selectors: bool,
    pub(crate) include_templates: bool,
    pub(crate) include_volume_claim_templates: bool,
    pub(crate) fields: Vec<Field>,
}

/// `labels[].fields[]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Field {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) create: bool,
}

/// `patches[]` and `patchesJson6902[]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Patch {
    pub(crate) path: String,
    pub(crate) patch: String,
    pub(crate) target: Option<Selector>,
    pub(crate) options: PatchOptions,
}

/// `patches[].options`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PatchOptions {
    pub(crate) allow_name_change: bool,
    pub(crate) allow_kind_change: bool,
}

/// What a patch or replacement is for; regular expressions save in `source`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Selector {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) label_selector: String,
    pub(crate) annotation_selector: String,
}

/// `images[]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) new_name: String,
    pub(crate) new_tag: String,
    pub(crate) tag_suffix: String,
    pub(crate) digest: String,
}

/// `replicas[]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Replicas {
    pub(crate) name: String,
    pub(crate) count: i64,
}

/// `replacements[]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Replacement {
    pub(crate) path: String,
    pub(crate) source: Option<Source>,
    pub(crate) source_value: Option<String>,
    pub(crate) targets: Vec<Target>,
}

/// `replacements[].source`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Source {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) field_path: String,
    pub(crate) options: FieldOptions,
}

/// `replacements[].targets[]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Target {
    pub(crate) select: Selector,
    pub(crate) reject: Vec<Selector>,
    pub(crate) field_paths: Vec<String>,
    pub(crate) options: FieldOptions,
}

/// `options` of a replacement's source and targets.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct FieldOptions {
    pub(crate) delimiter: String,
    pub(crate) index: i64,
    pub(crate) create: bool,
}

/// A kustomization file that was read.
#[derive(Debug, Default)]
pub(crate) struct Kustomization {
    /// Where it stands.
    pub(crate) file: String,
    pub(crate) is_component: bool,
    pub(crate) resources: Vec<String>,
    pub(crate) components: Vec<String>,
    pub(crate) namespace: String,
    pub(crate) name_prefix: String,
    pub(crate) name_suffix: String,
    pub(crate) common_labels: BTreeMap<String, String>,
    pub(crate) labels: Vec<Labels>,
    pub(crate) common_annotations: BTreeMap<String, String>,
    pub(crate) patches_strategic_merge: Vec<String>,
    pub(crate) patches_json6902: Vec<Patch>,
    pub(crate) patches: Vec<Patch>,
    pub(crate) images: Vec<Image>,
    pub(crate) replicas: Vec<Replicas>,
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) config_map_generator: Vec<Generator>,
    pub(crate) secret_generator: Vec<Generator>,
    pub(crate) generator_options: GeneratorOptions,
}

/// Fields of kustomize that are not supported, and what to do instead.
const UNSUPPORTED: [(&str, &str); 13] = [
    ("vars", "use replacements"),
    ("helmCharts", "render the chart and commit the result"),
    ("helmGlobals", "render the chart and commit the result"),
    ("helmChartInflationGenerator", "render the chart and commit the result"),
    ("generators", "plugins are not run; use configMapGenerator, secretGenerator or plain files"),
    ("transformers", "plugins are not run; use the fields of the kustomization itself"),
    ("validators", "plugins are not run"),
    ("configurations", "the built-in field specs are fixed; use labels[].fields, patches or replacements"),
    ("crds", "references of custom resources are not followed; use replacements"),
    ("openapi", "the built-in schemas are fixed; use JSON 6902 patches for lists of custom resources"),
    ("buildMetadata", "origin annotations are not written; remove the field"),
    ("inventory", "prune is done by whoever applies the result; remove the field"),
    ("imageTags", "use images"),
];

impl Kustomization {
    /// Reads a kustomization file.
    pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |message: String| Error::File { file: file.to_string(), message };
        let decoded = strict::decode_yaml(bytes, strict::MAX_BYTES).map_err(|error| wrong(error.to_string()))?;
        if let Some(message) = decoded.messages().next() {
            return Err(wrong(message));
        }
        let fields = match decoded.value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => return Err(wrong(format!("expected an object, got {}", crate::resource::kind_of(&other)))),
        };
        let mut kustomization = Self { file: file.to_string(), ..Self::default() };
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
            kustomization.set(&name, value)?;
        }
        Ok(kustomization)
    }

    fn set(&mut self, name: &str, value: Value) -> Result<(), Error> {
        let file = self.file.clone();
        match name {
            "apiVersion" => {
                let version: String = read(&file, name, value)?;
                if !version.starts_with("kustomize.config.k8s.io/") {
                    return Err(refused(&file, name, format!("{version:?} is no version of kustomize.config.k8s.io")));
                }
            }
            "kind" => match read::<String>(&file, name, value)?.as_str() {
                "Kustomization" => {}
                "Component" => self.is_component = true,
                other => return Err(refused(&file, name, format!("{other:?} is neither Kustomization nor Component"))),
            },
            // The kustomization's own name says nothing about its objects.
            "metadata" => {}
            "resources" | "bases" => self.resources.append(&mut read(&file, name, value)?),
            "components" => self.components = read(&file, name, value)?,
            "namespace" => self.namespace = read(&file, name, value)?,
            "namePrefix" => self.name_prefix = read(&file, name, value)?,
            "nameSuffix" => self.name_suffix = read(&file, name, value)?,
            "commonLabels" => self.common_labels = read(&file, name, value)?,
            "labels" => self.labels = read(&file, name, value)?,
            "commonAnnotations" => self.common_annotations = read(&file, name, value)?,
            "patchesStrategicMerge" => self.patches_strategic_merge = read(&file, name, value)?,
            "patchesJson6902" => self.patches_json6902 = read(&file, name, value)?,
            "patches" => self.patches = read(&file, name, value)?,
            "images" => self.images = read(&file, name, value)?,
            "replicas" => self.replicas = read(&file, name, value)?,
            "replacements" => self.replacements = read(&file, name, value)?,
            "configMapGenerator" => self.config_map_generator = read(&file, name, value)?,
            "secretGenerator" => self.secret_generator = read(&file, name, value)?,
            "generatorOptions" => self.generator_options = read(&file, name, value)?,
            "sortOptions" => {
                if value.get("order").and_then(Value::as_str) != Some("fifo") {
                    return Err(refused(&file, name, "only order: fifo is supported; remove the field"));
                }
            }
            other => {
                let known = UNSUPPORTED.iter().find(|(name, _)| *name == other);
                let message =
                    known.map_or_else(|| "unknown field".to_string(), |(_, remedy)| format!("not supported: {remedy}"));
                return Err(refused(&file, other, message));
            }
        }
        Ok(())
    }
}

/// A field's value, or the file, field and element that are wrong.
fn read<T: DeserializeOwned>(file: &str, name: &str, value: Value) -> Result<T, Error> {
    let elements: Vec<Value> = value.as_array().cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|error| {
        // Which element of a list it was, where that can be said.
        let at = elements
            .iter()
            .position(|element| serde_json::from_value::<T>(Value::Array(vec![element.clone()])).is_err());
        refused(file, &at.map_or_else(|| name.to_string(), |at| format!("{name}[{at}]")), error.to_string())
    })
}

pub(crate) fn refused(file: &str, field: &str, message: impl Into<String>) -> Error {
    Error::Field { file: file.to_string(), field: field.to_string(), message: message.into() }
}
