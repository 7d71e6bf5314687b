//! P2, P4 and P9: the acceptance of a level depends on its own distribution and on the one handed
//! up to it, and on nothing below.

use std::collections::BTreeMap;

use kad_core::decode::{Decoder, Origin, Round};
use kad_core::oracle::{TableModel, enumerate, total_variation};
use kad_core::{DecodeError, Distribution, Predictor, SampledChoices, TokenId};
use kad_polybasic::verify::{acceptance, residual};
use kad_polybasic::{Surplus, Verifier};

use crate::support::*;

/// The tokens of a first step and its number of accepted tokens.
type Steps = BTreeMap<(Vec<TokenId>, usize), f64>;

fn first_step(decoder: &mut dyn Decoder, room: usize) -> Steps {
    let distribution = enumerate(|choices| {
        let mut out = Vec::new();
        decoder.begin(PROMPT.len());
        let step = decoder.step(&PROMPT, room, choices, &mut out)?;
        Ok::<_, DecodeError>((out.iter().map(|made| made.token).collect(), step.accepted))
    });
    distribution.unwrap()
}

fn next_distribution(model: &TableModel, context: &[TokenId]) -> Distribution {
    let mut distributions = Vec::new();
    predictor(model).distributions(context, 1, &mut distributions).unwrap();
    distributions.remove(0)
}

/// Speculative decoding with two models (arXiv 2211.17192, algorithm 1), written out as sums over
/// drafts, without the engine.
fn textbook(models: &[TableModel], length: usize, bonus: bool) -> Steps {
    let mut steps = Steps::new();
    let mut open = vec![(Vec::new(), 1.0)];
    while let Some((made, reached)) = open.pop() {
        let context = [&PROMPT[..], &made].concat();
        let ended = made.last() == Some(&EOS);
        let p = next_distribution(&models[0], &context);
        if made.len() == length || ended {
            if bonus && !ended {
                add_each(&mut steps, &made, &p, reached, made.len());
            } else {
                *steps.entry((made.clone(), made.len())).or_default() += reached;
            }
            continue;
        }
        let q = next_distribution(&models[1], &context);
        let mut rejected = 0.0;
        for y in 0..3 {
            let accepted = acceptance(&p, &q, y);
            rejected += reached * q.prob(y) * (1.0 - accepted);
            open.push(([&made[..], &[y]].concat(), reached * q.prob(y) * accepted));
        }
        let mut left = Distribution::default();
        residual(&p, &q, &mut left);
        add_each(&mut steps, &made, &left, rejected, made.len());
    }
    steps.retain(|_, p| *p > 0.0);
    steps
}

fn add_each(
    steps: &mut Steps,
    made: &[TokenId],
    distribution: &Distribution,
    reached: f64,
    accepted: usize,
) {
    for (y, p) in (0..).zip(distribution.probs()) {
        *steps.entry(([made, &[y]].concat(), accepted)).or_default() += reached * p;
    }
}

/// P9: two levels equal textbook speculative decoding in every step, tokens and accepted counts.
#[test]
fn p9_two_levels_are_plain_speculative_decoding() {
    let models = tables::<2>();
    for (length, bonus) in (1..=4).flat_map(|length| FLAGS.map(|bonus| (length, bonus))) {
        let levels = [LevelSettings::new(length, bonus, Verifier::Token)];
        let found = first_step(&mut chain(&models, &levels), 9);
        let tv = total_variation(&found, &textbook(&models, length, bonus));
        assert!(tv < EXACT, "{levels:?}: {tv}");
    }
}

/// P2: if exactly `μ` tokens are handed up at a time, the target's output and accepted counts have
/// the distribution of two levels, for every drafter, verifier and length below.
#[test]
fn p2_acceptance_depends_on_two_distributions_alone() {
    let models = tables::<4>();
    let other = TableModel::random("other", 3, 1, 77);
    for (mu, bonus) in [1, 2, 3].into_iter().flat_map(|mu| FLAGS.map(|bonus| (mu, bonus))) {
        let alone = textbook(&models, mu, bonus);
        for (lowest, verifier, k, own) in [
            (&models[2], Verifier::Token, 1, true),
            (&models[2], Verifier::Token, 3, false),
            (&models[2], Verifier::Block, 2, true),
            (&other, Verifier::Token, 2, true),
            (&other, Verifier::Block, 3, false),
        ] {
            let models = [models[0].clone(), models[1].clone(), lowest.clone()];
            let levels = [
                LevelSettings::new(mu, bonus, Verifier::Token),
                LevelSettings::new(k, own, verifier),
            ];
            let mut decoder = chain_at(plain(), &models, &levels, Surplus::Keep);
            let tv = total_variation(&first_step(&mut decoder, mu + 1), &alone);
            assert!(tv < EXACT, "{levels:?}: {tv}");
        }
        let levels = LevelSettings::levels(&[mu, 2, 1], usize::from(bonus), Verifier::Token);
        let mut decoder = chain_at(plain(), &models, &levels, Surplus::Keep);
        let tv = total_variation(&first_step(&mut decoder, mu + 1), &alone);
        assert!(tv < EXACT, "{levels:?}: {tv}");
    }
}

/// All verifications in a first step, of every level.
fn all_rounds(decoder: &mut dyn Decoder) -> Vec<Round> {
    let distribution = enumerate(|choices| {
        let mut out = Vec::new();
        decoder.begin(PROMPT.len());
        decoder.step(&PROMPT, 5, choices, &mut out)?;
        let corrected = out.iter().filter(|made| made.origin == Origin::Corrected);
        let levels: Vec<usize> = corrected.map(|made| made.level).collect();
        let rounds = decoder.rounds().to_vec();
        let rejected = |level| rounds.iter().any(|r| r.level == level && r.accepted < r.drafted);
        assert!(levels.iter().all(|&level| rejected(level)), "{levels:?} of {rounds:?}");
        Ok::<_, DecodeError>(rounds)
    });
    distribution.unwrap().into_keys().flatten().collect()
}

/// P4: a model never rejects tokens drafted by itself.
#[test]
fn p4_a_model_never_rejects_itself() {
    let [one, other, third] = tables::<3>();
    for verifier in VERIFIERS {
        for bonus in 0..4 {
            let levels = LevelSettings::levels(&[3, 2], bonus, verifier);
            for (models, never) in [
                ([one.clone(), one.clone(), other.clone()], 1),
                ([other.clone(), one.clone(), one.clone()], 2),
            ] {
                let rounds = all_rounds(&mut chain(&models, &levels));
                let rejected = |level| {
                    let rounds = rounds.iter().filter(|round| round.level == level);
                    rounds.filter(|round| round.accepted < round.drafted).count()
                };
                assert_eq!(rejected(never), 0, "{levels:?}");
                assert!(rejected(3 - never) > 0, "{levels:?}");
            }
            let rounds =
                all_rounds(&mut chain(&[one.clone(), other.clone(), third.clone()], &levels));
            assert!(rounds.iter().any(|round| round.level == 2 && round.accepted < round.drafted));
        }
    }
}

/// P4 for kept tokens: they are proposed at their position or not at all. (At another position they
/// would be exact drafts too, because each has the distribution it was drawn from, but poor ones.)
#[test]
fn p4_kept_tokens_are_proposed_at_their_position() {
    let [one, _, other] = tables::<3>();
    let models = [one.clone(), one, other];
    for bonus in 0..4 {
        let levels = LevelSettings::levels(&[2, 6], bonus, Verifier::Token);
        let mut decoder = chain_at(plain(), &models, &levels, Surplus::Keep);
        let made = run(&mut decoder, &PROMPT, 4000, &mut SampledChoices::seeded(6));
        let own = made.rounds.iter().filter(|round| round.level == 1);
        assert_eq!(own.filter(|round| round.accepted < round.drafted).count(), 0, "{levels:?}");
    }
}
