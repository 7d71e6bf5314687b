//! `kad plan`: from a profile to the fastest chain.

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::speed::{factor, in_words, milliseconds, with_interval};
use crate::cli::PlanArgs;
use crate::failure::Failure;
use crate::output;
use crate::speed::chain_ranking::{
    ChainRanking, LevelInsertion, RankedChain, RankingRequest, Verdict,
};
use crate::speed::profile::{About, Cost, Profile};

pub(super) fn run(args: &PlanArgs) -> Result<(), Failure> {
    let profile = Profile::read(&args.profile)?;
    let here = About::here(&profile.about);
    for difference in profile.about.machine_differences(&here) {
        output::note(&format!(
            "note: the profile is not of this program and machine: {difference}"
        ));
    }
    let ask = RankingRequest {
        target: args.target.clone(),
        drafters: None,
        max_levels: args.max_levels,
        max_length: args.max_length,
        chains: args.chains,
    };
    let ranking = ChainRanking::of(&profile, &ask)?;
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
        ranked(ranking),
        verdict(ranking),
        shares(ranking.best()),
    ];
    if !ranking.insertions.is_empty() {
        parts.push(insertions(ranking));
    }
    parts.join("\n")
}

/// What the times are from.
fn source(ranking: &ChainRanking) -> String {
    if ranking.texts == 0 {
        let target = &ranking.target;
        return format!("times from run lengths: the profile has no texts of `{target}`");
    }
    let texts = ranking.texts;
    let others = ranking.chains.iter().filter(|chain| !chain.replayed);
    let others: Vec<String> =
        others.map(|chain| in_words(&chain.members, &chain.lengths)).collect();
    let but = match others.len() {
        0 => String::new(),
        _ => format!("; from run lengths: {}", others.join(", ")),
    };
    format!("times from replaying the chains along {texts} texts of the profile{but}")
}

/// All chains, and plain decoding in its place among them.
fn ranked(ranking: &ChainRanking) -> String {
    let mut rows: Vec<&RankedChain> = ranking.chains.iter().chain([&ranking.plain]).collect();
    rows.sort_by(|a, b| a.milliseconds_per_token.total_cmp(&b.milliseconds_per_token));
    let mut table = new_table(&["chain", "ms/token", "tokens/s", "speed-up", "Lemma 3.1 ms/token"]);
    for chain in rows {
        let plain = chain.lengths.is_empty();
        let name = in_words(&chain.members, &chain.lengths);
        add(
            &mut table,
            &if plain { format!("{name}, plain") } else { name },
            [
                interval_ms(chain),
                format!("{:.1}", chain.tokens_per_second),
                if plain { "1".to_owned() } else { speedup(chain) },
                milliseconds(chain.lemma_milliseconds_per_token),
            ],
        );
    }
    table.to_string()
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

fn verdict(ranking: &ChainRanking) -> String {
    match (ranking.verdict, ranking.chains.first()) {
        (Verdict::Speculate, Some(best)) => format!(
            "fastest: {}, {} the speed of plain decoding",
            in_words(&best.members, &best.lengths),
            speedup(best)
        ),
        (Verdict::Undecided, Some(best)) => format!(
            "{} is expected to be fastest, but not distinguishable from plain decoding: {}; \
             measure more with `kad profile --prompts N --tokens M`",
            in_words(&best.members, &best.lengths),
            speedup(best)
        ),
        (_, Some(best)) => format!(
            "plain decoding is fastest: the best chain, {}, is expected at {} its speed",
            in_words(&best.members, &best.lengths),
            speedup(best)
        ),
        (_, None) => {
            "plain decoding is fastest: nothing may draft for this target within these limits"
                .to_owned()
        }
    }
}

/// Where the time of a chain goes.
fn shares(chain: &RankedChain) -> String {
    let header = ["level", "ms/token", "share %", "passes/token", "accepted", "waste"];
    let mut table = new_table(&header);
    for level in &chain.levels {
        let share = 100.0 * level.milliseconds_per_token / chain.milliseconds_per_token;
        let numbers = [
            milliseconds(level.milliseconds_per_token),
            format!("{share:.1}"),
            format!("{:.3}", level.passes_per_token),
            level.acceptance_length.map_or("–".to_owned(), |length| format!("{length:.2}")),
            format!("{:.2}", level.waste),
        ];
        add(&mut table, &level.name, numbers);
    }
    format!("\n{}, level by level\n{table}", in_words(&chain.members, &chain.lengths))
}

/// Theorem 3.2 for each candidate and place.
fn insertions(ranking: &ChainRanking) -> String {
    let (best, chain) = (ranking.best(), ranking.chains.first());
    let base = chain.filter(|_| ranking.verdict != Verdict::Plain).unwrap_or(best);
    let header = ["one more level", "Theorem 3.2", "", "exact, ms/token", "", "with it, ms/token"];
    let mut table = new_table(&header);
    for LevelInsertion { candidate, level, published, exact, milliseconds_per_token, .. } in
        &ranking.insertions
    {
        let yes = |holds| if holds { "insert" } else { "leave" };
        let sign = |holds| if holds { "<" } else { "≥" };
        let numbers = [
            format!("{:.3} {} {:.3}", published.left, sign(published.holds()), published.right),
            yes(published.holds()).to_owned(),
            format!(
                "{} {} {}",
                milliseconds(exact.left),
                sign(exact.holds()),
                milliseconds(exact.right)
            ),
            yes(exact.holds()).to_owned(),
            milliseconds(*milliseconds_per_token),
        ];
        add(&mut table, &format!("{candidate} as level {level}"), numbers);
    }
    format!(
        "\none more level in {}, from run lengths: cost < gain, as published (Theorem 3.2, \
         arXiv 2510.26527) and exactly\n{table}",
        in_words(&base.members, &base.lengths)
    )
}

/// The decoder as an experiment file has it.
fn toml(profile: &Profile, best: &RankedChain) -> String {
    let (target, drafters) =
        best.members.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let level = |(name, length): (&String, &usize)| {
        let draft = match profile.candidate(name).map(|found| &found.cost) {
            Some(Cost::Lookup { lookup, .. }) => lookup.draft().in_toml(),
            Some(Cost::Tree { toml, .. }) => return format!("    {toml},"),
            _ => quoted(name),
        };
        format!("    {{ draft = {draft}, length = {length} }},")
    };
    let entry = format!("[[decoders]]\nname = {}\n", quoted(&format!("{target}, planned")));
    if drafters.is_empty() {
        let composed = profile.candidate(target).is_some_and(|found| found.models.len() > 1);
        if composed {
            return format!(
                "# Plain decoding is fastest: the decoder {} as it is.",
                quoted(target)
            );
        }
        let model = format!("kind = \"single\"\nmodel = {}", quoted(target));
        return format!("# Plain decoding is fastest.\n{entry}{model}");
    }
    let levels: Vec<String> = drafters.iter().zip(&best.lengths).map(level).collect();
    format!(
        "# Expected: {} ms/token, {} plain decoding's speed.\n{entry}kind = \"chain\"\n\
         target = {}\nlevels = [\n{}\n]",
        interval_ms(best),
        speedup(best),
        quoted(target),
        levels.join("\n")
    )
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(header.to_vec());
    table
}

fn add<const N: usize>(table: &mut Table, name: &str, numbers: [String; N]) {
    let numbers = numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
    table.add_row(std::iter::once(Cell::new(name)).chain(numbers));
}
