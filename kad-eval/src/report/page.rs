//! HTML pages: a template per page, one style, no scripts, nothing fetched.

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, HtmlEscape, UndefinedBehavior, Value};
use serde::Serialize;
use serde_json::json;

use super::chart::theme::colours;
use super::result_tables;
use crate::analysis::metric::Metric;
use crate::analysis::stats::CONFIDENCE;
use crate::analysis::summary::DecoderResult;
use crate::numbers::parameter;

/// A chart with its caption, and its label for screen readers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    caption: String,
    label: String,
    svg: String,
    /// True if the reader has to unfold it.
    pub(super) folded: bool,
}

impl Figure {
    /// A figure; `None` without a chart.
    pub(super) fn of(
        svg: Option<String>,
        caption: impl Into<String>,
        label: impl Into<String>,
    ) -> Option<Self> {
        let (caption, label) = (caption.into(), label.into());
        svg.map(|svg| Self { caption, label, svg, folded: false })
    }
}

/// Confidence of intervals, in percent.
pub(super) fn confidence() -> String {
    parameter(100.0 * CONFIDENCE)
}

/// The metrics of `results` that pages show, explained.
pub(super) fn terms(results: &[&DecoderResult]) -> Vec<serde_json::Value> {
    let term = |metric: &'static Metric| {
        let words = [metric.unit.name(), metric.better.arrow_and_words()[1]];
        let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
        let (title, explained) = (metric.title, metric.explained);
        json!({ "title": title, "remark": words.join(", "), "explained": explained })
    };
    result_tables::metrics(results).map(term).collect()
}

/// A line of text as escaped HTML; text between backticks is code.
fn code(line: &str) -> String {
    let (mut html, mut rest) = (String::new(), line);
    while let Some((before, (inside, after))) =
        rest.split_once('`').and_then(|(before, behind)| Some((before, behind.split_once('`')?)))
    {
        html += &format!("{}<code>{}</code>", HtmlEscape(before), HtmlEscape(inside));
        rest = after;
    }
    html + &HtmlEscape(rest).to_string()
}

/// Renders `template` with `page`, escaped.
///
/// # Errors
/// Fails if the template fails, which does not depend on generated texts.
pub(super) fn render(template: &str, page: impl Serialize) -> Result<String> {
    let fill = || {
        let mut templates = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        templates.set_syntax(syntax);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.add_filter("code", |line: &str| Value::from_safe_string(code(line)));
        templates.add_global("colours", Serde(colours()));
        templates.add_template("base.html", include_str!("templates/base.html.j2"))?;
        templates.add_template("style.css", include_str!("templates/style.css.j2"))?;
        templates.add_template("figure.html", include_str!("templates/figure.html.j2"))?;
        templates.add_template("repeat.html", include_str!("templates/repeat.html.j2"))?;
        templates.add_template("table.html", include_str!("templates/table.html.j2"))?;
        templates.template_from_str(template)?.render(Serde(page))
    };
    fill().context("cannot fill the page's template")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_backticks_is_code_and_everything_is_escaped() {
        assert_eq!(code("a `b` <c> `<d>`"), "a <code>b</code> &lt;c&gt; <code>&lt;d&gt;</code>");
        assert_eq!(code("`<a>"), "`&lt;a&gt;", "one alone is a sign like others");
        assert_eq!(code(""), "");
    }
}
