//! Numbers in prose.

use std::ops::Range;

use super::{Pattern, boxed, compile};

/// A number: sign, currency, digits with or without thousands separators, decimals, one fraction
/// bar.
const NUMBER: &str = r"[-+−–]?[$€£]?(?:(?:\d{1,3}(?:,\d{3})+\b|\d+)(?:\.\d+)?|\.\d+)(?:/\d+)?";

static ANY: Pattern = Pattern::new(|| compile(NUMBER));
/// A few words may follow a verb (`the answer is about 5`), but not a colon, which begins a text.
static SAID: Pattern = Pattern::new(|| {
    compile(&format!(
        "(?:{}|{})({NUMBER})",
        r"(?i-u:\banswers?\b[*_]*\s*(?:(?:is|are|was|be)\b|=))[^\d\n.−–+-]{0,40}?",
        r"(?i-u:\banswers?\b[*_]*\s*:[*_]*)[^\d\n.−–+A-Za-z-]{0,20}?"
    ))
});
/// `#### 5` to the end of the line; with more text it is a heading.
static MARKED: Pattern =
    Pattern::new(|| compile(&format!(r"(?m)####\s*({NUMBER}[^\n]*?)[^\S\n]*\.?[^\S\n]*$")));
static SUM: Pattern =
    Pattern::new(|| compile(&format!(r"^(?:{NUMBER})(?:\s*[-+*/×·=]\s*(?:{NUMBER}))*$")));
static WORD_FOR_WORD: Pattern =
    Pattern::new(|| compile(&format!(r"The answer is ({NUMBER})\.(?:\D|$)")));
static FRACTION: Pattern = Pattern::new(|| {
    compile(r"(\d*)(\s*)\\[dt]?frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))")
});
/// `2 1/2`, but neither a part of `1.2 1/2` nor of a date.
static MIXED: Pattern = Pattern::new(|| compile(r"(^|[^\d.,/])(\d+)\s+(\d+)/(\d+)\b"));
/// An explanation follows these words, not the rest of a sum.
static EXPLAINS: Pattern = Pattern::new(|| {
    compile(
        r"(?i-u:\b(?:because|since|as|for|which|that|so|where|when|if|but|and|not|while|with|at|given|after)\b)|[,;:(]",
    )
});
static DENIES: Pattern = Pattern::new(|| compile(r"(?i-u:\b(?:not|never|cannot)\b|n't\b|n’t)"));

/// The number of the last statement, else the last number, in canonical form.
///
/// Statements are `answer is N`, `#### N` and `\boxed{N}`. The last one counts, because texts correct
/// themselves; it goes before later numbers, because texts explain themselves. A denial (`is not 5`)
/// or a question (`is 5?`) is not a statement. Of a stated sum (`40 hours * 2 = 80 hours`) the result
/// counts.
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

/// The number of the last `answer is N`, if it is not a part of a formula.
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

/// Does the statement deny its answer?
pub(super) fn denies(statement: &str) -> bool {
    DENIES.is_match(statement)
}

/// The numbers that are stated in words, with their places.
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

/// The first sentence. It ends at a point that no digit follows.
fn sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or(text);
    let ends = line.match_indices('.').map(|(at, _)| at);
    let mut ends = ends.filter(|at| !line[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    &line[..ends.next().unwrap_or(line.len())]
}

/// The right side of the last `=`, unless that explains the left side.
fn result(stated: &str) -> &str {
    match stated.rsplit_once('=') {
        Some((sum, result)) if !EXPLAINS.is_match(sum) => result,
        _ => stated,
    }
}

fn first(text: &str) -> Option<String> {
    let found = ANY.find(text)?;
    Some(signed(text, found.start(), found.as_str()))
}

/// The number of the last sentence `The answer is N.`: an answer in the form that was asked.
pub(super) fn stated_word_for_word(text: &str) -> Option<String> {
    let last = WORD_FOR_WORD.captures_iter(text).last()?;
    Some(canonical(last.get(1)?.as_str()))
}

fn last(text: &str) -> Option<String> {
    let found = ANY.find_iter(text).last()?;
    Some(signed(text, found.start(), found.as_str()))
}

/// The `number` that stands at `at`.
///
/// A sign belongs to it unless it can be a minus between operands or a hyphen: `12 - 5` and `12-5`
/// end in 5, `is -5` in −5.
fn signed(text: &str, at: usize, number: &str) -> String {
    let unsigned = number.trim_start_matches(['-', '+', '−', '–']);
    let signed = unsigned.len() < number.len();
    let before = text[..at].chars().next_back();
    let operator = signed && before.is_some_and(|c| c.is_alphanumeric() || ")%}".contains(c));
    canonical(if operator { unsigned } else { number })
}

/// The text with LaTeX separators and fractions as in plain text, and mixed numbers as fractions.
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

/// `2` and `1/3` as `7/3`. `None` if there is no whole part, or the fraction is not proper.
pub(super) fn improper(whole: &str, above: &str, below: &str) -> Option<String> {
    let [whole, above, below] = [whole, above, below].map(|digits| digits.parse::<u64>().ok());
    let (whole, above, below) = (whole?, above?, below?);
    let above = (above < below).then(|| whole.checked_mul(below)?.checked_add(above))??;
    Some(format!("{above}/{below}"))
}

/// One spelling per number: no currency, separators, plus sign or needless zeros. A fraction is a
/// decimal if that ends (`1/2` is `0.5`), else in lowest terms.
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

/// A fraction with more decimals stays a fraction.
const DECIMALS: usize = 12;

/// `above / below`: a decimal if that ends soon, else in lowest terms. `None` if the numbers are not
/// whole, do not fit into 64 bits, or divide by 0.
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
