//! Stop reasons of generation, and invalid requests.

use std::ops::ControlFlow;

use kad_core::decode::{Decoder, Emitted, Limits, SingleDecoder, Step, Stop, generate};
use kad_core::oracle::TableModel;
use kad_core::{
    ChoiceSource, DecodeError, DistributionError, ModelPredictor, SampledChoices, Sampling, TokenId,
};

fn greedy() -> Sampling {
    Sampling::at_temperature(0.0).unwrap()
}

/// Greedy output counts up from the last token: 1 → 2 → 3 → 0 → 1.
fn counter() -> TableModel {
    let row =
        |next: usize| -> Vec<f32> { (0..4).map(|i| f32::from(u8::from(i == next))).collect() };
    (0..4).fold(TableModel::random("counter", 4, 1, 0), |model, token| {
        model.with_row(&[token], &row((token as usize + 1) % 4))
    })
}

fn run(
    model: &TableModel,
    prompt: &[TokenId],
    limits: &Limits,
    stop_at: Option<TokenId>,
) -> Result<(Vec<TokenId>, Stop), DecodeError> {
    let mut decoder = SingleDecoder::new(ModelPredictor::new(model, greedy())?);
    let mut observe = |emitted: &Emitted| match stop_at {
        Some(token) if token == emitted.token => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let mut choices = SampledChoices::seeded(0);
    let made = generate(&mut decoder, prompt, limits, &mut choices, &mut observe)?;
    Ok((made.tokens.iter().map(|t| t.token).collect(), made.stop))
}

#[test]
fn every_stop_reason_is_reported() {
    let limits = |max_new_tokens, eos: &[TokenId]| Limits { max_new_tokens, eos: eos.to_vec() };
    let model = counter();
    assert_eq!(run(&model, &[1], &limits(5, &[0]), None).unwrap(), (vec![2, 3, 0], Stop::Eos));
    assert_eq!(run(&model, &[1], &limits(2, &[0]), None).unwrap(), (vec![2, 3], Stop::MaxTokens));
    assert_eq!(run(&model, &[1], &limits(5, &[0]), Some(3)).unwrap(), (vec![2, 3], Stop::Caller));
    let short = counter().with_context_len(3);
    assert_eq!(run(&short, &[1], &limits(5, &[0]), None).unwrap(), (vec![2, 3], Stop::ContextFull));
}

#[test]
fn impossible_requests_are_refused() {
    let limits = Limits { max_new_tokens: 1, eos: vec![] };
    let short = counter().with_context_len(2);
    assert!(matches!(run(&short, &[], &limits, None), Err(DecodeError::EmptyPrompt)));
    assert!(matches!(
        run(&short, &[1, 2], &limits, None),
        Err(DecodeError::PromptTooLong { prompt: 2, limit: 2 })
    ));
    let nothing = Limits { max_new_tokens: 0, eos: vec![] };
    assert!(matches!(run(&short, &[1], &nothing, None), Err(DecodeError::NoTokensRequested)));
    let error = run(&counter(), &[9], &limits, None).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error.to_string(), "model `counter`");
    assert_eq!(source, "token id 9 is out of range: the vocabulary has ids 0 to 3");
}

#[test]
fn nan_logits_name_the_model_and_the_position() {
    let model = counter().with_row(&[2], &[0.0, f32::NAN, 0.0, 0.0]);
    let limits = Limits { max_new_tokens: 5, eos: vec![] };
    let error = run(&model, &[1], &limits, None).unwrap_err();
    match error {
        DecodeError::Distribution {
            model,
            position,
            source: DistributionError::NotFinite { token: 1, .. },
        } => {
            assert_eq!((model.as_str(), position), ("counter", 2));
        }
        other => panic!("{other}"),
    }
}

/// Yields three tokens per step; limits and end tokens may cut a step anywhere.
struct Burst;

impl Decoder for Burst {
    fn context_len(&self) -> usize {
        100
    }
    fn step(
        &mut self,
        _: &[TokenId],
        _: usize,
        _: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError> {
        let made = |token| Emitted::sampled(token);
        out.extend([1, 2, 3].map(made));
        Ok(Step::default())
    }
}

#[test]
fn a_multi_token_step_is_cut_at_the_limit_and_at_the_end_token() {
    let mut observe = |_: &Emitted| ControlFlow::Continue(());
    let mut choices = SampledChoices::seeded(0);
    let mut tokens = |max_new_tokens, eos| {
        let limits = Limits { max_new_tokens, eos };
        let made = generate(&mut Burst, &[0], &limits, &mut choices, &mut observe).unwrap();
        made.tokens.iter().map(|t| t.token).collect::<Vec<_>>()
    };
    assert_eq!(tokens(4, vec![]), [1, 2, 3, 1]);
    assert_eq!(tokens(4, vec![2]), [1, 2]);
}
