//! What is wrong with the rules of a schema, before any object is seen: texts, types, paths, and what they may cost.

use std::sync::Arc;

use machinery::field::{FieldError, FieldErrors, Path, Reason};
use serde_json::Value as Json;

use super::{FIELD, MAX_DEPTH, Rule, compile_message, compile_rule, is_embedded, path as field_path};
use crate::Allowance;
use crate::decl::{Decl, MAX_REQUEST_BYTES};

/// What one rule may cost at worst, on all nodes that it applies to.
const MAX_RULE_COST: u64 = 10_000_000;
/// What all rules of a schema may.
const MAX_SCHEMA_COST: u64 = 100_000_000;
/// The most expensive rules that are told by name.
const MAX_TOLD: usize = 4;

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// So many errors are enough to mend.
const MAX_ERRORS: usize = 100;

/// Everything that is wrong with the rules of a CRD's `openAPIV3Schema` at `path`, compiled on what all of the CRD's
/// versions may take.
pub fn check_schema(schema: &Json, path: &Path, allowance: &Allowance) -> FieldErrors {
    let mut check = Check { errors: Vec::new(), total: 0, expensive: Vec::new(), allowance };
    let decl = Decl::from_openapi(schema, true);
    let place = Place { cardinality: Some(1), uncorrelatable: None };
    check.node(schema, schema, decl.as_ref(), path, &place, 0);
    if check.total > MAX_SCHEMA_COST {
        check.expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        let told: FieldErrors =
            check.expensive.iter().take(MAX_TOLD).map(|(_, path)| FieldError::forbidden(path, detail)).collect();
        check.errors.extend(told);
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        check.errors.push(FieldError::forbidden(path, too_expensive(what, check.total, MAX_SCHEMA_COST)));
    }
    check.errors
}

struct Check<'a> {
    errors: FieldErrors,
    total: u64,
    expensive: Vec<(u64, Path)>,
    allowance: &'a Allowance,
}

/// Where a node is.
#[derive(Clone)]
struct Place {
    /// How many there may be in an object, as far as schemas bound it.
    cardinality: Option<u64>,
    /// The list whose elements cannot be found again in the old object.
    uncorrelatable: Option<Path>,
}

impl Check<'_> {
    fn node(
        &mut self,
        rules: &Json,
        schema: &Json,
        decl: Option<&Arc<Decl>>,
        path: &Path,
        place: &Place,
        depth: usize,
    ) {
        if depth > MAX_DEPTH || self.errors.len() >= MAX_ERRORS {
            return;
        }
        let is_well_formed = self.texts(rules, schema, path);
        if let Some(decl) = decl.filter(|_| is_well_formed) {
            self.rules(rules, decl, path, place);
        } else if is_well_formed && !Rule::of(rules).is_empty() {
            let detail = "internal error: failed to construct type information for x-kubernetes-validations rules";
            self.errors.push(FieldError {
                path: path.child(FIELD),
                reason: Reason::Internal,
                value: Json::Null,
                detail: detail.to_string(),
            });
        }
        for (index, part) in rules.get("allOf").and_then(Json::as_array).into_iter().flatten().enumerate() {
            self.node(part, schema, decl, &path.child("allOf").index(index), place, depth + 1);
        }
        self.children(rules, schema, decl, path, place, depth);
    }

    fn children(
        &mut self,
        rules: &Json,
        schema: &Json,
        decl: Option<&Arc<Decl>>,
        path: &Path,
        place: &Place,
        depth: usize,
    ) {
        let bound = |name: &str| schema.get(name).and_then(Json::as_u64);
        for (name, property) in rules.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let Some(own) = schema.get("properties").and_then(|properties| properties.get(name)) else { continue };
            let child = match crate::escape(name) {
                Some(_) => decl.and_then(|decl| decl.child(name)).cloned(),
                None => Decl::from_openapi(own, is_embedded(own)),
            };
            self.node(property, own, child.as_ref(), &path.child("properties").key(name), place, depth + 1);
        }
        if let (Some(values), Some(own)) = (rules.get("additionalProperties"), schema.get("additionalProperties")) {
            let child = decl.and_then(|decl| decl.child(""));
            let place = Place { cardinality: times(place.cardinality, bound("maxProperties")), ..place.clone() };
            self.node(values, own, child, &path.child("additionalProperties"), &place, depth + 1);
        }
        if let (Some(items), Some(own)) = (rules.get("items"), schema.get("items")) {
            let child = decl.and_then(|decl| super::item_decl(decl));
            let is_map = schema.get("x-kubernetes-list-type").and_then(Json::as_str) == Some("map");
            let uncorrelatable = place.uncorrelatable.clone().or_else(|| (!is_map).then(|| path.clone()));
            let place = Place { cardinality: times(place.cardinality, bound("maxItems")), uncorrelatable };
            self.node(items, own, child, &path.child("items"), &place, depth + 1);
        }
    }

    /// What can be said of the rules without their types; false where that is something.
    fn texts(&mut self, rules: &Json, schema: &Json, path: &Path) -> bool {
        let before = self.errors.len();
        for (index, rule) in Rule::of(rules).iter().enumerate() {
            let path = path.child(FIELD).index(index);
            let at = |name: &str| path.child(name);
            let text = rule.rule.trim();
            let message = rule.message.trim();
            if text.is_empty() {
                self.errors.push(FieldError::required(&at("rule"), "rule is not specified"));
            } else if !rule.message.is_empty() && message.is_empty() {
                self.invalid(&at("message"), &rule.message, "must be non-empty if specified");
            } else if has_newlines(message) {
                self.invalid(&at("message"), &rule.message, "must not contain line breaks");
            } else if has_newlines(text) && message.is_empty() {
                let detail = "message must be specified if rule contains line breaks";
                self.errors.push(FieldError::required(&at("message"), detail));
            }
            if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
                let detail = "messageExpression must be non-empty if specified";
                self.errors.push(FieldError::required(&at("messageExpression"), detail));
            }
            if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
                self.errors.push(FieldError::not_supported(&at("reason"), reason, &REASONS));
            }
            if rule.field_path.is_empty() {
                continue;
            }
            if rule.field_path.trim().is_empty() {
                self.invalid(&at("fieldPath"), &rule.field_path, "must be non-empty if specified");
            }
            if has_newlines(&rule.field_path) {
                self.invalid(&at("fieldPath"), &rule.field_path, "must not contain line breaks");
            }
            if field_path::resolve(&rule.field_path, schema).is_err() {
                self.invalid(&at("fieldPath"), &rule.field_path, "must be a valid path");
            }
        }
        self.errors.len() == before
    }

    fn invalid(&mut self, path: &Path, value: &str, detail: &str) {
        self.errors.push(FieldError::invalid(path, value, detail));
    }

    fn rules(&mut self, rules: &Json, decl: &Arc<Decl>, path: &Path, place: &Place) {
        // As many as fit into the largest request, where no schema says fewer.
        let cardinality = place.cardinality.unwrap_or(MAX_REQUEST_BYTES / (decl.min_bytes + 1));
        for (index, rule) in Rule::of(rules).iter().enumerate() {
            if self.errors.len() >= MAX_ERRORS {
                return;
            }
            let path = path.child(FIELD).index(index);
            let at = path.child("rule");
            let program = match compile_rule(rule, decl, self.allowance) {
                Ok(program) => program,
                Err(detail) => {
                    self.invalid(&at, &rule.rule, &detail);
                    continue;
                }
            };
            self.cost(&at, "estimated rule cost", program.estimated_cost().max.saturating_mul(cardinality));
            if !rule.message_expression.is_empty() {
                let at = path.child("messageExpression");
                match compile_message(rule, decl, self.allowance) {
                    Ok(message) => self.cost(&at, "estimated messageExpression cost", message.estimated_cost().max),
                    Err(detail) => self.invalid(&at, &rule.message_expression, &detail),
                }
            }
            if program.uses("oldSelf") {
                if let Some(list) = &place.uncorrelatable {
                    let detail =
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
                    self.invalid(&at, &rule.rule, &detail);
                }
            } else if let Some(optional) = rule.optional_old_self {
                let detail = "may not be set if oldSelf is not used in rule";
                self.errors.push(FieldError::invalid(&path.child("optionalOldSelf"), optional, detail));
            }
        }
    }

    fn cost(&mut self, path: &Path, what: &str, cost: u64) {
        if cost > MAX_RULE_COST {
            self.errors.push(FieldError::forbidden(path, too_expensive(what, cost, MAX_RULE_COST)));
        }
        self.total = self.total.saturating_add(cost);
        // Less than a hundredth of everything is not worth telling.
        if cost >= MAX_SCHEMA_COST / 100 {
            self.expensive.push((cost, path.clone()));
        }
    }
}

fn times(cardinality: Option<u64>, bound: Option<u64>) -> Option<u64> {
    Some(cardinality?.saturating_mul(bound?))
}

fn has_newlines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_string()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}
