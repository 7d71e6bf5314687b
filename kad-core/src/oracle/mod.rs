//! Proof by enumeration: exact distributions of procedures that make their choices through a
//! [`ChoiceSource`](crate::ChoiceSource).

mod enumerate;
mod table;
mod text;

pub use enumerate::{enumerate, enumerate_exact, ratio, total_variation};
pub use num_rational::BigRational;
pub use table::TableModel;
pub use text::{TextDistribution, joint_distribution, text_distribution};
