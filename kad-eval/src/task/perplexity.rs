//! Perplexity of a text of the user: the probability of its tokens under a decoder's distribution.

use anyhow::{Result, bail};
use serde::Serialize;

use super::plan::UserFile;
use super::{Grading, Item, LoadOptions, LoadedItems, PlainFormat, SolvedItem, TaskKind, TaskSet};
use crate::failure::WrongRequest;
use crate::toml_table::{ConfigError, Table};

pub(super) static KIND: TaskKind = TaskKind {
    name: "perplexity",
    measures: "the probability of a text under the decoder's distribution",
    metric: "perplexity per token, bits per byte",
    items: 0,
    file: None,
    examples: None,
    hub: None,
    licence: "of your text",
    source: "a text file of yours",
    keys: "file = PATH; piece_bytes = 2000",
    sets,
};

#[derive(Serialize)]
struct PerplexityKeys {
    file: UserFile,
    piece_bytes: usize,
}

/// About 500 tokens of English.
const DEFAULT_PIECE_BYTES: usize = 2000;

fn sets(table: &Table<'_>) -> Result<Vec<TaskSet>, ConfigError> {
    let bytes = table.get("piece_bytes", |value| value.at_least_one("a piece has some text"))?;
    let piece_bytes = bytes.map_or(DEFAULT_PIECE_BYTES, std::num::NonZero::get);
    let file = UserFile::read(&table.required("file")?)?;
    let part = Some(file.stem());
    let set = TaskSet::new(PerplexityKeys { file, piece_bytes }, Grading::Text, load);
    Ok(vec![TaskSet { part, plain: PlainFormat::NONE, ..set }])
}

/// The text in pieces. Each is an item that is read from its beginning: so items do not depend on a
/// model's context length or tokens, and a run can stop between them. The first token of a piece
/// has no context and is not counted, unless the tokenizer puts one before it.
fn load(keys: &PerplexityKeys, _: LoadOptions<'_>) -> Result<LoadedItems> {
    let text = keys.file.text("text")?;
    let item = |(index, piece): (usize, &str)| -> SolvedItem {
        let (id, turns) = (format!("piece-{index:05}"), vec![piece.to_owned()]);
        Item { id, turns, ..Item::default() }.into()
    };
    let items: Vec<_> = pieces(&text, keys.piece_bytes).into_iter().enumerate().map(item).collect();
    if items.is_empty() {
        bail!(WrongRequest(format!("the text {} is empty", keys.file.path.display())));
    }
    Ok(LoadedItems { items, examples: None })
}

/// Consecutive pieces of at most `most` bytes, each up to its last line break, else its last space,
/// else its last whole character. A single character may be longer. Pieces of
/// white space are left out.
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
    // A break at the very beginning would leave an empty piece.
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
