//! One spelling per formula, as far as spelling goes: nothing is computed but fractions of whole
//! numbers.
//!
//! After the string normalisation published with MATH (Hendrycks et al., arXiv 2103.03874,
//! `math_equivalence.py`), with these differences: numbers are compared by value (`0.50`, `1/2` and
//! `\frac12` are one), text wrappers are removed, a mixed number is not a product, and what is before `=`
//! goes where it is a name of any length or a sum of numbers.

use super::{Pattern, compile, number};

/// Spellings without meaning.
const DROPPED: [&str; 13] = [
    "\\left",
    "\\right",
    "\\!",
    "\\,",
    "\\;",
    "\\:",
    "^{\\circ}",
    "^\\circ",
    "\\degree",
    "\\$",
    "\\%",
    "%",
    "$",
];

static FRACTION: Pattern = Pattern::new(|| compile(r"^(-?)\\frac\{(-?)(\d+)\}\{(\d+)\}$"));
static PLAIN: Pattern =
    Pattern::new(|| compile(r"^[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:/\d+)?$"));
static UNIT: Pattern =
    Pattern::new(|| compile(r"(\d|\})\s*\\(?:text|mathrm|mbox)\{\s*[a-z][^}]*\}(?:\^\{?\d\}?)?$"));
static WRAPPER: Pattern =
    Pattern::new(|| compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\{([^{}]*)\}"));
static LETTER: Pattern = Pattern::new(|| compile(r"^\(([A-Z])\)$"));
static MIXED: Pattern = Pattern::new(|| compile(r"^(-?)(\d+) *\\frac\{(\d+)\}\{(\d+)\}$"));
/// Arguments that TeX takes without braces.
static BARE_ROOT: Pattern = Pattern::new(|| compile(r"\\sqrt\s*([0-9A-Za-z])"));
static BARE_FRACTION: Pattern = Pattern::new(|| {
    compile(r"\\frac\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))")
});

/// What a name looks like that an answer may repeat: `x`, `\theta`, `a_{10}`, `f(x)`, `Area`.
static NAME: Pattern =
    Pattern::new(|| compile(r"^\\?[A-Za-z]+(?:_(?:\w|\{\w+\}))?(?:\([a-z]\))?$"));
static COMMAND: Pattern = Pattern::new(|| compile(r"\\[A-Za-z]+"));

/// Stands for the end of a row while single backslashes are looked at.
const ROW: &str = "\u{1}";

/// The canonical spelling of `formula`.
pub(super) fn canonical(formula: &str) -> String {
    let mut text = formula.replace("\\\\", ROW).replace(['\n', '~'], " ");
    text = text.replace("{,}", ",").replace("\\ ", " ");
    for dropped in DROPPED {
        text = text.replace(dropped, "");
    }
    text = text.replace("dfrac", "frac").replace("tfrac", "frac").replace("\\cfrac", "\\frac");
    text = text.trim().trim_end_matches('.').trim().to_owned();
    text = UNIT.replace(&text, "$1").into_owned();
    text = WRAPPER.replace_all(&text, "$1").into_owned();
    text = right_side(&text).trim().to_owned();
    text = BARE_ROOT.replace_all(&text, "\\sqrt{$1}").into_owned();
    text = BARE_FRACTION.replace_all(&text, "\\frac{$1$2}{$3$4}").into_owned();
    if let Some(mixed) = MIXED.captures(&text) {
        text = improper(&mixed).unwrap_or(text);
    }
    text.retain(|c| !c.is_whitespace());
    let text = text.replace(ROW, "\\\\");
    if let Some(letter) = LETTER.captures(&text) {
        return letter[1].to_owned();
    }
    value(&text).unwrap_or(text)
}

/// What is behind `=` or `\in`, if what is before only names it, or is a sum of numbers: an answer may
/// repeat what was asked for. An equation in unknowns stays whole: `x + y = 0` is not 0.
fn right_side(text: &str) -> &str {
    let cut = text.rsplit_once('=').or_else(|| {
        text.rsplit_once("\\in").filter(|(_, right)| !right.starts_with(char::is_alphabetic))
    });
    let Some((left, right)) = cut else {
        return text;
    };
    let names = |side: &str| {
        let side = side.trim();
        NAME.is_match(side) || !COMMAND.replace_all(side, "").contains(char::is_alphabetic)
    };
    if left.split('=').all(names) { right } else { text }
}

/// `2\frac{1}{3}` as `\frac{7}{3}`.
fn improper(parts: &regex::Captures<'_>) -> Option<String> {
    let part = |index: usize| parts[index].parse::<u64>().ok();
    let (whole, above, below) = (part(2)?, part(3)?, part(4)?);
    let above = whole.checked_mul(below)?.checked_add(above)?;
    Some(format!("{}\\frac{{{above}}}{{{below}}}", &parts[1]))
}

/// The canonical number, if it is one.
fn value(text: &str) -> Option<String> {
    if let Some(parts) = FRACTION.captures(text) {
        let minus = if parts[1].is_empty() == parts[2].is_empty() { "" } else { "-" };
        return Some(number::canonical(&format!("{minus}{}/{}", &parts[3], &parts[4])));
    }
    let is_number = PLAIN.is_match(text) && text.contains(|c: char| c.is_ascii_digit());
    is_number.then(|| number::canonical(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each line holds spellings of one answer; no two lines share one.
    const SAME: [&[&str]; 22] = [
        &[
            "0.5",
            ".5",
            "1/2",
            r"\frac{1}{2}",
            r"\frac12",
            r"\dfrac{1}{2}",
            r"\frac 12",
            "0.50",
            r"\frac{2}{4}",
        ],
        &[r"-\frac{1}{2}", r"\frac{-1}{2}", "-0.5", "-1/2"],
        &[
            "12",
            "12.",
            "12.0",
            r"\$12",
            r"12\%",
            "x=12",
            r"12^\circ",
            r"12\text{ cm}",
            r"12 \mathrm{cm}^2",
        ],
        &["1234", "1,234", "1{,}234", r"1,\!234"],
        &[r"\frac{3}{7}", "3/7", r"\tfrac{3}{7}"],
        &[r"2\frac{1}{3}", r"2 \frac{1}{3}", r"\frac{7}{3}"],
        &[r"\sqrt{3}", r"\sqrt3"],
        &[r"3\sqrt{3}", r"3 \sqrt{ 3 }"],
        &[r"(3,\frac{\pi}{2})", r"\left( 3, \frac{\pi}{2} \right)"],
        &["Evelyn", r"\text{Evelyn}"],
        &["C", r"\text{(C)}", "(C)"],
        &["[1,2]", r"x \in [1, 2]", r"\left[1,2\right]"],
        &["(1,2)"],
        &["1,2"],
        &[r"\infty"],
        &["x+y=0", "x + y = 0"],
        &["0", "x = 0", r"\theta=0", "f(x)=0", "a_{10} = 0", "1 - 1 = 0", r"\text{Area} = 0"],
        &[r"\begin{pmatrix}1\\-2\end{pmatrix}", r"\begin{pmatrix} 1 \\ -2 \end{pmatrix}"],
        &[r"\begin{pmatrix}-1\\-2\end{pmatrix}"],
        &["2x+3", "y = 2x + 3"],
        &["6-5i", "6 - 5i"],
        &[r"\text{east}"],
    ];

    #[test]
    fn spellings_of_one_answer_are_one() {
        for row in SAME {
            for spelling in row {
                assert_eq!(canonical(spelling), canonical(row[0]), "{spelling}");
            }
        }
    }

    #[test]
    fn different_answers_stay_different() {
        for (i, row) in SAME.iter().enumerate() {
            for other in &SAME[i + 1..] {
                assert_ne!(canonical(row[0]), canonical(other[0]));
            }
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
