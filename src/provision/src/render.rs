//! The files that land on hosts, from templates/.

use include_dir::{Dir, include_dir};
use tera::{Context, Tera};

use crate::error::Error;

static TEMPLATES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../templates");

/// The templates, parsed once a run.
pub struct Templates(Tera);

impl Templates {
    /// Parses every template.
    ///
    /// # Errors
    /// [`Error::Template`] where one is not a template; a test renders them all.
    pub fn new() -> Result<Self, Error> {
        let mut tera = Tera::new();
        let files = TEMPLATES.files().filter_map(|file| Some((file.path().to_str()?, file.contents_utf8()?)));
        tera.add_raw_templates(files).map_err(|source| Error::Template { name: "templates/".to_owned(), source })?;
        // These are configuration files, not web pages.
        tera.autoescape_on(Vec::<&str>::new());
        Ok(Self(tera))
    }

    /// One file's content.
    ///
    /// # Errors
    /// [`Error::Template`] where a value is missing.
    pub fn render(&self, name: &str, context: &Context) -> Result<String, Error> {
        self.0.render(name, context).map_err(|source| Error::Template { name: name.to_owned(), source })
    }
}

/// A value as YAML on one line: JSON is YAML.
pub fn yaml(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).map(|value| value.to_string()).unwrap_or_default()
}
