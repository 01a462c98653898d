//! Expressions about one device: `device.attributes["gpu.example.com"].model == "a"` (KEP-4381).

use std::sync::LazyLock;

use cel::{CompileError, Decl, Env, Type};
use machinery::field::FieldErrors;
use serde_json::json;

use super::device::{ATTRIBUTES_AND_CAPACITIES_MAX, VALUE_BYTES_MAX};
use crate::check::At;
use crate::metadata::too_long;

const EXPRESSION_BYTES_MAX: usize = 10 * 1024;
/// What one evaluation may cost, in CEL's units.
const COST_MAX: u64 = 1_000_000;
const DRIVER_BYTES_MAX: usize = 63;
/// Schemas bound texts in code points, of up to four bytes; devices' values are bounded in bytes.
const BYTES_PER_CODE_POINT_MAX: usize = 4;

/// `device`: its driver, its attributes and capacities by domain and name, and whether more than one may have it.
static ENV: LazyLock<Env> = LazyLock::new(|| {
    let by_name = |value: Type| Type::map(Type::String, Type::map(Type::String, value));
    let device = Type::object(
        "kubernetes.DRADevice",
        [
            ("driver", Type::String),
            ("attributes", by_name(Type::Dyn)),
            ("capacity", by_name(Type::Opaque("kubernetes.Quantity"))),
            ("allowMultipleAllocations", Type::Bool),
        ],
    );
    let entries = |value| json!({"type": "object", "maxProperties": ATTRIBUTES_AND_CAPACITIES_MAX, "additionalProperties": value});
    let attribute =
        json!({"x-kubernetes-int-or-string": true, "maxLength": VALUE_BYTES_MAX / BYTES_PER_CODE_POINT_MAX});
    let sizes = json!({"type": "object", "properties": {
        "driver": {"type": "string", "maxLength": DRIVER_BYTES_MAX.div_ceil(BYTES_PER_CODE_POINT_MAX)},
        "attributes": entries(entries(attribute)),
        "capacity": entries(entries(json!({"type": "integer"}))),
        "allowMultipleAllocations": {"type": "boolean"},
    }});
    match Decl::from_openapi(&sizes, false) {
        Some(sizes) => Env::new().with_sized("device", device, sizes),
        None => Env::new().with_variable("device", device),
    }
});

/// Refuses what does not compile to a truth, or may cost too much.
pub(super) fn validate(expression: &At<'_>, errors: &mut FieldErrors) {
    if expression.text().len() > EXPRESSION_BYTES_MAX {
        return errors.push(too_long(&expression.path, EXPRESSION_BYTES_MAX));
    }
    match ENV.compile_to(expression.text(), &[Type::Bool]) {
        Ok(program) if program.estimated_cost().max > COST_MAX => {
            expression.forbidden(errors, "too complex, exceeds cost limit");
        }
        Ok(_) => {}
        Err(CompileError::Issues(issues)) => expression.invalid(errors, format!("compilation failed: {issues}")),
        Err(CompileError::Result { .. }) => {
            let found = ENV.compile(expression.text()).map(|program| program.result_type().to_string());
            let found = found.unwrap_or_default();
            expression.invalid(errors, format!("must evaluate to bool or the unknown type, not {found}"));
        }
    }
}
