//! Texts coloured by the origin and level of their tokens.

use serde::Serialize;

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

/// Text of one origin and level.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SpanView {
    /// In words.
    title: String,
    /// Classes of the page's style.
    class: String,
    lines: Vec<TextLine>,
}

/// Text up to a line end.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TextLine {
    text: String,
    /// True if a newline follows; the page marks it with a sign.
    newline: bool,
}

/// An entry of the legend: an origin with all its levels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct LegendEntry {
    name: &'static str,
    styles: Vec<SpanStyle>,
    meaning: &'static str,
}

/// The class of a level, and the level as shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct SpanStyle {
    class: String,
    level: Option<u64>,
}

/// The text of a span, with title and class.
pub(super) fn span(origin: &str, level: u64, text: &str) -> SpanView {
    let level = chain_level(origin, level);
    let title = level.map_or(origin.to_owned(), |level| format!("{origin}, level {level}"));
    let known = ORIGINS.iter().find(|(name, _)| *name == origin).map(|(name, _)| *name);
    SpanView { title, class: class(known.unwrap_or("other"), level), lines: lines(text) }
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
pub(super) fn legend<'a>(made: impl Iterator<Item = (&'a str, u64)>) -> Vec<LegendEntry> {
    let place = |origin| ORIGINS.iter().position(|(name, _)| *name == origin);
    let mut kinds: Vec<(usize, Option<u64>)> = made
        .filter_map(|(origin, level)| Some((place(origin)?, chain_level(origin, level))))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let entry = |(origin, (name, meaning)): (usize, (&'static str, &'static str))| {
        let own = kinds.iter().filter(|(other, _)| *other == origin);
        let styles: Vec<SpanStyle> =
            own.map(|&(_, level)| SpanStyle { class: class(name, level), level }).collect();
        (!styles.is_empty()).then_some(LegendEntry { name, styles, meaning })
    };
    ORIGINS.into_iter().enumerate().filter_map(entry).collect()
}

/// Cuts a text at newlines. Other control characters, which browsers drop or change and some
/// tokenizers use as end tokens, become their pictures (U+2400…).
pub(super) fn lines(text: &str) -> Vec<TextLine> {
    let picture = |c: char| match c {
        '\t' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or(c),
        '\x7f' => '\u{2421}',
        _ => c,
    };
    text.split_inclusive('\n')
        .map(|line| {
            let (text, newline) = line.strip_suffix('\n').map_or((line, false), |l| (l, true));
            TextLine { text: text.chars().map(picture).collect(), newline }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_are_marked_and_control_characters_are_pictures() {
        let control = lines("a\tb\r\u{3}\n\u{7f}");
        assert_eq!((control[0].text.as_str(), control[0].newline), ("a\tb␍␃", true));
        assert_eq!((control[1].text.as_str(), control[1].newline), ("␡", false));
    }

    #[test]
    fn every_level_of_a_chain_has_its_colour_and_its_title() {
        let view = |origin, level| {
            let view = span(origin, level, "x");
            (view.class, view.title)
        };
        let wanted = |class: &str, title: &str| (class.to_owned(), title.to_owned());
        assert_eq!(view("drafted", 3), wanted("drafted level-3", "drafted, level 3"));
        assert_eq!(view("bonus", 1), wanted("bonus level-1", "bonus, level 1"));
        assert_eq!(view("base", 1), wanted("base", "base"));
        assert_eq!(view("base", 2), wanted("base level-2", "base, level 2"));
        assert_eq!(view("drafted", 7), wanted("drafted level-5", "drafted, level 7"));
        assert_eq!(view("<x>", 1), wanted("other", "<x>"));
    }

    #[test]
    fn the_legend_has_every_origin_once_and_in_order() {
        let made = [("bonus", 1), ("drafted", 3), ("corrected", 2), ("drafted", 2), ("drafted", 3)];
        let made = made.into_iter().chain([("base", 1)]);
        let levels = |entry: LegendEntry| {
            (entry.name, entry.styles.into_iter().map(|look| look.level).collect::<Vec<_>>())
        };
        let entries: Vec<(&str, Vec<Option<u64>>)> = legend(made).into_iter().map(levels).collect();
        let wanted = [
            ("base", vec![None]),
            ("drafted", vec![Some(2), Some(3)]),
            ("corrected", vec![Some(2)]),
            ("bonus", vec![Some(1)]),
        ];
        assert_eq!(entries, wanted);
    }
}
