//! Decoders measured against plain decoding on the same prompts and seeds.
//!
//! | part | file |
//! |---|---|
//! | decoding and timing | `decode.rs` |
//! | texts that must equal the baseline's | `text_check.rs` |
//! | times, speed-ups and their intervals | `result.rs` |

mod decode;
mod result;
mod text_check;

use crate::config::{DecoderKind, SamplingPlan, plain_decoding, same_distribution};
use crate::speed::chain_ranking::RankedChain;

pub(crate) use self::decode::measure;
pub(crate) use self::result::{BenchResult, Ratio};

/// A decoder to be measured.
pub(crate) struct BenchDecoder {
    pub(crate) name: String,
    pub(crate) kind: DecoderKind,
    pub(crate) sampling: SamplingPlan,
    /// The prediction of a profile.
    pub(crate) predicted: Option<RankedChain>,
}

impl BenchDecoder {
    /// True if its tokens have the distribution of `other`'s.
    fn same_distribution(&self, other: &Self) -> bool {
        let exact = self.kind.is_exact() && other.kind.is_exact();
        exact
            && plain_decoding(&self.kind) == plain_decoding(&other.kind)
            && same_distribution(&self.sampling, &other.sampling)
    }
}

/// Size of a benchmark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BenchSettings {
    /// Maximum number of new tokens of a text.
    pub(crate) tokens: usize,
    /// Texts for each prompt and decoder.
    pub(crate) reps: usize,
}
