//! Parameters of deferral rules, their ranges and the check of a value.

use std::fmt;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

/// A parameter of a deferral rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in experiment files.
    pub name: &'static str,
    /// The allowed values.
    pub range: ParameterRange,
    /// The default value; `None` for a required parameter.
    pub default: Option<f64>,
}

/// The allowed values of a [`Parameter`]: an interval with open or closed ends, of real or of whole
/// numbers. NaN and infinities are never allowed.
///
/// ```
/// use kad_core::deferral::ParameterRange;
/// let range = ParameterRange::UNIT;
/// assert!(range.contains(0.0) && range.contains(1.0) && !range.contains(f64::NAN));
/// assert_eq!(range.to_string(), "between 0 and 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterRange {
    low: Bound<f64>,
    high: Bound<f64>,
    whole: bool,
}

impl ParameterRange {
    /// `[0, 1]`: probabilities and differences of probabilities.
    pub const UNIT: Self = Self::reals(Included(0.0), Included(1.0));
    /// `(0, 1]`.
    pub const UNIT_ABOVE_ZERO: Self = Self::reals(Excluded(0.0), Included(1.0));
    /// `(0, ∞)`.
    pub const POSITIVE: Self = Self::reals(Excluded(0.0), Unbounded);

    /// The real numbers between two ends.
    pub const fn reals(low: Bound<f64>, high: Bound<f64>) -> Self {
        Self { low, high, whole: false }
    }

    /// The whole numbers between two ends.
    ///
    /// ```
    /// use kad_core::deferral::ParameterRange;
    /// use std::ops::Bound::Included;
    /// let range = ParameterRange::whole_numbers(Included(1.0), Included(1e9));
    /// assert!(range.contains(16.0) && !range.contains(1.5) && !range.contains(0.0));
    /// assert_eq!(range.to_string(), "a whole number from 1 to 1e9");
    /// ```
    pub const fn whole_numbers(low: Bound<f64>, high: Bound<f64>) -> Self {
        Self { low, high, whole: true }
    }

    /// The lower end.
    pub fn low(&self) -> Bound<f64> {
        self.low
    }

    /// The upper end.
    pub fn high(&self) -> Bound<f64> {
        self.high
    }

    /// True for a range of whole numbers.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// True if `value` is allowed.
    pub fn contains(&self, value: f64) -> bool {
        // Written so that NaN fails every comparison.
        let above = match self.low {
            Included(low) => value >= low,
            Excluded(low) => value > low,
            Unbounded => true,
        };
        let below = match self.high {
            Included(high) => value <= high,
            Excluded(high) => value < high,
            Unbounded => true,
        };
        above && below && value.is_finite() && (!self.whole || value.fract() == 0.0)
    }
}

impl fmt::Display for ParameterRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high, self.whole) {
            (Included(low), Included(high), false) => {
                return write!(f, "between {} and {}", Number(low), Number(high));
            }
            (Included(low), Included(high), true) => {
                return write!(f, "a whole number from {} to {}", Number(low), Number(high));
            }
            _ => {}
        }
        let low = match self.low {
            Included(low) => Some(format!("at least {}", Number(low))),
            Excluded(low) => Some(format!("above {}", Number(low))),
            Unbounded => None,
        };
        let high = match self.high {
            Included(high) => Some(format!("at most {}", Number(high))),
            Excluded(high) => Some(format!("below {}", Number(high))),
            Unbounded => None,
        };
        let kind = self.whole.then(|| "a whole number".to_owned());
        let parts: Vec<String> = [kind, low, high].into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "any number" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// An end of a range; large ones in scientific notation.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Number(number) = *self;
        if number.abs() >= 1e6 { write!(f, "{number:e}") } else { write!(f, "{number}") }
    }
}

/// A parameter of a deferral rule is out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{parameter} = {found} of {rule} is out of range: {range}")]
pub struct RuleError {
    /// Kind of the rule.
    pub rule: &'static str,
    /// Name of the parameter.
    pub parameter: &'static str,
    /// The value given.
    pub found: f64,
    /// The allowed values.
    pub range: ParameterRange,
}

impl Parameter {
    /// A required parameter.
    pub const fn required(name: &'static str, range: ParameterRange) -> Self {
        Self { name, range, default: None }
    }

    /// A parameter with a default.
    pub const fn optional(name: &'static str, range: ParameterRange, default: f64) -> Self {
        Self { name, range, default: Some(default) }
    }

    /// Returns `value` if it is in range. `rule` names the rule in the error.
    ///
    /// # Errors
    /// [`RuleError`] if `value` is out of range.
    ///
    /// ```
    /// use kad_core::deferral::{Parameter, ParameterRange};
    /// let gain = Parameter::optional("gain", ParameterRange::POSITIVE, 0.5);
    /// assert_eq!(gain.check("my-rule", 2.0)?, 2.0);
    /// let error = gain.check("my-rule", 0.0).unwrap_err();
    /// assert_eq!(error.to_string(), "gain = 0 of my-rule is out of range: above 0");
    /// # Ok::<(), kad_core::deferral::RuleError>(())
    /// ```
    pub fn check(&self, rule: &'static str, value: f64) -> Result<f64, RuleError> {
        if self.range.contains(value) {
            Ok(value)
        } else {
            let Self { name, range, .. } = *self;
            Err(RuleError { rule, parameter: name, found: value, range })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_belong_to_a_range_as_stated() {
        let tiny = f64::MIN_POSITIVE;
        let cases = [
            (ParameterRange::UNIT, vec![0.0, -0.0, 0.5, 1.0], vec![-tiny, 1.0f64.next_up()]),
            (ParameterRange::UNIT_ABOVE_ZERO, vec![tiny, 1.0], vec![0.0, -1.0, 1.1]),
            (ParameterRange::POSITIVE, vec![tiny, f64::MAX], vec![0.0, -tiny]),
            (
                ParameterRange::reals(Unbounded, Excluded(2.0)),
                vec![f64::MIN, 2.0f64.next_down()],
                vec![2.0],
            ),
            (
                ParameterRange::whole_numbers(Included(1.0), Unbounded),
                vec![1.0, 3.0, 1e300],
                vec![0.0, 1.5],
            ),
        ];
        for (range, inside, outside) in cases {
            assert!(inside.iter().all(|&value| range.contains(value)), "{range}");
            let never = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            assert!(!outside.iter().chain(&never).any(|&value| range.contains(value)), "{range}");
        }
    }

    #[test]
    fn every_kind_of_range_has_words() {
        let words = [
            (ParameterRange::UNIT, "between 0 and 1"),
            (ParameterRange::UNIT_ABOVE_ZERO, "above 0, at most 1"),
            (ParameterRange::POSITIVE, "above 0"),
            (ParameterRange::reals(Included(0.5), Excluded(2.0)), "at least 0.5, below 2"),
            (ParameterRange::reals(Unbounded, Unbounded), "any number"),
            (ParameterRange::whole_numbers(Excluded(0.0), Unbounded), "a whole number, above 0"),
            (
                ParameterRange::whole_numbers(Included(1.0), Included(1e9)),
                "a whole number from 1 to 1e9",
            ),
        ];
        for (range, expected) in words {
            assert_eq!(range.to_string(), expected);
        }
    }
}
