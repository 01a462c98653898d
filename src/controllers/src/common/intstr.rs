//! Numbers that may be percentages: maxSurge, maxUnavailable.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The number itself, or that share of `total`, rounded up or down. What is neither is zero (the API refuses it).
pub fn scaled(value: Option<&IntOrString>, default: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value.unwrap_or(default) {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let Some(percent) = text.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok()) else {
                return 0;
            };
            let product = percent.max(0).saturating_mul(i64::from(total.max(0)));
            let share = if round_up { product.saturating_add(99) / 100 } else { product / 100 };
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

/// A percentage as a value.
pub fn percent(percent: u8) -> IntOrString {
    IntOrString::String(format!("{percent}%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        for (value, total, round_up, expected) in [
            (IntOrString::Int(3), 10, true, 3),
            (percent(25), 10, true, 3),
            (percent(25), 10, false, 2),
            (percent(25), 4, true, 1),
            (percent(0), 4, true, 0),
            (percent(100), 7, false, 7),
            (IntOrString::String("x".into()), 7, false, 0),
            (IntOrString::String(format!("{}%", i64::MAX)), 7, true, i32::MAX),
        ] {
            assert_eq!(scaled(Some(&value), &IntOrString::Int(1), total, round_up), expected, "{value:?} of {total}");
        }
    }
}
