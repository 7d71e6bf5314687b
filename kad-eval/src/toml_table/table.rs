//! One table of a file.

use std::borrow::Cow;
use std::cell::RefCell;

use toml::Spanned;
use toml::de::DeTable;

use super::{ConfigError, Place, Result, Value, advice, nearest};

/// One table of a file, with the keys it was asked for.
pub(crate) struct Table<'a> {
    /// Its name in messages.
    what: String,
    table: &'a DeTable<'a>,
    place: Place,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(what: impl Into<String>, table: &'a DeTable<'a>, place: Place) -> Self {
        Self { what: what.into(), table, place, asked: RefCell::default() }
    }

    /// The value of `key`, if it is given.
    pub(crate) fn optional(&self, key: &'static str) -> Option<Value<'a>> {
        self.note_keys(&[key]);
        Some(self.value(key, self.table.get(key)?))
    }

    /// The value of `key` as `read` reads it, if it is given.
    pub(crate) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.optional(key).as_ref().map(read).transpose()
    }

    pub(crate) fn required(&self, key: &'static str) -> Result<Value<'a>> {
        self.required_as(key, &format!("add `{key} = …`"))
    }

    /// [`required`](Self::required) with `help` that shows how the key is written.
    pub(crate) fn required_as(&self, key: &'static str, help: &str) -> Result<Value<'a>> {
        self.optional(key).ok_or_else(|| {
            let misspelt =
                self.unasked().find(|found| nearest(found.get_ref(), [key].into_iter()).is_some());
            match misspelt {
                Some(found) => self.unknown(found),
                None => self.error(format!("{} lacks `{key}`", self.what)).help(help),
            }
        })
    }

    /// Every entry, for tables whose keys are names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.table.iter().map(|(key, value)| {
            let key: &'a str = key.get_ref();
            (key, self.value(key, value))
        })
    }

    /// Accepts `keys`, which are read elsewhere.
    pub(crate) fn allow(&self, keys: &[&'static str]) {
        self.note_keys(keys);
    }

    /// A key is listed once, however often it is read.
    fn note_keys(&self, keys: &[&'static str]) {
        let mut asked = self.asked.borrow_mut();
        for key in keys {
            if !asked.contains(key) {
                asked.push(key);
            }
        }
    }

    /// Refuses keys that were not asked for.
    pub(crate) fn finish(&self) -> Result<()> {
        match self.unasked().next() {
            Some(key) => Err(self.unknown(key)),
            None => Ok(()),
        }
    }

    /// The error that says `message` about the first line of the table: a caret below all of it
    /// would hide the point.
    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        let text = &self.place.source.text[self.place.span.clone()];
        let line = text.find('\n').unwrap_or(text.len());
        let start = self.place.span.start;
        self.at(start..start + line).error(message)
    }

    fn at(&self, span: std::ops::Range<usize>) -> Place {
        Place { source: self.place.source.clone(), span }
    }

    fn value(&self, key: &str, value: &'a Spanned<toml::de::DeValue<'a>>) -> Value<'a> {
        Value::new(key, value.get_ref(), self.at(value.span()))
    }

    fn unasked(&self) -> impl Iterator<Item = &'a Spanned<Cow<'a, str>>> {
        let asked = self.asked.borrow().clone();
        self.table.keys().filter(move |key| !asked.contains(&key.get_ref().as_ref()))
    }

    fn unknown(&self, key: &Spanned<Cow<'_, str>>) -> ConfigError {
        let asked = self.asked.borrow();
        let found = key.get_ref().as_ref();
        let error = self.at(key.span()).error(format!("unknown key `{found}` in {}", self.what));
        let all = || format!("known keys: {}", asked.join(", "));
        error.help(advice(found, asked.iter().copied(), all))
    }
}
