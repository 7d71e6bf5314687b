//! The page of a run: views of the numbers as text, and the template that arranges them.

use anyhow::Result;
use serde::Serialize;

use super::grid::Grid;
use super::page::{self, Figure, Term};
use super::provenance::{self, LegendView, Piece, SpanView};
use super::tasks::{self, TaskView};
use super::{Example, Expected, Report, bench, chains, repeat};
use crate::analysis::stats::CONFIDENCE;
use crate::analysis::summary::{DecoderResult, Summary};
use crate::numbers::{NONE, fixed, parameter};
use crate::report::table::ModelTable;
use crate::run::record::Record;
use crate::task::letter;

/// Texts of an example that are shown at once; the others are opened by the reader.
const IN_THE_OPEN: usize = 4;

/// The report of a run as one self-contained page: nothing is fetched, no script runs.
///
/// # Errors
/// If a chart cannot be drawn or the template fails; neither depends on what models wrote.
pub(super) fn html(report: &Report<'_>) -> Result<String> {
    let Report { summary, examples, expected, repeat } = *report;
    let spans = examples.iter().flat_map(|example| &example.records).flat_map(|r| &r.spans);
    let made = spans.map(|span| (span.origin.as_str(), span.level));
    let results: Vec<&DecoderResult> = summary.results.iter().collect();
    let by_task: Vec<(&str, Vec<&DecoderResult>)> =
        summary.tasks().into_iter().map(|task| (task, summary.on(task))).collect();
    let page = Page {
        name: &summary.name,
        question: summary.question.as_deref(),
        run_id: &summary.run_id,
        baseline: &summary.baseline,
        complete: summary.complete,
        compared: results.iter().any(|result| result.difference.is_some()),
        warnings: summary.remarks().collect(),
        models: summary.side_by_side.as_ref().map(ModelsView::of),
        overview: Grid::overview(&by_task, &summary.baseline),
        tasks: tasks::views(summary, expected, &repeat.largest())?,
        profiles: profiles(expected)?,
        examples: by_task.iter().filter_map(|(task, _)| examples_of(task, report)).collect(),
        legend: provenance::legend(made),
        terms: page::terms(&results),
        has_levels: results.iter().any(|result| !result.levels.is_empty()),
        confidence: parameter(100.0 * CONFIDENCE),
        repeat: repeat.view(),
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
    /// Whether anything is compared with the baseline.
    compared: bool,
    /// What a reader should know before the numbers.
    warnings: Vec<&'a String>,
    /// Models side by side.
    models: Option<ModelsView>,
    /// All tasks at once, where there are several.
    overview: Option<Grid>,
    tasks: Vec<TaskView<'a>>,
    /// What the profiles of planned chains hold.
    profiles: Vec<Figure>,
    examples: Vec<ExamplesView<'a>>,
    legend: Vec<LegendView>,
    /// How the numbers are computed.
    terms: Vec<Term>,
    has_levels: bool,
    /// Of the intervals, in percent.
    confidence: String,
    repeat: repeat::View,
}

/// Models side by side.
#[derive(Serialize)]
struct ModelsView {
    caption: String,
    grid: Grid,
    notes: Vec<String>,
}

impl ModelsView {
    fn of(rows: &crate::analysis::model_comparison::ModelComparison) -> Self {
        let sheet = ModelTable::of(rows);
        Self { grid: Grid::from(&sheet), caption: sheet.caption, notes: sheet.notes }
    }
}

/// How passes grow with their width, for each profile.
fn profiles(expected: &Expected) -> Result<Vec<Figure>> {
    let figures = expected.widths.iter().map(bench::passes).collect::<Result<Vec<_>>>()?;
    Ok(figures.into_iter().flatten().collect())
}

/// The examples of a task.
#[derive(Serialize)]
struct ExamplesView<'a> {
    task: &'a str,
    items: Vec<ExampleView<'a>>,
}

fn examples_of<'a>(task: &'a str, report: &Report<'a>) -> Option<ExamplesView<'a>> {
    let own = report.examples.iter().filter(|it| it.task == task && !it.records.is_empty());
    let items: Vec<_> = own.map(|example| example_view(example, report.summary)).collect();
    (!items.is_empty()).then_some(ExamplesView { task, items })
}

/// One item and its texts.
#[derive(Serialize)]
struct ExampleView<'a> {
    item: &'a str,
    why: &'a str,
    gold: &'a str,
    prompt: Option<Vec<Piece>>,
    texts: Vec<TextView<'a>>,
    /// To be opened by the reader.
    more: Vec<TextView<'a>>,
}

/// What one decoder made of an item.
#[derive(Serialize)]
struct TextView<'a> {
    decoder: &'a str,
    correct: bool,
    /// In percent, where an item can be partly right.
    points: Option<String>,
    answer: Option<&'a str>,
    stop: &'a str,
    new_tokens: u64,
    deferred_tokens: Option<u64>,
    /// Mean per token, in nats, where the text was read.
    likelihood: Option<String>,
    /// ln π of each option, where one was chosen so.
    options: Vec<String>,
    /// Who is at which level; empty where nothing is verified.
    levels: Vec<&'a str>,
    spans: Vec<SpanView>,
}

/// The baseline's text first, then of those the item is shown for, then the others.
fn example_view<'a>(example: &'a Example, summary: &'a Summary) -> ExampleView<'a> {
    let mut records: Vec<&Record> = example.records.iter().collect();
    let place = |record: &&Record| match &record.decoder {
        baseline if *baseline == summary.baseline => 0,
        about if example.about.contains(about) => 1,
        _ => 2,
    };
    records.sort_by_key(place);
    let mut texts: Vec<TextView<'_>> = records.iter().map(|it| text_view(it, summary)).collect();
    // One more is shown rather than one alone hidden.
    let more =
        if texts.len() > IN_THE_OPEN + 1 { texts.split_off(IN_THE_OPEN) } else { Vec::new() };
    ExampleView {
        item: &example.item,
        why: &example.why,
        gold: example.records.first().map_or("", |record| &record.gold),
        prompt: example.prompt.as_deref().map(provenance::pieces),
        texts,
        more,
    }
}

fn text_view<'a>(record: &'a Record, summary: &'a Summary) -> TextView<'a> {
    let same = |result: &&DecoderResult| {
        (&result.decoder, &result.task) == (&record.decoder, &record.task)
    };
    let levels = summary.results.iter().find(same).map(|result| result.levels.as_slice());
    let read = record.scored.as_ref().filter(|scored| scored.bytes > 0 && scored.tokens > 0);
    let likelihood = read.and_then(|scored| {
        let nats: Option<f64> = scored.log_probs.iter().copied().sum();
        Some(fixed(nats? / scored.tokens as f64, 3))
    });
    let chosen = record.scored.iter().filter(|scored| scored.bytes == 0);
    let option = |(place, nats): (usize, &Option<f64>)| {
        let excluded = || "excluded".to_owned();
        format!("{} {}", letter(place), nats.map_or_else(excluded, |nats| fixed(nats, 2)))
    };
    TextView {
        options: chosen.flat_map(|it| it.log_probs.iter().enumerate().map(option)).collect(),
        levels: levels.map(chains::members).unwrap_or_default(),
        decoder: &record.decoder,
        correct: record.correct,
        points: record.points.map(|points| fixed(100.0 * points, 1)),
        answer: record.answer.as_deref(),
        stop: &record.stop,
        new_tokens: record.new_tokens,
        deferred_tokens: record.deferred_tokens,
        likelihood: read.map(|_| likelihood.unwrap_or(NONE.to_owned())),
        spans: record.spans.iter().map(|s| provenance::span(&s.origin, s.level, &s.text)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::Interval;
    use crate::analysis::summary::{Difference, Likelihood};
    use crate::numbers::{interval, percent, points, significant};
    use crate::report::repeat::Repeat;
    use crate::report::{fixtures, plot};
    use crate::run::record::{Scored, Span};

    fn page(summary: &Summary, examples: &[Example]) -> String {
        let (expected, repeat) = (Expected::default(), Repeat::default());
        html(&Report { summary, examples, expected: &expected, repeat: &repeat }).unwrap()
    }

    /// Writes the page to look at: `KAD_SAMPLE=page.html cargo test sample_page -- --ignored`.
    #[test]
    #[ignore = "for looking at the page"]
    fn sample_page() {
        let path = std::env::var_os("KAD_SAMPLE").unwrap();
        let mut summary = fixtures::summary();
        summary.results.extend(fixtures::chains().results);
        let examples = [fixtures::example(), fixtures::chain_example()];
        std::fs::write(path, page(&summary, &examples)).unwrap();
    }

    #[test]
    fn chains_have_their_charts_levels_and_colours() {
        let example = fixtures::chain_example();
        let without = page(&fixtures::summary(), &[fixtures::example()]);
        let page = page(&fixtures::chains(), &[example]);
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
        let mut summary = fixtures::summary();
        let likelihood = Likelihood { tokens: 4711, perplexity: 12.3456, bits_per_byte: 0.98765 };
        summary.results[0].likelihood = Some(likelihood);
        let graded = fixtures::example();
        let mut read = fixtures::example();
        read.records.iter_mut().for_each(|record| record.gold = String::new());
        let page = page(&summary, &[read]);
        for number in ["12.346", "0.9877"] {
            assert!(page.contains(&format!("<td>{number}</td>")), "{number} is not in {page}");
        }
        assert_eq!(page.matches("perplexity\u{a0}↓").count(), 1);
        assert!(!page.contains("Gold answer") && !page.contains("✗ wrong"));
        let page = self::page(&fixtures::summary(), &[graded]);
        assert!(page.contains("Gold answer") && page.contains("✗ wrong"));
        assert!(!page.contains("perplexity"));
    }

    #[test]
    fn every_number_is_in_the_table() {
        let summary = fixtures::summary();
        let page = page(&summary, &[]);
        let page = &page[page.find("<h2>Task nano&#x2f;test").unwrap()..];
        for result in &summary.results {
            let start = page.find(&format!("<th scope=\"row\">{}<", result.decoder)).unwrap();
            let row = &page[start..][..page[start..].find("</tr>").unwrap()];
            let mut wanted = vec![
                result.distribution.clone(),
                result.items.to_string(),
                percent(result.accuracy),
            ];
            wanted.push(interval(result.accuracy_interval, percent));
            wanted.extend(result.difference.iter().map(|d| points(d.mean)));
            wanted.extend(result.difference.iter().map(|d| interval(d.interval, points)));
            wanted.push(percent(result.answered));
            wanted.extend(
                [result.deferral_mass, result.deferral_rate].iter().flatten().map(|s| fixed(*s, 3)),
            );
            wanted.extend(result.passes_per_token.values().map(|passes| fixed(*passes, 3)));
            wanted.extend([result.tokens_per_item, result.tokens_per_second].map(significant));
            wanted.extend(result.stops.iter().map(|(stop, count)| format!("{stop} {count}")));
            if result.task == "nano/test" {
                for number in wanted {
                    assert!(row.contains(&format!(">{number}<")), "{number} is not in {row}");
                }
            }
        }
    }

    #[test]
    fn the_head_says_what_was_run_and_what_is_missing() {
        let mut summary = fixtures::summary();
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
        let summary = fixtures::summary();
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
        let mut summary = fixtures::summary();
        let mut example = fixtures::example();
        summary.name = evil.to_owned();
        summary.question = Some(evil.to_owned());
        summary.results[3].family = evil.to_owned();
        summary.results[3].decoder = evil.to_owned();
        summary.results[3].task = evil.to_owned();
        summary.results[3].stops.insert(evil.to_owned(), 1);
        summary.results[3].passes_per_token.insert(evil.to_owned(), 1.0);
        example.prompt = Some(evil.to_owned());
        example.why = evil.to_owned();
        summary.warnings.push(evil.to_owned());
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
        let page = page(&fixtures::summary(), &[fixtures::example()]);
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for outside in ["://", "url(", "@import", " src=", " href=", "<link", "<script", "//"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn texts_keep_their_whitespace_and_show_their_ends() {
        let page = page(&fixtures::summary(), &[fixtures::example()]);
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

    /// Thirty decoders: a handful in the open, and none is lost.
    #[test]
    fn texts_of_many_decoders_are_folded_behind_those_the_item_is_shown_for() {
        let mut summary = fixtures::summary();
        let mut example = fixtures::example();
        let text = example.records[2].clone();
        example.records = (0..30)
            .map(|place| Record { decoder: format!("decoder {place}."), ..text.clone() })
            .collect();
        summary.baseline = "decoder 7.".to_owned();
        example.about = vec!["decoder 23.".to_owned()];
        let page = page(&summary, &[example]);
        let (open, folded) = page.split_once("The texts of 26 more decoders").unwrap();
        let names = |part: &str| -> Vec<String> {
            let cards = part.split("<h4>").skip(1);
            cards.map(|card| card.split('.').next().unwrap().to_owned()).collect()
        };
        assert_eq!(names(open), ["decoder 7", "decoder 23", "decoder 0", "decoder 1"]);
        assert_eq!(names(folded).len(), 26);
    }

    #[test]
    fn alone_a_decoder_is_compared_with_nothing() {
        let mut summary = fixtures::summary();
        summary.results.truncate(1);
        let page = page(&summary, &[]);
        for part in ["difference", "baseline:", "deferral", "per draft", "What can be seen"] {
            assert!(!page.contains(part), "{part} is in {page}");
        }
    }

    #[test]
    fn examples_say_why_they_are_shown_and_whether_the_prompt_is_kept() {
        let mut example = fixtures::example();
        let kept = page(&fixtures::summary(), &[example.clone()]);
        assert!(kept.contains("Shown as the first item.") && kept.contains("How many apples?"));
        example.prompt = None;
        let lost = page(&fixtures::summary(), &[example]);
        assert!(lost.contains("What it asked was not kept"), "{lost}");
    }

    #[test]
    fn options_have_their_probabilities() {
        let mut example = fixtures::example();
        let log_probs = vec![Some(-1.25), None];
        example.records[0].scored = Some(Scored { log_probs, tokens: 9, bytes: 0 });
        let page = page(&fixtures::summary(), &[example]);
        assert!(page.contains("ln π of the options: A −1.25, B excluded"), "{page}");
    }

    #[test]
    fn warnings_stand_in_the_head_and_many_are_folded() {
        let mut summary = fixtures::summary();
        summary.left_out = vec!["model x is not there".to_owned()];
        summary.warnings = vec!["model x is not there".to_owned(), "cut off".to_owned()];
        let few = page(&summary, &[]);
        let head = few.split("</header>").next().unwrap();
        assert_eq!(head.matches("model x is not there").count(), 1);
        assert!(head.contains("cut off") && !head.contains("<details"));
        summary.warnings.extend((0..9).map(|place| format!("warning {place}")));
        assert!(page(&summary, &[]).contains("<summary>11 warnings</summary>"));
    }

    #[test]
    fn an_empty_summary_makes_a_page() {
        let summary = Summary { results: Vec::new(), question: None, ..fixtures::summary() };
        assert!(page(&summary, &[]).contains("No item is finished yet."));
    }

    #[test]
    fn numbers_that_do_not_exist_are_dashes() {
        let mut summary = fixtures::summary();
        for result in &mut summary.results {
            result.tokens_per_second = f64::INFINITY;
            result.deferral_mass = result.deferral_mass.map(|_| f64::NAN);
            result.passes_per_token.values_mut().for_each(|passes| *passes = f64::NAN);
            result.accuracy = f64::NAN;
            let interval = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
            let none = Difference::of(&[], 1);
            result.difference =
                Some(Difference { mean: f64::NAN, interval, p_adjusted: f64::NAN, ..none });
        }
        let page = page(&summary, &[]);
        assert!(!page.contains("NaN") && !page.contains("inf<"), "{page}");
        assert!(page.contains("<td>–"));
    }
}
