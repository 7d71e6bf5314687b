//! Formulas in boxes.

use super::{Pattern, STATES, compile, math, number};

/// `answer is $…$`, `answer is \(…\)`.
static STATED: Pattern = Pattern::new(|| {
    compile(&format!(r"{STATES}[^\n.$\\]{{0,40}}?(?:\$+([^$\n]+)\$|\\\(([^\n]+?)\\\))"))
});

/// The contents of the last `\boxed` (or `\fbox`), else of the last `answer is $…$`, else the
/// number of the last `answer is N`, in canonical form.
pub(super) fn answer(text: &str) -> Option<String> {
    let dollars = text.replace("\\$", "");
    let stated = || {
        let stated = STATED.captures_iter(&dollars).filter(|found| !number::denies(&found[0]));
        let last = stated.last()?;
        Some(last.get(1).or_else(|| last.get(2))?.as_str())
    };
    let found = last_box(text).or_else(stated).map(math::canonical);
    found.filter(|formula| !formula.is_empty()).or_else(|| number::in_words(text))
}

/// The innermost of the last box that is closed: a text that was cut off in a box has no answer
/// there.
fn last_box(text: &str) -> Option<&str> {
    boxes(text).pop().map(|(_, contents)| contents)
}

/// Every box that is closed, by where it begins, and what is in it.
pub(super) fn boxes(text: &str) -> Vec<(usize, &str)> {
    let starts =
        |command: &'static str| text.match_indices(command).map(|(at, found)| at + found.len());
    let mut ends: Vec<usize> = starts("\\boxed").chain(starts("\\fbox")).collect();
    ends.sort_unstable();
    ends.into_iter().filter_map(|at| Some((at, contents(&text[at..])?))).collect()
}

/// What a box command is applied to: a group in braces, or what TeX takes without them: one
/// character or command. Numbers are taken whole, because that is what was meant.
fn contents(after: &str) -> Option<&str> {
    let bare = after.trim_start();
    if bare.starts_with('{') {
        return group(bare);
    }
    let number = |c: char| c.is_ascii_digit() || ".,/-".contains(c);
    let end = bare.find(|c| !number(c)).unwrap_or(bare.len());
    let found = bare[..end].trim_end_matches(['.', ',', '/', '-']);
    if !found.is_empty() {
        return Some(found);
    }
    let mut letters = bare.char_indices().skip(1).find(|(_, c)| !c.is_alphabetic());
    let end = if bare.starts_with('\\') {
        letters.take().map_or(bare.len(), |(at, _)| at)
    } else {
        bare.chars().next().filter(|c| c.is_alphanumeric())?.len_utf8()
    };
    Some(&bare[..end])
}

/// The inside of the braces that `text` begins with; None if they are not closed.
fn group(text: &str) -> Option<&str> {
    let (mut depth, mut escaped) = (0usize, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(&text[1..at]);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn boxes_golden() {
        for (text, wanted) in [
            (r"so $\boxed{5}$.", Some("5")),
            (r"\boxed{\frac{1}{2}}", Some("0.5")),
            (r"\boxed{\left( 3, \frac{\pi}{2} \right)}", Some(r"(3,\frac{\pi}{2})")),
            (r"\boxed{1} then \boxed{2}", Some("2")),
            (r"\boxed{\boxed{7}}", Some("7")),
            (r"\boxed{x^{2^{3}}+1}", Some("x^{2^3}+1")),
            (r"\boxed{\{1, 2\}}", Some(r"\{1,2\}")),
            (r"\boxed{x = 5}", Some("5")),
            (r"\boxed{-9}", Some("-9")),
            // The published pattern gave nothing for these two.
            (r"\boxed 5", Some("5")),
            (r"\fbox{3}", Some("3")),
            (r"$\boxed12$.", Some("12")),
            (r"\boxed -3.", Some("-3")),
            (r"\boxed\pi", Some(r"\pi")),
            (r"\boxed x", Some("x")),
            // Cut off: what was closed before counts.
            (r"\boxed{5", None),
            (r"\boxed{4} and \boxed{5", Some("4")),
            (r"\boxed{}", None),
            (r"\boxed", None),
            ("5", None),
            ("The answer is $5$.", Some("5")),
            (r"The final answer is \(\frac34\).", Some("0.75")),
            ("The answer is 5.", Some("5")),
            ("It is 5.", None),
            (r"The answer is $6$ or \boxed{5}", Some("5")),
            ("The answer is not $5$. It is $6$.", None),
            (r"The answer is $\$18.90$.", Some("18.9")),
            ("The answer is 5 because it fits.", Some("5")),
            ("The answer is 5 cm.", Some("5")),
            // A number out of a formula is another answer than the formula.
            (r"The answer is \sqrt{51}.", None),
            (r"The answer is 3\sqrt{13}.", None),
            (r"The answer is 11\pi.", None),
            (r"The answer is (3, \pi/2).", None),
            ("The answer is 6 - 5i.", None),
            ("The answer is 2x + 3.", None),
            (r"\boxed{p(8) = \frac{3}{56}}", Some("3/56")),
        ] {
            assert_eq!(answer(text).as_deref(), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"(\\boxed|\\fbox|[{}\\$ ]|answer is|é|5)*") {
            let _ = answer(&text);
        }

        #[test]
        fn whatever_is_balanced_comes_out_whole(depth in 0usize..9, inner in "[a-z]{1,5}") {
            let nested = format!("{}{inner}{}", "{".repeat(depth), "}".repeat(depth));
            let text = format!("\\boxed{{{nested}}} and more }}");
            prop_assert_eq!(last_box(&text), Some(nested.as_str()));
        }
    }
}
