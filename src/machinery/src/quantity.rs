//! Quantities (`100m`, `1.5Gi`, `2e3`): parsing, the canonical form, exact arithmetic.
//!
//! A quantity is a whole number of nano-units, as fine as Kubernetes goes. What resources they count, and limits on
//! them, are not known here.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Neg, Sub};
use std::str::FromStr;

const NANOS_PER_UNIT: i128 = 1_000_000_000;
/// Kubernetes caps quantities with a binary suffix here.
const BINARY_MAX_UNITS: i128 = i64::MAX as i128;
/// More digits than this are no quantity anyone means; keeps parsing linear.
const MAX_LENGTH_BYTES: usize = 128;

/// Which suffixes the canonical form uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `n u m k M G T P E`.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// `e3`, `E6`.
    DecimalExponent,
}

/// An exact amount and the format it was written in.
///
/// Equality, order and hash go by the amount alone, so `1Gi == 1024Mi`. Arithmetic saturates at the largest
/// representable amount (about 1.7e29 units).
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity; the words are those of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not even the shape of a quantity.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number before the suffix is malformed.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is none that is known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// Larger than about 1.7e29 units, or longer than 128 bytes.
    #[error("quantity is too large")]
    TooLarge,
}

impl Quantity {
    /// A whole number of units.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANOS_PER_UNIT, format: Format::DecimalSi }
    }

    /// A number of thousandths, such as millicores.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANOS_PER_UNIT / 1000), format: Format::DecimalSi }
    }

    /// A number of bytes, written with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANOS_PER_UNIT, format: Format::BinarySi }
    }

    /// A number of thousand-millionths.
    pub fn from_nanos(nanos: i64) -> Self {
        Self { nanos: i128::from(nanos), format: Format::DecimalSi }
    }

    /// The same amount in another format.
    pub fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// How it is written.
    pub fn format(self) -> Format {
        self.format
    }

    /// Whole units (bytes of memory, whole cores), rounded away from zero, saturating.
    pub fn to_units(self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANOS_PER_UNIT))
    }

    /// Thousandths (millicores), rounded away from zero, saturating.
    pub fn to_millis(self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANOS_PER_UNIT / 1000))
    }

    /// Bytes; another name for [`Quantity::to_units`].
    pub fn to_bytes(self) -> i64 {
        self.to_units()
    }

    /// The nearest floating-point number of units.
    pub fn to_f64(self) -> f64 {
        self.nanos as f64 / NANOS_PER_UNIT as f64
    }

    /// Neither more nor less than nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Less than nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// So many times `step`, exactly. Nothing but zero is a multiple of zero.
    pub fn is_multiple_of(self, step: Self) -> bool {
        if step.nanos == 0 { self.nanos == 0 } else { self.nanos % step.nanos == 0 }
    }

    /// A whole number of units.
    pub fn is_whole(self) -> bool {
        self.nanos % NANOS_PER_UNIT == 0
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn divide_away_from_zero(value: i128, by: i128) -> i128 {
    let (quotient, remainder) = (value / by, value % by);
    if remainder == 0 { quotient } else { quotient + value.signum() }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl std::hash::Hash for Quantity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum, in the format of the first that is not zero.
    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nanos: self.nanos.saturating_neg(), ..self }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Add::add)
    }
}

/// What a suffix multiplies by.
enum Scale {
    PowerOfTen(i32, Format),
    PowerOfTwo(u32),
}

fn scale(suffix: &str) -> Result<Scale, ParseError> {
    let si = |exponent| Ok(Scale::PowerOfTen(exponent, Format::DecimalSi));
    match suffix {
        "" => si(0),
        "n" => si(-9),
        "u" => si(-6),
        "m" => si(-3),
        "k" => si(3),
        "M" => si(6),
        "G" => si(9),
        "T" => si(12),
        "P" => si(15),
        "E" => si(18),
        "Ki" => Ok(Scale::PowerOfTwo(10)),
        "Mi" => Ok(Scale::PowerOfTwo(20)),
        "Gi" => Ok(Scale::PowerOfTwo(30)),
        "Ti" => Ok(Scale::PowerOfTwo(40)),
        "Pi" => Ok(Scale::PowerOfTwo(50)),
        "Ei" => Ok(Scale::PowerOfTwo(60)),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseError::Suffix)?;
            let exponent = exponent.parse().map_err(|_| ParseError::Suffix)?;
            Ok(Scale::PowerOfTen(exponent, Format::DecimalExponent))
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_LENGTH_BYTES {
            return Err(ParseError::TooLarge);
        }
        let (negative, unsigned) = match text.as_bytes().first() {
            None => return Err(ParseError::Format),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let number_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_end);
        if number.is_empty() || !has_suffix_shape(suffix) {
            return Err(ParseError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return Err(ParseError::Format);
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseError::Number);
        }
        let digits = Digits { whole, fraction };
        let (nanos, format) = match scale(suffix)? {
            Scale::PowerOfTen(exponent, format) => (digits.times_power_of_ten(exponent)?, format),
            Scale::PowerOfTwo(exponent) => (digits.times_power_of_two(exponent)?, Format::BinarySi),
        };
        // Below one unit a binary suffix would say nothing.
        let below_one = nanos > 0 && nanos < NANOS_PER_UNIT;
        let format = if format == Format::BinarySi && below_one { Format::DecimalSi } else { format };
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

/// `[eEinumkKMGTP]*[-+]?[0-9]*`
fn has_suffix_shape(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    rest.strip_prefix(['-', '+']).unwrap_or(rest).bytes().all(|byte| byte.is_ascii_digit())
}

/// The decimal digits before and after the point.
struct Digits<'a> {
    whole: &'a str,
    fraction: &'a str,
}

impl Digits<'_> {
    /// All digits as one number, without leading and trailing zeros, and how many powers of ten it lacks.
    fn mantissa(&self) -> Result<(i128, i32), ParseError> {
        let digits = format!("{}{}", self.whole, self.fraction);
        let exponent = -(self.fraction.len() as i32);
        let significant = digits.trim_start_matches('0');
        let kept = significant.trim_end_matches('0');
        if kept.is_empty() {
            return Ok((0, 0));
        }
        let dropped = (significant.len() - kept.len()) as i32;
        // i128 holds 38 digits; what is beyond cannot be told apart at nano precision of amounts that fit, save
        // for rounding, which only asks whether there is more.
        let (head, tail) = kept.split_at(kept.len().min(37));
        let mut mantissa: i128 = head.parse().map_err(|_| ParseError::Number)?;
        let mut shift = exponent + dropped + tail.len() as i32;
        if !tail.is_empty() {
            mantissa = mantissa * 10 + 1;
            shift -= 1;
        }
        Ok((mantissa, shift))
    }

    /// Nano-units, rounded up.
    fn times_power_of_ten(&self, exponent: i32) -> Result<i128, ParseError> {
        let (mantissa, shift) = self.mantissa()?;
        if mantissa == 0 {
            return Ok(0);
        }
        let power = i64::from(shift) + i64::from(exponent) + 9;
        if power >= 0 {
            let factor = u32::try_from(power).ok().and_then(|power| 10i128.checked_pow(power));
            return factor.and_then(|factor| mantissa.checked_mul(factor)).ok_or(ParseError::TooLarge);
        }
        let divisor = u32::try_from(-power).ok().and_then(|power| 10i128.checked_pow(power));
        Ok(divisor.map_or(1, |divisor| divide_away_from_zero(mantissa, divisor)))
    }

    /// Nano-units, rounded up, capped as Kubernetes caps binary quantities.
    fn times_power_of_two(&self, exponent: u32) -> Result<i128, ParseError> {
        let cap = BINARY_MAX_UNITS * NANOS_PER_UNIT;
        let (mantissa, shift) = self.mantissa()?;
        let power = i64::from(shift) + 9;
        let factor = 1i128 << exponent;
        if power >= 0 {
            let tens = u32::try_from(power).ok().and_then(|power| 10i128.checked_pow(power));
            let nanos = tens.and_then(|tens| mantissa.checked_mul(tens)).and_then(|nanos| nanos.checked_mul(factor));
            return Ok(nanos.map_or(cap, |nanos| nanos.min(cap)));
        }
        let tens = u32::try_from(-power).ok().and_then(|power| 10i128.checked_pow(power));
        match (tens, mantissa.checked_mul(factor)) {
            (Some(tens), Some(product)) => Ok(divide_away_from_zero(product, tens).min(cap)),
            // A long fraction: divide first; what is lost is below a nano-unit of 2^60.
            (Some(tens), None) => Ok(divide_away_from_zero(mantissa, tens).saturating_mul(factor).min(cap)),
            (None, _) => Ok(1),
        }
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that keeps the number whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.nanos / NANOS_PER_UNIT;
        if self.format == Format::BinarySi && self.is_whole() && units.abs() >= 1024 {
            let mut number = units;
            let mut suffix = 0;
            while number % 1024 == 0 && suffix < 6 {
                number /= 1024;
                suffix += 1;
            }
            return write!(f, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][suffix]);
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        let mut number = self.nanos;
        let mut exponent = -9;
        // The suffixes end at E, exponents at what fits.
        let last = if self.format == Format::DecimalExponent { 27 } else { 18 };
        while number % 1000 == 0 && exponent < last {
            number /= 1000;
            exponent += 3;
        }
        match (self.format, exponent) {
            (_, 0) => write!(f, "{number}"),
            (Format::DecimalExponent, exponent) => write!(f, "{number}e{exponent}"),
            (_, exponent) => {
                let index = usize::try_from((exponent + 9) / 3).unwrap_or_default();
                write!(f, "{number}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][index])
            }
        }
    }
}

#[cfg(test)]
mod tests;
