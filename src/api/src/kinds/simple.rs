//! Kinds that are fully described by their columns, fields and a few functions.

use jiff::Timestamp;
use machinery::apply::Reset;
use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::Value;

use crate::resource::{Column, Kind};
use crate::table::{age, age_column, column, name, name_column};
use crate::{read, strategy};

/// A kind as data. Begin with [`Simple::PLAIN`] or [`Simple::CREATED_AT`] and say what differs.
pub struct Simple {
    /// What `kubectl get` shows.
    pub columns: &'static [Column<'static>],
    /// The cells of an object, one a column.
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
    /// What field selectors may name.
    pub fields: &'static [&'static str],
    /// Whether generations are counted.
    pub has_generation: bool,
    /// Whether a change of the annotations counts as one: a controller hands them on.
    pub counts_annotations: bool,
    /// What writes to `status` do not change.
    pub reset_in_status: Reset<'static>,
    /// Defaults that depend on other fields.
    pub default: fn(&mut Value),
    /// What the server sets in new objects besides the usual.
    pub prepare_create: Option<fn(&mut Value)>,
    /// What the server sets or keeps in changed ones besides the usual (new, old).
    pub prepare_update: Option<fn(&mut Value, &Value)>,
    /// What had better be otherwise.
    pub warnings: fn(&Value) -> Vec<String>,
    /// What is wrong with an object.
    pub validate: fn(&Value) -> FieldErrors,
    /// What is wrong with an object whose spec is as it was, where that is not all of the above: rules that came later
    /// do not hold up what is there, its deletion least of all.
    pub validate_kept: Option<fn(&Value) -> FieldErrors>,
    /// What is wrong with a new object alone.
    pub validate_new: fn(&Value) -> FieldErrors,
    /// What is wrong with a change (new, old).
    pub validate_update: fn(&Value, &Value) -> FieldErrors,
    /// What is wrong with a change of the status (new, old).
    pub validate_status: fn(&Value, &Value) -> FieldErrors,
}

impl Simple {
    /// A name and an age.
    pub const PLAIN: Self = Self {
        columns: &[name_column(), age_column()],
        cells: |object, now| vec![name(object), age(object, now)],
        fields: &[],
        has_generation: false,
        counts_annotations: false,
        reset_in_status: Reset::Fields(&[&["spec"]]),
        default: |_| {},
        prepare_create: None,
        prepare_update: None,
        warnings: |_| Vec::new(),
        validate: |_| FieldErrors::new(),
        validate_kept: None,
        validate_new: |_| FieldErrors::new(),
        validate_update: |_, _| FieldErrors::new(),
        validate_status: |_, _| FieldErrors::new(),
    };

    /// A name and the time of creation, as kinds have of which Kubernetes' printers know nothing.
    pub const CREATED_AT: Self = Self {
        columns: &[name_column(), column("Created At", "date", "When the object was created.")],
        cells: |object, _| vec![name(object), meta::text_at(object, &["metadata", "creationTimestamp"]).into()],
        ..Self::PLAIN
    };
}

impl Kind for Simple {
    fn default(&self, object: &mut Value) {
        (self.default)(object);
    }

    fn has_generation(&self) -> bool {
        self.has_generation
    }

    fn prepare_create(&self, object: &mut Value) {
        strategy::create(object, self.has_generation);
        if let Some(prepare) = self.prepare_create {
            prepare(object);
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        strategy::update(object, old, self.has_generation);
        let annotations = |object: &Value| read::at(object, "metadata.annotations").clone();
        if self.counts_annotations
            && meta::generation(object) == meta::generation(old)
            && !read::same(&annotations(object), &annotations(old))
        {
            meta::set_generation(object, meta::generation(old) + 1);
        }
        if let Some(prepare) = self.prepare_update {
            prepare(object, old);
        }
    }

    fn reset_fields(&self, subresource: &str) -> Reset<'static> {
        match subresource {
            "" => Reset::Fields(&[&["status"]]),
            "status" => self.reset_in_status,
            _ => Reset::NONE,
        }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        (self.warnings)(object)
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        (self.validate)(object)
    }

    fn validate_changed(&self, object: &Value, old: &Value) -> FieldErrors {
        match self.validate_kept {
            Some(validate_kept) if object["spec"] == old["spec"] => validate_kept(object),
            _ => (self.validate)(object),
        }
    }

    fn validate_new(&self, object: &Value) -> FieldErrors {
        (self.validate_new)(object)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> FieldErrors {
        (self.validate_update)(object, old)
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, old: &Value) -> FieldErrors {
        if subresource == "status" { (self.validate_status)(object, old) } else { FieldErrors::new() }
    }

    fn columns(&self) -> Vec<Column<'_>> {
        self.columns.to_vec()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        (self.cells)(object, now)
    }

    fn fields(&self) -> &'static [&'static str] {
        self.fields
    }
}
