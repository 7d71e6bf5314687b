//! P1 to P4, P9: chains of levels have exactly the law of their target.

use kad_core::decode::{Decoder, Limits, generate};
use kad_core::oracle::{TableModel, TextLaw, enumerate, joint_law, text_law, total_variation};
use kad_core::{ModelPredictor, Sampling, TokenId};
use kad_polybasic::{
    Drafter, Drafting, Level, PredictorDrafter, PredictorTarget, Speculative, Stage, Staged,
    Surplus, Verifier,
};

const PROMPT: [TokenId; 2] = [1, 0];
const EOS: TokenId = 2;
const EXACT: f64 = 1e-12;

fn plain() -> Sampling {
    Sampling::at_temperature(1.0).unwrap()
}

fn limits(length: usize) -> Limits {
    Limits { max_new_tokens: length, eos: vec![EOS] }
}

fn tables(levels: usize) -> Vec<TableModel> {
    (1..=levels as u64).map(|seed| TableModel::random("table", 3, 2, seed)).collect()
}

/// Levels below the target: threshold or draft length, bonus, verifier.
#[derive(Clone, Copy, Debug)]
struct Below {
    length: usize,
    bonus: bool,
    verifier: Verifier,
}

/// A chain of `models`, the target first.
fn chain<'m>(
    models: &'m [TableModel],
    levels: &[Below],
    surplus: Surplus,
) -> Speculative<Box<dyn Level + 'm>> {
    let model = |i: usize| ModelPredictor::new(&models[i], plain()).unwrap();
    let by_place = levels.iter().any(|below| below.verifier == Verifier::SharedUniform);
    let mut drafter: Box<dyn Drafter + 'm> =
        Box::new(PredictorDrafter::new(model(levels.len())).by_place(by_place));
    for (index, below) in levels.iter().enumerate().rev() {
        let drafting = Drafting { bonus: below.bonus, ..Drafting::of(below.length).unwrap() };
        let stage = Stage::new(drafter, PredictorTarget::new(model(index)), drafting)
            .verified_by(below.verifier);
        let level: Box<dyn Level + 'm> = Box::new(stage);
        if index == 0 {
            return Speculative::new(level, &[EOS]);
        }
        drafter = Box::new(Staged::new(level, surplus).unwrap());
    }
    unreachable!("a chain has a target")
}

/// The law of whole texts, one path at a time: for decoders that carry tokens from step to step.
fn whole(decoder: &mut dyn Decoder, length: usize) -> TextLaw {
    let law = enumerate(|choices| {
        let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
        let made = generate(decoder, &PROMPT, &limits(length), choices, go_on)?;
        Ok::<_, kad_core::DecodeError>(made.tokens.iter().map(|t| t.token).collect::<Vec<_>>())
    });
    law.unwrap()
}

#[test]
fn p1_three_levels() {
    let models = tables(3);
    let claimed =
        joint_law(&mut ModelPredictor::new(&models[0], plain()).unwrap(), &PROMPT, 4, &[EOS])
            .unwrap();
    for verifier in [Verifier::Token, Verifier::Block, Verifier::SharedUniform] {
        for (k, mu) in [(1, 1), (2, 2), (2, 3), (3, 2)] {
            for (b1, b2) in [(true, true), (true, false), (false, true), (false, false)] {
                let levels = [
                    Below { length: mu, bonus: b1, verifier },
                    Below { length: k, bonus: b2, verifier },
                ];
                let mut decoder = chain(&models, &levels, Surplus::Flush);
                let found = text_law(&mut decoder, &PROMPT, &limits(4)).unwrap();
                let tv = total_variation(&found, &claimed);
                assert!(tv < EXACT, "{levels:?}: {tv}");
            }
        }
    }
}

#[test]
fn p1_kept_surplus() {
    let models = tables(3);
    let claimed =
        joint_law(&mut ModelPredictor::new(&models[0], plain()).unwrap(), &PROMPT, 3, &[EOS])
            .unwrap();
    for (k, mu) in [(2, 1), (3, 1), (2, 2)] {
        for bonus in [true, false] {
            let levels = [
                Below { length: mu, bonus, verifier: Verifier::Token },
                Below { length: k, bonus: true, verifier: Verifier::Token },
            ];
            let mut decoder = chain(&models, &levels, Surplus::Keep);
            let tv = total_variation(&whole(&mut decoder, 3), &claimed);
            assert!(tv < EXACT, "{levels:?}: {tv}");
        }
    }
}
