//! Every rule under its name: what files, the command line, the documentation and the tests share.

use super::{
    AggressiveBet, AlignedAbove, AlignedBelow, Always, ArgmaxOnly, CascadeTokenV2, CascadeTokenV3,
    Chow, ConfidenceBet, Difference, KadDual, KadFallback, KadFractional, KadPrimal, KnapsackExact,
    Never, Nudging, OptimalCascade, PooledBudget, RandomDeferral, Rule, RuleError, SteeredDual,
    TokenV2, TokenV3,
};

/// What there is to know about a rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleInfo {
    /// Its name in files and on the command line.
    pub kind: &'static str,
    /// Its parameters, in the order `build` takes them.
    pub parameters: &'static [Parameter],
    /// `d(y)`; `max p` is the largest base probability, `max q*` the largest aligned one.
    pub formula: &'static str,
    /// Which distributions it has to see.
    pub inputs: RuleInputs,
    /// Where it comes from.
    pub source: &'static str,
    /// Its name in the code that accompanies arXiv 2510.27017, if it is there.
    pub code_name: Option<&'static str>,
    /// How its decision changes with its first parameter.
    pub monotone: Monotone,
    /// What greedy decoding with it is, when the rule sees the distributions at temperature 0 too.
    pub greedy_limit: GreedyLimit,
    /// Makes the rule from values of all its parameters.
    pub build: fn(&[f64]) -> Result<Rule, RuleError>,
}

/// A parameter of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in files.
    pub name: &'static str,
    /// What is allowed.
    pub range: &'static str,
    /// What it is when it is not given; required if there is none.
    pub default: Option<f64>,
}

/// Which distributions a rule has to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleInputs {
    /// The base distribution: the aligned model runs only after a deferred draw.
    Base,
    /// The base distribution and the aligned one: both models run at every token.
    Both,
    /// The base distribution, and what earlier tokens of the text spent.
    BaseAndHistory,
}

/// How the set that a rule hands over changes as its first parameter rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monotone {
    /// It grows: sets are nested.
    Grows,
    /// It shrinks: sets are nested.
    Shrinks,
    /// Neither, or there is no parameter.
    No,
}

/// What remains of a rule where both distributions are one-hot. Parameters at the ends of their
/// ranges may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreedyLimit {
    /// Greedy decoding of the base model.
    Base,
    /// Greedy decoding of the aligned model.
    Aligned,
    /// Neither: the rule still mixes.
    Mixes,
}

impl RuleInfo {
    /// The rule with all required parameters at `value` and the others at their defaults.
    ///
    /// # Errors
    /// If `value` is out of a parameter's range.
    pub fn with(&self, value: f64) -> Result<Rule, RuleError> {
        let values = self.parameters.iter().map(|p| p.default.unwrap_or(value));
        (self.build)(&values.collect::<Vec<_>>())
    }
}

/// The rule called `kind`, if there is one.
///
/// ```
/// let dual = kad_core::deferral::named("kad-dual").unwrap();
/// assert_eq!((dual.build)(&[0.4])?.to_string(), "KAD dual, threshold 0.4");
/// # Ok::<(), kad_core::deferral::RuleError>(())
/// ```
pub fn named(kind: &str) -> Option<&'static RuleInfo> {
    CATALOGUE.iter().find(|rule| rule.kind == kind)
}

/// All rules.
pub fn catalogue() -> &'static [RuleInfo] {
    &CATALOGUE
}

const UNIT: &str = "between 0 and 1";
const THRESHOLD: &[Parameter] = &[required("threshold")];
const BUDGET: &[Parameter] = &[required("budget")];
const MARGIN: &[Parameter] = &[required("margin")];

const KAD: &str = "Hammal et al., arXiv 2510.27017";
const KAD_CODE: &str = "code of arXiv 2510.27017";
const CASCADES: &str = "Narasimhan et al., arXiv 2405.19261";
const OURS: &str = "kad";

const fn required(name: &'static str) -> Parameter {
    Parameter { name, range: UNIT, default: None }
}

const fn optional(name: &'static str, range: &'static str, default: f64) -> Parameter {
    Parameter { name, range, default: Some(default) }
}

/// A rule that looks at the base distribution alone, is nested and leaves the base model at
/// temperature 0.
const fn rule(
    kind: &'static str,
    parameters: &'static [Parameter],
    formula: &'static str,
    source: &'static str,
    build: fn(&[f64]) -> Result<Rule, RuleError>,
) -> RuleInfo {
    RuleInfo {
        kind,
        parameters,
        formula,
        inputs: RuleInputs::Base,
        source,
        code_name: None,
        monotone: Monotone::Grows,
        greedy_limit: GreedyLimit::Base,
        build,
    }
}

impl RuleInfo {
    const fn code(self, name: &'static str) -> Self {
        Self { code_name: Some(name), ..self }
    }
    const fn sees(self, inputs: RuleInputs) -> Self {
        Self { inputs, ..self }
    }
    const fn changes(self, monotone: Monotone) -> Self {
        Self { monotone, ..self }
    }
    const fn greedy(self, greedy_limit: GreedyLimit) -> Self {
        Self { greedy_limit, ..self }
    }
}

static CATALOGUE: [RuleInfo; 23] = {
    use GreedyLimit::{Aligned, Mixes};
    use Monotone::{No, Shrinks};
    use RuleInputs::{BaseAndHistory, Both};
    [
        rule("never", &[], "0", "the base model", |_| Ok(Rule::base(Never))).changes(No),
        rule("always", &[], "1", "the aligned model", |_| Ok(Rule::base(Always)))
            .changes(No)
            .greedy(Aligned),
        rule("random", &[required("rate")], "rate", "control", |v| {
            Ok(Rule::base(RandomDeferral::new(v[0])?))
        })
        .greedy(Mixes),
        rule(
            "nudging",
            THRESHOLD,
            "1[max p < threshold]",
            "Fei et al., arXiv 2410.09300 (token level)",
            |v| Ok(Rule::base(Nudging::new(v[0])?)),
        )
        .code("max"),
        rule(
            "kad-primal",
            BUDGET,
            "1 on the longest prefix by rising p with Σ p ≤ budget",
            KAD,
            |v| Ok(Rule::base(KadPrimal::new(v[0])?)),
        )
        .code("budget_lr"),
        rule("kad-dual", THRESHOLD, "1[p(y) < threshold]", KAD, |v| {
            Ok(Rule::base(KadDual::new(v[0])?))
        })
        .code("token_wise"),
        rule(
            "kad-fractional",
            BUDGET,
            "as kad-primal, and (budget − U)/p on the first token that does not fit",
            OURS,
            |v| Ok(Rule::base(KadFractional::new(v[0])?)),
        )
        .greedy(Mixes),
        rule(
            "knapsack-exact",
            BUDGET,
            "argmax Σ −p ln p · d with Σ p d ≤ budget",
            KAD,
            |v| Ok(Rule::base(KnapsackExact::new(v[0])?)),
        )
        .changes(No),
        rule(
            "kad-fallback",
            BUDGET,
            "as kad-primal, but only where −ln p(y) > −Σ p ln q*",
            OURS,
            |v| Ok(Rule::pair(KadFallback::new(v[0])?)),
        )
        .sees(Both),
        rule(
            "confidence-bet",
            MARGIN,
            "1[p(y) < max q* − margin]",
            "arXiv 2604.16146; TokenV1 of arXiv 2405.19261",
            |v| Ok(Rule::pair(ConfidenceBet::new(v[0])?)),
        )
        .code("max_q_minus")
        .sees(Both)
        .changes(Shrinks),
        rule("aggressive-bet", MARGIN, "1[p(y) < max q* + margin]", KAD_CODE, |v| {
            Ok(Rule::pair(AggressiveBet::new(v[0])?))
        })
        .code("max_q_plus")
        .sees(Both)
        .greedy(Aligned),
        rule("aligned-below", MARGIN, "1[q*(y) < max p + margin]", KAD_CODE, |v| {
            Ok(Rule::pair(AlignedBelow::new(v[0])?))
        })
        .code("max_p_plus")
        .sees(Both)
        .greedy(Aligned),
        rule("aligned-above", MARGIN, "1[q*(y) > max p + margin]", KAD_CODE, |v| {
            Ok(Rule::pair(AlignedAbove::new(v[0])?))
        })
        .code("minus_max_p_plus")
        .sees(Both)
        .changes(Shrinks),
        rule("token-v2", MARGIN, "1[p(y) < max p − margin]", KAD_CODE, |v| {
            Ok(Rule::base(TokenV2::new(v[0])?))
        })
        .code("token_v2")
        .changes(Shrinks),
        rule("token-v3", MARGIN, "1[p(y) < (1 − margin) max p]", OURS, |v| {
            Ok(Rule::base(TokenV3::new(v[0])?))
        })
        .changes(Shrinks),
        rule("argmax-only", &[], "1[p(y) < max p]", KAD_CODE, |_| Ok(Rule::base(ArgmaxOnly)))
            .code("token_max")
            .changes(No),
        rule("chow", MARGIN, "1[max p < 1 − margin]", CASCADES, |v| {
            Ok(Rule::base(Chow::new(v[0])?))
        })
        .changes(Shrinks),
        rule("difference", MARGIN, "1[max p < max q* − margin]", CASCADES, |v| {
            Ok(Rule::pair(Difference::new(v[0])?))
        })
        .sees(Both)
        .changes(Shrinks),
        rule(
            "optimal-cascade",
            MARGIN,
            "1[max p < max q* − margin · TV(p, q*)]",
            CASCADES,
            |v| Ok(Rule::pair(OptimalCascade::new(v[0])?)),
        )
        .sees(Both)
        .changes(Shrinks),
        rule("cascade-token-v2", MARGIN, "1[q*(y) < max q* − margin]", CASCADES, |v| {
            Ok(Rule::pair(CascadeTokenV2::new(v[0])?))
        })
        .sees(Both)
        .changes(Shrinks)
        .greedy(Aligned),
        rule("cascade-token-v3", MARGIN, "1[q*(y) < (1 − margin) max q*]", CASCADES, |v| {
            Ok(Rule::pair(CascadeTokenV3::new(v[0])?))
        })
        .sees(Both)
        .changes(Shrinks)
        .greedy(Aligned),
        rule(
            "kad-steered",
            &[
                required("target"),
                optional("gain", "above 0", 0.5),
                optional("threshold", "above 0, at most 1", 0.5),
            ],
            "1[p(y) < e^(−μ)], μ ← max(0, μ + gain (D − target)) after each token",
            OURS,
            |v| Ok(Rule::history(SteeredDual::new(v[0], v[1], v[2])?)),
        )
        .sees(BaseAndHistory)
        .changes(No),
        rule(
            "kad-pool",
            &[
                required("budget"),
                optional("window", "a whole number from 1 to 1e9", 16.0),
                optional("threshold", UNIT, 0.5),
            ],
            "as kad-primal with what is left of window · budget, where p(y) < threshold",
            OURS,
            |v| Ok(Rule::history(PooledBudget::new(v[0], v[1], v[2])?)),
        )
        .sees(BaseAndHistory)
        .changes(No),
    ]
};
