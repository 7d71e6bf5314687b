//! Proof by enumeration: the exact law of anything that makes its choices through a
//! [`ChoiceSource`](crate::ChoiceSource).

mod enumerate;
mod table;
mod text;

pub use enumerate::{enumerate, enumerate_exact, ratio, total_variation};
pub use num_rational::BigRational;
pub use table::TableModel;
pub use text::{TextLaw, joint_law, text_law};
