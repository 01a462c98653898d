//! Whatever a schema allows goes through every function of a kind without a panic.

use machinery::schema::{Definitions, Schema, Type};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::complete;
use crate::metadata::{validate_create, validate_subresource_update, validate_update};
use crate::resource::Resource;

/// Nesting at which generated objects end.
const DEPTH_MAX: usize = 9;

/// A stream of numbers from one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const TEXTS: [&str; 12] =
    ["", "a", "x", "app", "10.0.0.1", "10.0.0.0/24", "Always", "25%", "None", "-bad-", "metadata.name", "/p"];
const NUMBERS: [i64; 7] = [0, 1, -1, 2, 80, 600, 70_000];

fn any(schema: &Schema, definitions: &Definitions, dice: &mut Dice, depth: usize) -> Value {
    if let Some(choice) = schema.enum_.get(dice.roll(6) as usize) {
        return choice.clone();
    }
    let text = |dice: &mut Dice| TEXTS[dice.roll(TEXTS.len() as u64) as usize];
    let number = |dice: &mut Dice| NUMBERS[dice.roll(NUMBERS.len() as u64) as usize];
    match &definitions.resolve(schema).type_ {
        Type::Any | Type::Reference(_) => json!({}),
        Type::Object { fields, .. } => {
            let mut object = Map::new();
            for (name, field) in fields {
                if depth < DEPTH_MAX && dice.roll(3) == 0 {
                    object.insert(name.clone(), any(field, definitions, dice, depth + 1));
                }
            }
            Value::Object(object)
        }
        Type::Map { values, .. } => {
            let entries =
                (0..dice.roll(3)).map(|_| (text(dice).to_string(), any(values, definitions, dice, depth + 1)));
            Value::Object(entries.collect())
        }
        Type::List { items, .. } => (0..dice.roll(3)).map(|_| any(items, definitions, dice, depth + 1)).collect(),
        Type::String { format } => match format.as_deref() {
            Some("quantity") => ["0", "1", "500m", "1Gi", "-1"][dice.roll(5) as usize].into(),
            Some("date-time") => "2026-01-02T03:04:05Z".into(),
            Some("byte") => "eA==".into(),
            _ => text(dice).into(),
        },
        Type::Integer { .. } => number(dice).into(),
        Type::Number { .. } => 0.5.into(),
        Type::Boolean => (dice.roll(2) == 0).into(),
        Type::IntOrString if dice.roll(2) == 0 => number(dice).into(),
        Type::IntOrString => text(dice).into(),
    }
}

fn object(resource: &Resource, dice: &mut Dice) -> Value {
    let mut object = any(resource.schema(), resource.definitions(), dice, 0);
    // Most of the interest lies below the spec.
    for part in ["spec", "status"] {
        if let Type::Object { fields, .. } = &resource.schema().type_
            && let Some(field) = fields.get(part)
        {
            object[part] = any(field, resource.definitions(), dice, 1);
        }
    }
    object["metadata"]["name"] = "x".into();
    complete(resource, object)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn goes_through_every_function(seed: u64) {
        let dice = &mut Dice(seed);
        for resource in crate::registry().resources() {
            let kind = &resource.behaviour;
            let old = object(resource, dice);
            let mut new = object(resource, dice);
            let mut created = new.clone();
            kind.prepare_create(&mut created);
            kind.name_chosen(&mut created);
            validate_create(resource, &created);
            for subresource in ["status", "approval", "finalize", "ephemeralcontainers", "resize"] {
                let mut changed = new.clone();
                kind.prepare_subresource_update(subresource, &mut changed, &old);
                validate_subresource_update(resource, subresource, &changed, &old);
            }
            kind.prepare_update(&mut new, &old);
            kind.warnings(&new);
            validate_update(resource, &new, &old);
            prop_assert_eq!(kind.cells(&new, jiff::Timestamp::UNIX_EPOCH).len(), kind.columns().len());
            for field in kind.fields() {
                prop_assert!(kind.field(&new, field).is_some());
            }
            let stored = kind.to_stored(new.clone());
            kind.to_served(stored);
        }
    }

    #[test]
    fn completing_twice_changes_nothing_more(seed: u64) {
        let dice = &mut Dice(seed);
        for resource in crate::registry().resources() {
            let once = object(resource, dice);
            prop_assert_eq!(complete(resource, once.clone()), once, "{}", resource.kind);
        }
    }
}
