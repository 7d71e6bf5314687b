//! What one step may yield, and what is not worth drafting.

use kad_core::decode::Decoder;
use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::{TableModel, enumerate};
use kad_core::{DecodeError, Mixture, ModelPredictor, SampledChoices, Sampling, TokenId};
use kad_polybasic::{
    Ask, DeferralTarget, Draft, Drafter, Drafting, PredictorDrafter, PredictorTarget, Speculative,
    Stage,
};

const EOS: TokenId = 2;

fn plain() -> Sampling {
    Sampling::at_temperature(1.0).unwrap()
}

fn drafting(length: usize, bonus: bool) -> Drafting {
    Drafting { bonus, ..Drafting::of(length).unwrap() }
}

/// On every path, for every room: between one token and `room` tokens, and none after an end.
#[test]
fn a_step_keeps_to_its_room_and_ends_at_an_end_token() {
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

/// Everything that one step may yield.
fn steps(decoder: &mut dyn Decoder, room: usize) -> Vec<Vec<TokenId>> {
    let law = enumerate(|choices| {
        let mut out = Vec::new();
        decoder.step(&[1, 0], room, choices, &mut out)?;
        Ok::<_, DecodeError>(out.iter().map(|t| t.token).collect::<Vec<_>>())
    });
    law.unwrap().into_keys().collect()
}

/// What would follow an end token is thrown away, so it is not drafted.
#[test]
fn a_draft_ends_at_an_end_token() {
    let never = f32::NEG_INFINITY;
    let model = TableModel::random("ends", 3, 0, 0).with_row(&[], &[never, never, 0.0]);
    let mut drafter = PredictorDrafter::new(ModelPredictor::new(&model, plain()).unwrap());
    let mut draft = Draft::default();
    let ask = Ask { context: &[1], wanted: 5, room: 5, level: 2, eos: &[EOS] };
    drafter.draft(ask, &mut SampledChoices::seeded(0), &mut draft, &mut Vec::new()).unwrap();
    assert!(draft.tokens().iter().map(|made| made.token).eq([EOS]));
}

#[test]
fn the_shortest_context_counts() {
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
