//! Reading an answer out of a text. No answer is `None`, which equals no gold answer.

use std::sync::LazyLock;

use regex::Regex;

/// A number: sign, digits with or without thousands separators, decimals.
const NUMBER: &str = r"[-+−]?(?:\d{1,3}(?:,\d{3})+\b|\d+)(?:\.\d+)?|[-+−]?\.\d+";

static ANY_NUMBER: LazyLock<Regex> = LazyLock::new(|| compile(NUMBER));
static STATED: LazyLock<Regex> =
    LazyLock::new(|| compile(&format!(r"The answer is ({NUMBER})\.(?:\D|$)")));

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant, and tests compile it")
}

/// The last number of a text, in canonical form.
///
/// A sign belongs to the number only where it cannot be a minus between two operands or a hyphen:
/// `12 - 5` and `12-5` end in 5, `is -5` in −5.
pub(super) fn last_number(text: &str) -> Option<String> {
    let last = ANY_NUMBER.find_iter(text).last()?;
    let number = last.as_str();
    let unsigned = number.trim_start_matches(['-', '+', '−']);
    let signed = unsigned.len() < number.len();
    let before = text[..last.start()].chars().next_back();
    let operator = signed && before.is_some_and(|c| c.is_alphanumeric() || ")%".contains(c));
    Some(canonical(if operator { unsigned } else { number }))
}

/// The number of the last sentence `The answer is N.`: an answer in the form that was asked.
pub(super) fn stated_answer(text: &str) -> Option<String> {
    let last = STATED.captures_iter(text).last()?;
    Some(canonical(last.get(1)?.as_str()))
}

/// One spelling per number: no separators, no plus, no needless zeros.
fn canonical(number: &str) -> String {
    let plain: String = number.replace(',', "").replace('−', "-");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let decimals = decimals.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if whole == "0" && decimals.is_empty() { "" } else { sign };
    let point = if decimals.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{decimals}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_number_golden() {
        for (text, wanted) in [
            ("so it is 1,234.", Some("1234")),
            ("12 apples and 3 pears", Some("3")),
            ("2 + 2 = 4.0", Some("4")),
            ("costs $3.50.", Some("3.5")),
            ("the change is -5 degrees", Some("-5")),
            ("the change is −5 degrees", Some("-5")),
            ("12-5", Some("5")),
            ("12 - 5", Some("5")),
            ("from 10-20", Some("20")),
            ("1,23", Some("23")),
            ("1,2345", Some("2345")),
            ("007", Some("7")),
            ("-0", Some("0")),
            ("nothing here", None),
            ("", None),
        ] {
            assert_eq!(last_number(text).as_deref(), wanted, "{text:?}");
        }
    }

    #[test]
    fn stated_answer_golden() {
        for (text, wanted) in [
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
        ] {
            assert_eq!(stated_answer(text).as_deref(), wanted, "{text:?}");
        }
    }
}
