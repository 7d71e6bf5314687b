//! S6 and S7: several candidates for one position, in rational numbers.

use super::*;

proptest! {
    /// S6: multi-round verification is exact, accepts no more than the optimum and equals it for
    /// one draw, and accepts no less than independent draws of the target's token.
    #[test]
    fn s6_multi_round_verification_is_exact_and_below_the_optimum(
        (p, q, _) in triples(), drafts in 1..4usize,
    ) {
        let (target, draft) = (exact(&p), exact(&q));
        let made = enumerate_exact(|choices| {
            let tokens: Vec<_> = (0..drafts).map(|_| choices.token(&draft)).collect();
            Ok::<_, ()>(match verify_drawn(&target, &draft, &tokens, choices, &mut Default::default()) {
                SiblingChoice::Accepted(index) => (tokens[index], true),
                SiblingChoice::Replaced(token) => (token, false),
            })
        });
        let (mut distribution, mut accepted) = (BTreeMap::new(), ratio(0, 1));
        for ((token, by_draft), probability) in made.unwrap() {
            if by_draft {
                accepted += &probability;
            }
            *distribution.entry(token).or_insert_with(|| ratio(0, 1)) += probability;
        }
        prop_assert_eq!(as_distribution(&distribution, target.len()), target.probs());
        prop_assert_eq!(&accepted, &multi_round_acceptance_rate(&target, &draft, drafts));
        let optimum = optimal_acceptance_rate(&target, &draft, drafts);
        prop_assert_eq!(&optimum, &least_cut(&target, &draft, drafts));
        prop_assert!(accepted <= optimum && accepted >= drawn_by_chance(&target, &draft, drafts));
        if drafts == 1 {
            prop_assert_eq!(accepted, acceptance_rate(&target, &draft));
            prop_assert_eq!(optimum, acceptance_rate(&target, &draft));
        }
    }
}

proptest! {
    /// S7: every list of candidates leaves the target's distribution, exactly. One of them is
    /// accepted with the probability of the list, each with its own probability. No exact
    /// verification accepts more, because a candidate must not occur more often than under the
    /// target.
    #[test]
    fn s7_a_list_is_verified_exactly_and_accepted_with_its_probability(
        (p, _, order) in triples(), count in 0..7usize,
    ) {
        let target = exact(&p);
        let mut candidates: Vec<TokenId> = (0..target.len() as TokenId).collect();
        candidates.sort_by_key(|&token| order[token as usize]);
        candidates.truncate(count);
        let made = enumerate_exact(|choices| {
            Ok::<_, ()>(match verify_listed(&target, &candidates, choices, &mut Distribution::default()) {
                SiblingChoice::Accepted(index) => (candidates[index], true),
                SiblingChoice::Replaced(token) => (token, false),
            })
        });
        let (mut distribution, mut accepted) = (BTreeMap::new(), ratio(0, 1));
        for ((token, by_list), probability) in made.unwrap() {
            prop_assert_eq!(by_list, candidates.contains(&token));
            if by_list {
                accepted += &probability;
            }
            distribution.insert(token, probability);
        }
        prop_assert_eq!(as_distribution(&distribution, target.len()), target.probs());
        prop_assert_eq!(accepted, listed_acceptance_rate(&target, &candidates));
    }
}

/// A list with all the mass up to rounding: a rejection, with a probability of that order, still
/// gives a token.
#[test]
fn a_list_without_a_residual_leaves_the_target() {
    let distribution = Distribution::from_probs(vec![0.1, 0.2, 0.7, 0.0]).unwrap();
    let mut left = Distribution::default();
    listed_residual(&distribution, &[2, 1, 0], &mut left);
    assert_eq!(left, distribution);
    listed_residual(&distribution, &[2, 9, 2], &mut left);
    assert!((left.prob(1) - 2.0 / 3.0).abs() < 1e-15 && left.prob(2) == 0.0);
    let made = enumerate(|choices| {
        Ok::<_, ()>(
            match verify_listed(&distribution, &[2, 1, 0], choices, &mut Distribution::default()) {
                SiblingChoice::Accepted(index) => [2, 1, 0][index],
                SiblingChoice::Replaced(token) => token,
            },
        )
    });
    let made = made.unwrap();
    assert!(
        (0..3).all(|token| (made[&token] - distribution.prob(token)).abs() < 1e-12),
        "{made:?}"
    );
}

/// Two draws of one token from a distribution with no other token: the second is verified against
/// the residual of the first, and rejected with certainty.
#[test]
fn a_token_drawn_twice_is_verified_twice() {
    let (target, draft) = (exact(&[1, 3]), exact(&[1, 0]));
    let made = enumerate_exact(|choices| {
        Ok::<_, ()>(
            match verify_drawn(&target, &draft, &[0, 0], choices, &mut Default::default()) {
                SiblingChoice::Accepted(index) => (0, Some(index)),
                SiblingChoice::Replaced(token) => (token, None),
            },
        )
    });
    let wanted = [((0, Some(0)), ratio(1, 4)), ((1, None), ratio(3, 4))];
    assert_eq!(made.unwrap(), BTreeMap::from(wanted));
}

/// `min_H P(H) + 1 − q(H)^k` over every set of tokens.
fn least_cut(target: &Exact, draft: &Exact, drafts: usize) -> BigRational {
    let inside = |distribution: &Exact, set: u32| -> BigRational {
        (0..distribution.len())
            .filter(|y| set >> y & 1 == 1)
            .map(|y| distribution.probs()[y].clone())
            .sum()
    };
    let cut = |set| inside(target, set) + ratio(1, 1) - inside(draft, set).pow(drafts as i32);
    (0..1u32 << target.len()).map(cut).min().unwrap()
}

/// `Σ p (1 − (1 − q)^k)`: the probability that the target's token is among independent draws.
fn drawn_by_chance(target: &Exact, draft: &Exact, drafts: usize) -> BigRational {
    let found = |q: &BigRational| ratio(1, 1) - (ratio(1, 1) - q).pow(drafts as i32);
    target.probs().iter().zip(draft.probs()).map(|(p, q)| p * found(q)).sum()
}
