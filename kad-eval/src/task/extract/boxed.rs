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

/// The contents of the last closed box, the innermost if boxes are nested. A text that was cut off
/// in a box has no answer there.
fn last_box(text: &str) -> Option<&str> {
    boxes(text).pop().map(|(_, contents)| contents)
}

/// The contents of every closed box, with their place.
pub(super) fn boxes(text: &str) -> Vec<(usize, &str)> {
    let starts =
        |command: &'static str| text.match_indices(command).map(|(at, found)| at + found.len());
    let mut ends: Vec<usize> = starts("\\boxed").chain(starts("\\fbox")).collect();
    ends.sort_unstable();
    ends.into_iter().filter_map(|at| Some((at, contents(&text[at..])?))).collect()
}

/// The argument of a box command: a group in braces, or one character or command as in TeX. Unlike
/// TeX, a number without braces is taken whole: its author meant so.
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

/// The contents of the braces at the beginning of `text`; `None` if they are not closed.
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

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"(\\boxed|\\fbox|[{}\\$ ]|answer is|é|5)*") {
            let _ = answer(&text);
        }

        #[test]
        fn balanced_contents_come_out_whole(depth in 0usize..9, inner in "[a-z]{1,5}") {
            let nested = format!("{}{inner}{}", "{".repeat(depth), "}".repeat(depth));
            let text = format!("\\boxed{{{nested}}} and more }}");
            prop_assert_eq!(last_box(&text), Some(nested.as_str()));
        }
    }
}
