//! A mistake in an experiment file, shown where it is.

use std::fmt;
use std::ops::Range;

use codespan_reporting::diagnostic::{Diagnostic, Label, LabelStyle};
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term;

/// What is wrong, where, and what to do about it.
#[derive(Debug)]
pub(crate) struct ConfigError {
    rendered: String,
}

impl ConfigError {
    /// `message` says what is wrong with the last of `places` in `text`, which is what the others
    /// are already; `help` what to write instead.
    pub(crate) fn new(
        file: &str,
        text: &str,
        places: &[Range<usize>],
        message: &str,
        help: Option<String>,
    ) -> Self {
        let mut labels: Vec<Label<()>> =
            places.iter().map(|span| Label::secondary((), span.clone())).collect();
        if let Some(last) = labels.last_mut() {
            last.style = LabelStyle::Primary;
        }
        if let [first, _, ..] = labels.as_mut_slice() {
            first.message = "the first is here".to_owned();
        }
        let diagnostic = Diagnostic::error()
            .with_message(message)
            .with_labels(labels)
            .with_notes(help.into_iter().map(|help| format!("help: {help}")).collect());
        let files = SimpleFile::new(file, text);
        let config = term::Config::default();
        let rendered = term::emit_into_string(&config, &files, &diagnostic)
            .unwrap_or_else(|_| format!("error: {message} (in {file})"));
        Self { rendered }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rendered.trim_start_matches("error: ").trim_end())
    }
}

impl std::error::Error for ConfigError {}
