//! A prompt with each option of an item behind it.

use anyhow::{Result, bail};
use kad_core::TokenId;

use super::{Model, Prompt};
use crate::task::{Item, letter};

/// Tokens of a prompt with each option of an item behind it.
pub(crate) struct Continuations {
    pub(crate) texts: Vec<Vec<TokenId>>,
    /// Length of the prefix that all texts and the prompt share. The tokens after it are scored.
    pub(crate) shared: usize,
}

/// The item's options behind `prompt`.
///
/// Each text is tokenized as a whole, as a model reads it. If a token spans the end of the prompt
/// in one text, scoring begins before that token in all of them. An option that adds no token is an
/// error.
pub(crate) fn continuations(
    prompt: &Prompt,
    speaker: &Model,
    item: &Item,
) -> Result<Continuations> {
    let space = if ends_open(&prompt.text) { "" } else { " " };
    let text = |option: &str| prompt.tokens(speaker, &format!("{space}{option}"));
    let texts: Vec<Vec<TokenId>> =
        item.options.iter().map(|option| text(&option.text)).collect::<Result<_>>()?;
    let shared = shared(&prompt.tokens(speaker, "")?, &texts);
    if shared == 0 {
        bail!("the prompt has no token that the options leave as it is");
    }
    match texts.iter().position(|text| text.len() <= shared) {
        Some(empty) => bail!("option {} adds no token to the prompt", letter(empty)),
        None => Ok(Continuations { texts, shared }),
    }
}

/// Length of the longest prefix of `prompt` that all `texts` begin with.
fn shared(prompt: &[TokenId], texts: &[Vec<TokenId>]) -> usize {
    let common = |text: &Vec<TokenId>| text.iter().zip(prompt).take_while(|(a, b)| a == b).count();
    texts.iter().map(common).min().unwrap_or(0)
}

/// True if a reply needs no space before it: after a line break, or a special token as `<|end|>`.
fn ends_open(text: &str) -> bool {
    text.chars().next_back().is_none_or(|last| last.is_whitespace() || last == '>')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token spans the end of the prompt: all options are scored from before it.
    #[test]
    fn scoring_begins_where_the_first_option_departs_from_the_prompt() {
        let texts = [vec![1, 2, 3, 8], vec![1, 2, 9], vec![1, 2, 3, 4, 5]];
        assert_eq!(shared(&[1, 2, 3], &texts), 2);
        assert_eq!(shared(&[1, 2, 3], &texts[..1]), 3);
        assert_eq!(shared(&[1, 2, 3], &[vec![4]]), 0);
    }

    #[test]
    fn a_reply_follows_a_space_unless_the_prompt_is_open() {
        for (text, open) in [
            ("Answer:", false),
            ("[/INST]", false),
            ("assistant\n", true),
            ("<|a|>", true),
            ("", true),
        ] {
            assert_eq!(ends_open(text), open, "{text:?}");
        }
    }
}
