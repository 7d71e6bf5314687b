//! `--set`: changes to an experiment file on the command line.

use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use toml_edit::{DocumentMut, Item, Key, Table, Value};

use crate::failure::WrongRequest;
use crate::toml_table::advice;

/// `KEY=VALUE`: a key of the file and its new value.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    keys: Vec<String>,
    value: Value,
    text: String,
}

impl FromStr for Setting {
    type Err = String;

    /// The key is dotted as in TOML. The value is a TOML value, or else a text.
    fn from_str(text: &str) -> Result<Self, String> {
        let no_key = || "write KEY=VALUE, as in sampling.temperature=0.7".to_owned();
        let (key, value) = split(text).ok_or_else(no_key)?;
        let keys = Key::parse(key.trim()).map_err(|_| no_name(key.trim(), &no_key()))?;
        let value = value.trim();
        Ok(Self {
            keys: keys.iter().map(|key| key.get().to_owned()).collect(),
            value: value.parse().unwrap_or_else(|_| Value::from(value)),
            text: text.to_owned(),
        })
    }
}

/// The error for a malformed key, with quotes around the names that need them.
fn no_name(key: &str, help: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let parts: Vec<&str> = key.split('.').collect();
    let is_word = |part: &&str| !part.is_empty() && !part.contains(['"', '\'']);
    if !parts.iter().all(is_word) {
        return format!("`{key}` is not a key; {help}");
    }
    let quoted = |part: &&str| match part.chars().all(is_bare) {
        true => (*part).to_owned(),
        false => format!("'{part}'"),
    };
    let quoted: Vec<String> = parts.iter().map(quoted).collect();
    format!(
        "`{key}` is not a key: names with spaces or other signs need quotes, as in \"{}=VALUE\"",
        quoted.join(".")
    )
}

/// Splits at the first `=` outside of quotes.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('=', None) => return Some((&text[..at], &text[at + 1..])),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// The file `text` with the settings made in order. Entries of lists are named by name (decoders),
/// kind (tasks) or index (from 0).
///
/// # Errors
/// Fails if a key leads through a value without keys, or to an entry that is not there. Unknown
/// keys are refused by the reader of the file.
pub(crate) fn set(text: &str, settings: &[Setting]) -> Result<String> {
    let Ok(mut document) = text.parse::<DocumentMut>() else {
        // The reader of the file shows the mistake at its place.
        return Ok(text.to_owned());
    };
    for Setting { keys, value, text } in settings {
        check_model(document.as_item(), keys)
            .and_then(|()| put(document.as_item_mut(), keys, value))
            .map_err(|error| anyhow!(WrongRequest(format!("--set {text}: {error}"))))?;
    }
    Ok(document.to_string())
}

/// Refuses a model that is not in the file: it would be added, and no decoder would use it.
fn check_model(document: &Item, keys: &[String]) -> Result<()> {
    let [models, name, ..] = keys else { return Ok(()) };
    let found = document.get("models").and_then(Item::as_table_like);
    let Some(found) = found.filter(|found| models == "models" && !found.contains_key(name)) else {
        return Ok(());
    };
    let known = || found.iter().map(|(known, _)| known);
    let help = advice(name, known(), || format!("there are {}", quoted(known())));
    bail!("no model is `{name}`: {help}")
}

fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn put(item: &mut Item, keys: &[String], value: &Value) -> Result<()> {
    let Some((key, rest)) = keys.split_first() else {
        // Keeps the comment of the line.
        let decor = item.as_value().map(|old| old.decor().clone());
        let mut value = value.clone();
        if let Some(decor) = decor {
            *value.decor_mut() = decor;
        }
        *item = Item::Value(value);
        return Ok(());
    };
    if item.is_array() || item.is_array_of_tables() {
        let entries = (0..).map_while(|index| item.get(index)).map(labels);
        let index = index(key, &entries.collect::<Vec<_>>())?;
        if rest.is_empty() && item.is_array_of_tables() {
            bail!("`{key}` is a table: name one of its keys, as in `{key}.kind`");
        }
        let entry = item.get_mut(index).ok_or_else(|| anyhow!("`{key}` is not there"))?;
        return put(entry, rest, value);
    }
    let Some(table) = item.as_table_like_mut() else {
        bail!("`{key}` has no place: the value above it has no keys");
    };
    let mut new = Table::new();
    // Writes `[a.b]` without `[a]`.
    new.set_implicit(true);
    put(table.entry(key).or_insert(Item::Table(new)), rest, value)
}

/// The name and the kind of an entry, as far as it has them.
fn labels(entry: &Item) -> Vec<String> {
    let words = ["name", "kind"].into_iter().filter_map(|key| entry.get(key)?.as_str());
    words.map(str::to_owned).collect()
}

fn index(key: &str, labels: &[Vec<String>]) -> Result<usize> {
    let mut found = (0..labels.len()).filter(|&index| labels[index].iter().any(|it| it == key));
    match (found.next(), found.next()) {
        (Some(index), None) => return Ok(index),
        (Some(_), Some(_)) => bail!("several entries are called `{key}`: give the index, from 0"),
        (None, _) => {}
    }
    if let Ok(index) = key.parse::<usize>()
        && index < labels.len()
    {
        return Ok(index);
    }
    let known: Vec<&str> = labels.iter().flatten().map(String::as_str).collect();
    // The name if there is one: many entries have the same kind.
    let first = labels.iter().filter_map(|labels| labels.first()).map(String::as_str);
    let help = advice(key, known.iter().copied(), || match (labels.len(), known.is_empty()) {
        (0, _) => "the list is empty".to_owned(),
        (1, true) => "the only index is 0".to_owned(),
        (count, true) => format!("indices go from 0 to {}", count - 1),
        (1, _) => format!("there is {}, at index 0", quoted(first)),
        (count, _) => {
            format!("there are {}; indices go from 0 to {}", quoted(first), count - 1)
        }
    });
    bail!("no entry is `{key}`: {help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
name = "x"
[models.large]
source = "nano:large-base"
[sampling]
temperature = 0.7 # warm
[[decoders]]
name = "a b"
levels = [{ draft = "m", length = 4 }, { draft = "n", length = 2 }]
[[decoders]]
name = "c"
kind = "deferral"
rule = { kind = "kad-dual", threshold = [0.2, 0.5] }
[[tasks]]
kind = "nano"
items = 6
"#;

    fn changed(settings: &[&str]) -> Result<toml::Table> {
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        Ok(toml::from_str(&set(FILE, &settings)?).unwrap())
    }

    #[test]
    fn values_change_where_the_key_leads_and_nowhere_else() {
        let mut wanted: toml::Table = toml::from_str(FILE).unwrap();
        assert_eq!(changed(&[]).unwrap(), wanted);
        wanted["sampling"]["temperature"] = 1.into();
        wanted["decoders"][1]["rule"]["threshold"] = toml::Value::Array(vec![0.1.into()]);
        wanted["decoders"][0]["levels"][1]["length"] = 3.into();
        wanted["tasks"][0]["items"] = 9.into();
        wanted["name"] = "y = z".into();
        let settings = [
            "sampling.temperature=1",
            "decoders.c.rule.threshold=[0.1]",
            "decoders.'a b'.levels.1.length = 3",
            "tasks.nano.items=9",
            "name=y = z",
        ];
        assert_eq!(changed(&settings).unwrap(), wanted);
        let text = set(FILE, &["sampling.temperature=1".parse().unwrap()]).unwrap();
        assert_eq!(text, FILE.replace("temperature = 0.7", "temperature = 1"), "comments stay");
    }

    #[test]
    fn keys_that_are_not_there_are_made_and_texts_need_no_quotes() {
        let found = changed(&["models.large.backend=naive", "seed=3"]).unwrap();
        assert_eq!(found["models"]["large"]["backend"].as_str(), Some("naive"));
        assert_eq!(found["seed"].as_integer(), Some(3));
    }

    #[test]
    fn keys_that_lead_nowhere_say_so() {
        for (setting, word) in [
            ("models.larg.source=nano:draft", "no model is `larg`: did you mean `large`?"),
            ("models.bse=1", "no model is `bse`: there are `large`"),
            ("decoders.d.name=1", "no entry is `d`"),
            ("decoders.2.name=1", "there are `a b`, `c`; indices go from 0 to 1"),
            ("tasks.1.items=1", "there is `nano`, at index 0"),
            ("tasks.nanno.items=1", "did you mean `nano`?"),
            ("name.x=1", "`x` has no place"),
            ("decoders.c.rule.threshold.5=0.1", "no entry is `5`: indices go from 0 to 1"),
            ("decoders.'a b'.levels.2.length=1", "indices go from 0 to 1"),
        ] {
            let error = changed(&[setting]).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(setting), "{error}");
        }
        for wrong in ["x", "=1", "a..b=1", "", "a.'b=1"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_with_spaces_are_shown_with_the_quotes_that_they_need() {
        let error = "decoders.KAD dual.rule.threshold=0.5".parse::<Setting>().unwrap_err();
        assert!(error.contains("\"decoders.'KAD dual'.rule.threshold=VALUE\""), "{error}");
        let error = "a..b=1".parse::<Setting>().unwrap_err();
        assert!(error.contains("write KEY=VALUE"), "{error}");
    }
}
