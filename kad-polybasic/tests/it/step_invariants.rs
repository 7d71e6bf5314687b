//! Invariants of decoding steps: number of tokens, end tokens, reported rounds.

use kad_core::decode::{Decoder, Emitted, Origin, Round};
use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::{TableModel, enumerate};
use kad_core::{DecodeError, Mixture, ModelPredictor, SampledChoices, TokenId};
use kad_polybasic::{
    DeferralTarget, Draft, DraftRequest, Drafter, PredictorDrafter, PredictorTarget, Speculative,
    Stage, Surplus, Verifier,
};

use crate::support::*;

/// On every path and for every room: between one and `room` tokens, and none after an end token.
#[test]
fn a_step_stays_within_its_room_and_ends_at_an_end_token() {
    let base = TableModel::random("base", 3, 2, 1);
    let aligned = TableModel::random("aligned", 3, 2, 2);
    let rule = Rule::base(KadDual::new(0.3).unwrap());
    for (length, room) in [1, 2, 3].into_iter().flat_map(|k| (1..=5).map(move |room| (k, room))) {
        for bonus in [true, false] {
            let model = |model| ModelPredictor::new(model, plain()).unwrap();
            let (drafter, target) =
                (PredictorDrafter::new(model(&aligned)), PredictorTarget::new(model(&base)));
            let general =
                Speculative::new(Stage::new(drafter, target, drafting(length, bonus)), &[EOS]);
            let mixture = Mixture::new(&base, &aligned, &rule, plain(), plain()).unwrap();
            let (drafter, target) = DeferralTarget::drafted_by_aligned(mixture, length);
            let deferral =
                Speculative::new(Stage::new(drafter, target, drafting(length, bonus)), &[EOS]);
            for decoder in [&mut { general } as &mut dyn Decoder, &mut { deferral }] {
                for step in steps(decoder, room) {
                    let what = format!("K = {length}, room {room}, bonus {bonus}: {step:?}");
                    assert!((1..=room).contains(&step.len()), "{what}");
                    assert!(!step[..step.len() - 1].contains(&EOS), "{what}");
                }
            }
        }
    }
}

/// All outcomes of one step.
fn steps(decoder: &mut dyn Decoder, room: usize) -> Vec<Vec<TokenId>> {
    let distribution = enumerate(|choices| {
        let mut out = Vec::new();
        decoder.step(&[1, 0], room, choices, &mut out)?;
        Ok::<_, DecodeError>(out.iter().map(|t| t.token).collect::<Vec<_>>())
    });
    distribution.unwrap().into_keys().collect()
}

/// Tokens after an end token are discarded, so they are not drafted.
#[test]
fn a_draft_ends_at_an_end_token() {
    let never = f32::NEG_INFINITY;
    let model = TableModel::random("ends", 3, 0, 0).with_row(&[], &[never, never, 0.0]);
    let mut drafter = PredictorDrafter::new(ModelPredictor::new(&model, plain()).unwrap());
    let mut draft = Draft::default();
    let request = DraftRequest { context: &[1], wanted: 5, room: 5, level: 2, eos: &[EOS] };
    drafter.draft(request, &mut SampledChoices::seeded(0), &mut draft, &mut Vec::new()).unwrap();
    assert!(draft.tokens().iter().map(|made| made.token).eq([EOS]));
}

#[test]
fn the_shortest_context_limits_a_step() {
    for (drafts, verifies) in [(5, 9), (9, 5)] {
        let [drafts, verifies] =
            [drafts, verifies].map(|n| TableModel::random("table", 3, 2, 1).with_context_len(n));
        let model = |model| ModelPredictor::new(model, plain()).unwrap();
        let (drafter, target) =
            (PredictorDrafter::new(model(&drafts)), PredictorTarget::new(model(&verifies)));
        assert_eq!(
            Speculative::new(Stage::new(drafter, target, drafting(2, true)), &[EOS]).context_len(),
            5
        );
    }
}

/// S10 for chains: on every path, for every room and at every level, between one and `room` tokens,
/// none after an end token; and the reported rounds are those that made the tokens.
#[test]
fn s10_every_level_stays_within_its_room_and_reports_its_rounds() {
    let models = tables::<4>();
    let two_steps = |decoder: &mut dyn Decoder, room: usize, what: &str| {
        let distribution = enumerate(|choices| {
            decoder.begin(PROMPT.len());
            let (mut context, mut left) = (PROMPT.to_vec(), room);
            while left > 0 && context.last() != Some(&EOS) {
                let mut out = Vec::new();
                decoder.step(&context, left, choices, &mut out)?;
                check_step(&out, decoder.rounds(), left, what);
                context.extend(out.iter().map(|made| made.token));
                left -= out.len();
            }
            Ok::<_, DecodeError>(())
        });
        distribution.unwrap();
    };
    for verifier in VERIFIERS {
        for lengths in [&[2][..], &[2, 2], &[1, 3], &[3, 1], &[2, 1, 2]] {
            for bonus in 0..1 << lengths.len() {
                let levels = LevelSettings::levels(lengths, bonus, verifier);
                for surplus in [Surplus::Flush, Surplus::Keep] {
                    // Four levels have too many paths for more.
                    for room in 1..=if lengths.len() < 3 { 3 } else { 2 } {
                        let models = &models[..=lengths.len()];
                        let mut decoder = chain_at(plain(), models, &levels, surplus);
                        let what = format!("{levels:?}, {surplus:?}, room {room}");
                        two_steps(&mut decoder, room, &what);
                    }
                }
            }
        }
    }
}

/// Checks the tokens of one step against its room and its rounds.
fn check_step(out: &[Emitted], rounds: &[Round], room: usize, what: &str) {
    let what = format!("{what}: {out:?}, {rounds:?}");
    assert!((1..=room).contains(&out.len()), "{what}");
    assert!(out[..out.len() - 1].iter().all(|made| made.token != EOS), "{what}");
    for round in rounds {
        assert!(round.accepted <= round.drafted && round.depth == round.drafted, "{what}");
        assert!((1..=room).contains(&round.emitted), "{what}");
        // The accepted tokens and at most one token of its own.
        assert!((0..=1).contains(&(round.emitted - round.accepted)), "{what}");
    }
    // The target verifies once, last; each level verifies before the one above.
    let own = rounds[rounds.len() - 1];
    assert!(own.level == 1 && own.emitted == out.len(), "{what}");
    assert!(rounds[..rounds.len() - 1].iter().all(|round| round.level > 1), "{what}");
    let made_by = |level| out.iter().filter(move |made| made.level == level).count();
    let (accepted, own_tokens) = (out.len() - made_by(1), made_by(1));
    assert_eq!((own.accepted, own.emitted - own.accepted), (accepted, own_tokens), "{what}");
    for (index, made) in out.iter().enumerate() {
        let last = index + 1 == out.len();
        match made.origin {
            // A token that a level makes itself ends its round; one of the target ends the step.
            Origin::Corrected | Origin::Bonus => assert!(made.level > 1 || last, "{what}"),
            // The lowest level drafts; a level with an empty draft samples.
            Origin::Drafted => assert!(made.level > 1, "{what}"),
            Origin::Sampled => assert!(made.level > 1 || out.len() == 1, "{what}"),
            other => panic!("{other:?}: {what}"),
        }
    }
    let has = |origin| out.iter().any(|made| made.origin == origin && made.level == 1);
    assert_eq!(has(Origin::Corrected), own.accepted < own.drafted, "{what}");
    assert_eq!(has(Origin::Sampled), own.drafted == 0, "{what}");
    assert!(!has(Origin::Bonus) || (0 < own.drafted && own.accepted == own.drafted), "{what}");
}

/// With the surplus flushed, a level proposes exactly the tokens that the rounds of the level below
/// handed on.
#[test]
fn the_rounds_of_a_step_add_up() {
    let models: Vec<_> = (1..5).map(|seed| TableModel::random("table", 8, 2, seed)).collect();
    for verifier in VERIFIERS {
        let levels = LevelSettings::levels(&[5, 3, 2], 7, verifier);
        let mut decoder = chain(&models, &levels);
        let made = run(&mut decoder, &PROMPT, 200, &mut SampledChoices::seeded(9));
        let mut pending = [0; 5];
        for Round { level, drafted, emitted, .. } in made.rounds.iter().copied() {
            if level < 3 {
                assert_eq!(drafted, std::mem::take(&mut pending[level + 1]));
            }
            pending[level] += emitted;
        }
        assert_eq!(pending[1..], [200, 0, 0, 0]);
        assert_eq!(made.rounds.iter().filter(|round| round.level == 1).count(), made.steps.len());
    }
}

/// A new text begins without the tokens kept in the last one, even if it continues them.
#[test]
fn a_new_text_begins_without_kept_tokens() {
    // No token ends a draft early.
    let model = TableModel::random("table", 4, 0, 0);
    let model = model.with_row(&[], &[0.0, 0.0, f32::NEG_INFINITY, 0.0]);
    let models = [model.clone(), model.clone(), model];
    let levels = LevelSettings::levels(&[1, 3], 0, Verifier::Token);
    let mut decoder = chain_at(plain(), &models, &levels, Surplus::Keep);
    let (mut text, mut choices) = (vec![1, 0], SampledChoices::seeded(2));
    let mut rounds_below = |begin: bool| {
        if begin {
            decoder.begin(text.len());
        }
        let mut out = Vec::new();
        decoder.step(&text, 50, &mut choices, &mut out).unwrap();
        text.extend(out.iter().map(|made| made.token));
        decoder.rounds().len() - 1
    };
    // Three tokens at a time, of which one is handed up.
    assert_eq!([true, false, false, false].map(&mut rounds_below), [1, 0, 0, 1]);
    assert_eq!([true, false, true, true].map(&mut rounds_below), [1, 0, 1, 1]);
}

/// The length of a stage may be changed between rounds; with 0 the target makes the token.
#[test]
fn lengths_may_be_changed_between_rounds() {
    let [model, ..] = tables::<1>();
    let drafter = PredictorDrafter::new(predictor(&model));
    let stage = Stage::new(drafter, PredictorTarget::new(predictor(&model)), drafting(2, true));
    let length = stage.length();
    let mut decoder = Speculative::new(stage, &[]);
    let mut step = |wanted: usize| {
        length.set(wanted);
        let mut out = Vec::new();
        let step = decoder.step(&PROMPT, 9, &mut SampledChoices::seeded(0), &mut out).unwrap();
        assert_eq!(out.len(), wanted + 1);
        step.drafted
    };
    assert_eq!([4, 0, 1, 7].map(&mut step), [4, 0, 1, 7]);
}

/// Drafting stops before a token below the drafter's confidence.
#[test]
fn a_drafter_stops_below_its_confidence() {
    // Certain after token 0, undecided after token 1.
    let (never, sure) = (f32::NEG_INFINITY, [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY]);
    let model = TableModel::random("table", 3, 1, 0)
        .with_row(&[0], &sure)
        .with_row(&[1], &[0.0, 0.0, never]);
    let drafted = |confidence: f64, context: &[TokenId]| {
        let mut drafter = PredictorDrafter::new(predictor(&model)).stopping_below(confidence);
        let mut draft = Draft::default();
        let request = DraftRequest { context, wanted: 4, room: 4, level: 2, eos: &[] };
        drafter
            .draft(request, &mut SampledChoices::seeded(0), &mut draft, &mut Vec::new())
            .unwrap();
        draft.len()
    };
    assert_eq!([0.0, 0.5, 0.51].map(|confidence| drafted(confidence, &[0])), [4, 4, 1]);
    assert_eq!([0.0, 0.5, 0.51].map(|confidence| drafted(confidence, &[1])), [4, 4, 0]);
}
