//! Proof by enumeration: the exact law of anything that makes its choices through a
//! [`ChoiceSource`](crate::ChoiceSource).

mod enumerate;
mod table;

pub use enumerate::{enumerate, joint_law, total_variation};
pub use table::TableModel;
