//! Time and memory of a run: estimated before it, and shown while it decodes.

mod decode_times;
mod estimate;
mod item_tokens;
mod memory;
mod progress;
mod remaining;
mod tally;

pub(crate) use estimate::{Basis, TimeEstimate, estimate};
pub(crate) use item_tokens::too_long;
pub(crate) use memory::{Caches, Memory};
pub(crate) use progress::Progress;
pub(crate) use tally::{DecoderProgress, Tally};
