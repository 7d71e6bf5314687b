//! The deferral mixture as a target, drafted by its own aligned model.

use kad_core::decode::Emitted;
use kad_core::mixture::mix;
use kad_core::{
    ChoiceSource, DecodeError, Distribution, Mixture, ModelPredictor, TokenId, TokenTree,
};

use crate::draft::PredictorDrafter;
use crate::target::{DraftedToken, Target};
use crate::verify::{deferred_acceptance, deferred_residual};

/// Verifies drafts of the aligned model `q*` against the deferral mixture `π` that it is part of.
///
/// The draft already holds the aligned distributions, so verification makes one pass of the base
/// model and none of the aligned model. The bonus token is drawn lazily: it needs `q*` with
/// probability `D`, the deferral mass.
///
/// Each position has its own decision and its own budget. The published code shares one budget
/// among all positions of a window, so that the distribution depends on the window.
///
/// ```
/// use kad_core::deferral::{KadDual, Rule};
/// use kad_core::{Mixture, Sampling, SampledChoices, decode::{Limits, generate}};
/// use kad_core::oracle::TableModel;
/// use kad_polybasic::{DeferralTarget, DraftSettings, Speculative, Stage};
/// let [base, aligned] = [1, 2].map(|seed| TableModel::random("table", 9, 2, seed));
/// let (rule, sampling) = (Rule::base(KadDual::new(0.2)?), Sampling::at_temperature(1.0)?);
/// let mixture = Mixture::new(&base, &aligned, &rule, sampling, sampling)?;
/// let (drafter, target) = DeferralTarget::drafted_by_aligned(mixture, 4);
/// let stage = Stage::new(drafter, target, DraftSettings::of(4)?);
/// let limits = Limits { max_new_tokens: 20, eos: vec![] };
/// let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
/// let mut decoder = Speculative::new(stage, &[]);
/// let made = generate(&mut decoder, &[0], &limits, &mut SampledChoices::seeded(7), go_on)?;
/// assert_eq!(made.tokens.len(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeferralTarget<'m> {
    mixture: Mixture<'m>,
    mass: Option<f64>,
    aligned: Distribution,
    /// True if several continuations were announced. The mixture then moves to each text it is
    /// asked about.
    in_tree: bool,
}

impl<'m> DeferralTarget<'m> {
    /// The target and its drafter, which share the session of the aligned model. No other drafter
    /// fits. `length` is the longest draft, in tokens.
    pub fn drafted_by_aligned(
        mixture: Mixture<'m>,
        length: usize,
    ) -> (PredictorDrafter<ModelPredictor<'m>>, Self) {
        let aligned = mixture.aligned().clone();
        aligned.borrow_mut().keep_rows(length + 1);
        let drafter = ModelPredictor::sharing(aligned, mixture.sampling());
        let aligned = Distribution::default();
        (PredictorDrafter::new(drafter), Self { mixture, mass: None, aligned, in_tree: false })
    }

    fn move_to(&mut self, text: &[TokenId]) -> Result<(), DecodeError> {
        if self.in_tree { self.mixture.follow(text, 1) } else { Ok(()) }
    }
}

impl Target for DeferralTarget<'_> {
    fn begin(&mut self, prompt: usize) {
        self.mixture.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.mixture.context_len()
    }

    fn follow(&mut self, text: &[TokenId], last: usize) -> Result<(), DecodeError> {
        self.in_tree = false;
        self.mixture.follow(text, last)
    }

    fn follow_tree(&mut self, context: &[TokenId], tree: &TokenTree) -> Result<(), DecodeError> {
        self.in_tree = true;
        self.mixture.follow_tree(context, tree)
    }

    fn acceptance(&mut self, drafted: DraftedToken<'_>) -> Result<f64, DecodeError> {
        self.move_to(&drafted.text[..drafted.prefix_len])?;
        let decision = self.mixture.decision(drafted.prefix_len)?;
        let weight = decision.deferral.weights()[drafted.token() as usize];
        let (base, aligned) =
            (decision.base.prob(drafted.token()), drafted.draft.prob(drafted.token()));
        self.mass = Some(decision.mass);
        Ok(deferred_acceptance(weight, decision.mass, base, aligned))
    }

    fn distribution(
        &mut self,
        text: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.move_to(&text[..len])?;
        self.mixture.aligned_distribution(len, &mut self.aligned)?;
        let decision = self.mixture.decision(len)?;
        self.mass = Some(mix(&decision.base, &self.aligned, &decision.deferral, out));
        Ok(())
    }

    fn deferral_mass(&self) -> Option<f64> {
        self.mass
    }

    fn residual(
        &mut self,
        drafted: DraftedToken<'_>,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.move_to(&drafted.text[..drafted.prefix_len])?;
        let decision = self.mixture.decision(drafted.prefix_len)?;
        let weights = decision.deferral.weights();
        deferred_residual(&decision.base, drafted.draft, weights, decision.mass, out);
        Ok(())
    }

    fn draw(
        &mut self,
        text: &[TokenId],
        choices: &mut dyn ChoiceSource,
    ) -> Result<Emitted, DecodeError> {
        self.move_to(text)?;
        self.mixture.draw(text.len(), choices)
    }
}
