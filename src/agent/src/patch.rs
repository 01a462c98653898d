//! Strategic merge patches of statuses that others write as well: what is the agent's own is replaced, the rest stays,
//! whatever has been written since the agent last saw it.

use serde_json::{Value, json};

/// A list that takes the place of the one that is there, where the API would merge the two.
pub fn whole(list: Value) -> Value {
    let Value::Array(mut elements) = list else { return list };
    elements.insert(0, json!({ "$patch": "replace" }));
    Value::Array(elements)
}

/// Of a status' conditions those that `is_own` names, each to be as it is here: what is not in one any more is taken
/// away.
pub fn keep_own_conditions(status: &mut Value, is_own: impl Fn(&str) -> bool) {
    let Some(Value::Array(conditions)) = status.get_mut("conditions") else { return };
    conditions.retain(|condition| condition["type"].as_str().is_some_and(&is_own));
    for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
        for field in ["reason", "message"] {
            condition.entry(field).or_insert(Value::Null);
        }
    }
}
