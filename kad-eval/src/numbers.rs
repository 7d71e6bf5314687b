//! Numbers as reports write them: non-finite numbers as a dash, zero without a sign.

use serde::{Deserialize, Serialize};

/// A two-sided interval; an end that does not exist is NaN, null in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    #[serde(deserialize_with = "null_is_nan")]
    pub low: f64,
    /// The upper end.
    #[serde(deserialize_with = "null_is_nan")]
    pub high: f64,
}

/// Reads null as NaN, which JSON cannot write.
pub(crate) fn null_is_nan<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(from).map(|value| value.unwrap_or(f64::NAN))
}

/// Reads null as infinity.
pub(crate) fn null_is_infinite<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(from).map(|value| value.unwrap_or(f64::INFINITY))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Shown in place of a missing number.
pub(crate) const NONE: &str = "–";

/// `1 item`, `2 items`: a count and its noun.
pub(crate) fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        more => format!("{more} {noun}s"),
    }
}

/// `value` with `decimals` digits after the point.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|b| b == b'0' || b == b'.') => digits.to_owned(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// A share in [0, 1] as a percentage with one decimal, without the sign.
pub(crate) fn percent(share: f64) -> String {
    fixed(100.0 * share, 1)
}

/// A difference of shares in percentage points, with its sign.
pub(crate) fn points(difference: f64) -> String {
    let text = percent(difference);
    let unsigned = text.starts_with('−') || text == NONE || text == "0.0";
    if unsigned { text } else { format!("+{text}") }
}

/// Both ends of an interval, written by `number`; a dash where there is none.
pub(crate) fn interval(interval: Interval, number: impl Fn(f64) -> String) -> String {
    if interval.low.is_nan() && interval.high.is_nan() {
        return NONE.to_owned();
    }
    format!("[{}, {}]", number(interval.low), number(interval.high))
}

/// `value` with three to four significant digits: decimals only where they say something.
pub(crate) fn significant(value: f64) -> String {
    fixed(value, if value.abs() < 99.95 { 1 } else { 0 })
}

/// Seconds as milliseconds with three digits or so: small models take a fraction of one.
pub(crate) fn milliseconds(seconds: f64) -> String {
    let ms = 1e3 * seconds;
    let decimals = match ms.abs() {
        large if large >= 99.95 => 0,
        large if large >= 9.995 => 1,
        middle if middle >= 0.9995 => 2,
        _ => 3,
    };
    fixed(ms, decimals)
}

/// A parameter in its shortest form.
pub(crate) fn parameter(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { NONE.to_owned() }
}

/// `text` in at most `longest` characters.
pub(crate) fn clip(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

/// `text` in at most `longest` characters, without its middle: members of a sweep differ at the
/// end.
pub(crate) fn shorten(text: &str, longest: usize) -> String {
    let count = text.chars().count();
    if count <= longest {
        return text.to_owned();
    }
    let kept = longest.saturating_sub(1);
    let head = kept.div_ceil(2);
    let tail = text.chars().skip(count - (kept - head));
    text.chars().take(head).chain(['…']).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_golden() {
        for (found, wanted) in [
            (fixed(0.2845, 3), "0.284"),
            (fixed(-0.04, 1), "0.0"),
            (fixed(-0.06, 1), "−0.1"),
            (fixed(f64::NAN, 1), "–"),
            (percent(0.635), "63.5"),
            (percent(1.0), "100.0"),
            (points(0.125), "+12.5"),
            (points(-0.125), "−12.5"),
            (points(-0.0001), "0.0"),
            (points(f64::INFINITY), "–"),
            (significant(812.44), "812"),
            (significant(34.54), "34.5"),
            (significant(99.96), "100"),
            (milliseconds(0.000_123), "0.123"),
            (milliseconds(0.000_999_6), "1.00"),
            (milliseconds(0.009_994), "9.99"),
            (milliseconds(f64::NAN), "–"),
            (milliseconds(0.034_56), "34.6"),
            (milliseconds(0.1204), "120"),
            (parameter(0.3), "0.3"),
            (parameter(f64::NAN), "–"),
            (interval(Interval { low: -0.02, high: 0.1 }, points), "[−2.0, +10.0]"),
        ] {
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn clipping_counts_characters_not_bytes() {
        assert_eq!(clip("größe", 5), "größe");
        assert_eq!(clip("größer", 5), "größ…");
        assert_eq!(shorten("größe", 5), "größe");
        assert_eq!(shorten("größerer", 5), "gr…er");
        assert_eq!(shorten("größerer", 4), "gr…r");
    }
}
