//! Letters of multiple-choice answers.

use super::{Pattern, STATES, compile};

/// The letter of option `index`.
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
/// Options are talked about, not chosen.
static OTHERS: Pattern = Pattern::new(|| {
    let every = r"(?i-u:\b(?:each|every|any)\s+(?:answer|option|choice))";
    let wrong = r"(?i-u:\b(?:wrong|incorrect|other)\s+(?:answer|option|choice))";
    compile(&format!(r"(?:{every}|{wrong}\s+(?:is|was))[^A-Za-z]*$"))
});
/// A, B and C.
static ENUMERATES: Pattern =
    Pattern::new(|| compile(r"^[)*]*(?:,\s*\(?[A-Z]\b|\s+(?:and|or)\s+\(?[A-Z]\b)"));
/// A line that begins with an option as the prompt lists it: `D). A and B only`.
static LABEL: Pattern = Pattern::new(|| {
    compile(r"(?m)^[ \t*_>#-]*(?:\(([A-Z])\)|([A-Z])(?:\)\.?|[.:]))[*_]*[^\S\n]+([^\n]*)$")
});
static VERB: Pattern = Pattern::new(|| compile(r"^(?i-u:is|are|was|and|or|can|may|I)\b"));
/// A letter in parentheses, capital or not.
static PARENTHESISED: Pattern = Pattern::new(|| compile(r"\(([A-Za-z])\)"));

/// The letter of the last statement, else the last letter that stands alone, of the first
/// `options`. Of a line that repeats an option, only its letter counts.
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

/// The letter of a right answer: nothing but a letter, and what it is written in.
pub(super) fn gold(answer: &str) -> Option<String> {
    let letter = answer.trim_matches(|c: char| !c.is_alphanumeric()).to_uppercase();
    (letter.len() == 1 && letter.starts_with(|c: char| c.is_ascii_uppercase())).then_some(letter)
}

/// Where letters are stated to be the answer.
fn stated(text: &str) -> Vec<usize> {
    // Neither pattern has overlapping matches, which `captures_iter` would not give.
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

/// The letter of a reply that is nothing but a small one: `b)`.
fn bare(text: &str) -> Option<usize> {
    let reply = text.trim().trim_end_matches([')', '.']);
    let only = reply.len() == 1 && reply.starts_with(|c: char| c.is_ascii_lowercase());
    only.then(|| text.len() - text.trim_start().len())
}

/// Whether the A at `at` is the article of a phrase: a word follows that explains nothing.
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
    fn statements_in_other_words() {
        check(
            5,
            &[
                ("B is the correct answer, because A and C are wrong.", Some("B")),
                ("Option B is the best choice. Option C is wrong.", Some("B")),
                ("Therefore, B. Option A is wrong because it is cold.", Some("B")),
                ("Answer choice B is correct; D is wrong", Some("B")),
                ("The correct letter is B, not C", Some("B")),
                ("So it must be (C).\nA and B do not fit.", Some("C")),
                ("Answer: b", Some("B")),
                ("the answer is b.", Some("B")),
                ("b)", Some("B")),
                ("b", Some("B")),
                ("The answer is a bird.", None),
            ],
        );
    }

    /// What is talked about is not chosen.
    #[test]
    fn no_statements() {
        check(
            4,
            &[
                ("The possible answers are:\nA) x\nB) y\nC) z\n\nThe best one is B.", Some("B")),
                (
                    "Let us look at each answer:\n\nA). x is wrong.\nB). y is right.\n\nSo it is B.",
                    Some("B"),
                ),
                ("Answer: A, B and C are wrong. D", Some("D")),
                ("The answer is A construction crew builds an iron bridge. (B)", Some("B")),
            ],
        );
    }

    /// The form in which the prompt lists them.
    #[test]
    fn of_a_line_that_repeats_an_option_its_letter_counts() {
        check(
            4,
            &[
                ("D). A and B only", Some("D")),
                ("B). 0°C", Some("B")),
                ("**C. Both A and B**", Some("C")),
                ("(D) A lot", Some("D")),
                ("A). x is wrong.\nSo it is B.", Some("B")),
                ("(A) is wrong, so it is (B).", Some("B")),
                ("B. I think so", Some("B")),
            ],
        );
    }

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
