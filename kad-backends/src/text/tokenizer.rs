//! Tokenizers: text to token ids and back.

use std::collections::BTreeSet;
use std::path::Path;

use kad_core::{Fingerprint, TokenId, Vocab};
use sha2::{Digest, Sha256};

use crate::error::LoadError;

/// A tokenizer from a `tokenizer.json` or a GGUF file.
///
/// ```
/// use kad_backends::{ModelFiles, Source, nano_models};
/// # if nano_models().is_empty() { return Ok(()); }
/// let path = Source::Nano("large-base".to_owned()).resolve(&|_| ())?;
/// let tokenizer = ModelFiles::open(&path)?.tokenizer;
/// let ids = tokenizer.encode("Tom has 12 apples.", false)?;
/// assert_eq!(tokenizer.decode(&ids, true)?, "Tom has 12 apples.");
/// assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab().size()));
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocab: Vocab,
    spelling: ByteEncoding,
    special: BTreeSet<TokenId>,
    ids: SpecialIds,
}

/// Beginning-of-sequence and end-of-text tokens, which `tokenizer.json` does not name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpecialIds {
    pub(crate) bos: Option<TokenId>,
    pub(crate) eos: BTreeSet<TokenId>,
}

/// Encoding of a token's bytes in its vocabulary string.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ByteEncoding {
    /// GPT-2's alphabet: one printable character per byte.
    ByteLevel,
    /// `▁` is a space, `<0xNN>` a byte.
    SentencePiece,
    /// UTF-8.
    Plain,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Its truncation and padding are disabled.
    ///
    /// ```
    /// use kad_backends::{Source, Tokenizer, nano_models};
    /// # if nano_models().is_empty() { return Ok(()); }
    /// let folder = Source::Nano("large-base".to_owned()).resolve(&|_| ())?;
    /// let tokenizer = Tokenizer::from_file(&folder.join("tokenizer.json"))?;
    /// assert!(!tokenizer.encode("Hello", false)?.is_empty());
    /// # Ok::<(), kad_backends::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::Io`]; [`LoadError::Corrupt`] for an unusable file.
    pub fn from_file(path: &Path) -> Result<Self, LoadError> {
        let json = std::fs::read(path).map_err(LoadError::io(path))?;
        Self::from_json(&json, SpecialIds::default()).map_err(|error| match error {
            LoadError::Tokenizer { message } => LoadError::corrupt(path, message),
            other => other,
        })
    }

    pub(crate) fn from_json(json: &[u8], ids: SpecialIds) -> Result<Self, LoadError> {
        let mut inner = parse(json)?;
        inner.with_truncation(None).map_err(failed)?;
        inner.with_padding(None);
        // A set of pairs: two strings may share an id, and both are part of the fingerprint.
        let tokens: BTreeSet<(TokenId, String)> =
            inner.get_vocab(true).into_iter().map(|(text, id)| (id, text)).collect();
        let size = tokens.last().map_or(0, |(id, _)| *id as usize + 1);
        if size == 0 {
            return Err(LoadError::Tokenizer { message: "the vocabulary is empty".to_owned() });
        }
        let added = inner.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id).collect();
        let vocab = Vocab::new(size, fingerprint(&tokens));
        Ok(Self { spelling: ByteEncoding::of(&inner)?, inner, vocab, special, ids })
    }

    pub(crate) fn set_special(&mut self, ids: SpecialIds) {
        self.ids = ids;
    }

    /// Token ids of `text`. A special token in the text (`<|im_end|>`) becomes one token.
    ///
    /// With `add_special` the tokenizer adds the special tokens that the model expects around a
    /// text, such as the beginning-of-sequence token. Use false for rendered chat templates, which
    /// contain them.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`].
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<TokenId>, LoadError> {
        let encoding = guarded(|| self.inner.encode_fast(text, add_special))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of `ids`; invalid UTF-8 becomes `U+FFFD`. `skip_special` leaves out special tokens.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`].
    pub fn decode(&self, ids: &[TokenId], skip_special: bool) -> Result<String, LoadError> {
        guarded(|| self.inner.decode(ids, skip_special))
    }

    /// Readable text of one token; bytes that are no UTF-8 are shown as `\xNN`.
    pub fn token_text(&self, id: TokenId) -> String {
        let bytes = self.bytes(id);
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => error.as_bytes().utf8_chunks().fold(String::new(), |text, chunk| {
                let escaped = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
                text + chunk.valid() + &escaped.collect::<String>()
            }),
        }
    }

    /// Bytes of a token; empty for an unknown id.
    pub fn bytes(&self, id: TokenId) -> Vec<u8> {
        self.inner.id_to_token(id).map_or_else(Vec::new, |token| self.spelling.bytes(&token))
    }

    /// Size and fingerprint of the vocabulary. The size is the largest id plus one.
    pub fn vocab(&self) -> Vocab {
        self.vocab
    }

    /// Id of a token by its vocabulary string.
    pub fn id_of(&self, token: &str) -> Option<TokenId> {
        self.inner.token_to_id(token)
    }

    /// Vocabulary string of a token.
    pub fn token(&self, id: TokenId) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// True for control tokens, which are not part of the output.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.special.contains(&id)
    }

    /// The beginning-of-sequence token, even if [`encode`](Self::encode) does not add it.
    pub fn bos(&self) -> Option<TokenId> {
        self.ids.bos
    }

    /// Tokens that end a text or a message.
    pub fn eos(&self) -> Vec<TokenId> {
        self.ids.eos.iter().copied().collect()
    }

    /// Incremental decoder without special tokens.
    pub fn stream(&self) -> TokenStream<'_> {
        TokenStream { tokenizer: self, pending: Vec::new(), show_special: false }
    }

    /// Incremental decoder that shows special tokens.
    pub fn stream_with_special(&self) -> TokenStream<'_> {
        TokenStream { show_special: true, ..self.stream() }
    }
}

/// Parses a `tokenizer.json`; checks the JSON syntax first for a better message.
fn parse(json: &[u8]) -> Result<tokenizers::Tokenizer, LoadError> {
    let wrong = |message: String| LoadError::Tokenizer { message };
    let syntax = serde_json::from_slice::<serde::de::IgnoredAny>(json);
    syntax.map_err(|error| wrong(format!("it is not JSON: {error}")))?;
    guarded(|| tokenizers::Tokenizer::from_bytes(json))
}

/// Turns a panic of the tokenizer library into an error. It panics for some damaged settings (a
/// `Precompiled` normaliser, a pre-tokenizer of length 0).
fn guarded<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, LoadError> {
    // State observed after a panic is immutable or dropped with the error.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(failed),
        Err(_) => {
            let message = "the tokenizer library does not support one of its parts".to_owned();
            Err(LoadError::Tokenizer { message })
        }
    }
}

fn failed(error: tokenizers::Error) -> LoadError {
    LoadError::Tokenizer { message: error.to_string() }
}

/// SHA-256 over id, length and bytes of every token, in ascending order of ids.
fn fingerprint(tokens: &BTreeSet<(TokenId, String)>) -> Fingerprint {
    let mut hasher = Sha256::new();
    for (id, text) in tokens {
        hasher.update(id.to_le_bytes());
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    Fingerprint(hasher.finalize().into())
}

impl ByteEncoding {
    fn of(tokenizer: &tokenizers::Tokenizer) -> Result<Self, LoadError> {
        let decoder = serde_json::to_string(&tokenizer.get_decoder())
            .map_err(|error| LoadError::Tokenizer { message: error.to_string() })?;
        Ok(if decoder.contains("\"ByteLevel\"") {
            Self::ByteLevel
        } else if decoder.contains('▁') || decoder.contains("\"ByteFallback\"") {
            Self::SentencePiece
        } else {
            Self::Plain
        })
    }

    fn bytes(self, token: &str) -> Vec<u8> {
        let literal = || token.as_bytes().to_vec();
        match self {
            // A token with a character outside the alphabet was added literally.
            Self::ByteLevel => {
                token.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(literal)
            }
            Self::SentencePiece => match byte_token(token) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            },
            Self::Plain => literal(),
        }
    }
}

/// Byte of a character of GPT-2's alphabet. Printable Latin-1 characters stand for themselves, the
/// characters from 256 on for the 68 other bytes in order.
fn byte_of(c: char) -> Option<u8> {
    let is_itself = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match u32::from(c) {
        code @ 0..=255 => Some(code as u8).filter(|&byte| is_itself(byte)),
        code => (0..=255u8).filter(|&byte| !is_itself(byte)).nth(code as usize - 256),
    }
}

/// Byte of `<0xNN>`.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// Incremental decoder: turns tokens into text as they are generated. An incomplete character is
/// held back until its last byte arrives.
///
/// ```
/// use kad_backends::{ModelFiles, Source, nano_models};
/// # if nano_models().is_empty() { return Ok(()); }
/// let path = Source::Nano("large-base".to_owned()).resolve(&|_| ())?;
/// let tokenizer = ModelFiles::open(&path)?.tokenizer;
/// let mut stream = tokenizer.stream();
/// let ids = tokenizer.encode("12 apples", false)?;
/// let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
/// text += &stream.finish();
/// assert_eq!(text, "12 apples");
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
pub struct TokenStream<'t> {
    tokenizer: &'t Tokenizer,
    /// Bytes of an incomplete character: at most three between calls.
    pending: Vec<u8>,
    show_special: bool,
}

impl TokenStream<'_> {
    /// The text completed by the token `id`; often empty. Invalid bytes become `U+FFFD`.
    ///
    /// A leading space is kept, because a stream continues a text.
    pub fn push(&mut self, id: TokenId) -> String {
        if self.show_special || !self.tokenizer.is_special(id) {
            self.pending.extend(self.tokenizer.bytes(id));
        }
        let mut text = String::new();
        loop {
            let (valid, broken) = match std::str::from_utf8(&self.pending) {
                Ok(all) => (all.len(), None),
                Err(error) => (error.valid_up_to(), error.error_len()),
            };
            text.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
            self.pending.drain(..valid + broken.unwrap_or(0));
            if broken.is_none() {
                return text;
            }
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// The rest: `U+FFFD` for an incomplete character, or nothing.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_covers_every_byte_once() {
        let mut bytes: Vec<u8> = (0..=char::from_u32(323).map_or(0, u32::from))
            .filter_map(|code| byte_of(char::from_u32(code)?))
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(
            (byte_of('Ġ'), byte_of('Ċ'), byte_of('!')),
            (Some(b' '), Some(b'\n'), Some(b'!'))
        );
        assert_eq!((byte_of(' '), byte_of('\u{144}'), byte_of('字')), (None, None, None));
    }

    #[test]
    fn sentence_piece_spells_bytes_and_spaces() {
        assert_eq!(ByteEncoding::SentencePiece.bytes("<0xE2>"), [0xe2]);
        assert_eq!(ByteEncoding::SentencePiece.bytes("▁the"), b" the");
        assert_eq!(ByteEncoding::SentencePiece.bytes("<0xE>"), b"<0xE>");
    }
}
