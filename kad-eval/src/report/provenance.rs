//! Texts in the colours of who made them.

use serde::Serialize;

/// How a token came about, and what the legend says of it. The order is that of the legend.
const ORIGINS: [(&str, &str); 6] = [
    ("base", "drawn by the base model and kept"),
    ("deferred", "underlined: drawn by the aligned model"),
    ("sampled", "drawn from one distribution as a whole"),
    ("drafted", "drafted by the level of this number and accepted by all above"),
    ("corrected", "drawn by the level of this number in place of a rejected draft"),
    ("bonus", "drawn by the level of this number after a draft that it accepted whole"),
];
/// Deeper levels share the last colour.
const COLOURED_LEVELS: u64 = 5;

/// A run of text of one origin and level.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SpanView {
    /// In words.
    title: String,
    /// Classes that the page has styles for.
    class: String,
    pieces: Vec<Piece>,
}

/// A text up to the end of a line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Piece {
    text: String,
    /// Whether a newline follows, which the page also shows as a sign.
    newline: bool,
}

/// An entry of the legend: an origin, at every level that there is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct LegendView {
    name: &'static str,
    looks: Vec<Look>,
    meaning: &'static str,
}

/// A class and the level that the page shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Look {
    class: String,
    level: Option<u64>,
}

/// How a text of `origin` and `level` looks. Only levels of a chain are numbered.
pub(super) fn span(origin: &str, level: u64, text: &str) -> SpanView {
    let level = chain_level(origin, level);
    let title = level.map_or(origin.to_owned(), |level| format!("{origin}, level {level}"));
    let known = ORIGINS.iter().find(|(name, _)| *name == origin).map(|(name, _)| *name);
    SpanView { title, class: class(known.unwrap_or("other"), level), pieces: pieces(text) }
}

/// The level to show. Drafts come from below the target: records of earlier versions, which name no
/// level, had two.
fn chain_level(origin: &str, level: u64) -> Option<u64> {
    match origin {
        "drafted" => Some(level.max(2)),
        "corrected" | "bonus" => Some(level),
        _ => (level > 1).then_some(level),
    }
}

fn class(origin: &str, level: Option<u64>) -> String {
    level.map_or(origin.to_owned(), |l| format!("{origin} level-{}", l.min(COLOURED_LEVELS)))
}

/// What the given origins and levels look like, each once.
pub(super) fn legend<'a>(made: impl Iterator<Item = (&'a str, u64)>) -> Vec<LegendView> {
    let place = |origin| ORIGINS.iter().position(|(name, _)| *name == origin);
    let mut kinds: Vec<(usize, Option<u64>)> = made
        .filter_map(|(origin, level)| Some((place(origin)?, chain_level(origin, level))))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let entry = |(origin, (name, meaning)): (usize, (&'static str, &'static str))| {
        let own = kinds.iter().filter(|(other, _)| *other == origin);
        let looks: Vec<Look> =
            own.map(|&(_, level)| Look { class: class(name, level), level }).collect();
        (!looks.is_empty()).then_some(LegendView { name, looks, meaning })
    };
    ORIGINS.into_iter().enumerate().filter_map(entry).collect()
}

/// Cuts at newlines. Other control characters, which a browser would drop or change, become
/// their pictures (U+2400…): some tokenizers have end tokens of that kind.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let picture = |c: char| match c {
        '\t' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or(c),
        '\x7f' => '\u{2421}',
        _ => c,
    };
    text.split_inclusive('\n')
        .map(|line| {
            let (text, newline) = line.strip_suffix('\n').map_or((line, false), |l| (l, true));
            Piece { text: text.chars().map(picture).collect(), newline }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_are_marked_and_control_characters_are_pictures() {
        let control = pieces("a\tb\r\u{3}\n\u{7f}");
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
        assert_eq!(view("drafted", 1).0, "drafted level-2", "an old record of two levels");
        assert_eq!(view("<x>", 1), wanted("other", "<x>"));
    }

    #[test]
    fn the_legend_has_what_there_is_once_and_in_order() {
        let made = [("bonus", 1), ("drafted", 3), ("corrected", 2), ("drafted", 2), ("drafted", 3)];
        let made = made.into_iter().chain([("base", 1)]);
        let levels = |entry: LegendView| {
            (entry.name, entry.looks.into_iter().map(|look| look.level).collect::<Vec<_>>())
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
