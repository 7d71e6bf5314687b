//! The mixture distribution of deferral, and its two models along a text.

use crate::cached_session::{CachedSession, SharedSession};
use crate::choice::ChoiceSource;
use crate::decode::{Emitted, Origin};
use crate::deferral::{Deferral, History, Rule};
use crate::distribution::Distribution;
use crate::error::DecodeError;
use crate::model::LanguageModel;
use crate::number::Number;
use crate::predictor::{self, Predictor, distribution_at};
use crate::sampling::Sampling;
use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// Writes the deferral mixture `π(y) = (1 − d(y)) p(y) + q*(y) · D` into `out` and returns the
/// deferral mass `D = Σ d(y) p(y)`.
///
/// `p` is `base`, `q*` is `aligned`, all `[vocab]`. The mixture is the distribution of this
/// procedure: sample `y` from `p`; with probability `d(y)` discard it and sample from `q*` (arXiv
/// 2510.27017; arXiv 2604.16146).
///
/// ```
/// use kad_core::{Distribution, deferral::{BaseRule, Deferral, KadDual}, mixture::mix};
/// let p = Distribution::from_probs(vec![0.75, 0.25])?;
/// let q = Distribution::from_probs(vec![0.0, 1.0])?;
/// let (mut d, mut pi) = (Deferral::default(), Distribution::default());
/// KadDual::new(0.4)?.decide(&p, &mut d);
/// assert_eq!(mix(&p, &q, &d, &mut pi), 0.25);
/// assert_eq!(pi.probs(), [0.75, 0.25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mix(
    base: &Distribution,
    aligned: &Distribution,
    deferral: &Deferral,
    out: &mut Distribution,
) -> f64 {
    let mass = deferral.mass(base);
    mix_weights(base, aligned, deferral.weights(), mass, out);
    mass
}

/// [`mix`] for given `d` and `D`, in any [`Number`].
pub fn mix_weights<N: Number>(
    base: &Distribution<N>,
    aligned: &Distribution<N>,
    weights: &[N],
    mass: N,
    out: &mut Distribution<N>,
) {
    debug_assert_eq!(base.len(), aligned.len());
    debug_assert_eq!(base.len(), weights.len());
    let kept = base.probs().iter().zip(weights).map(|(p, d)| (N::one() - d.clone()) * p.clone());
    let probs = out.probs_mut();
    probs.clear();
    probs.extend(kept.zip(aligned.probs()).map(|(kept, q)| kept + mass.clone() * q.clone()));
}

/// A base model, an aligned model and the rule between them, along a growing text.
///
/// [`follow`](Self::follow) moves to a context and runs the base model. The rule decides position
/// by position, only as far as it is asked. The aligned model runs only for rules that compare both
/// distributions and for [`aligned_distribution`](Self::aligned_distribution) and
/// [`draw`](Self::draw). Lazy, eager and speculative decoding of the mixture all use this type.
pub struct Mixture<'m> {
    base: SharedSession<'m>,
    aligned: SharedSession<'m>,
    rule: &'m Rule,
    sampling: Sampling,
    decision: Sampling,
    history: History,
    context: Vec<TokenId>,
    /// Prefix length of `decisions[0]`.
    first: usize,
    decisions: Vec<Decision>,
    /// Number of positions decided so far.
    decided: usize,
    seen: [Distribution; 2],
    /// Prefix length of the aligned distribution in `seen`, if tokens may be sampled from it too.
    aligned_at: Option<usize>,
}

/// The deferral decision at one position.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The base distribution that tokens are sampled from.
    pub base: Distribution,
    /// Deferral probabilities of the rule.
    pub deferral: Deferral,
    /// Deferral mass `D` under `base`.
    pub mass: f64,
}

impl<'m> Mixture<'m> {
    /// Starts a session for each model; one shared session if `base` and `aligned` are the same
    /// model. The models must share a vocabulary (their loader checks that). The rule sees
    /// distributions under `decision`; tokens are sampled under `sampling`.
    ///
    /// # Errors
    /// If a model cannot start a session.
    ///
    /// ```
    /// use kad_core::deferral::{KadPrimal, Rule};
    /// use kad_core::{Mixture, MixturePredictor, Predictor, Sampling, oracle::TableModel};
    /// let base = TableModel::random("base", 5, 3, 1);
    /// let aligned = TableModel::random("aligned", 5, 3, 2);
    /// let (rule, plain) = (Rule::base(KadPrimal::new(0.4)?), Sampling::at_temperature(1.0)?);
    /// let mixture = Mixture::new(&base, &aligned, &rule, plain, plain)?;
    /// let mut distributions = Vec::new();
    /// MixturePredictor::new(mixture).distributions(&[1, 2], 1, &mut distributions)?;
    /// assert!((distributions[0].probs().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        base: &'m dyn LanguageModel,
        aligned: &'m dyn LanguageModel,
        rule: &'m Rule,
        sampling: Sampling,
        decision: Sampling,
    ) -> Result<Self, DecodeError> {
        // Compares address and type, because a model and its first field share the address. A
        // missed match would only cost a second cache.
        #[allow(ambiguous_wide_pointer_comparisons)]
        let same = std::ptr::eq(base, aligned);
        let base = CachedSession::shared(base)?;
        let aligned = if same { base.clone() } else { CachedSession::shared(aligned)? };
        Ok(Self::sharing(base, aligned, rule, sampling, decision))
    }

    /// [`new`](Self::new) with shared sessions: a model that also drafts for this mixture, or is
    /// part of another one, has one KV cache and runs once per prefix. Both may be the same
    /// session.
    pub fn sharing(
        base: SharedSession<'m>,
        aligned: SharedSession<'m>,
        rule: &'m Rule,
        sampling: Sampling,
        decision: Sampling,
    ) -> Self {
        Self {
            base,
            aligned,
            rule,
            sampling,
            decision,
            history: History::default(),
            context: Vec::new(),
            first: 0,
            decisions: Vec::new(),
            decided: 0,
            seen: Default::default(),
            aligned_at: None,
        }
    }

    /// Starts a new text with a prompt of `prompt` tokens: rules with a
    /// [history](crate::deferral::HistoryRule) start there.
    ///
    /// Without this call they start at the first token and also decide along the prompt.
    pub fn begin(&mut self, prompt: usize) {
        self.history.begin(prompt);
    }

    /// The aligned model's session, for a drafter to share.
    pub fn aligned(&self) -> &SharedSession<'m> {
        &self.aligned
    }

    /// The sampling settings of both models.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// The longest context that both models hold, in tokens.
    pub fn context_len(&self) -> usize {
        let len = |session: &SharedSession| session.borrow().model().context_len();
        len(&self.base).min(len(&self.aligned))
    }

    /// Moves to `context` and prepares the decisions after its `last` longest prefixes. Costs one
    /// forward pass of the base model, unless its rows are known.
    ///
    /// # Errors
    /// If the base model fails.
    ///
    /// # Panics
    /// If `last` is 0 or larger than the context.
    pub fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError> {
        let rows = self.go_to(context, last);
        self.base.borrow_mut().rows(context, rows).map(drop)
    }

    /// Moves to `context` and runs the base model over all of `tree` in one forward pass, if it has
    /// tree attention. Following a path of the tree then costs no pass.
    ///
    /// # Errors
    /// If the base model fails.
    pub fn follow_tree(
        &mut self,
        context: &[TokenId],
        tree: &TokenTree,
    ) -> Result<(), DecodeError> {
        let rows = self.go_to(context, 1);
        if rows > 1 {
            // A rule with a history first needs the rows of the positions before.
            self.base.borrow_mut().rows(context, rows).map(drop)?;
        }
        predictor::follow_tree(&self.base, context, tree)
    }

    /// Records the new context and returns the number of base rows needed at its end.
    fn go_to(&mut self, context: &[TokenId], last: usize) -> usize {
        let wanted = context.len() - last + 1;
        self.first = match self.rule {
            Rule::History(rule) => self.history.follow(&**rule, context, wanted),
            Rule::Base(_) | Rule::Pair(_) => wanted,
        };
        self.decided = 0;
        self.aligned_at = None;
        self.context.clear();
        self.context.extend_from_slice(context);
        let rows = context.len() - self.first + 1;
        if self.decisions.len() < rows {
            self.decisions.resize_with(rows, Decision::default);
        }
        self.base.borrow_mut().keep_rows(rows);
        rows
    }

    /// The decision after the first `len` tokens of the current context.
    ///
    /// # Errors
    /// If the aligned model fails (for rules that compare) or logits do not form a distribution.
    ///
    /// # Panics
    /// If the last [`follow`](Self::follow) did not cover the prefix of length `len`.
    pub fn decision(&mut self, len: usize) -> Result<&Decision, DecodeError> {
        let index = len - self.first;
        while self.decided <= index {
            self.decide_next()?;
        }
        Ok(&self.decisions[index])
    }

    fn decide_next(&mut self) -> Result<(), DecodeError> {
        let len = self.first + self.decided;
        let Decision { base, deferral, mass } = &mut self.decisions[self.decided];
        let [base_seen, aligned_seen] = &mut self.seen;
        distribution_at(&self.base, &self.sampling, &self.context, len, base)?;
        // With equal settings one distribution serves both purposes.
        let seen = if self.decision == self.sampling {
            &*base
        } else {
            distribution_at(&self.base, &self.decision, &self.context, len, base_seen)?;
            base_seen
        };
        match self.rule {
            Rule::Base(rule) => rule.decide(seen, deferral),
            Rule::Pair(rule) => {
                distribution_at(&self.aligned, &self.decision, &self.context, len, aligned_seen)?;
                rule.decide(seen, aligned_seen, deferral);
                self.aligned_at = (self.decision == self.sampling).then_some(len);
            }
            Rule::History(rule) => rule.decide(self.history.at(len), seen, deferral),
        }
        *mass = deferral.mass(base);
        if let Rule::History(rule) = self.rule {
            self.history.push(&**rule, len, *mass);
        }
        self.decided += 1;
        Ok(())
    }

    /// Writes the aligned distribution under the sampling settings, after the first `len` tokens of
    /// the current context, into `out`.
    ///
    /// # Errors
    /// If the aligned model fails or its logits do not form a distribution.
    pub fn aligned_distribution(
        &mut self,
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        if self.aligned_at == Some(len) {
            out.clone_from(&self.seen[1]);
            return Ok(());
        }
        distribution_at(&self.aligned, &self.sampling, &self.context, len, out)
    }

    /// Samples a token from `π` after the first `len` tokens of the current context: a base token,
    /// or an aligned token in its place if the rule defers it.
    ///
    /// # Errors
    /// If a model fails or its logits do not form a distribution.
    pub fn draw(
        &mut self,
        len: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Result<Emitted, DecodeError> {
        let decision = self.decision(len)?;
        let deferral_mass = Some(decision.mass);
        let drawn = choices.token(&decision.base);
        let hand_over = decision.deferral.weights()[drawn as usize];
        if !choices.accept(hand_over) {
            return Ok(Emitted { token: drawn, origin: Origin::Base, level: 1, deferral_mass });
        }
        if self.aligned_at != Some(len) {
            let distribution = &mut self.seen[1];
            distribution_at(&self.aligned, &self.sampling, &self.context, len, distribution)?;
            self.aligned_at = Some(len);
        }
        let token = choices.token(&self.seen[1]);
        Ok(Emitted { token, origin: Origin::Deferred, level: 1, deferral_mass })
    }
}

/// The deferral mixture `π` as a [`Predictor`]: both models run at every position.
///
/// [`DeferralDecoder`](crate::decode::DeferralDecoder) samples from the same distribution and runs
/// the aligned model only for deferred tokens. Use this type if the distribution itself is needed.
/// [`Mixture::new`] has an example.
pub struct MixturePredictor<'m> {
    mixture: Mixture<'m>,
    aligned: Distribution,
    mass: Option<f64>,
}

impl<'m> MixturePredictor<'m> {
    /// The distributions of `mixture`.
    pub fn new(mixture: Mixture<'m>) -> Self {
        Self { mixture, aligned: Distribution::default(), mass: None }
    }
}

impl Predictor for MixturePredictor<'_> {
    fn begin(&mut self, prompt: usize) {
        self.mixture.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.mixture.context_len()
    }

    fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError> {
        self.mixture.follow(context, last)?;
        let mut aligned = self.mixture.aligned.borrow_mut();
        aligned.keep_rows(last);
        aligned.rows(context, last).map(drop)
    }

    fn follow_tree(&mut self, context: &[TokenId], tree: &TokenTree) -> Result<(), DecodeError> {
        self.mixture.follow_tree(context, tree)?;
        predictor::follow_tree(&self.mixture.aligned, context, tree)
    }

    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        let mixture = &mut self.mixture;
        if len < mixture.first || mixture.context.get(..len) != context.get(..len) {
            mixture.follow(&context[..len], 1)?;
        }
        // Decide first: a rule that compares both distributions has computed the aligned one.
        mixture.decision(len)?;
        mixture.aligned_distribution(len, &mut self.aligned)?;
        let decision = mixture.decision(len)?;
        self.mass = Some(mix(&decision.base, &self.aligned, &decision.deferral, out));
        Ok(())
    }

    fn deferral_mass(&self) -> Option<f64> {
        self.mass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deferral::{BaseRule, KadPrimal};
    use proptest::prelude::*;

    fn distributions() -> impl Strategy<Value = (Distribution, Distribution)> {
        let pair = proptest::collection::vec((0.001..1.0f64, 0.001..1.0f64), 1..12);
        pair.prop_map(|pairs| {
            let (p, q): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            (Distribution::proportional(p).unwrap(), Distribution::proportional(q).unwrap())
        })
    }

    proptest! {
        /// Mass conservation and distance bounds (K1); deferral to a copy, p = q* (K10).
        #[test]
        fn mass_is_conserved_and_distances_are_bounded((p, q) in distributions(), budget in 0.0..=1.0f64) {
            let (mut d, mut pi) = (Deferral::default(), Distribution::default());
            KadPrimal::new(budget).unwrap().decide(&p, &mut d);
            let mass = mix(&p, &q, &d, &mut pi);
            prop_assert!((pi.probs().iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(pi.probs().iter().zip(q.probs()).all(|(pi, q)| *pi >= mass * q - 1e-15));
            prop_assert!(pi.total_variation(&p) <= mass + 1e-12);
            prop_assert!(pi.total_variation(&q) <= 1.0 - mass + 1e-12);
            mix(&p, &p, &d, &mut pi);
            prop_assert!((pi.total_variation(&p) - mass * (1.0 - mass)).abs() < 1e-12);
        }
    }
}
