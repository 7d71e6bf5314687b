//! Verification of drafted tokens: the formulas, without models.
//!
//! Token verification accepts a drafted token or replaces it, so that the result has the target's
//! distribution (Leviathan et al., arXiv 2211.17192, algorithm 1; Chen et al., arXiv 2302.01318).
//! All functions are pure: probabilities in, probabilities out, in `f64` or any other [`Number`](kad_core::Number).
//!
//! | drafted | verified by |
//! |---|---|
//! | one token | [`acceptance`], [`residual`] |
//! | a chain of tokens, as a whole | [`BlockVerification`] |
//! | a fixed list of candidates for one position | [`verify_listed`] |
//! | independent draws for one position | [`verify_drawn`]; [`optimal_acceptance_rate`] is the upper bound |
//! | one token of a deferral mixture's own aligned model | [`deferred_acceptance`], [`deferred_residual`]: closed forms, which never subtract the mixture from its part |

mod block;
mod siblings;
mod token;
mod verifier;

pub use block::BlockVerification;
pub use siblings::{
    SiblingChoice, listed_acceptance_rate, listed_residual, multi_round_acceptance_rate,
    optimal_acceptance_rate, verify_drawn, verify_listed,
};
pub use token::{acceptance, acceptance_rate, deferred_acceptance, deferred_residual, residual};
pub use verifier::{Verifier, lenient_acceptance};

#[cfg(test)]
mod tests;
