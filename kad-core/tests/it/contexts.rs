//! Predictors made of several models: the context of the shortest, and distributions wherever they
//! are asked.

use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::TableModel;
use kad_core::{
    Distribution, ImplicitReward, Mixture, MixturePredictor, Predictor, Sampling, TokenId,
    UndefinedRatio,
};

fn plain() -> Sampling {
    Sampling::at_temperature(1.0).unwrap()
}

fn table(seed: u64, context_len: usize) -> TableModel {
    TableModel::random("table", 5, 3, seed).with_context_len(context_len)
}

#[test]
fn the_shortest_context_counts() {
    let rule = Rule::base(KadDual::new(0.25).unwrap());
    for lengths in [[7, 9, 9], [9, 7, 9], [9, 9, 7]] {
        let [base, aligned, small] = [1, 2, 3].map(|i| table(i, lengths[i as usize - 1]));
        let mixture = Mixture::new(&base, &aligned, &rule, plain(), plain()).unwrap();
        assert_eq!(MixturePredictor::new(mixture).context_len(), lengths[0].min(lengths[1]));
        let exclude = UndefinedRatio::Exclude;
        let reward = ImplicitReward::new(&base, &small, &aligned, plain(), exclude).unwrap();
        assert_eq!(reward.context_len(), 7);
    }
}

/// A distribution may be asked for without an announcement, after any context, longer, shorter or
/// another.
#[test]
fn a_mixture_may_be_asked_anywhere() {
    let (base, aligned) = (table(1, 20), table(2, 20));
    let rule = Rule::base(KadDual::new(0.25).unwrap());
    let fresh = || {
        let mixture = Mixture::new(&base, &aligned, &rule, plain(), plain()).unwrap();
        MixturePredictor::new(mixture)
    };
    let mut walker = fresh();
    let texts: [&[TokenId]; 6] =
        [&[1, 2, 3, 4], &[1, 2, 3], &[1, 2, 0], &[4, 2, 0, 1, 1], &[4, 2, 1], &[1, 2, 3, 4]];
    for text in texts {
        let (mut found, mut wanted) = (Distribution::default(), Vec::new());
        walker.distribution(text, text.len(), &mut found).unwrap();
        fresh().distributions(text, 1, &mut wanted).unwrap();
        assert_eq!(found, wanted[0], "{text:?}");
    }
}
