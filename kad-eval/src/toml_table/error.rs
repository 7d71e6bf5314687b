//! A mistake in a file, shown at its place.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use codespan_reporting::diagnostic::{Diagnostic, Label};
use codespan_reporting::files::{Files, SimpleFile};
use codespan_reporting::term;

/// Longest line in bytes that is shown: a longer one would bury the message.
const LONGEST_LINE: usize = 500;

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

    /// Length in bytes of the longest line of `span`.
    fn longest_line(&self, span: &Range<usize>) -> usize {
        let text = &self.source.text;
        let start = text[..span.start].rfind('\n').map_or(0, |end| end + 1);
        let end = text[span.end..].find('\n').map_or(text.len(), |end| span.end + end);
        text[start..end].lines().map(str::len).max().unwrap_or(0)
    }

    /// File, line and column of `span`.
    fn location(&self, span: &Range<usize>) -> String {
        let Source { file, text } = &*self.source;
        match SimpleFile::new(file, text).location((), span.start) {
            Ok(at) => format!("{file}:{}:{}", at.line_number, at.column_number),
            Err(_) => file.clone(),
        }
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
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    fn without_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  in {}", self.message, self.place.location(&self.place.span))?;
        if let Some(first) = &self.first {
            write!(f, "\n  the first is in {}", self.place.location(first))?;
        }
        self.help.iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans = self.first.iter().chain([&self.place.span]);
        if spans.map(|span| self.place.longest_line(span)).max() > Some(LONGEST_LINE) {
            return self.without_lines(f);
        }
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
