//! Made-up examples for tests: one item as several decoders continue it.

use super::Example;
use super::examples::Pick;
pub(crate) use crate::analysis::sample_summary::{CHAINS, SWEEPS, chains, level, summary};
use crate::run::record::{Record, Span, sample};

/// An item continued by the decoders of [`chains`].
pub(super) fn chain_example() -> Example {
    let steps = [
        ("drafted", 3, "Tom has 6 boxes"),
        ("corrected", 2, " of"),
        ("drafted", 3, " 7 apples"),
        ("bonus", 2, "."),
        ("corrected", 1, "\n"),
        ("drafted", 3, "6 * 7 = 42.\nThe answer is"),
        ("bonus", 1, " 42.<|end|>"),
    ];
    let steps = steps.map(|(origin, level, text)| Span { level, ..span(origin, text) });
    let two = [("drafted", 2, "Tom has 42 apples."), ("corrected", 1, "<|end|>")];
    let two = two.map(|(origin, level, text)| Span { level, ..span(origin, text) });
    let plain = vec![span("sampled", "There are 42.<|end|>")];
    let of = |decoder, spans| Record {
        task: CHAINS.to_owned(),
        deferred_tokens: None,
        ..record(decoder, true, Some("42"), spans)
    };
    let records = vec![
        of("plain", plain),
        of("two levels", two.to_vec()),
        of("three levels", steps.to_vec()),
    ];
    let pick = Pick { task: CHAINS.to_owned(), ..example().pick };
    Example { pick, records, ..example() }
}

fn span(origin: &str, text: &str) -> Span {
    Span { origin: origin.to_owned(), level: 1, text: text.to_owned() }
}

fn record(decoder: &str, correct: bool, answer: Option<&str>, spans: Vec<Span>) -> Record {
    Record {
        gold: "42".to_owned(),
        answer: answer.map(str::to_owned),
        spans,
        new_tokens: 31,
        ..sample(decoder, "17", correct)
    }
}

/// An item continued by three decoders.
pub(super) fn example() -> Example {
    let base = "Tom & \"Ann\" like <b>apples</b>.\n\n  They ate them all, and that was that.\n";
    let steps = vec![
        span("deferred", "Tom"),
        span("base", " has 6 boxes of 7 apples.\n6 * 7 = 42."),
        span("deferred", "\nThe answer is"),
        span("base", " 42"),
        span("deferred", ".<|end|>"),
    ];
    let aligned = "Tom has 6 + 7 = 13 apples.\nThe answer is 13.<|end|>";
    let plain = |decoder, correct, answer, text| Record {
        deferred_tokens: None,
        deferral_mass: None,
        ..record(decoder, correct, answer, vec![span("sampled", text)])
    };
    Example {
        pick: Pick {
            task: "nano/test".to_owned(),
            item: "17".to_owned(),
            why: "the first item".to_owned(),
            about: vec!["kad dual, threshold 0.4".to_owned()],
        },
        prompt: Some(
            "Question: Tom has 6 boxes with 7 apples each.\nHow many apples?\nAnswer:".to_owned(),
        ),
        records: vec![
            Record { stop: "max_tokens".to_owned(), ..plain("large base", false, None, base) },
            record("kad dual, threshold 0.4", true, Some("42"), steps),
            plain("small aligned", false, Some("13"), aligned),
        ],
    }
}

/// The page names nothing outside itself, but the namespace of SVG.
pub(super) fn is_self_contained(page: &str) {
    let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["://", "url(", "@import", " src=", " href=", "<link", "<script", "//"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
