//! What the page says of each task: charts, and the tables below them.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;

use super::bars::bars;
use super::grid::Grid;
use super::page::Figure;
use super::tradeoff::{Effort, MASS, tradeoff};
use super::{Expected, chains, plot};
use crate::analysis::stats::CONFIDENCE;
use crate::analysis::summary::{DecoderResult, Summary, explained};
use crate::numbers::parameter;

/// Charts with some rows per decoder are folded where there are more.
const ROWS_IN_THE_OPEN: usize = 12;

/// Everything about one task.
#[derive(Serialize)]
pub(super) struct TaskView<'a> {
    name: &'a str,
    figures: Vec<Figure>,
    results: Grid,
    /// What the numbers above are.
    notes: Vec<String>,
    /// ProfileTargets, categories or levels.
    groups: Option<Grid>,
    /// Of all decoders that verify drafts.
    levels: Option<Grid>,
}

/// Of every task of `summary`; `largest` are the models whose passes take the most.
///
/// # Errors
/// If a chart cannot be drawn.
pub(super) fn views<'a>(
    summary: &'a Summary,
    expected: &Expected,
    largest: &[&str],
) -> Result<Vec<TaskView<'a>>> {
    let families = plot::families(summary);
    let view = |name: &'a str| {
        let results = summary.on(name);
        let mut figures = figures(name, &results, (&families, &summary.baseline), largest)?;
        let of_chains = chains::figures(name, &results, (&summary.baseline, expected))?;
        let is_long = results.len() > ROWS_IN_THE_OPEN;
        figures.extend(of_chains.into_iter().map(|it| if is_long { it.folded() } else { it }));
        Ok(TaskView {
            name,
            figures,
            results: Grid::of_results(&results, &summary.baseline),
            notes: explained(&results).into_iter().chain(summary.at_a_time()).collect(),
            groups: Grid::of_groups(&results),
            levels: chains::levels(&results),
        })
    };
    summary.tasks().into_iter().map(view).collect()
}

/// The charts of accuracy, as far as there is something to draw.
fn figures(
    name: &str,
    results: &[&DecoderResult],
    (families, baseline): (&[&str], &str),
    largest: &[&str],
) -> Result<Vec<Figure>> {
    let confidence = parameter(100.0 * CONFIDENCE);
    let label = |what: &str| format!("{what} on {name}; the numbers are in the table below");
    let accuracy = Figure::of(
        bars(results, families, baseline)?,
        format!(
            "Accuracy of each decoder with its {confidence} % interval; sweeps are grouped by their \
             family."
        ),
        label("Accuracy of each decoder"),
    );
    let mass = Figure::of(
        tradeoff(results, families, MASS)?,
        format!(
            "Accuracy against deferral mass. Each line is a sweep, each mark one of its members \
             with its parameter and {confidence} % interval; decoders without a deferral rule are \
             dashed."
        ),
        label("Accuracy against deferral mass"),
    );
    let names = largest.join(", ");
    let (whose, models) = if largest.len() > 1 {
        ("the largest models", format!("Passes of {names} are added"))
    } else {
        ("the largest model", format!("It is {names}"))
    };
    let title = format!("passes of {whose} per token");
    let passes = Figure::of(
        against_passes(results, families, (&title, largest))?,
        format!(
            "Accuracy against {title}, with the prompt's pass counted as one. {models}. Left and \
             above is better; passes of the other models are in the table."
        ),
        label(&format!("Accuracy against {title}")),
    );
    Ok([accuracy, mass, passes].into_iter().flatten().collect())
}

/// None where all decoders need the same number of passes.
fn against_passes(
    results: &[&DecoderResult],
    families: &[&str],
    (title, largest): (&str, &[&str]),
) -> Result<Option<String>> {
    let passes = |result: &DecoderResult| {
        let own = largest.iter().filter_map(|model| result.passes_per_token.get(*model));
        Some(own.sum::<f64>())
    };
    let hundredths =
        |result: &&DecoderResult| passes(result).map(|passes| (100.0 * passes).round() as i64);
    // Those that do without it are beside the question.
    let different: BTreeSet<i64> =
        results.iter().filter_map(hundredths).filter(|passes| *passes > 0).collect();
    if largest.is_empty() || different.len() < 2 {
        return Ok(None);
    }
    tradeoff(results, families, Effort { title, of: &passes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn passes_are_drawn_where_decoders_need_more_or_fewer_of_them() {
        let chart = |summary: &Summary, largest: &[&str]| {
            let results: Vec<&DecoderResult> = summary.results.iter().collect();
            let families = plot::families(summary);
            against_passes(&results, &families, ("passes", largest)).unwrap()
        };
        let chains = fixtures::chains();
        assert!(chart(&chains, &["target"]).unwrap().contains("three levels"));
        assert_eq!(chart(&chains, &[]), None, "nobody knows which is the largest");
        // Each decoder that uses the base model asks it once for each token.
        assert_eq!(chart(&fixtures::summary(), &["base"]), None);
    }

    #[test]
    fn charts_with_a_row_for_each_of_many_decoders_are_folded() {
        let mut summary = fixtures::chains();
        let folded = |summary: &Summary| {
            let views = views(summary, &Expected::default(), &[]).unwrap();
            let figures = serde_json::to_value(&views[0].figures).unwrap();
            let all = figures.as_array().unwrap().clone();
            all.iter().filter(|figure| figure["folded"] == true).count()
        };
        assert_eq!(folded(&summary), 0);
        let chain = summary.results[2].clone();
        summary.results.extend(
            (0..10).map(|place| DecoderResult { decoder: format!("{place}"), ..chain.clone() }),
        );
        assert_eq!(folded(&summary), 2, "times and lengths");
    }
}
