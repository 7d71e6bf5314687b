//! Measuring and predicting time.
//!
//! | part | folder or file |
//! |---|---|
//! | `kad profile`: pass times and acceptance rates, measured | `profile/` |
//! | `kad plan`: chains ranked by a profile | `chain_ranking/` |
//! | `levels = "plan"`: the fastest levels for a decoder of an experiment | `planned_levels.rs` |
//! | `kad bench`: decoders measured against plain decoding | `bench/` |
//! | `[passes]`: pass times, logits and texts of several models, compared | `model_measurements/` |
//! | decoding with a clock | `timed_decoding.rs` |
//! | progress bars | `progress.rs` |

pub(crate) mod bench;
pub(crate) mod chain_ranking;
pub(crate) mod model_measurements;
pub(crate) mod planned_levels;
pub(crate) mod profile;
mod progress;
pub(crate) mod timed_decoding;
