//! Number types of probabilities.

use num_rational::BigRational;
use num_traits::Num;

use crate::sum::{CompensatedSum, sum};

/// A number type for probabilities: `f64` for decoding, [`BigRational`] for proofs without
/// rounding.
///
/// ```
/// use kad_core::{Number, oracle::{BigRational, ratio}};
/// let mut sum = Default::default();
/// [1.0, 1e-17, -1.0].into_iter().for_each(|term| f64::add_to(&mut sum, term));
/// assert_eq!(f64::total(sum), 1e-17);
/// assert_eq!(BigRational::sum_of(&[ratio(1, 3), ratio(1, 6)]), ratio(1, 2));
/// ```
pub trait Number: Num + Clone + PartialOrd {
    /// An accumulator.
    type Sum: Default;

    /// Adds `term` to `sum` with the least rounding error that the type allows.
    fn add_to(sum: &mut Self::Sum, term: Self);

    /// The value of an accumulator.
    fn total(sum: Self::Sum) -> Self;

    /// `Σ values`.
    fn sum_of(values: &[Self]) -> Self {
        let mut sum = Self::Sum::default();
        values.iter().for_each(|value| Self::add_to(&mut sum, value.clone()));
        Self::total(sum)
    }
}

/// Compensated summation (Neumaier).
impl Number for f64 {
    type Sum = CompensatedSum;

    fn add_to(sum: &mut CompensatedSum, term: f64) {
        sum.add(term);
    }

    fn total(sum: CompensatedSum) -> f64 {
        sum.value()
    }

    fn sum_of(values: &[f64]) -> f64 {
        sum(values)
    }
}

/// Exact arithmetic.
impl Number for BigRational {
    type Sum = Option<BigRational>;

    fn add_to(sum: &mut Self::Sum, term: BigRational) {
        *sum = Some(match sum.take() {
            Some(sum) => sum + term,
            None => term,
        });
    }

    fn total(sum: Self::Sum) -> BigRational {
        sum.unwrap_or_else(num_traits::Zero::zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compensation_keeps_rounding_errors() {
        let terms = [1.0, 1e-17, 1e-17, 1e100, 3.0, -1e100];
        let mut sum = Default::default();
        terms.iter().for_each(|&term| f64::add_to(&mut sum, term));
        assert_eq!(f64::total(sum), 4.0);
        let mut tiny = Default::default();
        (0..1000).for_each(|_| f64::add_to(&mut tiny, 1e-17));
        f64::add_to(&mut tiny, 1.0);
        assert_eq!(f64::total(tiny), 1.0 + 1e-14);
    }
}
