//! How likely a decoder's distribution holds a text: the perplexity of a file.

use anyhow::{Result, bail};

use super::{Frame, Grading, Item, Problem, Set};
use crate::config::TextPlan;
use crate::failure::WrongRequest;

/// The text in pieces, each an item that is read from its beginning: so items do not depend on a
/// model's context or tokens, and a run can stop between them. The first token of a piece has no
/// context and is not counted, unless the tokenizer puts one before it.
pub(super) fn load(plan: &TextPlan) -> Result<Set> {
    let path = &plan.file.path;
    let text = std::fs::read_to_string(path).map_err(|error| {
        let help = "a relative path is taken from the folder of the experiment file";
        WrongRequest(format!("cannot read the text {}: {error}; {help}", path.display()))
    })?;
    let most = usize::try_from(plan.piece_bytes).unwrap_or(usize::MAX);
    let problem = |(index, piece): (usize, &str)| {
        let (id, turns) = (format!("piece-{index:05}"), vec![piece.to_owned()]);
        Problem { item: Item { id, turns, ..Item::default() }, reply: String::new() }
    };
    let problems: Vec<Problem> = pieces(&text, most).into_iter().enumerate().map(problem).collect();
    if problems.is_empty() {
        bail!(WrongRequest(format!("the text {} is empty", path.display())));
    }
    Ok(Set { problems, examples: None, grading: Grading::Text, frame: Frame::NONE })
}

/// Consecutive pieces of at most `most` bytes: up to the last line break, else the last space, else
/// the last whole character. A single character may be longer. Pieces of nothing but space are left
/// out.
fn pieces(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(end(rest, most));
        pieces.push(piece);
        rest = after;
    }
    pieces.retain(|piece| !piece.trim().is_empty());
    pieces
}

fn end(rest: &str, most: usize) -> usize {
    if rest.len() <= most {
        return rest.len();
    }
    let whole = (0..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
    let head = &rest[..whole];
    // A break at the very beginning would leave nothing of the piece.
    let after = |c: char| head.rfind(c).map(|at| at + c.len_utf8());
    after('\n')
        .or_else(|| head.rfind(' ').filter(|at| *at > 0))
        .or(Some(whole).filter(|whole| *whole > 0))
        .unwrap_or_else(|| rest.chars().next().map_or(rest.len(), char::len_utf8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::pieces;

    #[test]
    fn pieces_end_at_lines_then_words_then_characters() {
        assert_eq!(pieces("ab\ncd\nef", 6), ["ab\ncd\n", "ef"]);
        assert_eq!(pieces("ab cd ef", 6), ["ab cd", " ef"]);
        assert_eq!(pieces("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(pieces("ééé", 3), ["é", "é", "é"]);
        assert_eq!(pieces("é", 1), ["é"]);
        assert_eq!(pieces("a\n \n", 2), ["a\n"]);
        assert!(pieces("", 3).is_empty());
    }

    proptest! {
        #[test]
        fn pieces_are_the_text(text in "[a-zé \n]{0,60}", most in 2usize..9) {
            let found = pieces(&text, most);
            prop_assert!(found.iter().all(|piece| piece.len() <= most));
            let letters = |text: &str| text.replace([' ', '\n'], "");
            prop_assert_eq!(letters(&found.concat()), letters(&text));
        }
    }
}
