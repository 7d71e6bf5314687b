//! One spelling per formula. Only spelling is changed; nothing is computed but fractions of whole
//! numbers.
//!
//! Follows the normalisation published with MATH (Hendrycks et al., arXiv 2103.03874,
//! `math_equivalence.py`) but for these differences:
//! 1. numbers are compared by value (`0.50`, `1/2` and `\frac12` are one), also in tuples and lists;
//! 2. text wrappers are removed;
//! 3. a mixed number is not a product;
//! 4. the left side of `=` is dropped, unless the equation is that of a curve.

use super::{Pattern, compile, number};

/// Spellings without meaning, between spaces.
const DROPPED: &str = r"\left \right \displaystyle \qquad \quad \( \) ° \! \, \; \: ^{\circ} ^\circ
    \degree \$ \% % $";

static FRACTION: Pattern = Pattern::new(|| compile(r"^(-?)\\frac\{(-?)(\d+)\}\{(-?)(\d+)\}$"));
static PLAIN: Pattern =
    Pattern::new(|| compile(r"^[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:/\d+)?$"));
static UNIT: Pattern = Pattern::new(|| {
    compile(r"([\w)}])\s*\\(?:text|textrm|mathrm|mbox)\{\s*[a-z][^}]*\}(?:\^\{?\d\}?)?$")
});
static SIZE: Pattern = Pattern::new(|| compile(r"\\[bB]igg?[lr]?([^A-Za-z]|$)"));
/// `36 cm`, `90 degrees`, `20 square feet`: words after a number.
static BARE_UNIT: Pattern =
    Pattern::new(|| compile(r"^([-+$]?[\d.,/]*\d)(?:\s+[a-z]{2,})+(?:\^\{?\d\}?)?$"));
static WRAPPER: Pattern = Pattern::new(|| {
    compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|boldsymbol|mbox)\{([^{}]*)\}")
});
/// Braces that TeX does not need.
static ONE_IN_BRACES: Pattern = Pattern::new(|| compile(r"([\^_])\{(\w)\}"));
static SLASH: Pattern = Pattern::new(|| compile(r"(\d*\\[A-Za-z]+|\d+)/(\d+)"));
/// A comma and a space always separate elements.
static LIST: Pattern = Pattern::new(|| compile(r",\s+"));
static LETTER: Pattern = Pattern::new(|| compile(r"^\(([A-Z])\)$"));
static MIXED: Pattern = Pattern::new(|| compile(r"^(-?)(\d+) *\\frac\{(\d+)\}\{(\d+)\}$"));
/// Arguments that TeX takes without braces.
static BARE_ROOT: Pattern = Pattern::new(|| compile(r"\\sqrt\s*([0-9A-Za-z])"));
static BARE_FRACTION: Pattern = Pattern::new(|| {
    let argument = r"\s*(?:\{([^{}]*)\}|([0-9A-Za-z]|\\[A-Za-z]+))";
    compile(&format!(r"\\frac{argument}{argument}"))
});

/// The equation of a curve: a square of a coordinate.
static CURVE: Pattern = Pattern::new(|| compile(r"[xyz]\^"));
/// Equations side by side.
static SEVERAL: Pattern = Pattern::new(|| compile(r"\b(?:or|and)\b"));

/// A name that an answer may repeat: `x`, `\theta`, `a_{10}`, `f(x)`, `Area`.
static NAME: Pattern =
    Pattern::new(|| compile(r"^\\?[A-Za-z]+(?:_(?:\w|\{\w+\}))?(?:\([a-z]\))?$"));

/// Stands for the end of a row, `\\`, while single backslashes are handled.
const ROW: &str = "\u{1}";
/// Stands for a comma that separates.
const SEPARATOR: &str = "\u{2}";

pub(super) fn canonical(formula: &str) -> String {
    let mut text = formula.replace("\\\\", ROW).replace(['\n', '~'], " ");
    text = text.replace("{,}", ",").replace(",\\!", ",").replace("\\ ", " ");
    for dropped in DROPPED.split_whitespace() {
        text = text.replace(dropped, "");
    }
    text = text.replace("dfrac", "frac").replace("tfrac", "frac").replace("\\cfrac", "\\frac");
    text = SIZE.replace_all(&text.replace("{bmatrix}", "{pmatrix}"), "$1").into_owned();
    text = text.trim().trim_end_matches('.').trim().to_owned();
    text = UNIT.replace(&text, "$1").into_owned();
    text = WRAPPER.replace_all(&text, "$1").into_owned();
    text = right_side(&text).trim().to_owned();
    text = BARE_UNIT.replace(&text, "$1").into_owned();
    text = BARE_ROOT.replace_all(&text, "\\sqrt{$1}").into_owned();
    text = BARE_FRACTION.replace_all(&text, "\\frac{$1$2}{$3$4}").into_owned();
    text = ONE_IN_BRACES.replace_all(&text, "$1$2").into_owned();
    if let Some(mixed) = MIXED.captures(&text) {
        let fraction = number::improper(&mixed[2], &mixed[3], &mixed[4]);
        if let Some(fraction) = fraction {
            text = format!("{}{fraction}", &mixed[1]);
        }
    }
    text = LIST.replace_all(&text, SEPARATOR).into_owned();
    text.retain(|c| !c.is_whitespace());
    if let Some(letter) = LETTER.captures(&text) {
        return letter[1].to_owned();
    }
    elements(&text).replace(ROW, "\\\\")
}

/// The formula with its numbers by value: of a list or a tuple, every element.
fn elements(text: &str) -> String {
    let brackets = |open: char, close: char| {
        let inside = text.strip_prefix(open)?.strip_suffix(close)?;
        (!inside.contains(['(', ')', '[', ']'])).then_some(inside)
    };
    // Intervals may be open on one side.
    let pairs = [('(', ')'), ('[', ']'), ('(', ']'), ('[', ')')];
    if let Some(inside) = pairs.into_iter().find_map(|(open, close)| brackets(open, close)) {
        let (open, close) = (&text[..1], &text[text.len() - 1..]);
        let each: Vec<String> = inside.split([',', '\u{2}']).map(element).collect();
        return format!("{open}{}{close}", each.join(","));
    }
    if text.contains(SEPARATOR) && !text.contains(['(', '[', '{']) {
        let each: Vec<String> = text.split(SEPARATOR).map(element).collect();
        let list = each.join(",");
        // A list that looks like a number is not one.
        return if PLAIN.is_match(&list) { each.join(";") } else { list };
    }
    element(&text.replace(SEPARATOR, ","))
}

/// One spelling of a number or of a formula without commas.
fn element(text: &str) -> String {
    if let Some(number) = value(text) {
        return number;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    SLASH.replace_all(text, "\\frac{$1}{$2}").into_owned()
}

/// The right side of `=` or `\in`: an answer may repeat the question's name for it. Several equations
/// stay whole, and so do equations of curves: `x + y = 0` is not 0.
fn right_side(text: &str) -> &str {
    let member = || {
        let found = text.rmatch_indices("\\in").map(|(at, sign)| (at, &text[at + sign.len()..]));
        let mut found = found.filter(|(_, right)| !right.starts_with(char::is_alphabetic));
        found.next().map(|(at, right)| (&text[..at], right))
    };
    let Some((left, right)) = text.rsplit_once('=').or_else(member) else {
        return text;
    };
    let named = |side: &str| NAME.is_match(side.trim()) || !side.contains(char::is_alphabetic);
    let whole = right.trim() == "0" && !left.split('=').all(named)
        || CURVE.is_match(left)
        || SEVERAL.is_match(left)
        || has_outer_comma(left);
    if whole { text } else { right }
}

fn has_outer_comma(text: &str) -> bool {
    let mut depth = 0i32;
    text.chars().any(|c| {
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        c == ',' && depth <= 0
    })
}

/// The canonical number, if the text is one.
fn value(text: &str) -> Option<String> {
    if let Some(parts) = FRACTION.captures(text) {
        let negative = [1, 2, 4].iter().filter(|sign| !parts[**sign].is_empty()).count() % 2 == 1;
        let minus = if negative { "-" } else { "" };
        return Some(number::canonical(&format!("{minus}{}/{}", &parts[3], &parts[5])));
    }
    let is_number = PLAIN.is_match(text) && text.contains(|c: char| c.is_ascii_digit());
    is_number.then(|| number::canonical(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every line has the spellings of one answer; no two lines have the same answer.
    #[test]
    fn spellings_of_one_answer_are_one() {
        let lines: Vec<Vec<String>> = include_str!("formulas.txt")
            .lines()
            .map(|line| line.split(" ≡ ").map(canonical).collect())
            .collect();
        assert_eq!(lines.len(), 38);
        for (index, line) in lines.iter().enumerate() {
            assert!(line.iter().all(|spelling| *spelling == line[0]), "{line:?}");
            assert!(lines[index + 1..].iter().all(|other| other[0] != line[0]), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_formula_makes_it_panic(text in r"(\\frac|\\sqrt|\\text|[{}=.,/$%0-9a-z -])*") {
            let once = canonical(&text);
            prop_assert!(!once.contains(' '));
        }
    }
}
