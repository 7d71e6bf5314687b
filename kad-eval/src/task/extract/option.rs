//! Letters of multiple-choice answers.

use super::{Pattern, STATES, compile};

/// The letter of option `index`.
pub(crate) fn letter(index: usize) -> String {
    let index = u8::try_from(index).unwrap_or(u8::MAX).min(25);
    char::from(b'A' + index).to_string()
}

/// `The answer is: option **(B)**`, `the correct choice is B`, `\boxed{\text{B}}`.
static STATED: Pattern = Pattern::new(|| {
    let words = r"(?:\s|therefore|clearly|most|likely|probably|the|option|choice|letter|,)*";
    let marks = r#"[\s(\[*_"'`$]*(?:\\text(?:bf)?\{)?[(]?"#;
    let called = r"(?i-u:\b(?:option|choice)\s+is\b:?)";
    compile(&format!(
        r"(?:(?:{STATES}|{called})(?i-u:{words}){marks}|\\f?box(?:ed)?\s*\{{?{marks})([A-Z])(?:[^A-Za-z0-9_]|$)"
    ))
});
/// A letter in parentheses, capital or not.
static PARENTHESISED: Pattern = Pattern::new(|| compile(r"\(([A-Za-z])\)"));

/// The letter of the last statement, else the last letter that stands alone, of the first `options`.
pub(super) fn answer(text: &str, options: usize) -> Option<String> {
    let valid = |c: char| ('A'..).take(options).any(|letter| letter == c);
    let stated = STATED.captures_iter(text).filter_map(|found| found.get(1));
    // `captures_iter` gives no overlapping matches, which these cannot have.
    let stated = stated.filter(|found| is_option(text, found.start()));
    let of = |at: usize| text[at..].chars().next().filter(|c| valid(*c));
    if let Some(found) = stated.filter_map(|found| of(found.start())).last() {
        return Some(found.to_string());
    }
    let alone = text.char_indices().filter(|(at, c)| valid(*c) && stands_alone(text, *at));
    let alone = alone.filter(|(at, c)| is_option(text, *at) && !is_article(text, *at, *c));
    let small = PARENTHESISED.captures_iter(text).filter_map(|found| {
        let found = found.get(1)?;
        let letter = found.as_str().chars().next()?.to_ascii_uppercase();
        valid(letter).then_some((found.start(), letter))
    });
    alone.chain(small).max_by_key(|(at, _)| *at).map(|(_, letter)| letter.to_string())
}

fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

fn after(text: &str, at: usize) -> std::str::Chars<'_> {
    let mut rest = text[at..].chars();
    rest.next();
    rest
}

/// Neither part of a word nor of an abbreviation.
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

/// False for the pronoun: an `I` that a word follows, or an apostrophe.
fn is_option(text: &str, at: usize) -> bool {
    let mut next = after(text, at);
    let first = next.next();
    let word = first == Some(' ') && next.next().is_some_and(char::is_alphabetic);
    !(text[at..].starts_with('I') && (word || first.is_some_and(|c| "'’".contains(c))))
}

/// True for an `A` that begins a phrase: a word follows, and no bracket or mark is around it.
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

    fn check(options: usize, cases: &[(&str, Option<&str>)]) {
        for (text, wanted) in cases {
            assert_eq!(answer(text, options).as_deref(), *wanted, "{text:?}");
        }
    }

    #[test]
    fn statements() {
        check(
            5,
            &[
                ("The answer is B.", Some("B")),
                ("The answer is (C).", Some("C")),
                ("**Answer: D**", Some("D")),
                ("**Answer:** D", Some("D")),
                ("answer is option B because A is wrong", Some("B")),
                ("The correct choice is E", Some("E")),
                (r"\boxed{B}", Some("B")),
                (r"$\boxed{\text{C}}$", Some("C")),
                (r"\boxed{\text{(D)}}", Some("D")),
                ("The correct answer is: C) library", Some("C")),
                ("The answer is therefore most likely D.", Some("D")),
                ("The answer is A because birds fly.", Some("A")),
                ("The answer is Boston", None),
                ("The answer is B1", None),
            ],
        );
    }

    #[test]
    fn the_last_statement_counts() {
        check(
            4,
            &[
                ("The answer is B. Wait. The answer is C.", Some("C")),
                ("The answer is B. It is not A, C or D.", Some("B")),
                ("Answer: B\n\nQuestion 2 has options A and D", Some("B")),
            ],
        );
    }

    /// The published pattern took the pronoun for option I, and the article for option A.
    #[test]
    fn neither_pronoun_nor_article() {
        check(
            10,
            &[
                ("The answer is B. I'm confident.", Some("B")),
                ("B. I think so", Some("B")),
                ("It is B, I’m sure. A bird can fly.", Some("B")),
                ("C is right. A bird can fly.", Some("C")),
                ("I do not know.", None),
                ("A bird can fly.", None),
                ("The answer is I don't know", None),
                ("The answer is I.", Some("I")),
                ("The answer is A.", Some("A")),
                ("It is (A) a bird", Some("A")),
                ("Therefore option A fits", Some("A")),
                ("A", Some("A")),
                ("A) bird", Some("A")),
                ("**A** bird", Some("A")),
            ],
        );
    }

    #[test]
    fn letters_that_stand_alone() {
        check(
            4,
            &[
                ("so it must be C", Some("C")),
                ("(b) is right", Some("B")),
                ("B.\n", Some("B")),
                ("at 5 A.M. in Washington D.C.", None),
                ("Dr. B-side", None),
                ("E", None),
                ("an X", None),
                ("", None),
                ("no letter", None),
                ("é(C)é", Some("C")),
            ],
        );
        check(0, &[("A", None), ("The answer is A.", None)]);
        check(13, &[("The answer is M.", Some("M"))]);
    }

    proptest! {
        /// Whatever stands around it, a statement at the end is what counts.
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
