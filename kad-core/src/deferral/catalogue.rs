//! The catalogue of all deferral rules, shared by experiment files, the command line, the
//! documentation and the tests.

use super::{
    AggressiveBet, AlignedAbove, AlignedBelow, Always, ArgmaxOnly, CascadeTokenV2, CascadeTokenV3,
    Chow, ConfidenceBet, Difference, KadDual, KadFallback, KadFractional, KadPrimal, KnapsackExact,
    Never, Nudging, OptimalCascade, Parameter, PooledBudget, RandomDeferral, Rule, RuleError,
    SteeredDual, TokenV2, TokenV3,
};

/// Description of a deferral rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleInfo {
    /// Name in experiment files and on the command line.
    pub kind: &'static str,
    /// Parameters, in the order that `build` takes them.
    pub parameters: &'static [Parameter],
    /// Formula of `d(y)`; `max p` is the largest base probability, `max q*` the largest aligned
    /// one.
    pub formula: &'static str,
    /// Distributions that the rule reads.
    pub inputs: RuleInputs,
    /// Paper or other origin.
    pub source: &'static str,
    /// Name in the code that accompanies arXiv 2510.27017, if the rule is there.
    pub code_name: Option<&'static str>,
    /// Change of the decision as the first parameter rises.
    pub monotone: Monotone,
    /// Behaviour when the rule, too, sees the distributions at temperature 0.
    pub greedy_limit: GreedyLimit,
    /// Makes the rule from the values of all parameters.
    pub build: fn(&[f64]) -> Result<Rule, RuleError>,
}

/// The inputs of a deferral rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleInputs {
    /// The base distribution: the aligned model runs only after a deferred token.
    Base,
    /// Both distributions: both models run at every token.
    Both,
    /// The base distribution and the deferral masses of earlier tokens of the text.
    BaseAndHistory,
}

/// Change of the deferred set as the first parameter rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monotone {
    /// Grows: sets are nested.
    Grows,
    /// Shrinks: sets are nested.
    Shrinks,
    /// Not nested, or no parameter.
    No,
}

/// A rule's decoder in the limit of temperature 0, where both distributions are one-hot, for
/// parameters inside their range (the ends of a range may differ).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreedyLimit {
    /// Greedy decoding of the base model.
    Base,
    /// Greedy decoding of the aligned model.
    Aligned,
    /// A mixture of both.
    Mixes,
}

impl RuleInfo {
    /// The rule with all required parameters at `value` and the optional ones at their defaults.
    ///
    /// # Errors
    /// [`RuleError`] if `value` is out of range.
    ///
    /// ```
    /// let pool = kad_core::deferral::named("kad-pool").unwrap().with(0.3)?;
    /// assert_eq!(pool.to_string(), "KAD pool, budget 0.3, window 16, threshold 0.5");
    /// # Ok::<(), kad_core::deferral::RuleError>(())
    /// ```
    pub fn with(&self, value: f64) -> Result<Rule, RuleError> {
        let values = self.parameters.iter().map(|p| p.default.unwrap_or(value));
        (self.build)(&values.collect::<Vec<_>>())
    }
}

/// The rule of this kind; `None` for an unknown kind.
///
/// ```
/// let dual = kad_core::deferral::named("kad-dual").unwrap();
/// assert_eq!((dual.build)(&[0.4])?.to_string(), "KAD dual, threshold 0.4");
/// # Ok::<(), kad_core::deferral::RuleError>(())
/// ```
pub fn named(kind: &str) -> Option<&'static RuleInfo> {
    CATALOGUE.iter().find(|rule| rule.kind == kind)
}

/// All deferral rules.
pub fn catalogue() -> &'static [RuleInfo] {
    &CATALOGUE
}

const KAD: &str = "Hammal et al., arXiv 2510.27017";
const KAD_CODE: &str = "code of arXiv 2510.27017";
const CASCADES: &str = "Narasimhan et al., arXiv 2405.19261";
const OURS: &str = "kad";

/// A rule with the most common properties: reads the base distribution alone, grows, is the base
/// model at temperature 0.
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
        rule("random", &RandomDeferral::PARAMETERS, "rate", "control", |v| {
            Ok(Rule::base(RandomDeferral::new(v[0])?))
        })
        .greedy(Mixes),
        rule(
            "nudging",
            &Nudging::PARAMETERS,
            "1[max p < threshold]",
            "Fei et al., arXiv 2410.09300 (token level)",
            |v| Ok(Rule::base(Nudging::new(v[0])?)),
        )
        .code("max"),
        rule(
            "kad-primal",
            &KadPrimal::PARAMETERS,
            "1 on the longest prefix by rising p with Σ p ≤ budget",
            KAD,
            |v| Ok(Rule::base(KadPrimal::new(v[0])?)),
        )
        .code("budget_lr"),
        rule("kad-dual", &KadDual::PARAMETERS, "1[p(y) < threshold]", KAD, |v| {
            Ok(Rule::base(KadDual::new(v[0])?))
        })
        .code("token_wise"),
        rule(
            "kad-fractional",
            &KadFractional::PARAMETERS,
            "as kad-primal, and (budget − U)/p on the first token that does not fit",
            OURS,
            |v| Ok(Rule::base(KadFractional::new(v[0])?)),
        )
        .greedy(Mixes),
        rule(
            "knapsack-exact",
            &KnapsackExact::PARAMETERS,
            "argmax Σ −p ln p · d with Σ p d ≤ budget",
            KAD,
            |v| Ok(Rule::base(KnapsackExact::new(v[0])?)),
        )
        .changes(No),
        rule(
            "kad-fallback",
            &KadFallback::PARAMETERS,
            "as kad-primal, but only where −ln p(y) > −Σ p ln q*",
            OURS,
            |v| Ok(Rule::pair(KadFallback::new(v[0])?)),
        )
        .sees(Both),
        rule(
            "confidence-bet",
            &ConfidenceBet::PARAMETERS,
            "1[p(y) < max q* − margin]",
            "arXiv 2604.16146; TokenV1 of arXiv 2405.19261",
            |v| Ok(Rule::pair(ConfidenceBet::new(v[0])?)),
        )
        .code("max_q_minus")
        .sees(Both)
        .changes(Shrinks),
        rule(
            "aggressive-bet",
            &AggressiveBet::PARAMETERS,
            "1[p(y) < max q* + margin]",
            KAD_CODE,
            |v| Ok(Rule::pair(AggressiveBet::new(v[0])?)),
        )
        .code("max_q_plus")
        .sees(Both)
        .greedy(Aligned),
        rule(
            "aligned-below",
            &AlignedBelow::PARAMETERS,
            "1[q*(y) < max p + margin]",
            KAD_CODE,
            |v| Ok(Rule::pair(AlignedBelow::new(v[0])?)),
        )
        .code("max_p_plus")
        .sees(Both)
        .greedy(Aligned),
        rule(
            "aligned-above",
            &AlignedAbove::PARAMETERS,
            "1[q*(y) > max p + margin]",
            KAD_CODE,
            |v| Ok(Rule::pair(AlignedAbove::new(v[0])?)),
        )
        .code("minus_max_p_plus")
        .sees(Both)
        .changes(Shrinks),
        rule("token-v2", &TokenV2::PARAMETERS, "1[p(y) < max p − margin]", KAD_CODE, |v| {
            Ok(Rule::base(TokenV2::new(v[0])?))
        })
        .code("token_v2")
        .changes(Shrinks),
        rule("token-v3", &TokenV3::PARAMETERS, "1[p(y) < (1 − margin) max p]", OURS, |v| {
            Ok(Rule::base(TokenV3::new(v[0])?))
        })
        .changes(Shrinks),
        rule("argmax-only", &[], "1[p(y) < max p]", KAD_CODE, |_| Ok(Rule::base(ArgmaxOnly)))
            .code("token_max")
            .changes(No),
        rule("chow", &Chow::PARAMETERS, "1[max p < 1 − margin]", CASCADES, |v| {
            Ok(Rule::base(Chow::new(v[0])?))
        })
        .changes(Shrinks),
        rule(
            "difference",
            &Difference::PARAMETERS,
            "1[max p < max q* − margin]",
            CASCADES,
            |v| Ok(Rule::pair(Difference::new(v[0])?)),
        )
        .sees(Both)
        .changes(Shrinks),
        rule(
            "optimal-cascade",
            &OptimalCascade::PARAMETERS,
            "1[max p < max q* − margin · TV(p, q*)]",
            CASCADES,
            |v| Ok(Rule::pair(OptimalCascade::new(v[0])?)),
        )
        .sees(Both)
        .changes(Shrinks),
        rule(
            "cascade-token-v2",
            &CascadeTokenV2::PARAMETERS,
            "1[q*(y) < max q* − margin]",
            CASCADES,
            |v| Ok(Rule::pair(CascadeTokenV2::new(v[0])?)),
        )
        .sees(Both)
        .changes(Shrinks)
        .greedy(Aligned),
        rule(
            "cascade-token-v3",
            &CascadeTokenV3::PARAMETERS,
            "1[q*(y) < (1 − margin) max q*]",
            CASCADES,
            |v| Ok(Rule::pair(CascadeTokenV3::new(v[0])?)),
        )
        .sees(Both)
        .changes(Shrinks)
        .greedy(Aligned),
        rule(
            "kad-steered",
            &SteeredDual::PARAMETERS,
            "1[p(y) < e^(−μ)], μ ← max(0, μ + gain (D − target)) after each token",
            OURS,
            |v| Ok(Rule::history(SteeredDual::new(v[0], v[1], v[2])?)),
        )
        .sees(BaseAndHistory)
        .changes(No),
        rule(
            "kad-pool",
            &PooledBudget::PARAMETERS,
            "as kad-primal with the unspent part of window · budget, where p(y) < threshold",
            OURS,
            |v| Ok(Rule::history(PooledBudget::new(v[0], v[1], v[2])?)),
        )
        .sees(BaseAndHistory)
        .changes(No),
    ]
};
