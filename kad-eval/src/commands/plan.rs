//! `kad plan`: the fastest chains by a profile.

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use kad_polybasic::theory::InsertionCriterion;

use super::shared::{factor, milliseconds, number_row, number_table, with_interval};
use crate::cli::PlanArgs;
use crate::config::toml_string;
use crate::failure::Failure;
use crate::numbers::{NONE, counted};
use crate::output;
use crate::speed::chain_ranking::{
    ChainRanking, LevelInsertion, LevelShare, RankedChain, RankingRequest, Recommendation,
};
use crate::speed::profile::{CandidateCost, CandidateProfile, Profile};

pub(super) fn run(args: &PlanArgs) -> Result<(), Failure> {
    let profile = Profile::read(&args.profile)?;
    let here = profile.conditions.on_this_machine();
    for difference in profile.conditions.differences(&here) {
        output::note(&format!("note: the profile was made under other conditions: {difference}"));
    }
    let (target, drafters) = (args.target.clone(), None);
    let PlanArgs { max_levels, max_length, chains, .. } = *args;
    let request = RankingRequest { target, drafters, max_levels, max_length, chains };
    let ranking = ChainRanking::of(&profile, &request)?;
    let text = if args.json {
        serde_json::to_string_pretty(&ranking).context("the plan is no JSON")?
    } else if args.toml {
        toml(&profile, ranking.best())
    } else {
        in_full(&ranking)
    };
    output::line(&text)?;
    Ok(())
}

fn in_full(ranking: &ChainRanking) -> String {
    let mut parts = vec![
        format!("target `{}`; intervals 95 %", ranking.target),
        source(ranking),
        chains(ranking),
        recommendation(ranking),
        shares(ranking.best()),
    ];
    if !ranking.insertions.is_empty() {
        parts.push(insertions(ranking));
    }
    parts.join("\n")
}

/// The source of the times: replay or run lengths.
fn source(ranking: &ChainRanking) -> String {
    if ranking.texts == 0 {
        let target = &ranking.target;
        return format!("times from run lengths: the profile has no texts of `{target}`");
    }
    let texts = ranking.texts;
    let others = ranking.chains.iter().filter(|chain| !chain.replayed);
    let others: Vec<String> = others.map(RankedChain::in_words).collect();
    let but = match others.len() {
        0 => String::new(),
        _ => format!("; from run lengths: {}", others.join(", ")),
    };
    format!("times from replaying the chains along {} of the profile{but}", counted(texts, "text"))
}

/// All chains, with plain decoding in its place among them.
fn chains(ranking: &ChainRanking) -> String {
    let mut rows: Vec<&RankedChain> = ranking.chains.iter().chain([&ranking.plain]).collect();
    rows.sort_by(|a, b| a.milliseconds_per_token.total_cmp(&b.milliseconds_per_token));
    let header = ["chain", "ms/token", "tokens/s", "speed-up", "Lemma 3.1 ms/token"];
    let row = |chain: &RankedChain| {
        let (name, speedup) = match chain.lengths.is_empty() {
            true => (format!("{}, plain", chain.in_words()), "1".to_owned()),
            false => (chain.in_words(), speedup(chain)),
        };
        let numbers = [
            interval_ms(chain),
            format!("{:.1}", chain.tokens_per_second),
            speedup,
            milliseconds(chain.lemma_milliseconds_per_token),
        ];
        number_row(&name, numbers)
    };
    number_table(UTF8_FULL_CONDENSED, &header, rows.into_iter().map(row)).to_string()
}

/// `ms [low, high]`.
fn interval_ms(chain: &RankedChain) -> String {
    let (low, high) = (chain.interval.low, chain.interval.high);
    with_interval(chain.milliseconds_per_token, low, high, milliseconds)
}

/// `2.00× [1.90×, 2.10×]`.
fn speedup(chain: &RankedChain) -> String {
    let (low, high) = (chain.speedup_interval.low, chain.speedup_interval.high);
    with_interval(chain.speedup, low, high, factor)
}

fn recommendation(ranking: &ChainRanking) -> String {
    let Some(best) = ranking.chains.first() else {
        return "plain decoding is fastest: within these limits there is no drafter for this target"
            .to_owned();
    };
    let (chain, speedup) = (best.in_words(), speedup(best));
    match ranking.recommendation {
        Recommendation::Speculate => {
            format!("fastest: {chain}, {speedup} the speed of plain decoding")
        }
        Recommendation::Undecided => format!(
            "{chain} is predicted to be fastest, but not distinguishable from plain decoding: \
             {speedup}; measure more with `kad profile --prompts N --tokens M`"
        ),
        Recommendation::Plain => format!(
            "plain decoding is fastest: the best chain, {chain}, is predicted at {speedup} its speed"
        ),
    }
}

/// The time of a chain by level.
fn shares(chain: &RankedChain) -> String {
    let header = ["level", "ms/token", "share %", "passes/token", "accepted", "waste"];
    let row = |level: &LevelShare| {
        let share = 100.0 * level.milliseconds_per_token / chain.milliseconds_per_token;
        let numbers = [
            milliseconds(level.milliseconds_per_token),
            format!("{share:.1}"),
            format!("{:.3}", level.passes_per_token),
            level.acceptance_length.map_or(NONE.to_owned(), |length| format!("{length:.2}")),
            format!("{:.2}", level.waste),
        ];
        number_row(&level.name, numbers)
    };
    let table = number_table(UTF8_FULL_CONDENSED, &header, chain.levels.iter().map(row));
    format!("\n{}, level by level\n{table}", chain.in_words())
}

/// Theorem 3.2 for each candidate and level.
fn insertions(ranking: &ChainRanking) -> String {
    let header = ["one more level", "Theorem 3.2", "", "exact, ms/token", "", "with it, ms/token"];
    let criterion = |it: &InsertionCriterion, number: fn(f64) -> String| {
        let (sign, advice) = if it.holds() { ("<", "insert") } else { ("≥", "leave") };
        [format!("{} {sign} {}", number(it.left), number(it.right)), advice.to_owned()]
    };
    let row = |it: &LevelInsertion| {
        let published = criterion(&it.published, |value| format!("{value:.3}"));
        let numbers = published.into_iter().chain(criterion(&it.exact, milliseconds));
        let numbers = numbers.chain([milliseconds(it.milliseconds_per_token)]);
        number_row(&format!("{} as level {}", it.candidate, it.level), numbers)
    };
    let table = number_table(UTF8_FULL_CONDENSED, &header, ranking.insertions.iter().map(row));
    format!(
        "\none more level in {}, from run lengths: cost < gain, as published (Theorem 3.2, \
         arXiv 2510.26527) and exactly\n{table}",
        ranking.best().in_words()
    )
}

/// The chain as a decoder of an experiment file.
fn toml(profile: &Profile, best: &RankedChain) -> String {
    let target = best.members.first().map_or("", String::as_str);
    let level = |(name, length): (&String, &usize)| {
        let draft = match profile.candidate(name).map(|found| &found.cost) {
            Some(CandidateCost::Lookup { lookup, .. }) => lookup.in_toml(),
            Some(CandidateCost::Tree { toml, .. }) => return format!("    {toml},"),
            _ => toml_string(name),
        };
        format!("    {{ draft = {draft}, length = {length} }},")
    };
    let entry = format!("[[decoders]]\nname = {}\n", toml_string(&format!("{target}, planned")));
    let target_name = toml_string(target);
    if best.lengths.is_empty() {
        if profile.candidate(target).is_some_and(CandidateProfile::is_composed) {
            return format!("# Plain decoding is fastest: the decoder {target_name} as it is.");
        }
        return format!(
            "# Plain decoding is fastest.\n{entry}kind = \"single\"\nmodel = {target_name}"
        );
    }
    let levels: Vec<String> = best.members.iter().skip(1).zip(&best.lengths).map(level).collect();
    format!(
        "# Predicted: {} ms/token, {} the speed of plain decoding.\n{entry}kind = \"chain\"\n\
         target = {target_name}\nlevels = [\n{}\n]",
        interval_ms(best),
        speedup(best),
        levels.join("\n")
    )
}
