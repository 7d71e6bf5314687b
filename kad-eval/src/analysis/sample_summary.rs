//! Made-up summaries for tests: three single models, three sweeps and a random control on one task,
//! a second task without deferral; and chains of two and three levels.

use std::collections::BTreeMap;

use super::stats::{Interval, wilson};
use super::summary::{DecoderResult, Difference, LevelResult, Summary, Time};
use crate::run::record::{Acceptance, LevelRecord};

/// Families with several members on `nano/test`.
pub(crate) const SWEEPS: usize = 4;

const ITEMS: u64 = 200;

fn model_of(single: &str) -> &str {
    match single {
        "large base" => "base",
        "small aligned" => "aligned",
        other => other,
    }
}

fn result(family: &str, task: &str, correct: u64) -> DecoderResult {
    let accuracy = correct as f64 / ITEMS as f64;
    let mean = accuracy - 0.125;
    let interval = Interval { low: mean - 0.071, high: mean + 0.069 };
    let is_baseline = family == "large base";
    DecoderResult {
        decoder: family.to_owned(),
        family: family.to_owned(),
        distribution: format!("exactly {family} at T = 0.7"),
        task: task.to_owned(),
        items: ITEMS,
        correct,
        accuracy,
        accuracy_interval: wilson(correct, ITEMS),
        answered: 0.2 + 0.75 * accuracy,
        difference: (!is_baseline).then_some(Difference {
            items: ITEMS,
            mean,
            interval,
            p_value: 0.001,
            p_adjusted: 0.004,
            detectable: Some(0.081),
            wins: 40,
            losses: 21,
            ..Difference::of(&[(1.0, 0.0)], 1)
        }),
        passes_per_token: BTreeMap::from([(model_of(family).to_owned(), 1.0)]),
        new_tokens: 6909,
        tokens_per_item: 34.545,
        tokens_per_second: 812.4,
        tokens_per_second_interval: Interval { low: 799.2, high: 824.9 },
        exact: true,
        stops: BTreeMap::from([("eos".to_owned(), 191), ("max_tokens".to_owned(), 9)]),
        ..DecoderResult::default()
    }
}

/// Name and parameter of a family; then parameter, deferral mass and correct answers of its members.
type Sweep = (&'static str, &'static str, [(f64, f64, u64); 3]);

const SWEPT: [Sweep; SWEEPS] = [
    ("kad primal", "budget", [(0.05, 0.021, 41), (0.2, 0.131, 105), (0.8, 0.602, 146)]),
    ("kad dual", "threshold", [(0.1, 0.043, 63), (0.4, 0.284, 129), (0.8, 0.655, 148)]),
    ("nudging", "threshold", [(0.2, 0.018, 33), (0.6, 0.243, 118), (0.9, 0.517, 143)]),
    ("random", "rate", [(0.1, 0.1, 31), (0.3, 0.3, 55), (0.6, 0.6, 97)]),
];

fn sweep((family, name, members): Sweep) -> impl Iterator<Item = DecoderResult> {
    members.into_iter().map(move |(parameter, mass, correct)| DecoderResult {
        decoder: format!("{family}, {name} {parameter}"),
        parameter: Some(parameter),
        distribution: format!(
            "exactly the mixture of base and aligned, {family} {parameter}, T = 0.7"
        ),
        deferral_mass: Some(mass),
        deferral_rate: Some(mass * 1.01),
        passes_per_token: BTreeMap::from([
            ("aligned".to_owned(), 0.97 * mass),
            ("base".to_owned(), 1.0),
        ]),
        ..result(family, "nano/test", correct)
    })
}

/// An incomplete run of two tasks.
pub(crate) fn summary() -> Summary {
    let single = [("large base", 25), ("small aligned", 140), ("large aligned", 198)];
    let mut results: Vec<DecoderResult> =
        single.iter().map(|(f, correct)| result(f, "nano/test", *correct)).collect();
    results.extend(SWEPT.into_iter().flat_map(sweep));
    results.extend(single.iter().map(|(f, correct)| result(f, "nano/facts", correct / 2)));
    Summary {
        name: "kad-nano".to_owned(),
        question: Some("Does a small aligned model steer a large base model?".to_owned()),
        run_id: "2f9c1a7e".to_owned(),
        baseline: "large base".to_owned(),
        results,
        ..Summary::default()
    }
}

/// The task of [`chains`].
pub(crate) const CHAINS: &str = "nano/chains";

/// Seconds per token of the plain target in [`chains`].
const PLAIN: f64 = 0.0221;

/// A finished run of a plain target and chains of two and of three levels.
pub(crate) fn chains() -> Summary {
    let (target, middle) = ("target", "middle");
    let verified: [u64; 5] = [120, 90, 60, 40, 310];
    let drafted: [u64; 4] = [300, 240, 200, 700];
    let results = vec![
        chain("plain", 1.0, &[(target, 0.98)], Vec::new()),
        chain(
            "two levels",
            0.71,
            &[("small", 0.31), (target, 0.6)],
            vec![level(1, [target, "small"], &verified)],
        ),
        chain(
            "three levels",
            0.55,
            &[(middle, 0.2), ("small", 0.12), (target, 0.55)],
            vec![level(1, [target, middle], &verified), level(2, [middle, "small"], &drafted)],
        ),
    ];
    Summary { baseline: "plain".to_owned(), complete: true, results, ..summary() }
}

/// `share` of the plain target's time, of which the models' passes take the shares given.
fn chain(
    decoder: &str,
    share: f64,
    passes: &[(&str, f64)],
    levels: Vec<LevelResult>,
) -> DecoderResult {
    let total = share * PLAIN;
    let passes = passes.iter().map(|(name, part)| ((*name).to_owned(), part * total));
    let passes: BTreeMap<String, f64> = passes.collect();
    let overhead = total - passes.values().sum::<f64>();
    let tokens_per_second_interval = Interval { low: 0.96 / total, high: 1.03 / total };
    DecoderResult {
        passes_per_token: passes.keys().map(|model| (model.clone(), share)).collect(),
        time: Some(Time { total, passes, overhead }),
        levels,
        tokens_per_second: 1.0 / total,
        tokens_per_second_interval,
        ..result(decoder, CHAINS, 140)
    }
}

/// A level that accepted 0, 1, 2, … tokens of so many drafts.
pub(crate) fn level(number: u64, [name, drafter]: [&str; 2], lengths: &[u64]) -> LevelResult {
    let drafts: u64 = lengths.iter().sum();
    let accepted = (0..).zip(lengths).map(|(length, count)| length * count).sum();
    let counts = Acceptance { drafted: 4 * drafts, accepted, lengths: lengths.to_vec() };
    let emitted = accepted + drafts;
    LevelResult {
        level: number,
        name: name.to_owned(),
        drafter: drafter.to_owned(),
        acceptance_rate: accepted as f64 / (4 * drafts) as f64,
        acceptance_length: accepted as f64 / drafts as f64,
        acceptance_length_deviation: 1.4,
        waste: 1.0 + 0.2 * (number - 1) as f64,
        drafted_per_token: 1.7,
        counts: LevelRecord { level: number, rounds: drafts, emitted, drafts: counts },
    }
}
