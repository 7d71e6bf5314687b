//! From the text of a file to its top-level table.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use super::{ConfigError, Place, Result, Source, Table};

/// Parses `text`, called `file` in messages, and reads its top-level table, called `what`.
pub(crate) fn parse<T>(
    file: &str,
    text: &str,
    what: &str,
    read: impl FnOnce(&Table<'_>) -> Result<T>,
) -> Result<T> {
    let source = Arc::new(Source { file: file.to_owned(), text: text.to_owned() });
    let parsed = DeTable::parse(&source.text).map_err(|error| not_toml(&source, &error))?;
    let place = Place { source: source.clone(), span: 0..text.len() };
    read(&Table::new(what, parsed.get_ref(), place))
}

/// The parser's error. For a table or key that is given twice it also shows the first: two models
/// of one name are such tables.
fn not_toml(source: &Arc<Source>, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let at = |span| Place { source: source.clone(), span };
    let first = (error.message() == "duplicate key").then(|| first_place(&source.text, span.start));
    let Some(first) = first.flatten() else {
        return at(span).error(error.message());
    };
    let name = &source.text[span.clone()];
    let section = source.text[first.clone()].strip_prefix('[').and_then(|it| it.split_once('.'));
    let message = match section {
        Some((section, _)) => format!("two {section} are called `{name}`"),
        None => format!("`{name}` is given twice"),
    };
    let error = at(span).repeats(&at(first), message);
    error.help("give each its own name, or remove one")
}

/// The earlier place of the key or table header in the line at `at`; keys are searched in their own
/// table only.
fn first_place(text: &str, at: usize) -> Option<Range<usize>> {
    let label = |line: &str| {
        let line = line.trim();
        let end = if line.starts_with('[') { line.find(']') } else { line.find('=') };
        end.map(|end| line[..end].trim().to_owned())
    };
    let from = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let own = label(text[from..].lines().next()?)?;
    let mut start = from;
    for line in text[..from].split_inclusive('\n').rev() {
        start -= line.len();
        if label(line).as_ref() == Some(&own) {
            let indent = line.len() - line.trim_start().len();
            return Some(start + indent..start + line.trim_end().len());
        }
        if line.trim().starts_with('[') && !own.starts_with('[') {
            return None;
        }
    }
    None
}
