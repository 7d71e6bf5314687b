//! Time: measured (profiles, bench), predicted (plans), and compared between models.

pub(crate) mod bench;
pub(crate) mod model_comparison;
pub(crate) mod planned;
pub(crate) mod profile;
