//! How pages are made: a template each, one style for all, nothing fetched, no script.

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::theme::colours;

/// A chart with what stands above it, and for those who cannot see it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    caption: String,
    label: String,
    /// SVG, to be embedded as it is.
    svg: Value,
}

impl Figure {
    /// None without a chart.
    pub(super) fn of(svg: Option<String>, caption: String, label: String) -> Option<Self> {
        svg.map(|svg| Self { caption, label, svg: Value::from_safe_string(svg) })
    }
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
        templates.add_global("colours", Serde(colours()));
        templates.add_template("style.css", include_str!("style.css.j2"))?;
        templates.add_template("figure.html", include_str!("figure.html.j2"))?;
        templates.template_from_str(template)?.render(Serde(page))
    };
    fill().context("cannot fill the page's template")
}
