//! Numbers in prose.

use std::ops::Range;

use super::{Pattern, boxed, compile};

/// A number: sign, currency, digits with or without thousands separators, decimals, one fraction
/// bar.
const NUMBER: &str = r"[-+−–]?[$€£]?(?:(?:\d{1,3}(?:,\d{3})+\b|\d+)(?:\.\d+)?|\.\d+)(?:/\d+)?";

static ANY: Pattern = Pattern::new(|| compile(NUMBER));
/// After a verb a few words may follow; a heading with a colon begins a text of its own.
static SAID: Pattern = Pattern::new(|| {
    compile(&format!(
        "(?:{}|{})({NUMBER})",
        r"(?i-u:\banswers?\b[*_]*\s*(?:(?:is|are|was|be)\b|=))[^\d\n.−–+-]{0,40}?",
        r"(?i-u:\banswers?\b[*_]*\s*:[*_]*)[^\d\n.−–+A-Za-z-]{0,20}?"
    ))
});
/// Behind `####` the line ends: it is a heading otherwise.
static MARKED: Pattern =
    Pattern::new(|| compile(&format!(r"(?m)####\s*({NUMBER}[^\n]*?)[^\S\n]*\.?[^\S\n]*$")));
static SUM: Pattern =
    Pattern::new(|| compile(&format!(r"^(?:{NUMBER})(?:\s*[-+*/×·=]\s*(?:{NUMBER}))*$")));
static WORD_FOR_WORD: Pattern =
    Pattern::new(|| compile(&format!(r"The answer is ({NUMBER})\.(?:\D|$)")));
static FRACTION: Pattern = Pattern::new(|| {
    compile(r"(\d*)(\s*)\\[dt]?frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))")
});
/// `2 1/2`, which is neither `12 1/2` cut short nor a date.
static MIXED: Pattern = Pattern::new(|| compile(r"(^|[^\d.,/])(\d+)\s+(\d+)/(\d+)\b"));
/// Behind them an explanation follows, not the rest of a sum.
static EXPLAINS: Pattern = Pattern::new(|| {
    compile(
        r"(?i-u:\b(?:because|since|as|for|which|that|so|where|when|if|but|and|not|while|with|at|given|after)\b)|[,;:(]",
    )
});
static DENIES: Pattern = Pattern::new(|| compile(r"(?i-u:\b(?:not|never|cannot)\b|n't\b|n’t)"));

/// The number of the last statement, else the last number, in canonical form.
///
/// Statements are `answer is N`, `#### N` and `\boxed{N}`; the last one counts, because texts
/// correct themselves, and it counts more than numbers behind it, because texts explain themselves.
/// A statement that is denied (`is not 5`) or asked (`is 5?`) is none. Of a stated sum (`40 hours *
/// 2 = 80 hours`) its result counts.
pub(super) fn answer(text: &str) -> Option<String> {
    let text = plain(text);
    let marked = MARKED.captures_iter(&text).filter_map(|found| {
        let line = found.get(1)?;
        SUM.is_match(line.as_str()).then_some(())?;
        Some((line.start(), last(line.as_str())?))
    });
    let boxes = boxed::boxes(&text).into_iter();
    let boxed = boxes.filter_map(|(at, formula)| Some((at, first(result(formula))?)));
    let in_words = said(&text).map(|(place, number)| (place.start, number));
    let stated = in_words.chain(marked).chain(boxed).max_by_key(|(at, _)| *at);
    stated.map(|(_, number)| number).or_else(|| last(&text))
}

/// The number of the last `answer is N`, if it is no part of a formula.
pub(super) fn in_words(text: &str) -> Option<String> {
    let text = plain(text);
    let alone = |at: usize, end: usize| {
        let next = text[end..].trim_start_matches(' ').chars().next();
        let attached = text[end..].chars().next().is_some_and(char::is_alphabetic);
        let filler = &text[text[..at].rfind(['\n', '.']).unwrap_or(0)..at];
        !attached
            && !next.is_some_and(|c| "\\^_+-*/=({".contains(c))
            && !filler.contains(['\\', '(', '√'])
    };
    said(&text).filter(|(place, _)| alone(place.start, place.end)).last().map(|(_, number)| number)
}

/// Whether what is stated is said not to be so.
pub(super) fn denies(statement: &str) -> bool {
    DENIES.is_match(statement)
}

/// Where a number is stated in words, and which one it states.
fn said(text: &str) -> impl Iterator<Item = (Range<usize>, String)> {
    SAID.captures_iter(text).filter_map(move |found| {
        let (all, number) = (found.get(0)?, found.get(1)?);
        let denied = denies(&text[all.start()..number.start()]);
        let asked = text[number.end()..].starts_with('?');
        if denied || asked {
            return None;
        }
        let sentence = sentence(&text[number.start()..]);
        let whole = result(sentence);
        let result = if whole.len() < sentence.len() { first(whole) } else { None };
        Some((
            number.range(),
            result.unwrap_or_else(|| signed(text, number.start(), number.as_str())),
        ))
    })
}

/// Up to its end: a point that no digit follows.
fn sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or(text);
    let ends = line.match_indices('.').map(|(at, _)| at);
    let mut ends = ends.filter(|at| !line[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    &line[..ends.next().unwrap_or(line.len())]
}

/// What is behind the last `=`, unless it explains what is before.
fn result(stated: &str) -> &str {
    match stated.rsplit_once('=') {
        Some((sum, result)) if !EXPLAINS.is_match(sum) => result,
        _ => stated,
    }
}

/// The first number of a text.
fn first(text: &str) -> Option<String> {
    let found = ANY.find(text)?;
    Some(signed(text, found.start(), found.as_str()))
}

/// The number of the last sentence `The answer is N.`: an answer in the form that was asked.
pub(super) fn stated_word_for_word(text: &str) -> Option<String> {
    let last = WORD_FOR_WORD.captures_iter(text).last()?;
    Some(canonical(last.get(1)?.as_str()))
}

/// The last number of a text.
fn last(text: &str) -> Option<String> {
    let found = ANY.find_iter(text).last()?;
    Some(signed(text, found.start(), found.as_str()))
}

/// The `number` that stands at `at`.
///
/// A sign belongs to it only where that cannot be a minus between two operands or a hyphen:
/// `12 - 5` and `12-5` end in 5, `is -5` in −5.
fn signed(text: &str, at: usize, number: &str) -> String {
    let unsigned = number.trim_start_matches(['-', '+', '−', '–']);
    let signed = unsigned.len() < number.len();
    let before = text[..at].chars().next_back();
    let operator = signed && before.is_some_and(|c| c.is_alphanumeric() || ")%}".contains(c));
    canonical(if operator { unsigned } else { number })
}

/// LaTeX spellings of separators and fractions, as plain text has them; mixed numbers as fractions.
fn plain(text: &str) -> String {
    let text = text.replace("{,}", ",").replace(",\\!", ",").replace("\\$", "$");
    let text = FRACTION.replace_all(&text, |parts: &regex::Captures<'_>| {
        let part = |a, b| parts.get(a).or(parts.get(b)).map_or("", |m| m.as_str());
        let (above, below) = (part(3, 4), part(5, 6));
        improper(&parts[1], above, below)
            .unwrap_or_else(|| format!("{}{}{above}/{below}", &parts[1], &parts[2]))
    });
    let text = MIXED.replace_all(&text, |parts: &regex::Captures<'_>| {
        let mixed = improper(&parts[2], &parts[3], &parts[4]);
        mixed.map_or_else(|| parts[0].to_owned(), |fraction| format!("{}{fraction}", &parts[1]))
    });
    text.into_owned()
}

/// `2` and `1/3` as `7/3`; none if there is no whole part, or the rest is no proper fraction.
pub(super) fn improper(whole: &str, above: &str, below: &str) -> Option<String> {
    let [whole, above, below] = [whole, above, below].map(|digits| digits.parse::<u64>().ok());
    let (whole, above, below) = (whole?, above?, below?);
    let above = (above < below).then(|| whole.checked_mul(below)?.checked_add(above))??;
    Some(format!("{above}/{below}"))
}

/// One spelling per number: no currency, no separators, no plus, no needless zeros; a fraction is a
/// decimal where that ends (`1/2` is `0.5`), and in lowest terms where not.
pub(super) fn canonical(number: &str) -> String {
    let plain: String = number.replace([',', '$', '€', '£'], "").replace(['−', '–'], "-");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let value = match digits.split_once('/') {
        Some((above, below)) => quotient(above, below).unwrap_or_else(|| digits.to_owned()),
        None => decimal(digits),
    };
    if value == "0" { value } else { format!("{sign}{value}") }
}

/// Digits and at most one point, without needless zeros.
fn decimal(digits: &str) -> String {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let decimals = decimals.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if decimals.is_empty() { "" } else { "." };
    format!("{whole}{point}{decimals}")
}

/// More decimals than this are left a fraction.
const DECIMALS: usize = 12;

/// `above / below`: a decimal if it ends soon, else in lowest terms. None if it is no quotient of
/// two whole numbers that fit.
fn quotient(above: &str, below: &str) -> Option<String> {
    let (above, below): (u64, u64) = (above.parse().ok()?, below.parse().ok()?);
    if below == 0 {
        return None;
    }
    let divisor = gcd(above, below);
    let (above, below) = (above / divisor, below / divisor);
    let mut decimals = String::new();
    let mut rest = u128::from(above % below);
    while rest != 0 && decimals.len() < DECIMALS {
        rest *= 10;
        decimals.push(char::from(b'0' + (rest / u128::from(below)) as u8));
        rest %= u128::from(below);
    }
    if rest != 0 {
        return Some(format!("{above}/{below}"));
    }
    Some(decimal(&format!("{}.{decimals}", above / below)))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(read: fn(&str) -> Option<String>, cases: &[(&str, Option<&str>)]) {
        for (text, wanted) in cases {
            assert_eq!(read(text).as_deref(), *wanted, "{text:?}");
        }
    }

    #[test]
    fn the_last_number_where_nothing_is_stated() {
        check(
            answer,
            &[
                ("so it is 1,234.", Some("1234")),
                ("12 apples and 3 pears", Some("3")),
                ("2 + 2 = 4.0", Some("4")),
                ("costs $3.50.", Some("3.5")),
                ("12-5", Some("5")),
                ("12 - 5", Some("5")),
                ("from 10-20", Some("20")),
                ("1,23", Some("23")),
                ("1,2345", Some("2345")),
                ("007", Some("7")),
                ("50%", Some("50")),
                ("nothing here", None),
                ("", None),
            ],
        );
    }

    /// The published pattern dropped the minus of whole numbers: `x = -5` gave 5.
    #[test]
    fn signs() {
        check(
            answer,
            &[
                ("x = -5", Some("-5")),
                ("the change is -5 degrees", Some("-5")),
                ("the change is −5 degrees", Some("-5")),
                ("The answer is -5.", Some("-5")),
                ("The answer is: −12", Some("-12")),
                ("a loss of -$5", Some("-5")),
                ("(3)-5", Some("5")),
                ("-0", Some("0")),
                ("+7", Some("7")),
            ],
        );
    }

    /// The published comparison held 3.0 and 3 for different, and gave 2 for a half.
    #[test]
    fn decimals_and_fractions() {
        check(
            answer,
            &[
                ("3.0", Some("3")),
                ("3.10", Some("3.1")),
                (".5", Some("0.5")),
                (r"\frac{1}{2}", Some("0.5")),
                (r"\frac12", Some("0.5")),
                (r"-\dfrac{3}{4}", Some("-0.75")),
                ("1/3", Some("1/3")),
                ("2/6", Some("1/3")),
                ("16/2", Some("8")),
                ("The answer is 3/4.", Some("0.75")),
                ("5/0", Some("5/0")),
                ("1/98765432109876543210", Some("1/98765432109876543210")),
            ],
        );
    }

    #[test]
    fn separators() {
        check(
            answer,
            &[
                ("$1,234,567.50", Some("1234567.5")),
                (r"1{,}234", Some("1234")),
                (r"10,\!000", Some("10000")),
                (r"\$18", Some("18")),
                ("The answer is $80,000.", Some("80000")),
                ("1, 2, 3", Some("3")),
            ],
        );
    }

    #[test]
    fn a_stated_answer_goes_before_what_follows_it() {
        check(
            answer,
            &[
                ("The answer is 18. She sells 9 eggs at $2.", Some("18")),
                ("The answer is 18 because 16 - 3 - 4 = 9.", Some("18")),
                ("The answer is 5. No: the answer is 6. There are 2 of them.", Some("6")),
                ("The answer is 3 + 4 = 7. It took 2 steps.", Some("7")),
                ("#### 18\nThat was step 3.", Some("18")),
                ("#### 2. Sum\n 4 + 5 = 9", Some("9")),
                ("**Answer:** 42 (from 6 and 7)", Some("42")),
                ("The final answer is $\\boxed{12}$, in 3 steps.", Some("12")),
                ("The final answer is therefore $12, of 30.", Some("12")),
                (r"\boxed 5 and 6", Some("5")),
                ("The answer is not clear. 12 or 13", Some("13")),
                ("The answers are 4 in 5 cases", Some("4")),
                ("I answered 7 questions", Some("7")),
                ("Answer: Pat has 84 keys and buys 7 more. Now there are 91.", Some("91")),
                ("Answer = 12 (of 30)", Some("12")),
                ("Answer:\n\n$12 of 30", Some("30")),
                ("The correct answer is that she makes $18, in 3 steps.", Some("18")),
            ],
        );
    }

    #[test]
    fn mixed_numbers_are_one_number() {
        check(
            answer,
            &[
                (r"The answer is $2\frac{1}{2}$.", Some("2.5")),
                (r"\boxed{2\frac{1}{2}}", Some("2.5")),
                (r"He ate $2\frac{1}{2}$ pizzas", Some("2.5")),
                ("The answer is 2 1/2", Some("2.5")),
                ("it is 5 1/2.", Some("5.5")),
                ("on 12 3/1", Some("3")),
                (r"step 3: \frac{1}{2}", Some("0.5")),
            ],
        );
    }

    #[test]
    fn of_a_stated_sum_the_result_counts() {
        check(
            answer,
            &[
                ("The answer is 40 hours * 2 = 80 hours", Some("80")),
                ("The answer is 3 boxes of 4 = 12 apples.", Some("12")),
                (r"The answer is 3 \times 4 = 12.", Some("12")),
                ("The answer is (3 + 4) * 2 = 14.", Some("14")),
                ("The answer is 2^3 = 8.", Some("8")),
                ("The answer is 20% of 50 = 10 apples", Some("10")),
                (r"\boxed{3 \times 4 = 12}", Some("12")),
                ("The answer is 12 for n = 3.", Some("12")),
                ("The answer is 18, since 2 * 9 = 18. And 7.", Some("18")),
                ("The answer is 3.5 + 1 = 4.5.", Some("4.5")),
                ("#### 3 + 4 = 7", Some("7")),
            ],
        );
    }

    #[test]
    fn what_is_denied_or_asked_is_no_statement() {
        check(
            answer,
            &[
                ("The answer is not 5. It is 6.", Some("6")),
                ("The answer is 5? No, 6.", Some("6")),
                ("The answer isn't 5, it is 6.", Some("6")),
                ("The answer is 4. So the answer is not 5.", Some("4")),
            ],
        );
    }

    #[test]
    fn the_number_of_a_box_is_in_it() {
        check(
            answer,
            &[
                (r"\boxed{\text{18}} in 3 steps", Some("18")),
                (r"\boxed{\mathbf{18}} in 3 steps", Some("18")),
                (r"\boxed{x=5} which is 3 more", Some("5")),
                (r"\boxed{10 cm^2}, 3 steps", Some("10")),
                (r"\boxed{\text{Evelyn}} in 3 steps", Some("3")),
                (r"\boxed{-5}", Some("-5")),
            ],
        );
    }

    #[test]
    fn stated_word_for_word_golden() {
        check(
            stated_word_for_word,
            &[
                ("3 + 4 = 7. The answer is 7.", Some("7")),
                ("The answer is 7. The answer is 8.", Some("8")),
                ("The answer is 7", None),
                ("the answer is 7.", None),
                ("The answer is 12.\nQ: next", Some("12")),
                ("The answer is -3.", Some("-3")),
                ("The answer is seven.", None),
                ("The answer is 12.5 km", None),
                ("The answer is 12.5.", Some("12.5")),
                ("7", None),
            ],
        );
    }

    /// `number` with a separator after every third digit.
    fn separated(number: u64) -> String {
        let digits = number.to_string();
        let groups: Vec<&str> = digits
            .as_bytes()
            .rchunks(3)
            .rev()
            .filter_map(|g| std::str::from_utf8(g).ok())
            .collect();
        groups.join(",")
    }

    proptest! {
        #[test]
        fn any_spelling_of_a_whole_number_is_that_number(n in any::<i64>(), zeros in 0usize..3) {
            let sign = if n < 0 { "-" } else { "" };
            let size = n.unsigned_abs();
            let point = if zeros > 0 { "." } else { "" };
            let spelt = format!("{sign}{}{point}{}", separated(size), "0".repeat(zeros));
            for text in [format!("it is {spelt}."), format!("The answer is {spelt}. 7 of 9"), spelt] {
                prop_assert_eq!(answer(&text), Some(n.to_string()));
            }
        }

        #[test]
        fn a_fraction_equals_its_decimal(above in 0u64..1_000_000, power in 0u32..7) {
            let below = 10u64.pow(power);
            let decimal = format!("{:.*}", power as usize, above as f64 / below as f64);
            prop_assert_eq!(canonical(&format!("{above}/{below}")), canonical(&decimal));
        }

        #[test]
        fn canonical_numbers_stay_as_they_are(text in r"[-+]?\d{1,9}(\.\d{1,6}|/[1-9]\d{0,5})?") {
            let once = canonical(&text);
            prop_assert_eq!(canonical(&once), once);
        }
    }
}
