//! Numbers that JSON does not have, as Python writes them: `NaN`, `Infinity`, `-Infinity`.

use std::collections::VecDeque;
use std::io::Read;

/// Passes JSON on and puts those words into quotes, so that a parser comes as far as the place
/// where they stand and can say which entry it is.
pub(super) struct QuotedWords<R> {
    inner: R,
    ready: VecDeque<u8>,
    word: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Outside,
    String,
    Escape,
}

impl<R: Read> QuotedWords<R> {
    pub(super) fn new(inner: R) -> Self {
        let (ready, word) = (VecDeque::new(), Vec::new());
        Self { inner, ready, word, state: State::Outside }
    }

    fn push(&mut self, byte: u8) {
        match self.state {
            State::Outside if byte.is_ascii_alphanumeric() || b"+-.".contains(&byte) => {
                self.word.push(byte);
                return;
            }
            State::Outside => {
                self.end_word();
                if byte == b'"' {
                    self.state = State::String;
                }
            }
            State::String if byte == b'\\' => self.state = State::Escape,
            State::String if byte == b'"' => self.state = State::Outside,
            State::String => {}
            State::Escape => self.state = State::String,
        }
        self.ready.push_back(byte);
    }

    fn end_word(&mut self) {
        let quote = matches!(&self.word[..], b"NaN" | b"Infinity" | b"-Infinity");
        self.ready.extend(quote.then_some(b'"'));
        self.ready.extend(self.word.drain(..));
        self.ready.extend(quote.then_some(b'"'));
    }
}

impl<R: Read> Read for QuotedWords<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let mut input = [0; 8192];
        while self.ready.is_empty() {
            let len = self.inner.read(&mut input)?;
            input[..len].iter().for_each(|&byte| self.push(byte));
            if len == 0 {
                self.end_word();
                break;
            }
        }
        self.ready.read(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time: words come in pieces.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            (out[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    fn passed(text: &str) -> String {
        let mut out = String::new();
        QuotedWords::new(Slowly(text.as_bytes())).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn only_the_words_outside_strings_are_quoted() {
        assert_eq!(passed("[NaN,-Infinity , 1e-3]"), "[\"NaN\",\"-Infinity\" , 1e-3]");
        assert_eq!(passed("Infinity"), "\"Infinity\"");
        for unchanged in [r#"{"NaN": "a \" NaN", "ü": true}"#, "[1, -2.5E+7, null]", ""] {
            assert_eq!(passed(unchanged), unchanged);
        }
    }
}
