//! The page of a run: its numbers and texts as variables of the template.

use anyhow::Result;
use serde_json::{Value, json};

use super::repeat::Repeat;
use super::table::ModelTable;
use super::{Example, Expected, bench_page, chain_section, page, result_tables};
use super::{task_section, text_spans};
use crate::analysis::summary::{DecoderResult, Summary};
use crate::numbers::{NONE, fixed};
use crate::run::record::Record;
use crate::task::letter;

/// Texts of an example shown at once; the reader unfolds the others.
const IN_THE_OPEN: usize = 4;

/// The page of a run as self-contained HTML.
///
/// # Errors
/// Fails if a chart cannot be drawn or the template fails; neither depends on generated texts.
pub(super) fn html(
    summary: &Summary,
    examples: &[Example],
    expected: &Expected,
    repeat: &Repeat,
) -> Result<String> {
    let spans = examples.iter().flat_map(|example| &example.records).flat_map(|r| &r.spans);
    let made = spans.map(|span| (span.origin.as_str(), span.level));
    let results: Vec<&DecoderResult> = summary.results.iter().collect();
    let by_task: Vec<(&str, Vec<&DecoderResult>)> =
        summary.tasks().into_iter().map(|task| (task, summary.on(task))).collect();
    let profiles = expected.widths.iter().map(bench_page::passes).collect::<Result<Vec<_>>>()?;
    let examples = by_task.iter().filter_map(|(task, _)| examples_of(task, examples, summary));
    let page = json!({
        "name": summary.name,
        "question": summary.question,
        "run_id": summary.run_id,
        "baseline": summary.baseline,
        "complete": summary.complete,
        "compared": results.iter().any(|result| result.difference.is_some()),
        "warnings": summary.remarks().collect::<Vec<_>>(),
        "models": summary.model_comparison.as_ref().map(ModelTable::of),
        "overview": result_tables::overview(&by_task, &summary.baseline),
        "tasks": task_section::sections(summary, expected, &repeat.largest())?,
        "profiles": profiles.into_iter().flatten().collect::<Vec<_>>(),
        "examples": examples.collect::<Vec<_>>(),
        "legend": text_spans::legend(made),
        "terms": page::terms(&results),
        "has_levels": results.iter().any(|result| !result.levels.is_empty()),
        "confidence": page::confidence(),
        "repeat": repeat.view(),
    });
    page::render(include_str!("templates/run.html.j2"), page)
}

/// The examples of a task; none without texts.
fn examples_of(task: &str, examples: &[Example], summary: &Summary) -> Option<Value> {
    let own = examples.iter().filter(|it| it.pick.task == task && !it.records.is_empty());
    let items: Vec<Value> = own.map(|example| example_view(example, summary)).collect();
    (!items.is_empty()).then(|| json!({ "task": task, "items": items }))
}

/// An item and its texts: the baseline's first, then those of the decoders that the item is shown
/// for, then the others.
fn example_view(Example { pick, prompt, records }: &Example, summary: &Summary) -> Value {
    let mut records: Vec<&Record> = records.iter().collect();
    records.sort_by_key(|record| match &record.decoder {
        baseline if *baseline == summary.baseline => 0,
        about if pick.about.contains(about) => 1,
        _ => 2,
    });
    let mut texts: Vec<Value> = records.iter().map(|it| text_view(it, summary)).collect();
    // A single further text is shown rather than folded.
    let folds = texts.len() > IN_THE_OPEN + 1;
    let more = if folds { texts.split_off(IN_THE_OPEN) } else { Vec::new() };
    json!({
        "item": pick.item,
        "why": pick.why,
        "gold": records.first().map_or("", |record| &record.gold),
        "prompt": prompt.as_deref().map(text_spans::lines),
        "texts": texts,
        "more": more,
    })
}

/// The text of one decoder for an item: points in percent, if an item can be partly right; mean
/// nats per token of a given text; ln π of the options, if one was chosen by likelihood; and the
/// members of a chain, the target first.
fn text_view(record: &Record, summary: &Summary) -> Value {
    let own = summary.result(&record.task, &record.decoder);
    let read = record.scored.as_ref().filter(|scored| scored.bytes > 0 && scored.tokens > 0);
    let likelihood = read.map(|scored| {
        let nats: Option<f64> = scored.log_probs.iter().copied().sum();
        nats.map_or(NONE.to_owned(), |nats| fixed(nats / scored.tokens as f64, 3))
    });
    let chosen = record.scored.iter().filter(|scored| scored.bytes == 0);
    let option = |(place, nats): (usize, &Option<f64>)| {
        let excluded = || "excluded".to_owned();
        format!("{} {}", letter(place), nats.map_or_else(excluded, |nats| fixed(nats, 2)))
    };
    let options = chosen.flat_map(|it| it.log_probs.iter().enumerate().map(option));
    let spans = record.spans.iter().map(|it| text_spans::span(&it.origin, it.level, &it.text));
    json!({
        "record": record,
        "points": record.points.map(|points| fixed(100.0 * points, 1)),
        "likelihood": likelihood,
        "options": options.collect::<Vec<_>>(),
        "levels": own.map(|result| chain_section::members(&result.levels)).unwrap_or_default(),
        "spans": spans.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::Interval;
    use crate::analysis::summary::{Difference, Likelihood};
    use crate::numbers::{interval, percent, points, significant};
    use crate::report::chart;
    use crate::report::sample_runs::{chain_example, chains, example, is_self_contained, summary};
    use crate::run::record::{Scored, Span};

    fn page(summary: &Summary, examples: &[Example]) -> String {
        html(summary, examples, &Expected::default(), &Repeat::default()).unwrap()
    }

    fn has(page: &str, parts: &[&str]) {
        for part in parts {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    fn lacks(page: &str, parts: &[&str]) {
        for part in parts {
            assert!(!page.contains(part), "{part} is in {page}");
        }
    }

    #[test]
    fn chains_have_their_charts_levels_and_colours() {
        let page = self::page(&chains(), &[chain_example()]);
        assert_eq!(page.matches("<svg").count(), 3, "accuracy, time, accepted lengths");
        has(
            &page,
            &[
                "target verifies middle",
                "1.82×",
                "<h3>Levels</h3>",
                "<span class=\"drafted level-3\" title=\"drafted, level 3\">",
                "<span class=\"corrected level-2\" title=\"corrected, level 2\">",
                "<span class=\"text bonus level-1\" data-level=\"1\">bonus</span>",
                "<span class=\"text level-2\" data-level=\"2\">middle</span> ← ",
            ],
        );
        lacks(&self::page(&summary(), &[example()]), &["<h3>Levels</h3>", "data-level=\"1"]);
    }

    /// A given text has no gold answer and no grade.
    #[test]
    fn given_texts_have_their_perplexity() {
        let mut scored = summary();
        let likelihood = Likelihood { tokens: 4711, perplexity: 12.3456, bits_per_byte: 0.98765 };
        scored.results[0].likelihood = Some(likelihood);
        let mut read = example();
        read.records.iter_mut().for_each(|record| record.gold = String::new());
        let page = self::page(&scored, &[read]);
        has(&page, &["<td>12.346</td>", "<td>0.9877</td>"]);
        assert_eq!(page.matches("perplexity\u{a0}↓").count(), 1);
        lacks(&page, &["Gold answer", "✗ wrong"]);
        let graded = self::page(&summary(), &[example()]);
        has(&graded, &["Gold answer", "✗ wrong"]);
        lacks(&graded, &["perplexity"]);
    }

    #[test]
    fn every_number_is_in_the_table() {
        let summary = summary();
        let page = page(&summary, &[]);
        let page = &page[page.find("<h2>Task nano&#x2f;test").unwrap()..];
        for result in summary.on("nano/test") {
            let start = page.find(&format!("<th scope=\"row\">{}<", result.decoder)).unwrap();
            let row = &page[start..][..page[start..].find("</tr>").unwrap()];
            let mut wanted = vec![
                result.distribution.clone(),
                result.items.to_string(),
                percent(result.accuracy),
                interval(result.accuracy_interval, percent),
                percent(result.answered),
            ];
            wanted.extend(result.difference.iter().map(|d| points(d.mean)));
            wanted.extend(result.difference.iter().map(|d| interval(d.interval, points)));
            let shares = [result.deferral_mass, result.deferral_rate];
            wanted.extend(shares.iter().flatten().map(|share| fixed(*share, 3)));
            wanted.extend(result.passes_per_token.values().map(|passes| fixed(*passes, 3)));
            wanted.extend([result.tokens_per_item, result.tokens_per_second].map(significant));
            wanted.extend(result.stops.iter().map(|(stop, count)| format!("{stop} {count}")));
            for number in wanted {
                assert!(row.contains(&format!(">{number}<")), "{number} is not in {row}");
            }
        }
    }

    #[test]
    fn the_head_names_the_run_and_its_state() {
        let summary = summary();
        let question = summary.question.as_deref().unwrap();
        let incomplete = page(&summary, &[]);
        has(&incomplete, &[&summary.name, &summary.run_id, question, "This run is incomplete"]);
        lacks(&page(&Summary { complete: true, ..summary }, &[]), &["incomplete"]);
    }

    #[test]
    fn charts_are_embedded_as_svg_and_name_every_family() {
        let summary = summary();
        let page = page(&summary, &[]);
        let charts: Vec<&str> = page.split("<svg").skip(1).collect();
        assert_eq!(charts.len(), 3, "two for the task with deferral, one for the other");
        for chart in &charts[..2] {
            has(&chart[..chart.find("</svg>").unwrap()], &chart::families(&summary));
        }
    }

    #[test]
    fn texts_of_models_and_files_are_escaped() {
        let evil = "</div><script>alert('x & \"y\"')</script>".to_owned();
        let (mut summary, mut example) = (summary(), example());
        summary.question = Some(evil.clone());
        let result = &mut summary.results[3];
        result.stops.insert(evil.clone(), 1);
        result.passes_per_token.insert(evil.clone(), 1.0);
        for name in [&mut result.family, &mut result.decoder, &mut result.task, &mut summary.name] {
            name.clone_from(&evil);
        }
        example.prompt = Some(evil.clone());
        example.pick.why.clone_from(&evil);
        example.records[0].answer = Some(evil.clone());
        example.records[0].spans[0] = Span { origin: evil.clone(), level: 1, text: evil.clone() };
        summary.warnings.push(evil);
        let page = page(&summary, &[example]);
        has(&page, &["&lt;script&gt;", "x &amp; &quot;y&quot;"]);
        lacks(&page, &["<script", "\"y\"", "x & "]);
    }

    #[test]
    fn texts_keep_their_whitespace_and_show_their_ends() {
        let page = page(&summary(), &[example()]);
        is_self_contained(&page);
        let newline = "<span class=\"newline\"></span>\n";
        let text = format!("&lt;b&gt;apples&lt;&#x2f;b&gt;.{newline}{newline}  They ate");
        let last = "<span class=\"deferred\" title=\"deferred\">.&lt;|end|&gt;</span>";
        let stop = "<span class=\"stop\">max_tokens</span></div>";
        has(&page, &[&text, last, stop, "✓ correct", "✗ wrong", "no answer"]);
    }

    /// Thirty decoders: a few in the open, none lost.
    #[test]
    fn texts_of_many_decoders_are_folded_behind_the_decoders_the_item_is_shown_for() {
        let (mut summary, mut example) = (summary(), example());
        let text = example.records[2].clone();
        example.records = (0..30)
            .map(|place| Record { decoder: format!("decoder {place}."), ..text.clone() })
            .collect();
        summary.baseline = "decoder 7.".to_owned();
        example.pick.about = vec!["decoder 23.".to_owned()];
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
    fn a_run_of_one_decoder_or_of_none_is_a_page() {
        let mut summary = summary();
        summary.results.truncate(1);
        let words = ["difference", "baseline:", "deferral", "acceptance", "Minimum detectable"];
        lacks(&page(&summary, &[]), &words);
        (summary.results, summary.question) = (Vec::new(), None);
        has(&page(&summary, &[]), &["No item is finished yet."]);
    }

    #[test]
    fn examples_show_their_reason_prompt_and_options() {
        let mut example = example();
        let log_probs = vec![Some(-1.25), None];
        example.records[0].scored = Some(Scored { log_probs, tokens: 9, bytes: 0 });
        let kept = page(&summary(), &[example.clone()]);
        let options = "ln π of the options: A −1.25, B excluded";
        has(&kept, &["Shown as the first item.", "How many apples?", options]);
        example.prompt = None;
        has(&page(&summary(), &[example]), &["The prompt was not kept"]);
    }

    #[test]
    fn warnings_stand_in_the_head_and_many_are_folded() {
        let mut summary = summary();
        summary.left_out = vec!["model x is not there".to_owned()];
        summary.warnings = vec!["model x is not there".to_owned(), "cut off".to_owned()];
        let few = page(&summary, &[]);
        let head = few.split("</header>").next().unwrap();
        assert_eq!(head.matches("model x is not there").count(), 1);
        assert!(head.contains("cut off") && !head.contains("<details"));
        summary.warnings.extend((0..9).map(|place| format!("warning {place}")));
        has(&page(&summary, &[]), &["<summary>11 warnings</summary>"]);
    }

    #[test]
    fn numbers_that_do_not_exist_are_dashes() {
        let mut summary = summary();
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
        lacks(&page, &["NaN", "inf<"]);
        has(&page, &["<td>–"]);
    }
}
