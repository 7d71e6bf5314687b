//! A mistake in a file, shown at its place.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use codespan_reporting::diagnostic::{Diagnostic, Label};
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term;

/// The file that is read: its name in messages, and its text.
#[derive(PartialEq)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// A place in a file, kept for mistakes that show only later.
#[derive(Clone, PartialEq)]
pub(crate) struct Place {
    pub(super) source: Arc<Source>,
    pub(super) span: Range<usize>,
}

impl Place {
    /// The error that says `message` about this place.
    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError { place: self.clone(), first: None, message: message.into(), help: None }
    }

    /// The error that says `message` about this place and shows that `first` is the same.
    pub(crate) fn repeats(&self, first: &Self, message: impl Into<String>) -> ConfigError {
        let first = Some(first.span.clone()).filter(|first| *first != self.span);
        ConfigError { first, ..self.error(message) }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.source.file, self.span)
    }
}

/// A mistake in a TOML file. It displays as a message, the lines of the file with a caret below the
/// mistake, and what to write instead.
pub struct ConfigError {
    place: Place,
    /// An earlier place in the file that is the same where it must differ.
    first: Option<Range<usize>>,
    message: String,
    help: Option<String>,
}

impl ConfigError {
    /// Adds what to write instead.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Source { file, text } = &*self.place.source;
        let first = self.first.clone().map(|first| Label::secondary((), first));
        let first = first.map(|label| label.with_message("the first is here"));
        let place = Label::primary((), self.place.span.clone());
        let diagnostic = Diagnostic::error()
            .with_message(&self.message)
            .with_labels(first.into_iter().chain([place]).collect())
            .with_notes(self.help.iter().map(|help| format!("help: {help}")).collect());
        let files = SimpleFile::new(file, text);
        let shown = term::emit_into_string(&term::Config::default(), &files, &diagnostic)
            .unwrap_or_else(|_| format!("error: {} (in {file})", self.message));
        f.write_str(shown.trim_start_matches("error: ").trim_end())
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}
