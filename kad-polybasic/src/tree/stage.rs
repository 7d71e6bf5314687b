//! One verified level over trees: grow, verify, correct.

use std::cell::Cell;
use std::rc::Rc;

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, Distribution, TokenId, TokenTree};

use super::{DraftTree, Siblings, TreeDrafter, TreeLimits};
use crate::draft::{Draft, DraftRequest};
use crate::level::Level;
use crate::stage::{DraftSettings, Own, SharedLength};
use crate::target::Target;
use crate::verify::{SiblingChoice, verify_drawn, verify_listed};

/// A way to verify the tokens that follow one node. Both are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TreeVerifier {
    /// As they came about: a list of candidates by [`verify_listed`], draws by
    /// [`verify_drawn`].
    #[default]
    Siblings,
    /// The target's token is drawn at the uniform of its place, and the tree followed as long as it
    /// has that token: it decides how many tokens a pass gives, not which. Of a list one is
    /// accepted as often as by [`Siblings`](Self::Siblings); of `k` draws from q, which the
    /// target's token is drawn without regard to, with probability `Σ p (1 − (1 − q)^k)`, never
    /// more often.
    ///
    /// Where the tree draws nothing (every one here but a [`SampledTree`](super::SampledTree),
    /// which takes its uniforms from between those of the places) the text is the one that
    /// token-by-token decoding of the target's distribution gives for the same seed (deferral
    /// decoded lazily draws otherwise), token for token, wherever passes of several tokens give the
    /// bits of single ones. Levels above verify so too: a place has one uniform, and another
    /// verifier would meet it again after a rejection.
    SharedUniform,
}

/// A drafter of trees and the target that verifies them, one pass for each. As a
/// [`Level`] it decodes, or drafts for the next level through [`LevelDrafter`](crate::LevelDrafter): what it
/// hands up has the target's own distributions.
///
/// ```
/// use kad_core::{ModelPredictor, Sampling, SampledChoices, decode::{Limits, generate}};
/// use kad_core::oracle::TableModel;
/// use kad_polybasic::{DraftSettings, PredictorTarget, Speculative, TopKTree, TreeStage};
/// let [large, small] = [1, 2].map(|seed| TableModel::random("table", 9, 2, seed));
/// let plain = Sampling::at_temperature(1.0)?;
/// let model = |model| ModelPredictor::new(model, plain);
/// let tree = TopKTree::new(model(&small)?, 3, 8)?;
/// let stage = TreeStage::new(tree, PredictorTarget::new(model(&large)?), DraftSettings::of(4)?);
/// let limits = Limits { max_new_tokens: 20, eos: vec![] };
/// let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
/// let mut decoder = Speculative::new(stage, &[]);
/// let made = generate(&mut decoder, &[0], &limits, &mut SampledChoices::seeded(7), go_on)?;
/// assert_eq!(made.rounds[0].drafted, 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TreeStage<G, T> {
    drafter: G,
    target: T,
    depth: SharedLength,
    bonus: bool,
    verifier: TreeVerifier,
    prompt: usize,
    tree: DraftTree,
    /// The part of the tree after whose nodes the target's distribution may be needed.
    asked: TokenTree,
    /// The context and what has been accepted.
    text: Vec<TokenId>,
    distribution: Distribution,
    left: [Distribution; 2],
    siblings: Vec<TokenId>,
}

impl<G: TreeDrafter, T: Target> TreeStage<G, T> {
    /// `drafter` and `target` share their vocabulary (whoever loads the models checks that).
    /// `drafting.length` is the depth of the trees.
    pub fn new(drafter: G, target: T, drafting: DraftSettings) -> Self {
        Self {
            drafter,
            target,
            depth: Rc::new(Cell::new(drafting.length.get())),
            bonus: drafting.bonus,
            verifier: TreeVerifier::default(),
            prompt: 0,
            tree: DraftTree::default(),
            asked: TokenTree::new(),
            text: Vec::new(),
            distribution: Distribution::default(),
            left: Default::default(),
            siblings: Vec::new(),
        }
    }

    /// Verifies with `verifier`.
    #[must_use]
    pub fn verified_by(self, verifier: TreeVerifier) -> Self {
        Self { verifier, ..self }
    }

    /// The depth of the trees, to be changed while decoding; 0 drafts nothing.
    pub fn length(&self) -> SharedLength {
        Rc::clone(&self.depth)
    }

    /// Grows the tree, and begins the text. Returns how deep the tree may be.
    fn grow(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
    ) -> Result<usize, DecodeError> {
        self.text.clear();
        self.text.extend_from_slice(ask.context);
        self.tree.clear();
        // A bonus token must fit, and all nodes side by side.
        let room = ask.room - usize::from(self.bonus);
        let nodes = self.context_len().saturating_sub(ask.context.len());
        let limits = TreeLimits { depth: self.depth.get().min(room), nodes };
        if limits.depth > 0 && limits.nodes > 0 {
            let below = DraftRequest { wanted: limits.depth, room, level: ask.level + 1, ..ask };
            self.drafter.grow(below, limits, choices, &mut self.tree)?;
        }
        Ok(limits.depth)
    }

    /// Whether a token of the target's own comes where the tree ends, after `last` or, in a tree of
    /// no nodes, after the context.
    fn has_own(&self, last: Option<TokenId>, eos: &[TokenId]) -> bool {
        last.is_none_or(|last| self.bonus && !eos.contains(&last))
    }

    /// One pass: the distribution after the context and after each node that something may follow.
    fn announce(&mut self, ask: DraftRequest<'_>) -> Result<(), DecodeError> {
        let Self { tree, asked, .. } = self;
        let nodes = tree.tokens();
        let mut needed = vec![false; nodes.len()];
        for node in (0..nodes.len()).rev() {
            needed[node] |= self.bonus && !ask.eos.contains(&nodes.token(node));
            if let Some(parent) = nodes.parent(node) {
                needed[parent] = true;
            }
        }
        asked.clear();
        let mut places = vec![None; nodes.len()];
        for node in (0..nodes.len()).filter(|&node| needed[node]) {
            let parent = nodes.parent(node).and_then(|parent| places[parent]);
            places[node] = Some(asked.push(parent, nodes.token(node)));
        }
        self.target.follow_tree(ask.context, asked)
    }

    /// Follows the tree from the context on as far as its tokens are accepted, and appends them and
    /// the one that replaces the first rejected siblings. Returns how many were accepted, and
    /// whether the path ended with the tree.
    fn descend(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
    ) -> Result<(usize, bool), DecodeError> {
        let (mut at, mut accepted) = (None, 0);
        while self.tree.tokens().children(at).next().is_some() {
            self.target.distribution(&self.text, self.text.len(), &mut self.distribution)?;
            let deferral_mass = self.target.deferral_mass();
            let token = self.judge(at, choices);
            at = self.tree.tokens().child_with(at, token.token());
            let (origin, level) = match token {
                Verdict::Accepted(_) => (Origin::Drafted, ask.level + 1),
                Verdict::Replaced(_) => (Origin::Corrected, ask.level),
            };
            let token = token.token();
            self.text.push(token);
            out.push(Emitted { token, origin, level, deferral_mass }, |distribution| {
                distribution.clone_from(&self.distribution);
                Ok::<_, DecodeError>(())
            })?;
            if origin == Origin::Corrected {
                return Ok((accepted, false));
            }
            accepted += 1;
        }
        Ok((accepted, true))
    }

    /// Which token follows node `at`, where the target has the distribution at hand.
    fn judge(&mut self, at: Option<usize>, choices: &mut dyn ChoiceSource) -> Verdict {
        let Self { tree, text, distribution, left, siblings, .. } = self;
        let nodes = tree.tokens();
        if self.verifier == TreeVerifier::SharedUniform {
            let token = choices.token_at(text.len() - self.prompt.min(text.len()), distribution);
            let known = nodes.child_with(at, token).is_some();
            return if known { Verdict::Accepted(token) } else { Verdict::Replaced(token) };
        }
        siblings.clear();
        let chosen = match tree.siblings(at) {
            Siblings::Listed => {
                siblings.extend(nodes.children(at).map(|node| nodes.token(node)));
                verify_listed(distribution, siblings, choices, &mut left[0])
            }
            Siblings::Drawn(draws, draft) => {
                siblings.extend(draws.iter().map(|&node| nodes.token(node)));
                verify_drawn(distribution, draft, siblings, choices, left)
            }
        };
        match chosen {
            SiblingChoice::Accepted(index) => Verdict::Accepted(siblings[index]),
            SiblingChoice::Replaced(token) => Verdict::Replaced(token),
        }
    }
}

/// What verification says about the tokens that follow a node.
#[derive(Clone, Copy)]
enum Verdict {
    Accepted(TokenId),
    Replaced(TokenId),
}

impl Verdict {
    fn token(self) -> TokenId {
        match self {
            Verdict::Accepted(token) | Verdict::Replaced(token) => token,
        }
    }
}

impl<G: TreeDrafter, T: Target> Level for TreeStage<G, T> {
    fn begin(&mut self, prompt: usize) {
        self.prompt = prompt;
        self.drafter.begin(prompt);
        self.target.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.drafter.context_len().min(self.target.context_len())
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn draws_by_position(&self) -> bool {
        self.verifier == TreeVerifier::SharedUniform
    }

    fn round(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let before = out.len();
        let wanted = self.grow(ask, choices)?;
        self.announce(ask)?;
        let (accepted, whole) = self.descend(ask, choices, out)?;
        let last = self.text[ask.context.len()..].last().copied();
        if whole && self.has_own(last, ask.eos) {
            let Self { target, text, distribution, .. } = self;
            let by_position = (self.verifier == TreeVerifier::SharedUniform).then_some(self.prompt);
            let after_draft = !self.tree.tokens().is_empty();
            let own = Own { text, level: ask.level, after_draft, by_position };
            own.append(target, choices, distribution, out)?;
        }
        let nodes = self.tree.tokens();
        let depth = (0..nodes.len()).map(|node| nodes.depth(node)).max().unwrap_or(0);
        let (drafted, emitted) = (nodes.len(), out.len() - before);
        let ended = (0..drafted).any(|node| ask.eos.contains(&nodes.token(node)));
        let stopped = depth < wanted && !ended;
        rounds.push(Round { level: ask.level, drafted, depth, accepted, emitted, stopped });
        Ok(())
    }
}
