//! A stage over token trees: grows, verifies and corrects.

use std::cell::Cell;
use std::rc::Rc;

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, Distribution, TokenId, TokenTree};

use super::{DraftTree, Siblings, TreeDrafter, TreeLimits};
use crate::draft::{Draft, DraftRequest};
use crate::level::Level;
use crate::stage::{DraftSettings, OwnToken, SharedLength};
use crate::target::Target;
use crate::verify::{SiblingChoice, verify_drawn, verify_listed};

/// The verification of the tokens that follow one node. Both variants are exact.
///
/// ```
/// use kad_core::{ModelPredictor, Sampling, oracle::TableModel};
/// use kad_polybasic::{DraftSettings, Level, PredictorTarget, TopKTree, TreeStage, TreeVerifier};
/// let [large, small] = [1, 2].map(|seed| TableModel::random("table", 9, 2, seed));
/// let sampling = Sampling::at_temperature(1.0)?;
/// let tree = TopKTree::new(ModelPredictor::new(&small, sampling)?, 3, 8)?;
/// let target = PredictorTarget::new(ModelPredictor::new(&large, sampling)?);
/// let stage = TreeStage::new(tree, target, DraftSettings::of(4)?)
///     .verified_by(TreeVerifier::SameUniform);
/// assert!(stage.is_exact() && stage.draws_by_position());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TreeVerifier {
    /// By origin: a list of candidates by [`verify_listed`], draws by [`verify_drawn`].
    #[default]
    Siblings,
    /// Draws the target's token at the uniform number of its position and follows the tree as long
    /// as it contains that token. The tree then decides the number of tokens per pass, not the
    /// tokens.
    ///
    /// From a list a token is accepted as often as by [`Siblings`](Self::Siblings). From `k` draws
    /// from q, which are independent of the target's token, one is accepted with probability
    /// `Σ p (1 − (1 − q)^k)`, which is never more often.
    ///
    /// If the tree draws nothing (all trees here but [`SampledTree`](super::SampledTree), whose
    /// draws use uniform numbers in between), the text equals that of decoding the target token by
    /// token with the same seed, if passes over several tokens give the same bits as passes over
    /// one. (Lazily decoded deferral draws differently.)
    ///
    /// All levels above must verify by the same uniforms too: a position has one uniform number, and
    /// another verifier would meet it again after a rejection.
    SameUniform,
}

/// A drafter of token trees and the target that verifies each tree in one pass. As a [`Level`] it
/// decodes, or it drafts for the level above through [`LevelDrafter`](crate::LevelDrafter), with
/// the target's own distributions.
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
    /// The nodes after which the target's distribution may be needed.
    needed_nodes: TokenTree,
    /// The context and the tokens accepted so far.
    text: Vec<TokenId>,
    distribution: Distribution,
    left: [Distribution; 2],
    siblings: Vec<TokenId>,
}

impl<G: TreeDrafter, T: Target> TreeStage<G, T> {
    /// A stage with the default verifier. `settings.length` is the depth of the trees. `drafter`
    /// and `target` must share their vocabulary; the caller checks that.
    pub fn new(drafter: G, target: T, settings: DraftSettings) -> Self {
        Self {
            drafter,
            target,
            depth: Rc::new(Cell::new(settings.length.get())),
            bonus: settings.bonus,
            verifier: TreeVerifier::default(),
            prompt: 0,
            tree: DraftTree::default(),
            needed_nodes: TokenTree::new(),
            text: Vec::new(),
            distribution: Distribution::default(),
            left: Default::default(),
            siblings: Vec::new(),
        }
    }

    /// Verifies with `verifier` instead. Default: [`TreeVerifier::Siblings`].
    #[must_use]
    pub fn verified_by(self, verifier: TreeVerifier) -> Self {
        Self { verifier, ..self }
    }

    /// The depth of the trees, which may be changed between rounds; 0 drafts nothing.
    pub fn length(&self) -> SharedLength {
        Rc::clone(&self.depth)
    }

    /// Grows the tree and starts the text. Returns the largest depth that the tree may have.
    fn grow(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
    ) -> Result<usize, DecodeError> {
        self.text.clear();
        self.text.extend_from_slice(request.context);
        self.tree.clear();
        // Leave room for a bonus token, and for all nodes side by side.
        let room = request.room - usize::from(self.bonus);
        let nodes = self.context_len().saturating_sub(request.context.len());
        let limits = TreeLimits { depth: self.depth.get().min(room), nodes };
        if limits.depth > 0 && limits.nodes > 0 {
            let below =
                DraftRequest { wanted: limits.depth, room, level: request.level + 1, ..request };
            self.drafter.grow(below, limits, choices, &mut self.tree)?;
        }
        Ok(limits.depth)
    }

    /// True if a token of the target's own follows the end of the tree: after the token `last`, or
    /// after the context if the tree is empty.
    fn has_own(&self, last: Option<TokenId>, eos: &[TokenId]) -> bool {
        last.is_none_or(|last| self.bonus && !eos.contains(&last))
    }

    /// Prepares, in one pass, the distributions after the context and after each node that another
    /// token may follow.
    fn announce(&mut self, request: DraftRequest<'_>) -> Result<(), DecodeError> {
        let Self { tree, needed_nodes, .. } = self;
        let nodes = tree.tokens();
        let mut needed = vec![false; nodes.len()];
        for node in (0..nodes.len()).rev() {
            needed[node] |= self.bonus && !request.eos.contains(&nodes.token(node));
            if let Some(parent) = nodes.parent(node) {
                needed[parent] = true;
            }
        }
        needed_nodes.clear();
        let mut places = vec![None; nodes.len()];
        for node in (0..nodes.len()).filter(|&node| needed[node]) {
            let parent = nodes.parent(node).and_then(|parent| places[parent]);
            places[node] = Some(needed_nodes.push(parent, nodes.token(node)));
        }
        self.target.follow_tree(request.context, needed_nodes)
    }

    /// Follows the tree from the context as long as its tokens are accepted. Appends them and the
    /// replacement of the first rejected siblings. Returns the number of accepted tokens, and
    /// whether the path ended with the tree.
    fn descend(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
    ) -> Result<(usize, bool), DecodeError> {
        let (mut at, mut accepted) = (None, 0);
        while self.tree.tokens().children(at).next().is_some() {
            self.target.distribution(&self.text, self.text.len(), &mut self.distribution)?;
            let deferral_mass = self.target.deferral_mass();
            let token = self.verify_siblings(at, choices);
            at = self.tree.tokens().child_with(at, token.token());
            let (origin, level) = match token {
                SiblingVerdict::Accepted(_) => (Origin::Drafted, request.level + 1),
                SiblingVerdict::Replaced(_) => (Origin::Corrected, request.level),
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

    /// Decides the token after node `at`, whose target distribution is at hand.
    fn verify_siblings(
        &mut self,
        at: Option<usize>,
        choices: &mut dyn ChoiceSource,
    ) -> SiblingVerdict {
        let Self { tree, text, distribution, left, siblings, .. } = self;
        let nodes = tree.tokens();
        if self.verifier == TreeVerifier::SameUniform {
            let token = choices.token_at(text.len() - self.prompt.min(text.len()), distribution);
            let known = nodes.child_with(at, token).is_some();
            return if known {
                SiblingVerdict::Accepted(token)
            } else {
                SiblingVerdict::Replaced(token)
            };
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
            SiblingChoice::Accepted(index) => SiblingVerdict::Accepted(siblings[index]),
            SiblingChoice::Replaced(token) => SiblingVerdict::Replaced(token),
        }
    }
}

/// The outcome of verifying the tokens after a node.
#[derive(Clone, Copy)]
enum SiblingVerdict {
    Accepted(TokenId),
    Replaced(TokenId),
}

impl SiblingVerdict {
    fn token(self) -> TokenId {
        match self {
            SiblingVerdict::Accepted(token) | SiblingVerdict::Replaced(token) => token,
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
        self.verifier == TreeVerifier::SameUniform
    }

    fn round(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let before = out.len();
        let wanted = self.grow(request, choices)?;
        self.announce(request)?;
        let (accepted, whole) = self.descend(request, choices, out)?;
        let last = self.text[request.context.len()..].last().copied();
        if whole && self.has_own(last, request.eos) {
            let Self { target, text, distribution, .. } = self;
            let by_position = (self.verifier == TreeVerifier::SameUniform).then_some(self.prompt);
            let after_draft = !self.tree.tokens().is_empty();
            let own = OwnToken { text, level: request.level, after_draft, by_position };
            own.append(target, choices, distribution, out)?;
        }
        let nodes = self.tree.tokens();
        let depth = (0..nodes.len()).map(|node| nodes.depth(node)).max().unwrap_or(0);
        let (drafted, emitted) = (nodes.len(), out.len() - before);
        let ended = (0..drafted).any(|node| request.eos.contains(&nodes.token(node)));
        let stopped = depth < wanted && !ended;
        rounds.push(Round { level: request.level, drafted, depth, accepted, emitted, stopped });
        Ok(())
    }
}
