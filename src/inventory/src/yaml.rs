//! YAML with the place of every value, and its mistakes in the operator's words.

use std::borrow::Cow;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Place, Problem};

mod words;

/// A value and where it stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_yaml::Spanned::<T>::deserialize(deserializer)?;
        let place = Place { line: spanned.referenced.line(), column: spanned.referenced.column() };
        Ok(Self { value: spanned.value, place })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The text of a file, which must be UTF-8.
pub(crate) fn text(bytes: Vec<u8>, path: &Path) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        let last = good.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() as u64 + 1;
        let message = "this byte is not UTF-8: save the file in that encoding".to_owned();
        Error::Invalid { problems: vec![Problem { file: path.to_owned(), line, column, message }] }
    })
}

/// Reads one YAML document into `T`.
pub(crate) fn from_str<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, Error> {
    serde_yaml::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
        let message = words::explain(error, text, Place { line, column });
        let problem = Problem { file: path.to_owned(), line, column, message };
        Error::Invalid { problems: vec![problem] }
    })
}

/// `did you mean ...` where one of `known` is near, the whole list otherwise.
pub(crate) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    let near = |candidate: &&str| strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase());
    let best = known.iter().map(|candidate| (near(candidate), *candidate)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        // Below this two words share letters by chance only.
        Some((likeness, candidate)) if likeness >= 0.75 => format!("did you mean `{candidate}`?"),
        _ if known.is_empty() => "none is defined".to_owned(),
        _ => format!("known here: {}", known.join(", ")),
    }
}
