//! Replay of chains along texts, against all paths of the engine on small models, and against the
//! predictor where both have the same input.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kad_core::decode::{Decoder, generate};
use kad_core::oracle::{TableModel, enumerate};
use kad_core::{
    ChoiceSource, Counted, Counts, DecodeError, LanguageModel, Predictor, SampledChoices, TokenId,
};
use kad_polybasic::theory::{
    Acceptance, Chain, ConditionalReplay, PassTimes, Proposer, ReplaySettings, RunLengths, Surplus,
    TextTrace, TheoryError, TracedDrafts, VerifyingLevel,
};
use kad_polybasic::{
    Draft, DraftRequest, DraftTree, Drafter, NgramDrafter, PredictorTarget, Speculative, TopKTree,
    TreeDrafter, TreeLimits, TreeStage, Verifier,
};

use crate::support::*;
use crate::theory_support::{close, level as level_of, model};

pub(crate) const TOKEN: Verifier = Verifier::Token;

/// A verifier whose passes take one second per token read.
fn verifier(level: usize, length: usize, bonus: bool, rate: f64) -> VerifyingLevel {
    VerifyingLevel {
        name: format!("level {level}"),
        times: PassTimes::linear(1.0, 1.0).unwrap(),
        ..level_of(1.0, rate, length, bonus)
    }
}

/// The same levels as data. Off the text, tokens are accepted with probability `rate`.
pub(crate) fn described(plans: &[LevelSettings], rate: f64) -> Chain {
    let verifiers = plans.iter().enumerate();
    let verifiers = verifiers.map(|(at, plan)| verifier(at, plan.length, plan.bonus, rate));
    let times = PassTimes::linear(1.0, 1.0).unwrap();
    let proposer = model(&format!("level {}", plans.len()), times);
    Chain { verifiers: verifiers.collect(), proposer, plain_seconds: None }
}

/// The trace of `text` by `models`, the target first.
fn traced<M: LanguageModel>(models: &[M], text: &[TokenId], limit: usize) -> TextTrace {
    let whole = [&PROMPT[..], text].concat();
    let along = |model: &M| -> Vec<f64> {
        let mut distributions = Vec::new();
        let context = &whole[..whole.len() - 1];
        predictor(model).distributions(context, text.len(), &mut distributions).unwrap();
        distributions
            .iter()
            .zip(text)
            .map(|(distribution, token)| distribution.prob(*token).ln().max(-1e3))
            .collect()
    };
    let distributions = models.iter().enumerate();
    let distributions =
        distributions.map(|(at, model)| (format!("level {at}"), along(model))).collect();
    let (prompt, tokens, ended) = (PROMPT.len(), text.len(), text.last() == Some(&EOS));
    TextTrace { prompt, limit, tokens, ended, distributions, drafts: BTreeMap::new() }
}

/// Means of the numbers of one text.
fn means(distribution: BTreeMap<Vec<u64>, f64>) -> Vec<f64> {
    let mut sums = Vec::new();
    for (counts, p) in distribution {
        sums.resize(counts.len(), 0.0);
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += p * count as f64);
    }
    sums
}

/// The replay of `chain` along every text, weighted with the text's probability under the target:
/// passes of each level, tokens read by each level, tokens proposed at the bottom.
fn replayed(
    chain: &Chain,
    target: &impl LanguageModel,
    length: usize,
    mut trace: impl FnMut(&[TokenId]) -> TextTrace,
) -> Vec<f64> {
    let mut sums = Vec::new();
    for (text, p) in claimed(predictor(target), length) {
        let trace = trace(&text);
        let distribution = enumerate(|choices| {
            let mut player = ConditionalReplay::new(chain, &trace)?;
            while player.round(choices)? > 0 {}
            let passes = player.levels().map(|level| level.passes);
            let read = player.levels().map(|level| level.seconds.round() as u64);
            let proposed = player.levels().last().map(|level| level.handed_on);
            Ok::<_, TheoryError>(passes.chain(read).chain(proposed).collect::<Vec<_>>())
        });
        let one = means(distribution.unwrap());
        sums.resize(one.len(), 0.0);
        sums.iter_mut().zip(one).for_each(|(sum, one)| *sum += p * one);
    }
    sums
}

/// The engine's means over all paths: passes of each model, then tokens it read, without the
/// beginning of the prompt. Sessions are fresh, because a used one remembers the prompt.
fn engine<M: LanguageModel>(
    models: &[Counted<M>],
    plans: &[LevelSettings],
    length: usize,
) -> Vec<f64> {
    let distribution = enumerate(|choices| {
        let before: Vec<_> = models.iter().map(Counted::counts).collect();
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        generate(&mut chain(models, plans), &PROMPT, &limits(length), choices, go_on)?;
        let made = models.iter().zip(before).map(|(model, before)| model.counts() - before);
        let made: Vec<_> = made.collect();
        let beginning = PROMPT.len() as u64 - 1;
        let read = |made: &Counts| made.tokens - beginning * u64::from(made.passes > 0);
        let numbers = made.iter().map(|made| made.passes).chain(made.iter().map(read));
        Ok::<_, DecodeError>(numbers.collect::<Vec<_>>())
    });
    means(distribution.unwrap())
}

/// A model of two tokens with distributions that depend on the last two tokens. The third token,
/// which ends texts, has probability `ends`.
fn table(seed: u64, ends: f32) -> Counted<TableModel> {
    let mut model = TableModel::random("table", 3, 2, seed);
    for context in 0..4u32 {
        // Any irregular numbers.
        let odds = ((seed as f32 + 1.3) * (context as f32 + 0.7) * 12.9).sin() * 2.0;
        let rest = 1.0 + odds.exp();
        let logits = [0.0, odds, (ends / (1.0 - ends) * rest).ln().max(-1e9)];
        model = model.with_row(&[context / 2, context % 2], &logits);
    }
    Counted::new(model)
}

/// Two levels, all paths: passes of both models and the tokens they read, for texts that only their
/// limit ends.
#[test]
fn two_levels_are_replayed_exactly() {
    let models = [table(1, 0.0), table(2, 0.0)];
    for (length, bonus) in [(1, true), (2, true), (3, true), (1, false), (3, false)] {
        for limit in [1, 2, 5] {
            let plans = [LevelSettings::new(length, bonus, TOKEN)];
            let wanted = engine(&models, &plans, limit);
            let chain = described(&plans, 0.37);
            let found = replayed(&chain, &models[0], limit, |text| traced(&models, text, limit));
            for (at, wanted) in wanted.iter().enumerate() {
                close(found[at], *wanted, &format!("{length} {bonus} {limit}: number {at}"));
            }
        }
    }
}

/// Texts that may end at any position, with a target that ends them more readily than its drafter:
/// then no token off the text ends a draft of two before its full length. Passes of both models.
#[test]
fn two_levels_are_replayed_exactly_up_to_the_end_of_a_text() {
    let models = [table(1, 0.3), table(2, 0.2)];
    for (length, bonus) in [(1, true), (2, true), (1, false), (2, false)] {
        let plans = [LevelSettings::new(length, bonus, TOKEN)];
        let wanted = engine(&models, &plans, 5);
        let found = replayed(&described(&plans, 0.37), &models[0], 5, |t| traced(&models, t, 5));
        // A draft that ends off the text is verified by a narrower pass, which replay does not
        // know.
        let numbers = if length == 1 { 4 } else { 2 };
        for at in 0..numbers {
            close(found[at], wanted[at], &format!("{length} {bonus}: number {at}"));
        }
    }
}

/// The rounds of the target follow the exact distribution given the text, for every level below,
/// length, bonus flag and end. Acceptance off the text does not matter.
#[test]
fn the_targets_rounds_are_exact_over_any_number_of_levels() {
    let models: [TableModel; 4] = tables();
    let models = models.map(Counted::new);
    let cases: [(&[usize], usize, usize); 8] = [
        (&[2], 1, 4),
        (&[3], 0, 4),
        (&[2, 1], 0b11, 4),
        (&[2, 2], 0b01, 4),
        (&[3, 2], 0b10, 4),
        (&[1, 2], 0b00, 4),
        (&[3, 2, 1], 0b111, 3),
        (&[2, 2, 2], 0b010, 3),
    ];
    for (lengths, bonus, limit) in cases {
        let plans = LevelSettings::levels(lengths, bonus, TOKEN);
        let models = &models[..=lengths.len()];
        let wanted = engine(models, &plans, limit)[0];
        for rate in [0.2, 0.9] {
            let chain = described(&plans, rate);
            let found = replayed(&chain, &models[0], limit, |text| traced(models, text, limit));
            close(found[0], wanted, &format!("{lengths:?} {bonus:b}"));
        }
    }
}

/// Three levels for which acceptance off the text is irrelevant or known: a middle level that
/// always hands on one token per round, and one that accepts everything because its drafter is the
/// same model. Passes of all levels.
#[test]
fn three_levels_are_replayed_exactly() {
    let other = [table(1, 0.0), table(2, 0.0), table(3, 0.0)];
    let same = [table(1, 0.0), table(2, 0.0), table(2, 0.0)];
    for (lengths, bonus, models, rate) in [
        ([2, 1], 0b01, &other, 0.4),
        ([3, 1], 0b00, &other, 0.4),
        ([1, 2], 0b11, &same, 1.0),
        ([3, 2], 0b11, &same, 1.0),
        ([3, 2], 0b01, &same, 1.0),
        ([4, 1], 0b10, &same, 1.0),
    ] {
        let plans = LevelSettings::levels(&lengths, bonus, TOKEN);
        let wanted = engine(models, &plans, 5);
        let chain = described(&plans, rate);
        let found = replayed(&chain, &models[0], 5, |text| traced(models, text, 5));
        for at in 0..3 {
            close(found[at], wanted[at], &format!("{lengths:?} {bonus:b}: level {at}"));
        }
    }
}

/// Counts rounds of the target and tokens drafted for it.
fn rounds(decoder: &dyn Decoder, sum: &mut [u64; 2]) {
    for round in decoder.rounds().iter().filter(|round| round.level == 1) {
        *sum = [sum[0] + 1, sum[1] + round.drafted as u64];
    }
}

/// The engine's means over all paths: rounds of the target, tokens drafted for it.
fn rounds_of_engine(decoder: &mut dyn Decoder, length: usize) -> Vec<f64> {
    let distribution = enumerate(|choices| {
        let mut text = PROMPT.to_vec();
        let mut sum = [0, 0];
        decoder.begin(text.len());
        while text.len() < PROMPT.len() + length && !text[PROMPT.len()..].contains(&EOS) {
            let (room, mut made) = (PROMPT.len() + length - text.len(), Vec::new());
            decoder.step(&text, room, choices, &mut made)?;
            rounds(decoder, &mut sum);
            text.extend(made.iter().map(|made| made.token));
        }
        Ok::<_, DecodeError>(sum.to_vec())
    });
    means(distribution.unwrap())
}

/// Both counts for a lookup, whose drafts may be short and may or may not end with an end token.
#[test]
fn a_lookup_is_replayed_exactly() {
    let target = Counted::new(TableModel::random("table", 3, 2, 5));
    let drafter = || NgramDrafter::new(kad_polybasic::NgramLookup::new(1, 2).unwrap(), 3);
    for (length, bonus) in [(1, true), (3, true), (3, false)] {
        let mut decoder = speculative(
            drafter(),
            PredictorTarget::new(predictor(&target)),
            drafting(length, bonus),
        );
        let wanted = rounds_of_engine(&mut decoder, 5);
        let proposer =
            Proposer::Lookup { name: "lookup".into(), draft_seconds: 0.0, token_seconds: 0.0 };
        let verifiers = vec![verifier(0, length, bonus, 0.3)];
        let chain = Chain { verifiers, proposer, plain_seconds: None };
        let found = replayed(&chain, &target, 5, |text| {
            let mut trace = traced(std::slice::from_ref(&target), text, 5);
            let mut drafts = TracedDrafts::default();
            for at in 0..text.len() {
                let mut draft = Draft::default();
                let context = &[&PROMPT[..], &text[..at]].concat();
                let request = DraftRequest { context, wanted: 9, room: 9, level: 2, eos: &[EOS] };
                let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(1);
                drafter().draft(request, choices, &mut draft, &mut Vec::new()).unwrap();
                let proposed = draft.tokens().iter().map(|made| made.token);
                drafts.proposed.push(draft.len());
                drafts
                    .agreeing
                    .push(proposed.zip(&text[at..]).take_while(|(a, b)| a == *b).count());
            }
            trace.drafts.insert("lookup".into(), drafts);
            trace
        });
        close(found[0], wanted[0], &format!("{length} {bonus}: rounds"));
        close(found[4], wanted[1], &format!("{length} {bonus}: drafted"));
    }
}

/// Rounds of the target over trees of the two most likely tokens after each node, so that shallower
/// trees are the upper parts of deeper ones.
#[test]
fn a_tree_is_replayed_exactly() {
    let [target, small] = [5, 6].map(|seed| TableModel::random("table", 3, 2, seed));
    let grown = || TopKTree::new(predictor(&small), 2, 14).unwrap();
    for depth in [1, 2, 3] {
        let stage = TreeStage::new(
            grown(),
            PredictorTarget::new(predictor(&target)),
            drafting(depth, true),
        );
        let wanted = rounds_of_engine(&mut Speculative::new(stage, &[EOS]), 5);
        let proposer = Proposer::Tree { name: "tree".into(), draft_seconds: 0.0, nodes: 14, depth };
        let verifiers = vec![verifier(0, depth, true, 0.3)];
        let chain = Chain { verifiers, proposer, plain_seconds: None };
        let found = replayed(&chain, &target, 5, |text| {
            let mut trace = traced(std::slice::from_ref(&target), text, 5);
            let mut drafts = TracedDrafts::default();
            for at in 0..text.len() {
                let context = &[&PROMPT[..], &text[..at]].concat();
                let request =
                    DraftRequest { context, wanted: depth, room: 9, level: 2, eos: &[EOS] };
                let mut tree = DraftTree::default();
                let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(1);
                let limits = TreeLimits { depth, nodes: 14 };
                grown().grow(request, limits, choices, &mut tree).unwrap();
                let (mut node, mut agreeing) = (None, 0);
                while let Some(next) =
                    text.get(at + agreeing).and_then(|t| tree.tokens().child_with(node, *t))
                {
                    (node, agreeing) = (Some(next), agreeing + 1);
                }
                drafts.proposed.push(depth);
                drafts.agreeing.push(agreeing);
            }
            trace.drafts.insert("tree".into(), drafts);
            trace
        });
        close(found[0], wanted[0], &format!("depth {depth}"));
    }
}

/// A text along which level i + 1 agrees with level i everywhere at `rates[i]`.
pub(crate) fn constant(rates: &[f64], tokens: usize) -> TextTrace {
    let mut distributions = BTreeMap::new();
    let mut log = -10.0;
    for level in 0..=rates.len() {
        distributions.insert(format!("level {level}"), vec![log; tokens]);
        log += rates.get(level).map_or(0.0, |rate| rate.ln());
    }
    TextTrace {
        prompt: 5,
        limit: tokens,
        tokens,
        ended: false,
        distributions,
        ..TextTrace::default()
    }
}

/// Constant acceptance, as the predictor assumes. n = 400 texts of 1,000 tokens each. The seconds
/// of a chain fail by chance with α = 6e-5 (4 standard errors), and an error of 1.8 % is detected.
/// The end of a text wastes at most one round in about 150, less than 0.5 %.
#[test]
fn replay_at_constant_rates_agrees_with_the_predictor() {
    let cases: [(&[f64], &[usize], bool); 4] = [
        (&[0.8], &[4], true),
        (&[0.8], &[4], false),
        (&[0.9, 0.7], &[6, 3], true),
        (&[0.95, 0.85, 0.7], &[8, 5, 3], true),
    ];
    for (rates, lengths, bonus) in cases {
        let plans: Vec<LevelSettings> =
            lengths.iter().map(|&length| LevelSettings::new(length, bonus, TOKEN)).collect();
        let mut chain = described(&plans, 0.0);
        for (level, rate) in rates.iter().enumerate() {
            chain.verifiers[level].acceptance = Acceptance::Rate(*rate);
            // Widths are counted differently: see `ConditionalReplay`.
            chain.verifiers[level].times = crate::theory_support::constant(1.0);
            chain.verifiers[level].overhead = 0.25;
        }
        let times = crate::theory_support::constant(0.1);
        chain.proposer =
            Proposer::Model { name: chain.proposer.name().into(), times, overhead: 0.05 };
        let how = ReplaySettings { repetitions: 40, resamples: 3, seed: 3, first_rounds: true };
        let texts = vec![constant(rates, 1000); 10];
        let found = chain.replay(&texts, how).unwrap();
        let predicted = chain.predict(0).unwrap();
        let (seconds, wanted) = (found.prediction.seconds_per_token, predicted.seconds_per_token);
        let error = 4.0 * found.monte_carlo_error.unwrap();
        assert!(error < 0.013 * wanted, "{rates:?} is too noisy: {error}");
        assert!((seconds - wanted).abs() < error + 0.005 * wanted, "{rates:?}: {seconds} {wanted}");
        for (found, wanted) in found.prediction.levels.iter().zip(&predicted.levels) {
            for (found, wanted) in [
                (found.passes_per_token, wanted.passes_per_token),
                (found.waste, wanted.waste),
                (found.acceptance_length, wanted.acceptance_length),
                (found.overhead_per_token, wanted.overhead_per_token),
                (found.seconds_per_pass, wanted.seconds_per_pass),
            ] {
                assert!((found - wanted).abs() < 0.02 * wanted.max(0.1), "{found} {wanted}");
            }
        }
    }
}

/// By hand: levels that agree everywhere, texts of six tokens that end, drafts of three tokens and
/// a bonus.
#[test]
fn passes_read_the_unread_tokens() {
    let chain = described(&[LevelSettings::new(3, true, TOKEN)], 0.0);
    let trace = TextTrace { ended: true, limit: 9, ..constant(&[1.0], 6) };
    let mut player = ConditionalReplay::new(&chain, &trace).unwrap();
    let choices = &mut SampledChoices::seeded(1);
    assert_eq!(player.round(choices).unwrap(), 4);
    // Four tokens; then one, and two more of its own.
    let seconds =
        |player: &ConditionalReplay<'_>| player.levels().map(|l| l.seconds).collect::<Vec<_>>();
    assert_eq!(seconds(&player), [4.0, 3.0]);
    // The bonus token and the token before it are new to the drafter. No bonus token follows the
    // end, and no distribution is needed after it.
    assert_eq!(player.round(choices).unwrap(), 2);
    assert_eq!(seconds(&player), [4.0 + 2.0, 3.0 + 2.0 + 1.0]);
    assert_eq!(player.round(choices).unwrap(), 0);
    // Cut off by the limit instead: the last token has no room for a draft and a bonus token.
    let mut player = ConditionalReplay::new(&chain, &constant(&[1.0], 5)).unwrap();
    let made: Vec<usize> = (0..3).map(|_| player.round(choices).unwrap()).collect();
    assert_eq!((made, seconds(&player)), (vec![4, 1, 0], vec![4.0 + 1.0, 3.0]));
}

/// Run lengths of one token: the third token of a draft, the first off the text, is accepted like
/// the first token of a round.
#[test]
fn run_lengths_restart_off_the_text() {
    let mut chain = described(&LevelSettings::levels(&[1, 3], 0b11, TOKEN), 0.5);
    let mut runs = RunLengths::default();
    (0..40).for_each(|_| runs.record(3, 3, 1).unwrap());
    chain.verifiers[1].acceptance = runs.into();
    let mut trace = constant(&[1.0, 1.0], 9);
    trace.distributions.get_mut("level 1").unwrap()[2] = -1000.0;
    let mut player = ConditionalReplay::new(&chain, &trace).unwrap();
    // Two tokens of the draft and the target's own third.
    assert_eq!(player.round(&mut SampledChoices::seeded(1)).unwrap(), 3);
    let handed_on: Vec<u64> = player.levels().map(|level| level.handed_on).collect();
    assert_eq!(handed_on, [3, 4, 3]);
}

/// Kept surplus is verified next and paid for once: a middle level with three tokens per round
/// below a threshold of four, as in the predictor's test.
#[test]
fn kept_tokens_are_replayed_once() {
    let mut plans = LevelSettings::levels(&[4, 3], 0, TOKEN);
    plans.iter_mut().for_each(|plan| plan.bonus = false);
    let mut chain = described(&plans, 1.0);
    let trace = constant(&[1.0, 1.0], 120);
    let how = ReplaySettings { repetitions: 1, resamples: 1, seed: 1, first_rounds: true };
    let passes = |chain: &Chain| -> Vec<f64> {
        let found = chain.replay(std::slice::from_ref(&trace), how).unwrap().prediction;
        found.levels.iter().map(|level| 120.0 * level.passes_per_token).collect()
    };
    assert_eq!(passes(&chain), [20.0, 40.0, 120.0]);
    chain.verifiers[0].surplus = Surplus::Keep;
    assert_eq!(passes(&chain), [30.0, 40.0, 120.0]);
}
