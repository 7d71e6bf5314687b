//! S1, S2, K10 and K12 for single tokens, and S1 for texts of several rounds, in rational numbers:
//! distributions are compared for equality.

use std::collections::BTreeMap;

use super::*;
use kad_core::mixture::mix_weights;
use kad_core::oracle::{BigRational, enumerate, enumerate_exact, ratio};
use kad_core::{ChoiceSource, Distribution, Number, TokenId};
use proptest::prelude::*;

mod siblings;

type Exact = Distribution<BigRational>;

fn exact(weights: &[i64]) -> Exact {
    Distribution::proportional(weights.iter().map(|&w| ratio(w, 1))).unwrap()
}

/// Small weights; some of them, never all, are 0.
fn weights(n: usize) -> impl Strategy<Value = Vec<i64>> {
    proptest::collection::vec(0..7i64, n).prop_filter("possible", |w| w.iter().any(|&w| w > 0))
}

fn triples() -> impl Strategy<Value = (Vec<i64>, Vec<i64>, Vec<i64>)> {
    (1..7usize).prop_flat_map(|n| {
        (weights(n), weights(n), proptest::collection::vec(prop_oneof![0..2i64, 0..8i64], n))
    })
}

/// Drafts, verifies and corrects one token.
fn verified<N: Number>(
    target: &Distribution<N>,
    draft: &Distribution<N>,
    choices: &mut dyn ChoiceSource<N>,
) -> TokenId {
    let drafted = choices.token(draft);
    if choices.accept(acceptance(target, draft, drafted)) {
        return drafted;
    }
    let mut corrected = Distribution::default();
    residual(target, draft, &mut corrected);
    choices.token(&corrected)
}

fn as_distribution(made: &BTreeMap<TokenId, BigRational>, size: usize) -> Vec<BigRational> {
    let at = |token| made.get(&token).cloned().unwrap_or_else(|| ratio(0, 1));
    (0..size as TokenId).map(at).collect()
}

/// The weights d in eighths, their deferral mass, and the mixture.
fn mixture(p: &Exact, q: &Exact, eighths: &[i64]) -> (Vec<BigRational>, BigRational, Exact) {
    let d: Vec<_> = eighths.iter().map(|&w| ratio(w.min(8), 8)).collect();
    let mass = d.iter().zip(p.probs()).map(|(d, p)| d * p).sum::<BigRational>();
    let mut pi = Distribution::default();
    mix_weights(p, q, &d, mass.clone(), &mut pi);
    (d, mass, pi)
}

proptest! {
    /// S1 for one token, and S2.
    #[test]
    fn s1_a_verified_token_has_the_targets_distribution((p, q, _) in triples()) {
        let (target, draft) = (exact(&p), exact(&q));
        let made = enumerate_exact(|choices| Ok::<_, ()>(verified(&target, &draft, choices)));
        prop_assert_eq!(as_distribution(&made.unwrap(), target.len()), target.probs());
        let accepted: BigRational = (0..target.len())
            .map(|y| &draft.probs()[y] * acceptance(&target, &draft, y as TokenId))
            .sum();
        prop_assert_eq!(&accepted, &acceptance_rate(&target, &draft));
        let apart = |(p, q): (&BigRational, &BigRational)| if p > q { p - q } else { q - p };
        let twice_tv: BigRational = target.probs().iter().zip(draft.probs()).map(apart).sum();
        prop_assert_eq!(accepted, ratio(1, 1) - twice_tv / ratio(2, 1));
    }

    /// K12: the closed forms of the mixture equal the general ones, and the rejections have the
    /// mass 1 − a, exactly.
    #[test]
    fn k12_closed_forms_equal_the_general_ones((p, q, d) in triples()) {
        let (base, aligned) = (exact(&p), exact(&q));
        let (d, mass, pi) = mixture(&base, &aligned, &d);
        for (y, d) in d.iter().enumerate() {
            let [p, q] = [&base, &aligned].map(|distribution| distribution.probs()[y].clone());
            prop_assert_eq!(
                deferred_acceptance(d.clone(), mass.clone(), p, q),
                acceptance(&pi, &aligned, y as TokenId)
            );
        }
        let (mut closed, mut general) = (Distribution::default(), Distribution::default());
        deferred_residual(&base, &aligned, &d, mass.clone(), &mut closed);
        residual(&pi, &aligned, &mut general);
        prop_assert_eq!(closed, general);
        // a = D + Σ min((1 − D) q*, (1 − d) p).
        let kept = |y: usize| {
            let (a, b) = (
                (ratio(1, 1) - &mass) * &aligned.probs()[y],
                (ratio(1, 1) - &d[y]) * &base.probs()[y],
            );
            if a < b { a } else { b }
        };
        let rate = &mass + (0..base.len()).map(kept).sum::<BigRational>();
        prop_assert_eq!(rate, acceptance_rate(&pi, &aligned));
    }

    /// K10: deferral to a copy of the same model is accepted with probability D + (1 − D)².
    #[test]
    fn k10_self_deferral_accepts_as_the_closed_form_says((p, _, d) in triples()) {
        let base = exact(&p);
        // Only decisions of 0 or 1: a fractional weight changes the closed form.
        let d: Vec<i64> = d.iter().map(|&w| if w > 0 { 8 } else { 0 }).collect();
        let (_, mass, pi) = mixture(&base, &base, &d);
        let rest = ratio(1, 1) - &mass;
        prop_assert_eq!(acceptance_rate(&pi, &base), &mass + &rest * &rest);
    }
}

/// Acceptance and residual composed by hand over several rounds: two tables that look one token
/// back, drafts of K tokens, with and without bonus, five tokens. Equality of rationals.
/// (`tests/it/deferral_distributions.rs` enumerates the engine itself.)
#[test]
fn acceptance_and_residual_compose_to_the_targets_distribution() {
    let target = [exact(&[1, 2]), exact(&[5, 3]), exact(&[2, 7])];
    let draft = [exact(&[2, 1]), exact(&[1, 6]), exact(&[4, 5])];
    let after = |distributions: &[Exact; 3], text: &[TokenId]| {
        distributions[text.last().map_or(0, |&last| last as usize + 1)].clone()
    };
    for (length, bonus) in [(1, true), (1, false), (2, true), (2, false), (3, true), (3, false)] {
        let made = enumerate_exact(|choices| {
            let mut text: Vec<TokenId> = Vec::new();
            while text.len() < 5 {
                round(
                    &mut text,
                    length,
                    bonus,
                    &|t| after(&target, t),
                    &|t| after(&draft, t),
                    choices,
                );
            }
            text.truncate(5);
            Ok::<_, ()>(text)
        });
        let made = made.unwrap();
        for (text, probability) in &made {
            let claimed: BigRational = (0..5)
                .map(|i| after(&target, &text[..i]).probs()[text[i] as usize].clone())
                .product();
            assert_eq!(probability, &claimed, "K = {length}, bonus {bonus}, {text:?}");
        }
        assert_eq!(made.len(), 32);
    }
}

fn round(
    text: &mut Vec<TokenId>,
    length: usize,
    bonus: bool,
    target: &dyn Fn(&[TokenId]) -> Exact,
    draft: &dyn Fn(&[TokenId]) -> Exact,
    choices: &mut dyn ChoiceSource<BigRational>,
) {
    round_with(text, length, bonus, false, target, draft, choices);
}

/// A round. With `full`, the whole distribution replaces the residual after a rejection.
fn round_with(
    text: &mut Vec<TokenId>,
    length: usize,
    bonus: bool,
    full: bool,
    target: &dyn Fn(&[TokenId]) -> Exact,
    draft: &dyn Fn(&[TokenId]) -> Exact,
    choices: &mut dyn ChoiceSource<BigRational>,
) {
    let start = text.len();
    for _ in 0..length {
        let token = choices.token(&draft(text));
        text.push(token);
    }
    for at in start..text.len() {
        let (p, q) = (target(&text[..at]), draft(&text[..at]));
        if !choices.accept(acceptance(&p, &q, text[at])) {
            let mut corrected = Distribution::default();
            residual(&p, &q, &mut corrected);
            text.truncate(at);
            text.push(choices.token(if full { &p } else { &corrected }));
            return;
        }
    }
    if bonus {
        text.push(choices.token(&target(text)));
    }
}

/// The defect of a middle level.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Inner {
    Exact,
    /// It hands up the distributions of the model that drafts for it.
    DraftersDistributions,
    /// It draws from its whole distribution after a rejection.
    FullDistribution,
}

/// P1 and P3 in rationals: three tables that look one token back, the lowest drafting K tokens for
/// the middle one, which makes rounds until μ tokens wait; texts of three tokens. The exact chain
/// has the target's distribution, and neither defective level has it.
#[test]
fn p1_three_levels_compose_to_the_targets_distribution() {
    let distribution = |weights: [[i64; 2]; 3]| weights.map(|w| exact(&w));
    let models = [
        distribution([[1, 2], [5, 3], [2, 7]]),
        distribution([[2, 3], [1, 1], [3, 1]]),
        distribution([[2, 1], [1, 6], [4, 5]]),
    ];
    let claimed = |text: &[TokenId]| -> BigRational {
        let token = |i: usize| after(&models[0], &text[..i]).probs()[text[i] as usize].clone();
        (0..3).map(token).product()
    };
    for (k, mu) in [(1, 2), (2, 1)] {
        for (bonus, own) in [(true, true), (true, false), (false, true), (false, false)] {
            // One pair of flags is enough to detect the defects.
            let variants = [Inner::Exact, Inner::DraftersDistributions, Inner::FullDistribution];
            for &inner in &variants[..if bonus && own { 3 } else { 1 }] {
                let made = enumerate_exact(|choices| {
                    let mut text: Vec<TokenId> = Vec::new();
                    while text.len() < 3 {
                        chain_round(&mut text, &models, [mu, k], [own, bonus], inner, choices);
                    }
                    text.truncate(3);
                    Ok::<_, ()>(text)
                });
                let made = made.unwrap();
                let apart = made.iter().any(|(text, found)| *found != claimed(text));
                assert_eq!(apart, inner != Inner::Exact, "{k}, {mu}, {bonus}, {own}, {inner:?}");
                assert_eq!(made.len(), 8);
            }
        }
    }
}

fn after(distributions: &[Exact; 3], text: &[TokenId]) -> Exact {
    distributions[text.last().map_or(0, |&last| last as usize + 1)].clone()
}

/// One round of the target over rounds of the middle level.
fn chain_round(
    text: &mut Vec<TokenId>,
    [target, middle, lowest]: &[[Exact; 3]; 3],
    [mu, k]: [usize; 2],
    [own, bonus]: [bool; 2],
    inner: Inner,
    choices: &mut dyn ChoiceSource<BigRational>,
) {
    let start = text.len();
    let mut proposed = text.clone();
    while proposed.len() < start + mu {
        let full = inner == Inner::FullDistribution;
        let (p, q) = (|t: &[TokenId]| after(middle, t), |t: &[TokenId]| after(lowest, t));
        round_with(&mut proposed, k, own, full, &p, &q, choices);
    }
    let handed = if inner == Inner::DraftersDistributions { lowest } else { middle };
    for at in start..proposed.len() {
        let (p, q) = (after(target, &proposed[..at]), after(handed, &proposed[..at]));
        if !choices.accept(acceptance(&p, &q, proposed[at])) {
            let mut corrected = Distribution::default();
            residual(&p, &q, &mut corrected);
            text.push(choices.token(&corrected));
            return;
        }
        text.push(proposed[at]);
    }
    if bonus {
        text.push(choices.token(&after(target, text)));
    }
}

/// A fault of the published code: equal distributions whose sums differ in the last digit leave a
/// residual without mass, which it normalises to NaN. Here the residual is a distribution.
#[test]
fn a_residual_without_mass_is_still_a_distribution() {
    let (third, mut out) = (1.0 / 3.0, Distribution::default());
    let flat = Distribution::from_probs(vec![third; 3]).unwrap();
    assert_eq!(acceptance_rate(&flat, &flat), 1.0);
    residual(&flat, &flat, &mut out);
    assert_eq!(out, flat);
    // Everything deferred: the mixture is q* times a mass that rounds to just below one.
    let base = Distribution::from_probs(vec![0.1; 10]).unwrap();
    let aligned = Distribution::proportional((1..=10).map(f64::from)).unwrap();
    let mass = 1.0 - f64::EPSILON / 2.0;
    deferred_residual(&base, &aligned, &[1.0; 10], mass, &mut out);
    assert!(out.probs().iter().all(|p| p.is_finite()));
    assert!((out.probs().iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

/// A token that the target excludes is always replaced.
#[test]
fn an_impossible_token_is_never_accepted() {
    let distribution = |probs: [f64; 2]| Distribution::from_probs(probs.to_vec()).unwrap();
    let (target, draft) = (distribution([0.0, 1.0]), distribution([1.0, 0.0]));
    assert_eq!(acceptance(&target, &draft, 0), 0.0);
    let made = enumerate(|choices| Ok::<_, ()>(verified(&target, &draft, choices))).unwrap();
    assert_eq!(made, BTreeMap::from([(1, 1.0)]));
}

#[test]
fn equal_distributions_leave_the_target() {
    let flat = Distribution::proportional(vec![1.0; 3]).unwrap();
    let mut out = Distribution::default();
    residual(&flat, &flat, &mut out);
    assert_eq!((acceptance_rate(&flat, &flat), out), (1.0, flat));
}

/// `min(1, p / ((1 − ℓ) q))` from `min(1, p/q)`, and 0 for impossible tokens, for every ℓ up to 1.
#[test]
fn lenient_acceptance_is_the_published_ratio() {
    for leniency in [0.0, 0.25, 0.5, 1.0] {
        assert_eq!(lenient_acceptance(0.0, leniency), 0.0);
        assert_eq!(lenient_acceptance(1.0, leniency), 1.0);
    }
    assert_eq!(
        [0.0, 0.5, 0.75].map(|leniency| lenient_acceptance(0.25, leniency)),
        [0.25, 0.5, 1.0]
    );
    assert!(!Verifier::Lenient { leniency: f64::NAN }.is_exact());
}

/// The paper's example: one draft of two tokens, distributions (1/3, 2/3) and (2/3, 1/3) at both
/// positions. Block verification accepts 11/9 tokens on average, token verification 10/9.
#[test]
fn s5_block_verification_of_the_papers_example() {
    let (p, q) = (exact(&[1, 2]), exact(&[2, 1]));
    let (_, accepted) = block_round(&[p.clone(), p.clone(), p], &|_| q.clone(), 2);
    assert_eq!(accepted, ratio(11, 9));
}

/// One round of block verification: the distribution of its tokens and its mean number of accepted
/// tokens. The target's distributions do not look back; the draft's do.
fn block_round(
    targets: &[Exact],
    draft: &dyn Fn(&[TokenId]) -> Exact,
    length: usize,
) -> (BTreeMap<Vec<TokenId>, BigRational>, BigRational) {
    let made = enumerate_exact(|choices| {
        let (mut text, mut distributions) = (Vec::new(), Vec::new());
        for _ in 0..length {
            distributions.push(draft(&text));
            text.push(choices.token(&distributions[text.len()]));
        }
        let mut block = BlockVerification::default();
        let drafted = targets.iter().zip(&distributions).zip(&text);
        // Added only as far as the next distribution is needed.
        let told = drafted.take_while(|((p, q), token)| block.push(p, q, **token)).count();
        let told = &targets[..length.min(told + 1)];
        let accepted = block.decide(told, &distributions, choices);
        let mut next = targets[length].clone();
        if accepted < length {
            block.residual(accepted, &told[accepted], &distributions[accepted], &mut next);
        }
        text.truncate(accepted);
        text.push(choices.token(&next));
        Ok::<_, ()>((text, accepted))
    });
    let (mut distribution, mut mean) = (BTreeMap::new(), ratio(0, 1));
    for ((text, accepted), probability) in made.unwrap() {
        mean += ratio(accepted as i64, 1) * &probability;
        *distribution.entry(text).or_insert_with(|| ratio(0, 1)) += probability;
    }
    (distribution, mean)
}

proptest! {
    /// S5: the text has the target's distribution, exactly, and at least as many tokens are
    /// accepted as token by token.
    #[test]
    fn s5_block_verification_is_exact_and_never_worse(
        p in proptest::collection::vec(weights(3), 4), q in proptest::collection::vec(weights(3), 4),
        length in 1..=3usize,
    ) {
        let targets: Vec<Exact> = p[..=length].iter().map(|p| exact(p)).collect();
        // The draft looks one token back.
        let drafts: Vec<Exact> = q.iter().map(|q| exact(q)).collect();
        let draft = |text: &[TokenId]| drafts[text.last().map_or(3, |&last| last as usize)].clone();
        let (made, mean) = block_round(&targets, &draft, length);
        for (text, probability) in texts_completed(made, &targets) {
            let claimed: BigRational =
                text.iter().zip(&targets).map(|(&y, p)| p.probs()[y as usize].clone()).product();
            prop_assert_eq!(probability, claimed, "{:?}", text);
        }
        prop_assert!(mean >= token_by_token(&targets, &draft, &[], length));
    }
}

/// Shorter texts are continued by the target, so that all can be compared.
fn texts_completed(
    made: BTreeMap<Vec<TokenId>, BigRational>,
    targets: &[Exact],
) -> BTreeMap<Vec<TokenId>, BigRational> {
    let (mut open, mut whole): (Vec<_>, BTreeMap<_, BigRational>) =
        (made.into_iter().collect(), BTreeMap::new());
    while let Some((text, probability)) = open.pop() {
        if text.len() == targets.len() {
            *whole.entry(text).or_insert_with(|| ratio(0, 1)) += probability;
            continue;
        }
        for (y, p) in (0..).zip(targets[text.len()].probs()).filter(|(_, p)| **p > ratio(0, 1)) {
            open.push(([&text[..], &[y]].concat(), &probability * p));
        }
    }
    whole
}

/// Mean accepted tokens of token verification.
fn token_by_token(
    targets: &[Exact],
    draft: &dyn Fn(&[TokenId]) -> Exact,
    text: &[TokenId],
    length: usize,
) -> BigRational {
    if text.len() == length {
        return ratio(0, 1);
    }
    let (p, q) = (&targets[text.len()], draft(text));
    let accepted =
        |y: usize| if p.probs()[y] < q.probs()[y] { &p.probs()[y] } else { &q.probs()[y] };
    (0..p.len())
        .filter(|&y| *accepted(y) > ratio(0, 1))
        .map(|y| {
            let longer = [text, &[y as TokenId]].concat();
            accepted(y) * (ratio(1, 1) + token_by_token(targets, draft, &longer, length))
        })
        .sum()
}
