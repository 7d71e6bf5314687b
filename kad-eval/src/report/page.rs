//! How pages are made: a template each, one style for all, nothing fetched, no script.

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, HtmlEscape, UndefinedBehavior, Value};
use serde::Serialize;

use super::grid;
use super::theme::colours;
use crate::analysis::metric::Metric;
use crate::analysis::summary::DecoderResult;

/// A chart with what stands above it, and for those who cannot see it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    caption: String,
    label: String,
    /// SVG, to be embedded as it is.
    svg: Value,
    /// To be opened by the reader.
    folded: bool,
}

impl Figure {
    /// None without a chart.
    pub(super) fn of(svg: Option<String>, caption: String, label: String) -> Option<Self> {
        svg.map(|svg| Self { caption, label, svg: Value::from_safe_string(svg), folded: false })
    }

    /// For charts that are long.
    pub(super) fn folded(self) -> Self {
        Self { folded: true, ..self }
    }
}

/// What a number is and how it is computed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Term {
    title: &'static str,
    /// Unit and direction.
    remark: String,
    explained: &'static str,
}

/// Of every metric that pages show of `results`.
pub(super) fn terms(results: &[&DecoderResult]) -> Vec<Term> {
    let term = |metric: &'static Metric| {
        let words = [metric.unit.name(), metric.better.words()];
        let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
        Term { title: metric.title, remark: words.join(", "), explained: metric.explained }
    };
    grid::metrics(results).map(term).collect()
}

/// A line of text as HTML, escaped; what stands between two backticks is code.
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

/// Fills `template` with `page`; what it writes is escaped.
///
/// # Errors
/// If the template fails, which does not depend on what models wrote.
pub(super) fn render(template: &str, page: impl Serialize) -> Result<String> {
    let fill = || {
        let mut templates = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        templates.set_syntax(syntax);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.add_filter("code", |line: &str| Value::from_safe_string(code(line)));
        templates.add_global("colours", Serde(colours()));
        templates.add_template("style.css", include_str!("style.css.j2"))?;
        templates.add_template("figure.html", include_str!("figure.html.j2"))?;
        templates.add_template("grid.html", include_str!("grid.html.j2"))?;
        templates.template_from_str(template)?.render(Serde(page))
    };
    fill().context("cannot fill the page's template")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_backticks_is_code_and_everything_is_escaped() {
        assert_eq!(code("a `b` <c> `<d>`"), "a <code>b</code> &lt;c&gt; <code>&lt;d&gt;</code>");
        assert_eq!(code("`<a>"), "`&lt;a&gt;", "one alone is a sign like others");
        assert_eq!(code(""), "");
    }
}
