//! The section of a page about a task: charts, with tables below them.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use super::chart::accuracy::accuracy;
use super::chart::tradeoff::{CostAxis, MASS, tradeoff};
use super::page::{self, Figure};
use super::{Expected, chain_section, chart, result_tables};
use crate::analysis::summary::{DecoderResult, Summary, explained};

/// Charts with rows per decoder are folded if there are more decoders.
const ROWS_IN_THE_OPEN: usize = 12;

/// The sections of all tasks of `summary`; `largest` are the models with the most expensive passes.
///
/// # Errors
/// Fails if a chart cannot be drawn.
pub(super) fn sections(
    summary: &Summary,
    expected: &Expected,
    largest: &[&str],
) -> Result<Vec<Value>> {
    let families = chart::families(summary);
    let section = |name: &str| {
        let results = summary.on(name);
        let mut figures = figures(name, &results, (&families, &summary.baseline), largest)?;
        let of_chains = chain_section::figures(name, &results, (&summary.baseline, expected))?;
        let own = figures.len();
        figures.extend(of_chains);
        let folded = results.len() > ROWS_IN_THE_OPEN;
        figures[own..].iter_mut().for_each(|figure| figure.folded = folded);
        let notes = explained(&results).into_iter().chain(summary.at_a_time());
        Ok(json!({
            "name": name,
            "figures": figures,
            "results": result_tables::results(&results, &summary.baseline),
            "notes": notes.collect::<Vec<_>>(),
            "groups": result_tables::groups(&results),
            "levels": chain_section::levels(&results),
        }))
    };
    summary.tasks().into_iter().map(section).collect()
}

/// The charts of accuracy, without empty ones.
fn figures(
    name: &str,
    results: &[&DecoderResult],
    (families, baseline): (&[&str], &str),
    largest: &[&str],
) -> Result<Vec<Figure>> {
    let confidence = page::confidence();
    let label = |what: &str| format!("{what} on {name}; the numbers are in the table below");
    let accuracy = Figure::of(
        accuracy(results, families, baseline)?,
        format!("Accuracy of each decoder with {confidence} % interval, sweeps grouped by family."),
        label("Accuracy of each decoder"),
    );
    let mass = Figure::of(
        tradeoff(results, families, MASS)?,
        format!(
            "Accuracy against deferral mass. Each line is a sweep, each mark a decoder with its \
             parameter and {confidence} % interval; decoders without a deferral rule are dashed \
             lines."
        ),
        label("Accuracy against deferral mass"),
    );
    let names = largest.join(", ");
    let (whose, models) = if largest.len() > 1 {
        ("the largest models", format!("Passes of {names} are added"))
    } else {
        ("the largest model", format!("It is {names}"))
    };
    let title = format!("forward passes of {whose} per token");
    let passes = Figure::of(
        against_passes(results, families, (&title, largest))?,
        format!(
            "Accuracy against {title}; the pass over the prompt counts as one. {models}. Left and \
             above is better; passes of the other models are in the table."
        ),
        label(&format!("Accuracy against {title}")),
    );
    Ok([accuracy, mass, passes].into_iter().flatten().collect())
}

/// Accuracy against passes; `None` if all decoders need the same number of passes.
fn against_passes(
    results: &[&DecoderResult],
    families: &[&str],
    (title, largest): (&str, &[&str]),
) -> Result<Option<String>> {
    let passes = |result: &DecoderResult| {
        let own = largest.iter().filter_map(|model| result.passes_per_token.get(*model));
        own.sum::<f64>()
    };
    let hundredths = results.iter().map(|result| (100.0 * passes(result)).round() as i64);
    // Decoders without this model do not count.
    let different: BTreeSet<i64> = hundredths.filter(|passes| *passes > 0).collect();
    if largest.is_empty() || different.len() < 2 {
        return Ok(None);
    }
    tradeoff(results, families, CostAxis { title, of: &|result| Some(passes(result)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_runs;

    #[test]
    fn passes_are_drawn_where_decoders_need_more_or_fewer_of_them() {
        let chart = |summary: &Summary, largest: &[&str]| {
            let results: Vec<&DecoderResult> = summary.results.iter().collect();
            let families = chart::families(summary);
            against_passes(&results, &families, ("passes", largest)).unwrap()
        };
        let chains = sample_runs::chains();
        assert!(chart(&chains, &["target"]).unwrap().contains("three levels"));
        assert_eq!(chart(&chains, &[]), None, "the largest is not known");
        // Each decoder that uses the base model asks it once for each token.
        assert_eq!(chart(&sample_runs::summary(), &["base"]), None);
    }

    #[test]
    fn charts_with_a_row_for_each_of_many_decoders_are_folded() {
        let mut summary = sample_runs::chains();
        let folded = |summary: &Summary| {
            let sections = sections(summary, &Expected::default(), &[]).unwrap();
            let figures = sections[0]["figures"].as_array().unwrap();
            figures.iter().filter(|figure| figure["folded"] == true).count()
        };
        assert_eq!(folded(&summary), 0);
        let chain = summary.results[2].clone();
        summary.results.extend(
            (0..10).map(|place| DecoderResult { decoder: format!("{place}"), ..chain.clone() }),
        );
        assert_eq!(folded(&summary), 2, "times and lengths");
    }
}
