//! The letters of multiple-choice answers.

use super::{Pattern, STATES, compile};

/// The letter of the option at `index`, from 0: A to Z.
pub(crate) fn letter(index: usize) -> String {
    let index = u8::try_from(index).unwrap_or(u8::MAX).min(25);
    char::from(b'A' + index).to_string()
}

/// `The answer is: option **(B)**`, `the correct choice is B`, `Answer: b.`, `\boxed{\text{B}}`.
static STATED: Pattern = Pattern::new(|| {
    let words = r"(?:\s|therefore|clearly|most|likely|probably|the|option|choice|letter|,)*";
    let marks = r#"[\s(\[*_"'`$]*(?:\\text(?:bf)?\{)?[(]?"#;
    let called = r"(?i-u:\b(?:option|choice|letter)\s+is\b:?)";
    compile(&format!(
        r"(?:(?:{STATES}|{called})(?i-u:{words}){marks}|\\f?box(?:ed)?\s*\{{?{marks})([A-Z]|[a-z](?:[).]|$))(?:[^A-Za-z0-9_]|$)"
    ))
});
/// `B is the correct answer`, `Option (C) is right`, `Therefore, B.`
static NAMED: Pattern = Pattern::new(|| {
    let right =
        r"(?i-u:is\s+(?:therefore\s+|clearly\s+|indeed\s+)?(?:the\s+)?(?:correct|right|best|most))";
    let so = r"(?i-u:\b(?:therefore|thus|hence|so),?\s+(?:it\s+(?:is|must\s+be)\s+)?(?:option\s+|choice\s+)?)";
    compile(&format!(
        r"(?:(?:^|[^A-Za-z0-9_'’])[(*]*([A-Z])[)*.]*\s+{right}\b|{so}[(*]*([A-Z])[)*]*(?:\.|\n|$))"
    ))
});
/// These words mention options without choosing one.
static OTHERS: Pattern = Pattern::new(|| {
    let every = r"(?i-u:\b(?:each|every|any)\s+(?:answer|option|choice))";
    let wrong = r"(?i-u:\b(?:wrong|incorrect|other)\s+(?:answer|option|choice))";
    compile(&format!(r"(?:{every}|{wrong}\s+(?:is|was))[^A-Za-z]*$"))
});
/// An enumeration of letters: A, B and C.
static ENUMERATES: Pattern =
    Pattern::new(|| compile(r"^[)*]*(?:,\s*\(?[A-Z]\b|\s+(?:and|or)\s+\(?[A-Z]\b)"));
/// A line that begins with an option as the prompt lists it: `D). A and B only`.
static LABEL: Pattern = Pattern::new(|| {
    compile(r"(?m)^[ \t*_>#-]*(?:\(([A-Z])\)|([A-Z])(?:\)\.?|[.:]))[*_]*[^\S\n]+([^\n]*)$")
});
static VERB: Pattern = Pattern::new(|| compile(r"^(?i-u:is|are|was|and|or|can|may|I)\b"));
/// A letter in parentheses, capital or not.
static PARENTHESISED: Pattern = Pattern::new(|| compile(r"\(([A-Za-z])\)"));

/// The letter of the last statement, else the last letter that stands alone, among the first
/// `options` letters. Of a line that repeats an option, only its letter counts.
pub(super) fn answer(text: &str, options: usize) -> Option<String> {
    let valid = |c: char| ('A'..).take(options).any(|letter| letter == c);
    let of = |at: usize| {
        let letter = text[at..].chars().next()?.to_ascii_uppercase();
        valid(letter).then_some((at, letter))
    };
    let stated = stated(text).into_iter().filter_map(of);
    if let Some((_, letter)) = stated.max_by_key(|(at, _)| *at) {
        return Some(letter.to_string());
    }
    let repeated: Vec<_> = LABEL
        .captures_iter(text)
        .filter_map(|found| found.get(3))
        .filter(|rest| !VERB.is_match(rest.as_str()))
        .map(|rest| rest.range())
        .collect();
    let counts = |at: usize| !repeated.iter().any(|range| range.contains(&at));
    let alone = text.char_indices().filter(|(at, c)| valid(*c) && stands_alone(text, *at));
    let alone = alone.filter(|(at, c)| is_option(text, *at) && !is_article(text, *at, *c));
    let small = PARENTHESISED.captures_iter(text).filter_map(|found| of(found.get(1)?.start()));
    let bare = bare(text).and_then(of);
    let found = alone.chain(small).chain(bare).filter(|(at, _)| counts(*at));
    found.max_by_key(|(at, _)| *at).map(|(_, letter)| letter.to_string())
}

/// The letter of a gold answer: one letter, perhaps in brackets or marks.
pub(super) fn gold(answer: &str) -> Option<String> {
    let letter = answer.trim_matches(|c: char| !c.is_alphanumeric()).to_uppercase();
    (letter.len() == 1 && letter.starts_with(|c: char| c.is_ascii_uppercase())).then_some(letter)
}

/// The places of letters that are stated to be the answer.
fn stated(text: &str) -> Vec<usize> {
    // `captures_iter` skips overlapping matches; neither pattern has any.
    let stated = STATED.captures_iter(text).filter_map(|found| {
        let letter = found.get(1)?;
        let (at, c) = (letter.start(), letter.as_str().chars().next()?);
        let listed = OTHERS.is_match(text[..at].trim_end()) || ENUMERATES.is_match(&text[at + 1..]);
        let article = c == 'A' && begins_phrase(text, at);
        (!listed && !article && is_option(text, at)).then_some(at)
    });
    let named = NAMED.captures_iter(text).filter_map(|found| {
        let letter = found.get(1).or_else(|| found.get(2))?;
        // `I is the best choice` is no pronoun.
        Some(letter.start())
    });
    stated.chain(named).collect()
}

/// The place of the letter in a reply of one small letter: `b)`.
fn bare(text: &str) -> Option<usize> {
    let reply = text.trim().trim_end_matches([')', '.']);
    let only = reply.len() == 1 && reply.starts_with(|c: char| c.is_ascii_lowercase());
    only.then(|| text.len() - text.trim_start().len())
}

/// Is the A at `at` the article of a phrase? A word follows that does not begin a reason.
fn begins_phrase(text: &str, at: usize) -> bool {
    let reasons =
        ["because", "since", "as", "is", "due", "for", "and", "but", "which", "with", "not"];
    let rest = text[at + 1..].strip_prefix(' ');
    let word = rest.and_then(|rest| rest.split(|c: char| !c.is_alphabetic()).next());
    word.is_some_and(|word| !word.is_empty() && !reasons.contains(&word))
}

fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

fn after(text: &str, at: usize) -> std::str::Chars<'_> {
    let mut rest = text[at..].chars();
    rest.next();
    rest
}

/// Is the letter at `at` a part of neither a word nor an abbreviation?
fn stands_alone(text: &str, at: usize) -> bool {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_'’".contains(c));
    let mut next = after(text, at);
    let (first, second) = (next.next(), next.next());
    let dotted = first == Some('.') && second.is_some_and(char::is_alphabetic);
    let mut previous = text[..at].chars().rev();
    let (last, earlier) = (previous.next(), previous.next());
    let dotted = dotted || last == Some('.') && earlier.is_some_and(char::is_alphabetic);
    !inside(last) && !inside(first) && !dotted && first != Some('-')
}

/// False for the pronoun: an `I` before a word or an apostrophe.
fn is_option(text: &str, at: usize) -> bool {
    let mut next = after(text, at);
    let first = next.next();
    let word = first == Some(' ') && next.next().is_some_and(char::is_alphabetic);
    !(text[at..].starts_with('I') && (word || first.is_some_and(|c| "'’".contains(c))))
}

/// True for an `A` that begins a phrase: a word follows it, and no bracket or mark stands before it.
fn is_article(text: &str, at: usize, c: char) -> bool {
    let mut next = after(text, at);
    let word = next.next() == Some(' ')
        && next.next().is_some_and(|c| c.is_lowercase() || c.is_uppercase());
    let named = ["option ", "choice ", "letter ", "Option ", "Choice ", "Letter "];
    let named = named.iter().any(|name| text[..at].ends_with(name));
    c == 'A' && word && !named && !before(text, at).is_some_and(|c| "([*".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gold_answers_are_letters() {
        for (written, wanted) in [
            ("b", Some("B")),
            ("(B)", Some("B")),
            ("B.", Some("B")),
            ("2", None),
            ("Paris", None),
            ("", None),
        ] {
            assert_eq!(gold(written).as_deref(), wanted, "{written}");
        }
    }

    proptest! {
        /// A statement at the end counts, after any text.
        #[test]
        fn a_statement_at_the_end_counts(
            words in r"([A-Ja-j]\.? |I'm |A |[a-z]{2,5} |\(c\) |\n){0,12}", option in 0usize..10
        ) {
            let wanted = letter(option);
            let text = format!("{words}\nThe answer is ({wanted}).");
            prop_assert_eq!(answer(&text, 10), Some(wanted));
        }

        #[test]
        fn only_letters_that_are_options_come_out(text in r"[A-Z() .'éI]{0,20}", options in 0usize..27) {
            if let Some(found) = answer(&text, options) {
                prop_assert!((0..options).any(|index| letter(index) == found));
            }
        }
    }
}
