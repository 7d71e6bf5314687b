//! S1, S6 to S8 and S10 for trees: their texts have the target's distribution, by exact
//! enumeration.

use kad_core::decode::{
    Decoder, Emitted, Generation, Limits, Origin, Round, SingleDecoder, generate,
};
use kad_core::deferral::{KadPrimal, PooledBudget, Rule};
use kad_core::oracle::{
    TableModel, TextDistribution, enumerate, joint_distribution, text_distribution, total_variation,
};
use kad_core::{
    ChoiceSource, Counted, DecodeError, Distribution, LanguageModel, Mixture, MixturePredictor,
    ModelPredictor, Predictor, SampledChoices, Sampling, TokenId,
};
use kad_polybasic::verify::{
    listed_acceptance_rate, multi_round_acceptance_rate, optimal_acceptance_rate,
};
use kad_polybasic::{
    DeferralTarget, Draft, DraftRequest, DraftSettings, DraftTree, Drafter, LevelDrafter,
    LookupTree, NgramLookup, PredictorDrafter, PredictorTarget, SampledTree, Speculative, Stage,
    SuffixLookup, Surplus, Target, TopKTree, TreeDrafter, TreeError, TreeLimits, TreeStage,
    TreeVerifier, Verifier,
};

const PROMPT: [TokenId; 4] = [1, 0, 1, 0];
const EOS: TokenId = 2;
const EXACT: f64 = 1e-12;
const VERIFIERS: [TreeVerifier; 2] = [TreeVerifier::Siblings, TreeVerifier::SameUniform];

fn plain() -> Sampling {
    Sampling::at_temperature(1.0).unwrap()
}

fn limits(length: usize) -> Limits {
    Limits { max_new_tokens: length, eos: vec![EOS] }
}

fn drafting(length: usize, bonus: bool) -> DraftSettings {
    DraftSettings { bonus, ..DraftSettings::of(length).unwrap() }
}

fn model(model: &dyn LanguageModel) -> ModelPredictor<'_> {
    ModelPredictor::new(model, plain()).unwrap()
}

/// The target, the middle model, the drafter.
fn tables() -> [TableModel; 3] {
    [1, 2, 3].map(|seed| TableModel::random("table", 3, 2, seed))
}

fn speculative<G: TreeDrafter, T: Target>(
    drafter: G,
    target: T,
    drafting: DraftSettings,
    verifier: TreeVerifier,
) -> Speculative<TreeStage<G, T>> {
    Speculative::new(TreeStage::new(drafter, target, drafting).verified_by(verifier), &[EOS])
}

/// Every kind of tree of this width. Sampled trees have few nodes, because all of their draws are
/// enumerated.
fn drafters(
    small: &dyn LanguageModel,
    width: usize,
) -> Vec<(&'static str, Box<dyn TreeDrafter + '_>)> {
    let ngram = NgramLookup::default();
    let suffix = SuffixLookup::new(1, 4).unwrap();
    vec![
        ("top k", Box::new(TopKTree::new(model(small), width, 2 * width + 1).unwrap())),
        ("sampled", Box::new(SampledTree::new(model(small), width, 4).unwrap())),
        ("n-gram", Box::new(LookupTree::new(ngram, 2 * width).unwrap())),
        ("suffix", Box::new(LookupTree::new(suffix, 2 * width).unwrap())),
    ]
}

fn assert_same_distribution(found: &TextDistribution, claimed: &TextDistribution, what: &str) {
    let distance = total_variation(found, claimed);
    assert!(distance < EXACT, "{what}: TV = {distance}");
}

fn distance(decoder: &mut dyn Decoder, claimed: &TextDistribution, length: usize) -> f64 {
    total_variation(&text_distribution(decoder, &PROMPT, &limits(length)).unwrap(), claimed)
}

/// S1: each kind of tree with each verifier, depth and width, with and without bonus, in texts of
/// more than one round.
#[test]
fn s1_every_tree_has_the_targets_distribution() {
    let [large, _, small] = tables();
    for depth in 1..=3 {
        let texts = depth + 2;
        let claimed = joint_distribution(&mut model(&large), &PROMPT, texts, &[EOS]).unwrap();
        for (width, bonus) in (1..=3).flat_map(|width| [(width, true), (width, false)]) {
            for verifier in VERIFIERS {
                for (name, drafter) in drafters(&small, width) {
                    let target = PredictorTarget::new(model(&large));
                    let drafting = drafting(depth, bonus);
                    let mut decoder = speculative(drafter, target, drafting, verifier);
                    let found = text_distribution(&mut decoder, &PROMPT, &limits(texts)).unwrap();
                    let what = format!("{name} {width}, {verifier:?}, {depth}, bonus {bonus}");
                    assert_same_distribution(&found, &claimed, &what);
                }
            }
        }
    }
}

/// The mixture of two models as the target, drafted by its aligned model (one session for both) and
/// by a third model; rules with and without a history.
#[test]
fn a_mixture_is_the_target_of_a_tree() {
    let [base, aligned, small] = tables();
    let pool = Rule::history(PooledBudget::new(0.3, 2.0, 0.9).unwrap());
    for rule in [Rule::base(KadPrimal::new(0.4).unwrap()), pool] {
        let mixture = || Mixture::new(&base, &aligned, &rule, plain(), plain()).unwrap();
        let claimed =
            joint_distribution(&mut MixturePredictor::new(mixture()), &PROMPT, 4, &[EOS]).unwrap();
        for verifier in VERIFIERS {
            for (name, drafter) in drafters(&small, 2) {
                let target = PredictorTarget::new(MixturePredictor::new(mixture()));
                let mut decoder = speculative(drafter, target, drafting(2, true), verifier);
                assert!(distance(&mut decoder, &claimed, 4) < EXACT, "{name}, {verifier:?}");
            }
            let own = mixture();
            let drafter = ModelPredictor::sharing(own.aligned().clone(), plain());
            let drafter = TopKTree::new(drafter, 2, 5).unwrap();
            let target = PredictorTarget::new(MixturePredictor::new(own));
            let mut decoder = speculative(drafter, target, drafting(3, true), verifier);
            assert!(distance(&mut decoder, &claimed, 4) < EXACT, "aligned, {verifier:?}");
            // The lazy form of the same target.
            let (_, target) = DeferralTarget::drafted_by_aligned(mixture(), 3);
            let drafter = SampledTree::new(model(&small), 2, 4).unwrap();
            let mut decoder = speculative(drafter, target, drafting(2, true), verifier);
            assert!(distance(&mut decoder, &claimed, 4) < EXACT, "lazy, {verifier:?}");
        }
    }
}

/// A tree at the bottom of three levels hands up the distributions of the middle model.
#[test]
fn p1_a_tree_at_the_bottom_of_a_chain() {
    let [large, middle, small] = tables();
    let claimed = joint_distribution(&mut model(&large), &PROMPT, 4, &[EOS]).unwrap();
    for (depth, mu, bonus) in [(1, 2, true), (2, 2, false), (2, 3, true), (3, 1, true)] {
        for (tree, chain) in VERIFIERS.into_iter().zip([Verifier::Token, Verifier::SameUniform]) {
            for (name, drafter) in drafters(&small, 2) {
                let target = PredictorTarget::new(model(&middle));
                let level =
                    TreeStage::new(drafter, target, drafting(depth, bonus)).verified_by(tree);
                let drafter = LevelDrafter::new(level, Surplus::Flush).unwrap();
                let target = PredictorTarget::new(model(&large));
                let stage = Stage::new(drafter, target, drafting(mu, true)).verified_by(chain);
                let mut decoder = Speculative::new(stage, &[EOS]);
                let distance = distance(&mut decoder, &claimed, 4);
                assert!(distance < EXACT, "{name}, {depth}, {mu}, {chain:?}: {distance}");
            }
        }
    }
}

/// An inexact drafter: misreports the origin of its siblings.
struct Broken<'m> {
    predictor: ModelPredictor<'m>,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// None: two draws.
    No,
    /// Reports the two most likely tokens as draws.
    ListAsDraws,
    /// Reports a token drawn twice once.
    DroppedDuplicate,
    /// Reports drawn tokens as a list.
    DrawsAsList,
}

impl TreeDrafter for Broken<'_> {
    fn context_len(&self) -> usize {
        self.predictor.context_len()
    }
    fn grow(
        &mut self,
        request: DraftRequest<'_>,
        _: TreeLimits,
        choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError> {
        let mut distribution = Distribution::default();
        self.predictor.follow(request.context, 1)?;
        self.predictor.distribution(request.context, request.context.len(), &mut distribution)?;
        let mut tokens = vec![choices.token(&distribution), choices.token(&distribution)];
        match self.fault {
            Fault::No => {}
            Fault::ListAsDraws => {
                tokens = vec![0, 1, 2];
                tokens.sort_by(|&a, &b| distribution.prob(b).total_cmp(&distribution.prob(a)));
                tokens.truncate(2);
            }
            Fault::DroppedDuplicate => tokens.dedup(),
            Fault::DrawsAsList => {
                tokens.iter().for_each(|&token| _ = out.list(None, token));
                return Ok(());
            }
        }
        let (count, mut tokens) = (tokens.len(), tokens.into_iter());
        let fill = |slot: &mut Distribution| {
            *slot = distribution;
            Ok(())
        };
        out.draw(None, count, |_| tokens.next().unwrap(), fill)
    }
}

/// Detects a list verified as draws and a dropped duplicate. (Draws verified as a list are still
/// exact for one token: given the draws, the list is fixed.)
#[test]
fn siblings_verified_by_the_wrong_rule_are_detected() {
    let [large, _, small] = tables();
    let claimed = joint_distribution(&mut model(&large), &PROMPT, 3, &[EOS]).unwrap();
    for (fault, exact) in [
        (Fault::No, true),
        (Fault::ListAsDraws, false),
        (Fault::DroppedDuplicate, false),
        (Fault::DrawsAsList, true),
    ] {
        let drafter = Broken { predictor: model(&small), fault };
        let target = PredictorTarget::new(model(&large));
        let mut decoder = speculative(drafter, target, drafting(1, true), TreeVerifier::Siblings);
        let distance = distance(&mut decoder, &claimed, 3);
        assert_eq!(distance < EXACT, exact, "{fault:?}: TV = {distance}");
        assert!(exact || distance > 1e-3, "{fault:?}: TV = {distance}");
    }
}

/// The distribution of one round: its tokens and its report.
fn round_distribution(
    decoder: &mut dyn Decoder,
    room: usize,
) -> std::collections::BTreeMap<(Vec<TokenId>, Round), f64> {
    let distribution = enumerate(|choices| {
        let mut out = vec![];
        decoder.step(&PROMPT, room, choices, &mut out)?;
        let tokens = out.iter().map(|made| made.token).collect();
        Ok::<_, DecodeError>((tokens, *decoder.rounds().last().unwrap()))
    });
    distribution.unwrap()
}

fn distribution_after_prompt(model: &mut ModelPredictor) -> Distribution {
    let mut distribution = Distribution::default();
    model.distribution(&PROMPT, PROMPT.len(), &mut distribution).unwrap();
    distribution
}

/// S6 and S7: one of the siblings is accepted with the predicted probability: `P(C)` for a list,
/// the multi-round rate for draws, which is no more than the optimum.
#[test]
fn s6_s7_siblings_are_accepted_as_often_as_theory_says() {
    let models = [1, 3].map(|seed| TableModel::random("table", 6, 2, seed));
    let [p, q] = [0, 1].map(|i| distribution_after_prompt(&mut model(&models[i])));
    let accepted = |drafter: Box<dyn TreeDrafter + '_>, verifier| {
        let target = PredictorTarget::new(model(&models[0]));
        let mut decoder = speculative(drafter, target, drafting(1, true), verifier);
        let distribution = round_distribution(&mut decoder, 2);
        distribution
            .iter()
            .filter(|((_, round), _)| round.accepted == 1)
            .map(|(_, p)| p)
            .sum::<f64>()
    };
    for width in 1..=3 {
        let mut tokens: Vec<TokenId> = (0..6).collect();
        tokens.sort_by(|&a, &b| q.prob(b).total_cmp(&q.prob(a)));
        for verifier in VERIFIERS {
            let tree = TopKTree::new(model(&models[1]), width, 9).unwrap();
            let found = accepted(Box::new(tree), verifier);
            let wanted = listed_acceptance_rate(&p, &tokens[..width]);
            assert!((found - wanted).abs() < EXACT, "list of {width}: {found}, not {wanted}");
        }
        let tree = SampledTree::new(model(&models[1]), width, 9).unwrap();
        let found = accepted(Box::new(tree), TreeVerifier::Siblings);
        let wanted = multi_round_acceptance_rate(&p, &q, width);
        assert!((found - wanted).abs() < EXACT, "{width} draws: {found}, not {wanted}");
        assert!(found <= optimal_acceptance_rate(&p, &q, width) + EXACT);
    }
}

/// Drafts the most likely token and states its distribution as certain.
struct Greedy<'m>(ModelPredictor<'m>);

impl Drafter for Greedy<'_> {
    fn context_len(&self) -> usize {
        self.0.context_len()
    }
    fn draft(
        &mut self,
        request: DraftRequest<'_>,
        _: &mut dyn ChoiceSource,
        out: &mut Draft,
        _: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let (mut text, mut distribution) = (request.context.to_vec(), Distribution::default());
        for _ in 0..request.wanted {
            self.0.distribution(&text, text.len(), &mut distribution)?;
            let token = out.draw(
                request.level,
                |distribution| distribution.argmax(),
                |slot| {
                    slot.set_one_hot(distribution.len(), distribution.argmax());
                    Ok::<_, DecodeError>(())
                },
            )?;
            text.push(token);
            if request.eos.contains(&token) {
                break;
            }
        }
        Ok(())
    }
}

fn texts(decoder: &mut dyn Decoder, eos: &[TokenId], seed: u64) -> Generation {
    let limits = Limits { max_new_tokens: 90, eos: eos.to_vec() };
    let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
    generate(decoder, &[3, 1, 3], &limits, &mut SampledChoices::seeded(seed), go_on).unwrap()
}

/// S8: a tree of one path equals a chain: tokens, origins, levels, rounds and passes of both
/// models.
#[test]
fn s8_a_tree_of_one_path_is_a_chain() {
    let models = [1, 3].map(|seed| Counted::new(TableModel::random("table", 8, 2, seed)));
    let [large, small] = &models;
    let target = || PredictorTarget::new(model(large));
    let run = |decoder: &mut dyn Decoder, seed| {
        let before = models.each_ref().map(Counted::counts);
        let made = texts(decoder, &[7], seed);
        let after = models.each_ref().map(Counted::counts);
        let passes = [0, 1].map(|i| {
            let (now, then) = (after[i], before[i]);
            (now.passes - then.passes, now.tokens - then.tokens, now.rows - then.rows)
        });
        (made, passes)
    };
    for (seed, bonus) in (0..6).flat_map(|seed| [(seed, true), (seed, false)]) {
        let drafting = drafting(3, bonus);
        let drafter = PredictorDrafter::new(model(small));
        let chain = run(&mut Speculative::new(Stage::new(drafter, target(), drafting), &[7]), seed);
        let tree = SampledTree::new(model(small), 1, 9).unwrap();
        let tree = run(&mut Speculative::new(TreeStage::new(tree, target(), drafting), &[7]), seed);
        assert_eq!(chain, tree, "draws, seed {seed}, bonus {bonus}");
        let stage = Stage::new(Greedy(model(small)), target(), drafting);
        let chain = run(&mut Speculative::new(stage, &[7]), seed);
        let tree = TopKTree::new(model(small), 1, 9).unwrap();
        let tree = run(&mut Speculative::new(TreeStage::new(tree, target(), drafting), &[7]), seed);
        assert_eq!(chain, tree, "list, seed {seed}, bonus {bonus}");
    }
}

/// With the same uniforms the text equals that of plain decoding, token for token.
#[test]
fn a_seed_gives_the_text_of_plain_decoding() {
    let models = [1, 3].map(|seed| TableModel::random("table", 8, 1, seed));
    let tokens = |made: &Generation| made.tokens.iter().map(|t| t.token).collect::<Vec<_>>();
    for seed in 0..5 {
        let wanted = texts(&mut SingleDecoder::new(model(&models[0])), &[], seed);
        for (name, drafter) in drafters(&models[1], 3).into_iter().filter(|d| d.0 != "sampled") {
            let target = PredictorTarget::new(model(&models[0]));
            let stage = TreeStage::new(drafter, target, drafting(3, true))
                .verified_by(TreeVerifier::SameUniform);
            let made = texts(&mut Speculative::new(stage, &[]), &[], seed);
            assert_eq!(tokens(&made), tokens(&wanted), "{name}");
            let steps = (made.steps.len(), wanted.steps.len());
            assert!(steps.0 < steps.1, "{name}: {steps:?} steps");
        }
    }
}

/// S10: on every path and for every room, between one and `room` tokens, none after an end token,
/// and the round's report agrees.
#[test]
fn s10_a_round_stays_within_its_room_and_ends_at_an_end_token() {
    let [large, _, small] = tables();
    for (room, depth) in (1..=4).flat_map(|room| [(room, 1), (room, 3)]) {
        for (bonus, verifier) in [true, false].into_iter().zip(VERIFIERS) {
            for (name, drafter) in drafters(&small, 2) {
                let target = PredictorTarget::new(model(&large));
                let mut decoder = speculative(drafter, target, drafting(depth, bonus), verifier);
                for (tokens, round) in round_distribution(&mut decoder, room).into_keys() {
                    let what = format!("{name}, room {room}, bonus {bonus}: {tokens:?} {round:?}");
                    assert!((1..=room).contains(&tokens.len()), "{what}");
                    assert!(!tokens[..tokens.len() - 1].contains(&EOS), "{what}");
                    assert_eq!(round.emitted, tokens.len(), "{what}");
                    assert!(
                        round.accepted <= round.depth && round.depth <= round.drafted,
                        "{what}"
                    );
                    assert!(round.depth <= depth.min(room - usize::from(bonus)), "{what}");
                    let own = tokens.len() - round.accepted;
                    assert!(own == 1 || own == 0 && round.accepted > 0, "{what}");
                }
            }
        }
    }
}

/// S10: a context that fills up ends the text where plain decoding ends it; all nodes of a tree fit
/// side by side.
#[test]
fn s10_a_full_context() {
    let room = 3;
    let [large, _, small] = tables().map(|table| table.with_context_len(PROMPT.len() + room));
    let claimed = joint_distribution(&mut model(&large), &PROMPT, 10, &[EOS]).unwrap();
    for verifier in VERIFIERS {
        for (name, drafter) in drafters(&small, 3) {
            let target = PredictorTarget::new(model(&large));
            let mut decoder = speculative(drafter, target, drafting(3, true), verifier);
            assert_eq!(decoder.context_len(), PROMPT.len() + room);
            for (_, round) in round_distribution(&mut decoder, room).into_keys() {
                assert!(round.drafted <= room, "{name}: {round:?}");
            }
            let distance = distance(&mut decoder, &claimed, 10);
            assert!(distance < EXACT, "{name}, {verifier:?}: TV = {distance}");
        }
    }
}

/// The depth may change between rounds; at 0 nothing is drafted and the target decodes alone.
#[test]
fn the_depth_may_be_changed_while_decoding() {
    let [large, _, small] = tables();
    let tree = TopKTree::new(model(&small), 2, 4).unwrap();
    let stage = TreeStage::new(tree, PredictorTarget::new(model(&large)), drafting(2, false));
    let depth = stage.length();
    let mut decoder = Speculative::new(stage, &[EOS]);
    let reported = |decoder: &mut dyn Decoder| {
        let rounds = round_distribution(decoder, 5).into_keys().map(|(_, round)| round);
        rounds.map(|round| (round.drafted, round.depth)).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(reported(&mut decoder).iter().all(|&(nodes, depth)| nodes > 2 && depth == 2));
    depth.set(0);
    assert!(reported(&mut decoder).iter().eq(&[(0, 0)]));
    // Nothing was drafted, so no token is a bonus token.
    let (mut choices, mut made) = (SampledChoices::seeded(2), Vec::new());
    decoder.begin(PROMPT.len());
    decoder.step(&PROMPT, 5, &mut choices, &mut made).unwrap();
    assert!(matches!(made[..], [Emitted { origin: Origin::Sampled, .. }]), "{made:?}");
    let claimed = joint_distribution(&mut model(&large), &PROMPT, 3, &[EOS]).unwrap();
    assert!(distance(&mut decoder, &claimed, 3) < EXACT);
    depth.set(1);
    assert!(reported(&mut decoder).iter().all(|&(_, depth)| depth == 1));
    assert!(distance(&mut decoder, &claimed, 3) < EXACT);
}

/// One pass of the target per round and one of the drafter per depth, for every width.
#[test]
fn each_round_is_one_pass() {
    let models = [1, 3].map(|seed| Counted::new(TableModel::random("table", 8, 2, seed)));
    let [large, small] = &models;
    let trees: [Box<dyn TreeDrafter>; 2] = [
        Box::new(TopKTree::new(model(small), 3, 8).unwrap()),
        Box::new(SampledTree::new(model(small), 2, 14).unwrap()),
    ];
    for tree in trees {
        let before = models.each_ref().map(Counted::counts);
        let target = PredictorTarget::new(model(large));
        let stage = TreeStage::new(tree, target, drafting(3, true));
        let made = texts(&mut Speculative::new(stage, &[]), &[], 2);
        let passes = [0, 1].map(|i| (models[i].counts().passes - before[i].passes) as usize);
        // Depth 3, except near the end of the text.
        let (mut room, mut depths) = (90, 0);
        for round in &made.rounds {
            depths += (room - 1).min(3);
            room -= round.emitted;
        }
        assert_eq!(passes, [made.rounds.len(), depths]);
        assert!(made.rounds.len() < 70);
        let count = |origin| made.tokens.iter().filter(|t| t.origin == origin).count();
        let accepted: usize = made.rounds.iter().map(|round| round.accepted).sum();
        assert_eq!(count(Origin::Drafted), accepted);
        assert!(count(Origin::Bonus) > 0 && count(Origin::Corrected) > 0);
        let level = |t: &kad_core::decode::Emitted| 1 + usize::from(t.origin == Origin::Drafted);
        assert!(made.tokens.iter().all(|t| t.level == level(t)));
    }
}

#[test]
fn empty_trees_are_refused() {
    let [large, ..] = tables();
    let error = TreeError { siblings: 0, nodes: 3 };
    assert_eq!(TopKTree::new(model(&large), 0, 3).err(), Some(error));
    assert!(SampledTree::new(model(&large), 2, 0).is_err());
    assert!(LookupTree::new(NgramLookup::default(), 0).is_err());
    assert!(error.to_string().contains("0 siblings and 3 nodes"));
}
