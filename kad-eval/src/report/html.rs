//! The page: views of the numbers as text, and the template that arranges them.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;

use super::bars::bars;
use super::chains::{self, LevelRow};
use super::format::{NONE, fixed, interval, parameter, percent, points, significant};
use super::page::{self, Figure};
use super::provenance::{self, LegendView, Piece, SpanView};
use super::tradeoff::tradeoff;
use super::{Example, Expected, bench, plot};
use crate::record::Record;
use crate::side_by_side::Sheet;
use crate::stats::CONFIDENCE;
use crate::summary::{Arm, Summary};

/// The report of a run as one self-contained page: nothing is fetched, no script runs.
///
/// # Errors
/// If a chart cannot be drawn or the template fails; neither depends on what models wrote.
pub(crate) fn html(summary: &Summary, examples: &[Example], expected: &Expected) -> Result<String> {
    let spans = examples.iter().flat_map(|example| &example.records).flat_map(|r| &r.spans);
    let made = spans.map(|span| (span.origin.as_str(), span.level));
    let page = Page {
        name: &summary.name,
        question: summary.question.as_deref(),
        run_id: &summary.run_id,
        baseline: &summary.baseline,
        complete: summary.complete,
        confidence: parameter(100.0 * CONFIDENCE),
        detectable: summary.detectable().map(|it| significant(100.0 * it)),
        left_out: &summary.left_out,
        models: summary.side_by_side.as_ref().map(Sheet::of),
        tasks: task_views(summary, expected)?,
        profiles: profiles(expected)?,
        examples: examples.iter().map(|example| example_view(example, summary)).collect(),
        legend: provenance::legend(made),
    };
    page::render(include_str!("report.html.j2"), page)
}

/// What the template knows.
#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    question: Option<&'a str>,
    run_id: &'a str,
    baseline: &'a str,
    complete: bool,
    /// Of the intervals, in percent.
    confidence: String,
    /// In points.
    detectable: Option<String>,
    /// What the run went on without.
    left_out: &'a [String],
    /// Models side by side.
    models: Option<Sheet>,
    tasks: Vec<TaskView<'a>>,
    /// What the profiles of planned chains hold.
    profiles: Vec<Figure>,
    examples: Vec<ExampleView<'a>>,
    legend: Vec<LegendView>,
}

/// Everything about one task.
#[derive(Serialize)]
struct TaskView<'a> {
    name: &'a str,
    figures: Vec<Figure>,
    /// Columns of the passes per token.
    models: Vec<&'a str>,
    /// Whether any decoder drafts.
    drafts: bool,
    rows: Vec<RowView<'a>>,
    /// Of all decoders that verify drafts.
    levels: Vec<LevelRow<'a>>,
    /// Where texts were read.
    likelihoods: Vec<LikelihoodRow<'a>>,
}

/// How likely a decoder's law holds the texts.
#[derive(Serialize)]
struct LikelihoodRow<'a> {
    decoder: &'a str,
    tokens: u64,
    perplexity: String,
    bits_per_byte: String,
}

/// A line of the table.
#[derive(Serialize)]
struct RowView<'a> {
    decoder: &'a str,
    law: &'a str,
    execution: Option<&'a str>,
    is_baseline: bool,
    items: u64,
    accuracy: String,
    accuracy_interval: String,
    difference: Option<DifferenceView>,
    answered: String,
    deferral_mass: String,
    deferral_rate: String,
    acceptance_rate: String,
    acceptance_length: String,
    /// One per model of the task.
    passes: Vec<String>,
    tokens_per_item: String,
    tokens_per_second: String,
    tokens_per_second_interval: String,
    stops: Vec<String>,
}

#[derive(Serialize)]
struct DifferenceView {
    mean: String,
    interval: String,
    /// The exact test finds a difference.
    clear: bool,
    /// Of that test, adjusted for all comparisons.
    p: String,
    /// Number of items, where it is not that of the row.
    items: Option<u64>,
}

fn task_views<'a>(summary: &'a Summary, expected: &Expected) -> Result<Vec<TaskView<'a>>> {
    let families = plot::families(summary);
    let mut names: Vec<&str> = Vec::new();
    for arm in &summary.arms {
        if !names.contains(&arm.task.as_str()) {
            names.push(&arm.task);
        }
    }
    let view = |name| {
        let arms: Vec<&Arm> = summary.arms.iter().filter(|arm| arm.task == name).collect();
        let models: BTreeSet<&str> =
            arms.iter().flat_map(|arm| arm.passes_per_token.keys()).map(String::as_str).collect();
        let models: Vec<&str> = models.into_iter().collect();
        Ok(TaskView {
            name,
            figures: figures(name, &arms, (&families, &summary.baseline), expected)?,
            rows: arms.iter().map(|arm| row_view(arm, &models, &summary.baseline)).collect(),
            levels: chains::levels(&arms),
            drafts: arms.iter().any(|arm| arm.drafting.is_some()),
            likelihoods: arms.iter().filter_map(|arm| likelihood_row(arm)).collect(),
            models,
        })
    };
    names.into_iter().map(view).collect()
}

/// The charts of the task `name`, as far as there is something to draw.
fn figures(
    name: &str,
    arms: &[&Arm],
    (families, baseline): (&[&str], &str),
    expected: &Expected,
) -> Result<Vec<Figure>> {
    let confidence = parameter(100.0 * CONFIDENCE);
    let label = |what: &str| format!("{what} on {name}; the numbers are in the table below");
    let accuracy = Figure::of(
        bars(arms, families, baseline)?,
        format!(
            "Accuracy of each decoder with its {confidence} % Wilson interval; sweeps are grouped \
             by their family."
        ),
        label("Accuracy of each decoder"),
    );
    let tradeoff = Figure::of(
        tradeoff(arms, families)?,
        format!(
            "Accuracy against deferral mass. Each line is a sweep, each mark one of its members \
             with its parameter and {confidence} % Wilson interval; decoders without a deferral \
             rule are dashed."
        ),
        label("Accuracy against deferral mass"),
    );
    let mut figures: Vec<Figure> = [accuracy, tradeoff].into_iter().flatten().collect();
    figures.extend(chains::figures(name, arms, (baseline, expected))?);
    Ok(figures)
}

/// How passes grow with their width, for each profile.
fn profiles(expected: &Expected) -> Result<Vec<Figure>> {
    let figures = expected.profiles.iter().map(bench::passes).collect::<Result<Vec<_>>>()?;
    Ok(figures.into_iter().flatten().collect())
}

fn row_view<'a>(arm: &'a Arm, models: &[&str], baseline: &str) -> RowView<'a> {
    let share = |share: Option<f64>| share.map_or(NONE.to_owned(), |share| fixed(share, 3));
    let passes = |model: &&str| share(arm.passes_per_token.get(*model).copied());
    RowView {
        decoder: &arm.decoder,
        law: &arm.law,
        execution: arm.execution.as_deref(),
        is_baseline: arm.decoder == baseline,
        items: arm.items,
        accuracy: percent(arm.accuracy),
        accuracy_interval: interval(arm.accuracy_interval, percent),
        difference: arm.difference.map(|difference| DifferenceView {
            mean: points(difference.mean),
            interval: interval(difference.interval, points),
            clear: difference.p_adjusted < 1.0 - CONFIDENCE,
            p: fixed(difference.p_adjusted, 3),
            items: (difference.items != arm.items).then_some(difference.items),
        }),
        answered: percent(arm.answered),
        deferral_mass: share(arm.deferral_mass),
        deferral_rate: share(arm.deferral_rate),
        acceptance_rate: share(arm.drafting.as_ref().map(|drafting| drafting.acceptance_rate)),
        acceptance_length: share(arm.drafting.as_ref().map(|d| d.acceptance_length)),
        passes: models.iter().map(passes).collect(),
        tokens_per_item: significant(arm.tokens_per_item),
        tokens_per_second: significant(arm.tokens_per_second),
        tokens_per_second_interval: interval(arm.tokens_per_second_interval, significant),
        stops: arm.stops.iter().map(|(stop, count)| format!("{stop} {count}")).collect(),
    }
}

fn likelihood_row(arm: &Arm) -> Option<LikelihoodRow<'_>> {
    let read = arm.likelihood?;
    Some(LikelihoodRow {
        decoder: &arm.decoder,
        tokens: read.tokens,
        perplexity: fixed(read.perplexity, 3),
        bits_per_byte: fixed(read.bits_per_byte, 4),
    })
}

/// One item and its texts.
#[derive(Serialize)]
struct ExampleView<'a> {
    task: &'a str,
    item: &'a str,
    gold: &'a str,
    prompt: Vec<Piece>,
    texts: Vec<TextView<'a>>,
}

/// What one decoder made of an item.
#[derive(Serialize)]
struct TextView<'a> {
    decoder: &'a str,
    correct: bool,
    answer: Option<&'a str>,
    stop: &'a str,
    new_tokens: u64,
    deferred_tokens: Option<u64>,
    /// Who is at which level; empty where nothing is verified.
    levels: Vec<&'a str>,
    spans: Vec<SpanView>,
}

fn example_view<'a>(example: &'a Example, summary: &'a Summary) -> ExampleView<'a> {
    ExampleView {
        task: &example.task,
        item: &example.item,
        gold: &example.gold,
        prompt: provenance::pieces(&example.prompt),
        texts: example.records.iter().map(|record| text_view(record, summary)).collect(),
    }
}

fn text_view<'a>(record: &'a Record, summary: &'a Summary) -> TextView<'a> {
    let same = |arm: &&Arm| (&arm.decoder, &arm.task) == (&record.decoder, &record.task);
    let levels = summary.arms.iter().find(same).map(|arm| arm.levels.as_slice());
    TextView {
        levels: levels.map(chains::members).unwrap_or_default(),
        decoder: &record.decoder,
        correct: record.correct,
        answer: record.answer.as_deref(),
        stop: &record.stop,
        new_tokens: record.new_tokens,
        deferred_tokens: record.deferred_tokens,
        spans: record.spans.iter().map(|s| provenance::span(&s.origin, s.level, &s.text)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Span;
    use crate::report::sample;
    use crate::stats::Interval;
    use crate::summary::{Difference, Likelihood};

    fn page(summary: &Summary, examples: &[Example]) -> String {
        html(summary, examples, &Expected::default()).unwrap()
    }

    /// Writes the page to look at: `KAD_SAMPLE=page.html cargo test sample_page -- --ignored`.
    #[test]
    #[ignore = "for looking at the page"]
    fn sample_page() {
        let path = std::env::var_os("KAD_SAMPLE").unwrap();
        let mut summary = sample::summary();
        summary.arms.extend(sample::chains().arms);
        let examples = [sample::example(), sample::chain_example()];
        std::fs::write(path, page(&summary, &examples)).unwrap();
    }

    #[test]
    fn chains_have_their_charts_levels_and_colours() {
        let example = sample::chain_example();
        let without = page(&sample::summary(), &[sample::example()]);
        let page = page(&sample::chains(), &[example]);
        assert_eq!(page.matches("<svg").count(), 3, "accuracy, time, accepted lengths");
        assert!(page.contains("target verifies middle") && page.contains("1.82×"));
        for part in [
            "<h3>Levels</h3>",
            "<span class=\"drafted level-3\" title=\"drafted, level 3\">",
            "<span class=\"corrected level-2\" title=\"corrected, level 2\">",
            "<span class=\"text bonus level-1\" data-level=\"1\">bonus</span>",
            "<span class=\"text level-2\" data-level=\"2\">middle</span> ← ",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!without.contains("<h3>Levels</h3>") && !without.contains("data-level=\"1"));
    }

    /// Nothing was written there: no gold answer, nothing right or wrong.
    #[test]
    fn texts_that_were_read_have_their_perplexity() {
        let mut summary = sample::summary();
        let likelihood = Likelihood { tokens: 4711, perplexity: 12.3456, bits_per_byte: 0.98765 };
        summary.arms[0].likelihood = Some(likelihood);
        let graded = sample::example();
        let read = Example { gold: String::new(), ..sample::example() };
        let page = page(&summary, &[read]);
        for number in ["4711", "12.346", "0.9877"] {
            assert!(page.contains(&format!("<td>{number}</td>")), "{number} is not in {page}");
        }
        assert_eq!(page.matches("<h3>Likelihood of the texts</h3>").count(), 1);
        assert!(!page.contains("Gold answer") && !page.contains("✗ wrong"));
        let page = self::page(&sample::summary(), &[graded]);
        assert!(page.contains("Gold answer") && page.contains("✗ wrong"));
        assert!(!page.contains("Likelihood of the texts"));
    }

    #[test]
    fn every_number_is_in_the_table() {
        let summary = sample::summary();
        let page = page(&summary, &[]);
        for arm in &summary.arms {
            let start = page.find(&format!("<th scope=\"row\">{}<", arm.decoder)).unwrap();
            let row = &page[start..][..page[start..].find("</tr>").unwrap()];
            let mut wanted = vec![arm.law.clone(), arm.items.to_string(), percent(arm.accuracy)];
            wanted.push(interval(arm.accuracy_interval, percent));
            wanted.extend(arm.difference.iter().map(|d| points(d.mean)));
            wanted.extend(arm.difference.iter().map(|d| interval(d.interval, points)));
            wanted.push(percent(arm.answered));
            wanted.extend(
                [arm.deferral_mass, arm.deferral_rate].iter().flatten().map(|s| fixed(*s, 3)),
            );
            wanted.extend(arm.passes_per_token.values().map(|passes| fixed(*passes, 3)));
            wanted.extend([arm.tokens_per_item, arm.tokens_per_second].map(significant));
            wanted.extend(arm.stops.iter().map(|(stop, count)| format!("{stop} {count}")));
            if arm.task == "nano/test" {
                for number in wanted {
                    assert!(row.contains(&format!(">{number}<")), "{number} is not in {row}");
                }
            }
        }
    }

    #[test]
    fn the_head_says_what_was_run_and_what_is_missing() {
        let mut summary = sample::summary();
        let incomplete = page(&summary, &[]);
        for part in [&summary.name, &summary.run_id, summary.question.as_ref().unwrap()] {
            assert!(incomplete.contains(part.as_str()), "{part}");
        }
        assert!(incomplete.contains("This run is incomplete"));
        summary.complete = true;
        assert!(!page(&summary, &[]).contains("incomplete"));
    }

    #[test]
    fn charts_are_embedded_as_svg_and_name_every_family() {
        let summary = sample::summary();
        let page = page(&summary, &[]);
        let charts: Vec<&str> = page.split("<svg").skip(1).collect();
        assert_eq!(charts.len(), 3, "two for the task with deferral, one for the other");
        for family in plot::families(&summary) {
            for chart in &charts[..2] {
                assert!(chart[..chart.find("</svg>").unwrap()].contains(family), "{family}");
            }
        }
    }

    #[test]
    fn what_models_and_files_say_is_escaped() {
        let evil = "</div><script>alert('x & \"y\"')</script>";
        let mut summary = sample::summary();
        let mut example = sample::example();
        summary.name = evil.to_owned();
        summary.question = Some(evil.to_owned());
        summary.arms[3].family = evil.to_owned();
        summary.arms[3].decoder = evil.to_owned();
        summary.arms[3].task = evil.to_owned();
        summary.arms[3].stops.insert(evil.to_owned(), 1);
        summary.arms[3].passes_per_token.insert(evil.to_owned(), 1.0);
        example.prompt = evil.to_owned();
        example.records[0].answer = Some(evil.to_owned());
        example.records[0].spans[0] =
            Span { origin: evil.to_owned(), level: 1, text: evil.to_owned() };
        let page = page(&summary, &[example]);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
        assert!(!page.contains("\"y\"") && !page.contains("x & "), "{page}");
        assert!(page.contains("x &amp; &quot;y&quot;"), "{page}");
    }

    #[test]
    fn nothing_outside_the_page_is_named() {
        let page = page(&sample::summary(), &[sample::example()]);
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for outside in ["://", "url(", "@import", " src=", " href=", "<link", "<script", "//"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn texts_keep_their_whitespace_and_show_their_ends() {
        let page = page(&sample::summary(), &[sample::example()]);
        let newline = "<span class=\"newline\"></span>\n";
        let text = format!("&lt;b&gt;apples&lt;&#x2f;b&gt;.{newline}{newline}  They ate");
        assert!(page.contains(&text), "{page}");
        for part in [
            "<span class=\"deferred\" title=\"deferred\">.&lt;|end|&gt;</span>",
            "<span class=\"stop\">max_tokens</span></div>",
            "✓ correct",
            "✗ wrong",
            "no answer",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn an_empty_summary_makes_a_page() {
        let summary = Summary { arms: Vec::new(), question: None, ..sample::summary() };
        assert!(page(&summary, &[]).contains("No item is finished yet."));
    }

    #[test]
    fn numbers_that_do_not_exist_are_dashes() {
        let mut summary = sample::summary();
        for arm in &mut summary.arms {
            arm.tokens_per_second = f64::INFINITY;
            arm.deferral_mass = arm.deferral_mass.map(|_| f64::NAN);
            arm.passes_per_token.values_mut().for_each(|passes| *passes = f64::NAN);
            arm.accuracy = f64::NAN;
            let interval = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
            let none = Difference::of(&[], 1);
            arm.difference =
                Some(Difference { mean: f64::NAN, interval, p_adjusted: f64::NAN, ..none });
        }
        let page = page(&summary, &[]);
        assert!(!page.contains("NaN") && !page.contains("inf<"), "{page}");
        assert!(page.contains("<td>–</td>") && page.contains("[–, –]"));
    }
}
