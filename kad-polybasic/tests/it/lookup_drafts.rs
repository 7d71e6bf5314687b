//! Drafts from earlier text, against a search of the whole text, and texts drafted with them.

use kad_core::decode::{Decoder, Limits, SingleDecoder, generate};
use kad_core::oracle::{
    TableModel, enumerate, joint_distribution, text_distribution, total_variation,
};
use kad_core::{DecodeError, ModelPredictor, SampledChoices, Sampling, TokenId, TokenTree};
use kad_polybasic::{
    Draft, DraftRequest, DraftSettings, DraftTree, Drafter, Level, LevelDrafter, Lookup,
    LookupDrafter, LookupError, NgramLookup, PredictorTarget, Speculative, Stage, SuffixLookup,
    Surplus, TreeLimits, Verifier,
};
use proptest::prelude::*;

const EOS: TokenId = 2;
const EXACT: f64 = 1e-12;

fn plain() -> Sampling {
    Sampling::at_temperature(1.0).unwrap()
}

/// Reference: the tokens after the latest occurrence of the longest n-gram, by a search of every
/// position. The text continues with the proposal.
fn ngram_by_search(
    text: &[TokenId],
    shortest: usize,
    longest: usize,
    count: usize,
) -> Vec<TokenId> {
    for length in (shortest..=longest.min(text.len())).rev() {
        let end = &text[text.len() - length..];
        let places = length..text.len();
        if let Some(after) = places.rev().find(|&at| &text[at - length..at] == end) {
            let mut whole = text.to_vec();
            (0..count).for_each(|i| whole.push(whole[after + i]));
            return whole.split_off(text.len());
        }
    }
    vec![]
}

/// Reference, token by token: the longest suffix that some token follows in the text, and its most
/// frequent next token, the latest among equals.
fn suffix_by_search(
    text: &[TokenId],
    shortest: usize,
    longest: usize,
    count: usize,
) -> Vec<TokenId> {
    let mut whole = text.to_vec();
    for _ in 0..count {
        let successors = (shortest..=longest.min(whole.len())).rev().find_map(|length| {
            let end = &whole[whole.len() - length..];
            let places = length..text.len();
            let found: Vec<_> = places.filter(|&at| &text[at - length..at] == end).collect();
            (!found.is_empty()).then_some(found)
        });
        let Some(places) = successors else { break };
        let times = |&at: &usize| places.iter().filter(|&&other| text[other] == text[at]).count();
        whole.push(text[*places.iter().max_by_key(|at| (times(at), **at)).unwrap()]);
    }
    whole.split_off(text.len())
}

fn continuation(lookup: &impl Lookup, count: usize) -> Vec<TokenId> {
    let mut found = vec![];
    lookup.continuation(count, &mut found);
    found
}

fn tree(lookup: &impl Lookup) -> TokenTree {
    let mut tree = DraftTree::default();
    lookup.tree(TreeLimits { depth: 3, nodes: 8 }, &[], &mut tree);
    assert!(tree.tokens().len() <= 8);
    tree.tokens().clone()
}

/// Pairs of tokens to remove and tokens to append. Few distinct tokens and long runs, so that there
/// are many matches.
fn walks() -> impl Strategy<Value = Vec<(usize, Vec<TokenId>)>> {
    let run = (0..4u32, 1..6usize).prop_map(|(token, times)| vec![token; times]);
    let piece = prop_oneof![proptest::collection::vec(0..3u32, 0..12), run];
    proptest::collection::vec((0..10usize, piece), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// After any sequence of appending and removing, the proposals equal those of a search of the
    /// present text.
    #[test]
    fn lookups_equal_a_search_of_the_text(
        walk in walks(), shortest in 1..4usize, more in 0..4usize,
    ) {
        let longest = shortest + more;
        let mut ngram = NgramLookup::new(shortest, longest).unwrap();
        let mut suffix = SuffixLookup::new(shortest, longest).unwrap();
        let mut text = vec![];
        for (back, piece) in walk {
            text.truncate(text.len() - back.min(text.len()));
            text.extend(piece);
            ngram.move_to(&text);
            suffix.move_to(&text);
            prop_assert_eq!((ngram.tokens(), suffix.tokens()), (&text[..], &text[..]));
            let trees = (tree(&ngram), tree(&suffix));
            let mut fresh = NgramLookup::new(shortest, longest).unwrap();
            fresh.move_to(&text);
            prop_assert_eq!(&trees.0, &tree(&fresh));
            let mut fresh = SuffixLookup::new(shortest, longest).unwrap();
            fresh.move_to(&text);
            prop_assert_eq!(&trees.1, &tree(&fresh));
            let found = (continuation(&ngram, 6), continuation(&suffix, 6));
            // The n-gram tree starts with the path of the continuation, the suffix tree with its
            // first token.
            prop_assert_eq!(trees.0.path_along(&found.0).len(), found.0.len().min(3));
            prop_assert_eq!(trees.1.tokens().next(), found.1.first().copied());
            prop_assert_eq!(found.0, ngram_by_search(&text, shortest, longest, 6), "{:?}", text);
            prop_assert_eq!(found.1, suffix_by_search(&text, shortest, longest, 6), "{:?}", text);
        }
    }
}

/// A long text that repeats one token, and one without repetition.
#[test]
fn texts_of_one_token_and_texts_without_repetition_are_searched() {
    let mut suffix = SuffixLookup::default();
    suffix.move_to(&[7; 3000]);
    assert_eq!(continuation(&suffix, 5), [7; 5]);
    suffix.move_to(&[7, 7]);
    assert!(continuation(&suffix, 5).is_empty(), "one token matches, two are wanted");
    suffix.move_to(&(0..3000).collect::<Vec<_>>());
    assert!(continuation(&suffix, 5).is_empty());
}

#[test]
fn impossible_lengths_are_refused() {
    let error = LookupError { shortest: 3, longest: 2 };
    assert_eq!(NgramLookup::new(3, 2).err(), Some(error));
    assert_eq!(SuffixLookup::new(3, 2).err(), Some(error));
    assert!(NgramLookup::new(0, 2).is_err());
    assert!(error.to_string().contains("3 to 2 tokens"));
}

/// Proposals end at an end token and before a token outside the vocabulary; their distributions are
/// certain.
#[test]
fn drafts_end_at_ends_and_have_certain_distributions() {
    let drafted = |context: &[TokenId], out: &mut Draft| {
        let mut drafter = LookupDrafter::new(NgramLookup::default(), 9);
        let request = DraftRequest { context, wanted: 4, room: 4, level: 3, eos: &[EOS] };
        drafter.draft(request, &mut SampledChoices::seeded(0), out, &mut vec![]).unwrap();
        assert!(out.tokens().iter().all(|made| made.level == 3));
        out.tokens().iter().map(|made| made.token).collect::<Vec<_>>()
    };
    let mut out = Draft::default();
    assert_eq!(drafted(&[5, 6, EOS, 7, 5], &mut out), [6, EOS]);
    assert_eq!(out.distributions()[0].probs(), [0., 0., 0., 0., 0., 0., 1., 0., 0.]);
    assert_eq!(drafted(&[5, 6, 9, 7, 5], &mut Draft::default()), [6]);
    assert!(drafted(&[5, 6, 7], &mut Draft::default()).is_empty());
    let mut bare = Draft::without_distributions();
    assert_eq!(drafted(&[5, 6, EOS, 7, 5], &mut bare).len(), 2);
    assert!(bare.distributions().is_empty());
}

const PROMPT: [TokenId; 5] = [1, 0, 1, 1, 0];

fn limits(length: usize) -> Limits {
    Limits { max_new_tokens: length, eos: vec![EOS] }
}

fn drafters() -> [(&'static str, Box<dyn Drafter>); 2] {
    [
        ("n-gram", Box::new(LookupDrafter::new(NgramLookup::default(), 3))),
        ("suffix", Box::new(LookupDrafter::new(SuffixLookup::new(1, 4).unwrap(), 3))),
    ]
}

/// Two levels: the target's distribution, for every verifier, draft length and bonus flag.
#[test]
fn p1_two_levels_drafted_by_lookup() {
    let model = TableModel::random("table", 3, 2, 1);
    let predictor = || ModelPredictor::new(&model, plain()).unwrap();
    let claimed = joint_distribution(&mut predictor(), &PROMPT, 5, &[EOS]).unwrap();
    for verifier in [Verifier::Token, Verifier::Block, Verifier::SameUniform] {
        for (length, bonus) in (1..=3).flat_map(|k| [(k, true), (k, false)]) {
            for (name, drafter) in drafters() {
                let drafting = DraftSettings { bonus, ..DraftSettings::of(length).unwrap() };
                let stage = Stage::new(drafter, PredictorTarget::new(predictor()), drafting)
                    .verified_by(verifier);
                let mut decoder = Speculative::new(stage, &[EOS]);
                let found = text_distribution(&mut decoder, &PROMPT, &limits(5)).unwrap();
                let tv = total_variation(&found, &claimed);
                assert!(tv < EXACT, "{name}, {verifier:?}, K = {length}, bonus {bonus}: {tv}");
            }
        }
    }
}

/// Three levels; the highest rolls back the contexts of the lowest.
#[test]
fn p1_three_levels_drafted_by_lookup() {
    let models = [1, 2].map(|seed| TableModel::random("table", 3, 2, seed));
    let predictor = |i: usize| ModelPredictor::new(&models[i], plain()).unwrap();
    let claimed = joint_distribution(&mut predictor(0), &PROMPT, 4, &[EOS]).unwrap();
    for verifier in [Verifier::Token, Verifier::Block, Verifier::SameUniform] {
        for (k, mu, surplus) in
            [(2, 2, Surplus::Flush), (3, 2, Surplus::Flush), (2, 3, Surplus::Keep)]
        {
            for (name, drafter) in drafters() {
                let drafting = |length| DraftSettings::of(length).unwrap();
                let middle = Stage::new(drafter, PredictorTarget::new(predictor(1)), drafting(k))
                    .verified_by(verifier);
                let drafter = LevelDrafter::new(middle, surplus).unwrap();
                let stage = Stage::new(drafter, PredictorTarget::new(predictor(0)), drafting(mu))
                    .verified_by(verifier);
                let mut decoder = Speculative::new(stage, &[EOS]);
                let found = enumerate(|choices| {
                    let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
                    let made = generate(&mut decoder, &PROMPT, &limits(4), choices, go_on)?;
                    Ok::<_, DecodeError>(made.tokens.iter().map(|t| t.token).collect::<Vec<_>>())
                });
                let tv = total_variation(&found.unwrap(), &claimed);
                assert!(tv < EXACT, "{name}, {verifier:?}, {k}, {mu}, {surplus:?}: {tv}");
            }
        }
    }
}

/// With the same uniforms the text equals that of plain decoding, token for token, and some of it was
/// drafted.
#[test]
fn a_seed_gives_the_text_of_plain_decoding() {
    let model = TableModel::random("table", 4, 1, 5);
    let predictor = || ModelPredictor::new(&model, plain()).unwrap();
    let text = |decoder: &mut dyn Decoder, seed| {
        let limits = Limits { max_new_tokens: 80, eos: vec![] };
        let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
        let choices = &mut SampledChoices::seeded(seed);
        let made = generate(decoder, &[0], &limits, choices, go_on).unwrap();
        let tokens: Vec<_> = made.tokens.iter().map(|t| t.token).collect();
        (tokens, made.steps.iter().map(|step| step.accepted).sum::<usize>())
    };
    for seed in 0..5 {
        let (wanted, _) = text(&mut SingleDecoder::new(predictor()), seed);
        for (name, drafter) in drafters() {
            let target = PredictorTarget::new(predictor());
            let stage = Stage::new(drafter, target, DraftSettings::of(3).unwrap())
                .verified_by(Verifier::SameUniform);
            let (found, accepted) = text(&mut Speculative::new(stage, &[]), seed);
            assert_eq!(found, wanted, "{name}");
            assert!(accepted > 0, "{name}: nothing was drafted");
        }
    }
}

/// A drafter after many contexts proposes the same as a fresh one.
#[test]
fn proposals_depend_on_the_context_alone() {
    let model = TableModel::random("table", 3, 2, 1);
    let target = || PredictorTarget::new(ModelPredictor::new(&model, plain()).unwrap());
    let stage = |drafter| Stage::new(drafter, target(), DraftSettings::of(2).unwrap());
    let contexts: [&[TokenId]; 5] =
        [&[1, 0, 1], &[0, 0, 1, 1, 0, 1], &[1], &[0, 0, 1, 1, 0, 0], &[1, 0, 1, 0]];
    for ((_, used), name) in drafters().into_iter().zip(0..) {
        let mut used = stage(used);
        for context in contexts {
            let (_, fresh) = drafters().into_iter().nth(name).unwrap();
            let [used, fresh] = [&mut used as &mut dyn Level, &mut stage(fresh)].map(|level| {
                enumerate(|choices| {
                    let (mut out, mut rounds) = (Draft::without_distributions(), vec![]);
                    let request =
                        DraftRequest { context, wanted: 1, room: 4, level: 1, eos: &[EOS] };
                    level.round(request, choices, &mut out, &mut rounds)?;
                    let tokens: Vec<_> = out.tokens().iter().map(|made| made.token).collect();
                    Ok::<_, DecodeError>((tokens, rounds))
                })
                .unwrap()
            });
            assert_eq!(used, fresh, "{context:?}");
        }
    }
}
