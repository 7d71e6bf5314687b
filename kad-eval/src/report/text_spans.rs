//! Texts coloured by the origin and level of their tokens.

use serde_json::{Value, json};

/// Origins of tokens with their explanations, in the order of the legend.
const ORIGINS: [(&str, &str); 6] = [
    ("base", "sampled from the base model and kept"),
    ("deferred", "underlined: sampled from the aligned model"),
    ("sampled", "sampled from one distribution"),
    ("drafted", "drafted by the level of this number, accepted by all levels above"),
    ("corrected", "sampled by the level of this number in place of a rejected token"),
    ("bonus", "sampled by the level of this number after a fully accepted draft"),
];
/// Levels with their own colour; deeper levels share the last one.
const COLOURED_LEVELS: u64 = 5;

/// The text of a span, with its title in words and its class of the page's style.
pub(super) fn span(origin: &str, level: u64, text: &str) -> Value {
    let level = chain_level(origin, level);
    let title = level.map_or(origin.to_owned(), |level| format!("{origin}, level {level}"));
    let known = ORIGINS.iter().find(|(name, _)| *name == origin).map(|(name, _)| *name);
    let class = class(known.unwrap_or("other"), level);
    json!({ "title": title, "class": class, "lines": lines(text) })
}

/// The level to show: only levels of a chain are numbered.
fn chain_level(origin: &str, level: u64) -> Option<u64> {
    match origin {
        "drafted" | "corrected" | "bonus" => Some(level),
        _ => (level > 1).then_some(level),
    }
}

fn class(origin: &str, level: Option<u64>) -> String {
    level.map_or(origin.to_owned(), |l| format!("{origin} level-{}", l.min(COLOURED_LEVELS)))
}

/// The legend of the given origins and levels, each once.
pub(super) fn legend<'a>(made: impl Iterator<Item = (&'a str, u64)>) -> Vec<Value> {
    let place = |origin| ORIGINS.iter().position(|(name, _)| *name == origin);
    let mut kinds: Vec<(usize, Option<u64>)> = made
        .filter_map(|(origin, level)| Some((place(origin)?, chain_level(origin, level))))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let entry = |(origin, (name, meaning)): (usize, (&'static str, &'static str))| {
        let own = kinds.iter().filter(|(other, _)| *other == origin);
        let style = |&(_, level)| json!({ "class": class(name, level), "level": level });
        let styles: Vec<Value> = own.map(style).collect();
        let entry = json!({ "name": name, "styles": styles, "meaning": meaning });
        (!styles.is_empty()).then_some(entry)
    };
    ORIGINS.into_iter().enumerate().filter_map(entry).collect()
}

/// Cuts a text at newlines, which the page marks. Other control characters, which browsers drop or change and some
/// tokenizers use as end tokens, become their pictures (U+2400…).
pub(super) fn lines(text: &str) -> Vec<Value> {
    let picture = |c: char| match c {
        '\t' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or(c),
        '\x7f' => '\u{2421}',
        _ => c,
    };
    text.split_inclusive('\n')
        .map(|line| {
            let (text, newline) = line.strip_suffix('\n').map_or((line, false), |l| (l, true));
            json!({ "text": text.chars().map(picture).collect::<String>(), "newline": newline })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_are_marked_and_control_characters_are_pictures() {
        let first = json!({ "text": "a\tb␍␃", "newline": true });
        let second = json!({ "text": "␡", "newline": false });
        assert_eq!(lines("a\tb\r\u{3}\n\u{7f}"), [first, second]);
    }

    #[test]
    fn every_level_of_a_chain_has_its_colour_and_its_title() {
        for (origin, level, class, title) in [
            ("drafted", 3, "drafted level-3", "drafted, level 3"),
            ("bonus", 1, "bonus level-1", "bonus, level 1"),
            ("base", 1, "base", "base"),
            ("base", 2, "base level-2", "base, level 2"),
            ("drafted", 7, "drafted level-5", "drafted, level 7"),
            ("<x>", 1, "other", "<x>"),
        ] {
            let view = span(origin, level, "x");
            assert_eq!((&view["class"], &view["title"]), (&json!(class), &json!(title)));
        }
    }

    #[test]
    fn the_legend_has_every_origin_once_and_in_order() {
        let made = [("bonus", 1), ("drafted", 3), ("corrected", 2), ("drafted", 2), ("drafted", 3)];
        let levels = |entry: Value| {
            let styles = entry["styles"].as_array().unwrap().iter();
            json!([entry["name"], styles.map(|style| &style["level"]).collect::<Vec<_>>()])
        };
        let entries = legend(made.into_iter().chain([("base", 1)])).into_iter().map(levels);
        let wanted =
            json!([["base", [null]], ["drafted", [2, 3]], ["corrected", [2]], ["bonus", [1]]]);
        assert_eq!(Value::from_iter(entries), wanted);
    }
}
