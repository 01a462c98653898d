//! Amounts of processor time and bytes in a pod's resources, as whole numbers the kernel takes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The value of `500m`, `1Gi`, `1e3` in thousandths, rounded up; `None` where it is not a quantity.
pub fn milli(quantity: &str) -> Option<i128> {
    let split =
        quantity.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(split);
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 15 || whole.len() > 18 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (numerator, denominator) = scale(suffix)?;
    let divisor = 10i128.pow(u32::try_from(fraction.len()).ok()?).checked_mul(denominator)?;
    let scaled = digits.checked_mul(numerator)?.checked_mul(1000)?;
    Some(sign * ((scaled + divisor - 1) / divisor))
}

fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1i128 << (10 * power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => Some((1000, 1)),
        "M" => Some((1_000_000, 1)),
        "G" => Some((1_000_000_000, 1)),
        "T" => Some((1_000_000_000_000, 1)),
        "P" => Some((1_000_000_000_000_000, 1)),
        "E" => Some((1_000_000_000_000_000_000, 1)),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.abs() <= 18)?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

/// A whole number, rounded up: bytes, pods.
pub fn whole(quantity: &str) -> Option<i64> {
    i64::try_from((milli(quantity)? + 999).div_euclid(1000)).ok()
}

/// The amount of a resource in a list of requests or limits, in thousandths.
pub fn milli_of(list: Option<&BTreeMap<String, Quantity>>, resource: &str) -> Option<i128> {
    milli(&list?.get(resource)?.0)
}

/// The amount of a resource in a list of requests or limits, whole.
pub fn whole_of(list: Option<&BTreeMap<String, Quantity>>, resource: &str) -> Option<i64> {
    whole(&list?.get(resource)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_in_every_notation() {
        let table = [
            ("500m", 500),
            ("1", 1000),
            ("0.5", 500),
            ("1Ki", 1_024_000),
            ("1k", 1_000_000),
            ("1e3", 1_000_000),
            ("100n", 1),
            ("-1", -1000),
            ("1.5Gi", 1_610_612_736_000),
        ];
        for (text, expected) in table {
            assert_eq!(milli(text), Some(expected), "{text}");
        }
        for text in ["", "m", "1x", "1.2.3", "one", "1e99"] {
            assert_eq!(milli(text), None, "{text}");
        }
        assert_eq!(whole("1Gi"), Some(1 << 30));
    }
}
