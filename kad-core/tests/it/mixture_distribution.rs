//! Lazy and eager decoding have the mixture distribution (K11, K1), over whole texts: every
//! continuation is enumerated.

use std::ops::ControlFlow;

use kad_core::decode::{Decoder, DeferralDecoder, Limits, Origin, SingleDecoder, generate};
use kad_core::deferral::{Deferral, KadDual, KadPrimal, PairRule, PooledBudget, Rule, catalogue};
use kad_core::oracle::{
    TableModel, TextDistribution, enumerate, joint_distribution, text_distribution, total_variation,
};
use kad_core::{
    ChoiceSource, Counted, DecodeError, Distribution, LanguageModel, LogitRows, Mixture,
    MixturePredictor, Sampling, SamplingSettings, TokenId,
};

const PROMPT: [TokenId; 2] = [1, 0];
const EOS: TokenId = 2;
const LENGTH: usize = 3;
/// Rounding error of an enumeration in `f64`; the project's bound for a proof.
const EXACT: f64 = 1e-12;

fn models() -> (TableModel, TableModel) {
    (TableModel::random("base", 4, 2, 1), TableModel::random("aligned", 4, 3, 2))
}

fn at(temperature: f64) -> Sampling {
    Sampling::at_temperature(temperature).unwrap()
}

fn limits() -> Limits {
    Limits { max_new_tokens: LENGTH, eos: vec![EOS] }
}

/// The distribution of complete runs, each from the prompt to its end.
fn distribution_of_runs(decoder: &mut dyn Decoder) -> TextDistribution {
    let run = |choices: &mut dyn ChoiceSource| {
        let mut observe = |_: &_| ControlFlow::Continue(());
        let generation = generate(decoder, &PROMPT, &limits(), choices, &mut observe)?;
        Ok::<_, DecodeError>(generation.tokens.iter().map(|t| t.token).collect::<Vec<_>>())
    };
    enumerate(run).unwrap()
}

fn mixture<'m>(
    base: &'m dyn LanguageModel,
    aligned: &'m dyn LanguageModel,
    rule: &'m Rule,
    sampling: Sampling,
    decision: Sampling,
) -> Mixture<'m> {
    Mixture::new(base, aligned, rule, sampling, decision).unwrap()
}

/// Keeps a token only where the base model finds it at least as probable as the aligned model.
#[derive(Debug)]
struct KeepWhereBaseLeads;

impl std::fmt::Display for KeepWhereBaseLeads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("keep where the base leads")
    }
}

impl PairRule for KeepWhereBaseLeads {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        out.fill(base.len(), 0.0);
        for token in 0..base.len() as TokenId {
            out.set(token, f64::from(base.prob(token) < aligned.prob(token)));
        }
    }
}

/// Every rule of the catalogue at a middle parameter, and a user's own rule.
fn rules() -> Vec<Rule> {
    let known = catalogue().iter().map(|rule| rule.with(0.35).unwrap());
    let pool = Rule::history(PooledBudget::new(0.3, 2.0, 0.9).unwrap());
    known.chain([pool, Rule::pair(KeepWhereBaseLeads)]).collect()
}

#[test]
fn lazy_eager_and_closed_form_have_one_distribution() {
    let (base, aligned) = models();
    for rule in rules() {
        for (sampling, decision) in [(at(1.0), at(1.0)), (at(0.7), at(1.0)), (at(1.3), at(0.5))] {
            let mixture = || mixture(&base, &aligned, &rule, sampling, decision);
            let lazy = distribution_of_runs(&mut DeferralDecoder::new(mixture()));
            let by_steps =
                text_distribution(&mut DeferralDecoder::new(mixture()), &PROMPT, &limits())
                    .unwrap();
            let eager =
                distribution_of_runs(&mut SingleDecoder::new(MixturePredictor::new(mixture())));
            let mut predictor = MixturePredictor::new(mixture());
            let closed = joint_distribution(&mut predictor, &PROMPT, LENGTH, &[EOS]).unwrap();
            let by_hand = by_hand(&base, &aligned, &rule, sampling, decision);
            assert!((lazy.values().sum::<f64>() - 1.0).abs() < EXACT);
            for other in [&by_steps, &eager, &closed, &by_hand] {
                let distance = total_variation(&lazy, other);
                assert!(distance < EXACT, "{rule}: TV = {distance}");
            }
        }
    }
}

/// The same distribution from the models' logits and the formula of the paper, without decoder
/// code.
fn by_hand(
    base: &TableModel,
    aligned: &TableModel,
    rule: &Rule,
    sampling: Sampling,
    decision: Sampling,
) -> TextDistribution {
    let distribution = |model: &TableModel, text: &[TokenId], temperature: f64| -> Distribution {
        let mut rows = LogitRows::new(4);
        model.start().unwrap().extend(text, 1, &mut rows).unwrap();
        let weights: Vec<f64> =
            rows.row(0).iter().map(|&l| (f64::from(l) / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        Distribution::from_probs(weights.iter().map(|w| w / total).collect()).unwrap()
    };
    let (draw, see) = (sampling.settings().temperature, decision.settings().temperature);
    let mut texts = TextDistribution::new();
    let begin = if let Rule::History(rule) = rule { rule.start() } else { 0.0 };
    let mut open = vec![(PROMPT.to_vec(), begin, 1.0)];
    while let Some((text, state, probability)) = open.pop() {
        let new = &text[PROMPT.len()..];
        if new.len() == LENGTH || new.last() == Some(&EOS) {
            texts.insert(new.to_vec(), probability);
            continue;
        }
        let (p, q) = (distribution(base, &text, draw), distribution(aligned, &text, draw));
        let mut d = Deferral::default();
        match rule {
            Rule::Base(rule) => rule.decide(&distribution(base, &text, see), &mut d),
            Rule::Pair(rule) => rule.decide(
                &distribution(base, &text, see),
                &distribution(aligned, &text, see),
                &mut d,
            ),
            Rule::History(rule) => rule.decide(state, &distribution(base, &text, see), &mut d),
        }
        let deferred: f64 = (0..4).map(|y| d.weights()[y] * p.probs()[y]).sum();
        let state = match rule {
            Rule::History(rule) => rule.next(state, deferred, new.len()),
            _ => state,
        };
        for y in 0..4 {
            let pi = (1.0 - d.weights()[y]) * p.probs()[y] + q.probs()[y] * deferred;
            let longer = [&text[..], &[y as TokenId]].concat();
            if pi > 0.0 {
                open.push((longer, state, probability * pi));
            }
        }
    }
    texts
}

/// A negative control: the kept tokens renormalised without the deferred mass (top-p sampling) are
/// a different distribution, and the oracle detects it.
#[test]
fn the_oracle_tells_deferral_from_truncation() {
    let (base, aligned) = models();
    let rule = Rule::base(KadPrimal::new(0.35).unwrap());
    let lazy = DeferralDecoder::new(mixture(&base, &aligned, &rule, at(1.0), at(1.0)));
    let nucleus =
        Sampling::new(SamplingSettings { top_p: Some(0.65), ..Default::default() }).unwrap();
    let nucleus = kad_core::ModelPredictor::new(&base, nucleus).unwrap();
    let distance = total_variation(
        &distribution_of_runs(&mut { lazy }),
        &distribution_of_runs(&mut SingleDecoder::new(nucleus)),
    );
    assert!(distance > 0.1, "TV = {distance}");
}

/// The aligned model runs with probability D per token, not at every token.
#[test]
fn the_aligned_model_runs_only_when_a_draw_is_deferred() {
    let (base, aligned) = models();
    let (base, aligned) = (Counted::new(base), Counted::new(aligned));
    let rule = Rule::base(KadDual::new(0.2).unwrap());
    let mut decoder = DeferralDecoder::new(mixture(&base, &aligned, &rule, at(1.0), at(1.0)));
    let mut choices = kad_core::SampledChoices::seeded(5);
    let limits = Limits { max_new_tokens: 400, eos: vec![] };
    let mut observe = |_: &_| ControlFlow::Continue(());
    let made = generate(&mut decoder, &PROMPT, &limits, &mut choices, &mut observe).unwrap();
    let deferred = made.tokens.iter().filter(|t| t.origin == Origin::Deferred).count() as u64;
    assert!(0 < deferred && deferred < 200, "{deferred} of 400 deferred");
    assert_eq!(aligned.counts().passes, deferred);
    assert_eq!(base.counts().passes, 400);
}

/// A model that defers to itself has one KV cache and makes one forward pass per token.
#[test]
fn self_deferral_computes_nothing_twice() {
    let (model, _) = models();
    let model = Counted::new(model);
    let rule = Rule::base(KadDual::new(0.9).unwrap());
    let mut decoder = DeferralDecoder::new(mixture(&model, &model, &rule, at(1.0), at(1.0)));
    let mut choices = kad_core::SampledChoices::seeded(5);
    let limits = Limits { max_new_tokens: 50, eos: vec![] };
    let mut observe = |_: &_| ControlFlow::Continue(());
    let made = generate(&mut decoder, &PROMPT, &limits, &mut choices, &mut observe).unwrap();
    assert!(made.tokens.iter().any(|t| t.origin == Origin::Deferred));
    assert_eq!(model.counts().passes, 50);
}
