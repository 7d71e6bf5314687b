//! One value of a file.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::de::DeValue;

use super::{ConfigError, Place, Result, Table, advice};

pub(crate) struct Value<'a> {
    key: String,
    value: &'a DeValue<'a>,
    place: Place,
}

/// A longer sweep is a slip of the pen, and its product might not fit into memory.
const MAX_SWEEP: usize = 100_000;

impl<'a> Value<'a> {
    pub(super) fn new(key: &str, value: &'a DeValue<'a>, place: Place) -> Self {
        Self { key: key.to_owned(), value, place }
    }

    /// The error that says `message` about this value.
    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        self.place.error(message)
    }

    /// The error that says `message` about this value and shows that `first` is the same.
    pub(crate) fn repeats(&self, first: &Self, message: impl Into<String>) -> ConfigError {
        self.place.repeats(&first.place, message)
    }

    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(crate) fn is_str(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    pub(crate) fn str(&self) -> Result<&'a str> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    pub(crate) fn string(&self) -> Result<String> {
        self.str().map(str::to_owned)
    }

    /// One line of visible text: a name that tables and messages can show.
    pub(crate) fn visible(&self, what: &str) -> Result<&'a str> {
        let name = self.str()?;
        if name.trim().is_empty() || name.contains(char::is_control) {
            return Err(self.error(format!("{what} must be one line of visible text")));
        }
        Ok(name)
    }

    pub(crate) fn parsed<T: FromStr<Err: ToString>>(&self) -> Result<T> {
        self.str()?.parse().map_err(|error: T::Err| self.error(error.to_string()))
    }

    /// A path, relative to the folder of the file.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let folder = Path::new(&self.place.source.file).parent();
        Ok(folder.unwrap_or_else(|| "".as_ref()).join(self.str()?))
    }

    /// Reads one of `names`, which are names of a `what`.
    pub(crate) fn known<'n>(
        &self,
        what: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Result<&'a str> {
        let found = self.str()?;
        match names.clone().any(|name| name == found) {
            true => Ok(found),
            false => Err(self.unknown(what, names)),
        }
    }

    /// The meaning of one of the words of a table.
    pub(crate) fn one_of<T: Copy>(&self, what: &str, words: &[(&str, T)]) -> Result<T> {
        let found = self.str()?;
        let known = words.iter().find(|(word, _)| *word == found);
        known
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| self.unknown(what, words.iter().map(|(word, _)| *word)))
    }

    /// The error for a name that is none of `names`, with the nearest of them.
    pub(crate) fn unknown<'n>(
        &self,
        what: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> ConfigError {
        let found = self.str().unwrap_or_default();
        let all = || format!("known: {}", names.clone().collect::<Vec<_>>().join(", "));
        let error = self.error(format!("unknown {what} `{found}`"));
        error.help(advice(found, names.clone(), all))
    }

    pub(crate) fn bool(&self) -> Result<bool> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    pub(crate) fn float(&self) -> Result<f64> {
        let number = match self.value {
            DeValue::Float(x) => x.as_str().parse().ok(),
            DeValue::Integer(x) if x.radix() == 10 => x.as_str().parse().ok(),
            _ => None,
        };
        // `-0.0 + 0.0` is 0: a zero is shown without its sign.
        number.map(|number: f64| number + 0.0).ok_or_else(|| self.wrong_type("a number"))
    }

    /// A whole number of at least 0.
    pub(crate) fn count(&self) -> Result<u64> {
        match self.value {
            DeValue::Integer(x) => u64::from_str_radix(x.as_str(), x.radix()).map_err(|_| {
                let negative = x.as_str().starts_with('-');
                let fault = if negative { "must be 0 or more" } else { "is too large" };
                self.error(format!("`{}` {fault}", self.key))
            }),
            _ => Err(self.wrong_type("a whole number")),
        }
    }

    /// A whole number of at least 1; `help` is for the author of a 0.
    pub(crate) fn at_least_one(&self, help: &str) -> Result<NonZeroUsize> {
        let count = usize::try_from(self.count()?).unwrap_or(usize::MAX);
        let zero = || self.error(format!("`{} = 0`: must be 1 or more", self.key)).help(help);
        NonZeroUsize::new(count).ok_or_else(zero)
    }

    /// A table, called `what` in messages.
    pub(crate) fn table(&self, what: impl Into<String>) -> Result<Table<'a>> {
        match self.value {
            DeValue::Table(table) => Ok(Table::new(what, table, self.place())),
            _ => Err(self.wrong_type("a table")),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Value<'a>>> {
        let DeValue::Array(items) = self.value else {
            return Err(self.not_a_list());
        };
        let value = |item: &'a toml::Spanned<DeValue<'a>>| {
            let place = Place { source: self.place.source.clone(), span: item.span() };
            Value::new(&self.key, item.get_ref(), place)
        };
        Ok(items.iter().map(value).collect())
    }

    /// The value itself, or the values of a list: a sweep.
    pub(crate) fn sweep(&self) -> Result<Vec<Value<'a>>> {
        let values = match self.value {
            DeValue::Array(_) => self.list()?,
            _ => vec![Value::new(&self.key, self.value, self.place())],
        };
        if values.is_empty() {
            return Err(self.error("an empty sweep").help("give at least one value"));
        }
        Ok(values)
    }

    /// Refuses a sweep of too many members, before memory is asked for them.
    pub(crate) fn check_members(&self, members: usize) -> Result<()> {
        if members <= MAX_SWEEP {
            return Ok(());
        }
        let message = format!("a sweep of {members} decoders; at most {MAX_SWEEP} are allowed");
        Err(self.error(message).help("sweep fewer values, or use several experiments"))
    }

    fn wrong_type(&self, wanted: &str) -> ConfigError {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(format!("`{}` must be {wanted}, but this is {found}", self.key))
    }

    /// The error for a value that is not a list; of `[key]`, with the header that a list needs.
    fn not_a_list(&self) -> ConfigError {
        let text = &self.place.source.text[self.place.span.clone()];
        if !(self.is_table() && text.starts_with('[')) {
            return self.wrong_type("a list");
        }
        let error = self.error(format!("`{}` must be a list, but this is one table", self.key));
        error.help(format!("each entry has its own header in double brackets: [[{}]]", self.key))
    }
}
