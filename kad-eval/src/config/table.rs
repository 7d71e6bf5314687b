//! Reads a TOML table key by key, remembering which keys were asked for: what is left over is a
//! mistake, and its nearest neighbour among the asked ones is probably what was meant.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

type Result<T> = std::result::Result<T, ConfigError>;

/// The file, for error messages.
#[derive(Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn error(
        &self,
        span: Range<usize>,
        message: &str,
        help: Option<String>,
    ) -> ConfigError {
        ConfigError::new(&self.file, &self.text, &[span], message, help)
    }

    /// The error for what stands at `again` and stood at `first` already.
    pub(crate) fn twice(
        &self,
        [first, again]: [Range<usize>; 2],
        message: &str,
        help: &str,
    ) -> ConfigError {
        let places = [first, again];
        ConfigError::new(&self.file, &self.text, &places, message, Some(help.to_owned()))
    }
}

/// A place in the file, for mistakes that show only later.
#[derive(Clone, PartialEq)]
pub(crate) struct Place {
    source: std::sync::Arc<Source>,
    span: Range<usize>,
}

impl Place {
    /// `message` and `help`, shown where this is.
    pub(crate) fn error(&self, message: &str, help: Option<String>) -> ConfigError {
        self.source.error(self.span.clone(), message, help)
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{:?}", self.source.file, self.span)
    }
}

/// A sweep of more is a slip of the pen; its product alone might not fit into memory.
const MOST_MEMBERS: usize = 100_000;

/// One table of the file.
pub(crate) struct Table<'a> {
    source: &'a Source,
    what: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

/// One value of the file.
pub(crate) struct Value<'a> {
    source: &'a Source,
    key: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(
        source: &'a Source,
        what: impl Into<String>,
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        Self { source, what: what.into(), table, span, asked: RefCell::default() }
    }

    pub(crate) fn optional(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(key);
        let value = self.table.get(key)?;
        Some(Value { source: self.source, key: key.to_owned(), value })
    }

    pub(crate) fn required(&self, key: &'static str) -> Result<Value<'a>> {
        self.required_as(key, &format!("add `{key} = …`"))
    }

    /// As [`required`](Self::required); `help` says how it is written.
    pub(crate) fn required_as(&self, key: &'static str, help: &str) -> Result<Value<'a>> {
        self.optional(key).ok_or_else(|| {
            let misspelt = self.table.iter().find(|(found, _)| {
                !self.asked.borrow().contains(&found.get_ref().as_ref())
                    && is_near(key, found.get_ref())
            });
            match misspelt {
                Some((found, _)) => self.unknown(found),
                None => {
                    let message = format!("{} lacks `{key}`", self.what);
                    self.source.error(self.head(), &message, Some(help.to_owned()))
                }
            }
        })
    }

    /// Every entry, for tables whose keys are names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let source = self.source;
        self.table.iter().map(move |(key, value)| {
            let key: &'a str = key.get_ref();
            (key, Value { source, key: key.to_owned(), value })
        })
    }

    /// Refuses whatever was not asked for.
    pub(crate) fn finish(&self) -> Result<()> {
        let asked = self.asked.borrow();
        match self.table.keys().find(|key| !asked.contains(&key.get_ref().as_ref())) {
            Some(key) => Err(self.unknown(key)),
            None => Ok(()),
        }
    }

    pub(crate) fn error(&self, message: &str, help: Option<String>) -> ConfigError {
        self.source.error(self.head(), message, help)
    }

    /// The first line of the table: a caret under all of it would hide the point.
    fn head(&self) -> Range<usize> {
        let text = &self.source.text[self.span.clone()];
        let line = text.find('\n').unwrap_or(text.len());
        self.span.start..self.span.start + line
    }

    fn unknown(&self, key: &Spanned<std::borrow::Cow<'_, str>>) -> ConfigError {
        let asked = self.asked.borrow();
        let found = key.get_ref().as_ref();
        let message = format!("unknown key `{found}` in {}", self.what);
        let help = match nearest(found, asked.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys: {}", asked.join(", ")),
        };
        self.source.error(key.span(), &message, Some(help))
    }
}

/// The candidate most like `found`, if any is alike at all.
pub(crate) fn nearest<'c>(
    found: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let scored = candidates.map(|candidate| (strsim::jaro_winkler(found, candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    is_near(best.1, found).then_some(best.1)
}

fn is_near(wanted: &str, found: &str) -> bool {
    strsim::jaro_winkler(wanted, found) > 0.75
}

impl<'a> Value<'a> {
    pub(crate) fn error(&self, message: &str, help: Option<String>) -> ConfigError {
        self.source.error(self.value.span(), message, help)
    }

    /// The error for a value that is what `first` is already; of one place, that is all there is to
    /// show.
    pub(crate) fn twice(&self, first: &Self, message: &str, help: &str) -> ConfigError {
        let places = [first.value.span(), self.value.span()];
        if places[0] == places[1] {
            return self.error(message, Some(help.to_owned()));
        }
        self.source.twice(places, message, help)
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> Place {
        Place { source: std::sync::Arc::new(self.source.clone()), span: self.value.span() }
    }

    /// A path, taken from the folder of the file.
    pub(crate) fn path(&self) -> Result<std::path::PathBuf> {
        let folder = std::path::Path::new(&self.source.file).parent();
        Ok(folder.unwrap_or_else(|| "".as_ref()).join(self.str()?))
    }

    /// Whether it is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }

    /// Whether it is a string.
    pub(crate) fn is_str(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::String(_))
    }

    /// A whole number of at least 1; `help` says what to do about 0.
    pub(crate) fn at_least_one(&self, help: &str) -> Result<std::num::NonZeroUsize> {
        let count = usize::try_from(self.count()?).unwrap_or(usize::MAX);
        let zero =
            || self.error(&format!("`{} = 0`: must be 1 or more", self.key), Some(help.into()));
        std::num::NonZeroUsize::new(count).ok_or_else(zero)
    }

    fn wrong_type(&self, wanted: &str) -> ConfigError {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(&format!("`{}` must be {wanted}, but this is {found}", self.key), None)
    }

    /// The error for a value that is no list; of `[key]`, how the header of an entry is written.
    fn no_list(&self) -> ConfigError {
        let header = self.is_table() && self.source.text[self.value.span()].starts_with('[');
        if !header {
            return self.wrong_type("a list");
        }
        let help =
            format!("each entry has a header of its own in double brackets: [[{}]]", self.key);
        self.error(&format!("`{}` must be a list, but this is one table", self.key), Some(help))
    }

    pub(crate) fn str(&self) -> Result<&'a str> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    pub(crate) fn bool(&self) -> Result<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    pub(crate) fn float(&self) -> Result<f64> {
        let number = match self.value.get_ref() {
            DeValue::Float(x) => x.as_str().parse().ok(),
            DeValue::Integer(x) if x.radix() == 10 => x.as_str().parse().ok(),
            _ => None,
        };
        // `-0.0 + 0.0` is 0: a zero is shown without its sign.
        number.map(|number: f64| number + 0.0).ok_or_else(|| self.wrong_type("a number"))
    }

    pub(crate) fn count(&self) -> Result<u64> {
        match self.value.get_ref() {
            DeValue::Integer(x) => u64::from_str_radix(x.as_str(), x.radix()).map_err(|_| {
                let negative = x.as_str().starts_with('-');
                let what = if negative { "must be 0 or more" } else { "is too large" };
                self.error(&format!("`{}` {what}", self.key), None)
            }),
            _ => Err(self.wrong_type("a whole number")),
        }
    }

    pub(crate) fn table(&self, what: impl Into<String>) -> Result<Table<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Ok(Table::new(self.source, what, table, self.value.span())),
            _ => Err(self.wrong_type("a table")),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Value<'a>>> {
        match self.value.get_ref() {
            DeValue::Array(items) => Ok(items
                .iter()
                .map(|value| Value { source: self.source, key: self.key.clone(), value })
                .collect()),
            _ => Err(self.no_list()),
        }
    }

    /// The value itself, or the values of a list: a sweep.
    pub(crate) fn sweep(&self) -> Result<Vec<Value<'a>>> {
        let values = match self.value.get_ref() {
            DeValue::Array(_) => self.list()?,
            _ => vec![Value { source: self.source, key: self.key.clone(), value: self.value }],
        };
        if values.is_empty() {
            return Err(self.error("an empty sweep", Some("give at least one value".into())));
        }
        Ok(values)
    }

    /// Refuses a sweep of so many members, before memory is asked for them.
    pub(crate) fn check_members(&self, members: usize) -> Result<()> {
        if members <= MOST_MEMBERS {
            return Ok(());
        }
        let message = format!("a sweep of {members} decoders: {MOST_MEMBERS} is the most");
        Err(self.error(&message, Some("sweep fewer values, or in several experiments".into())))
    }

    /// A number, or a list of them: a sweep.
    pub(crate) fn floats(&self) -> Result<Vec<f64>> {
        self.sweep()?.iter().map(Value::float).collect()
    }
}
