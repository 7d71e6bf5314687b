//! Test models and files.

#[allow(dead_code, reason = "each feature and the example `conformance` use a part")]
pub(crate) mod backends;
pub(crate) mod gguf;
pub(crate) mod golden;
#[cfg(feature = "ort")]
pub(crate) mod graphs;
pub(crate) mod hf;
pub(crate) mod tiny;

use std::fmt::{self, Display, Write};
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Names of the models that come with kad.
pub(crate) fn nano_names() -> Vec<String> {
    let names = kad_backends::nano_models();
    assert!(names.len() >= 5, "Nano is part of the checkout: {names:?}");
    names
}

/// A variable that an ignored test needs.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Error messages, each after its case, for `insta::assert_snapshot!`.
#[derive(Default)]
pub(crate) struct Messages(String);

impl Messages {
    /// Adds a message after the first 100 characters of its case.
    pub(crate) fn add(&mut self, case: impl Display, message: &str) {
        let case: String = case.to_string().chars().take(100).collect();
        writeln!(self.0, "{case}\n    {message}").unwrap();
    }
}

impl Display for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `message` without the path of `folder`.
pub(crate) fn without(folder: &Path, message: &str) -> String {
    message.replace(folder.to_str().unwrap(), "[FOLDER]")
}

/// Random numbers in `[-scale, scale)`.
pub(crate) fn random(seed: u64, count: usize, scale: f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| (rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * scale).collect()
}

/// Little-endian bytes.
pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// GPT-2's character of every byte, by its definition.
pub(crate) fn byte_alphabet() -> Vec<char> {
    let printable = |byte: u32| {
        (33..=126).contains(&byte) || (161..=172).contains(&byte) || (174..=255).contains(&byte)
    };
    let mut next = 256;
    (0..256u32)
        .map(|byte| {
            let code = if printable(byte) { byte } else { next };
            next += u32::from(!printable(byte));
            char::from_u32(code).unwrap()
        })
        .collect()
}

/// A small byte-level BPE: three special tokens, the bytes, and the merged tokens.
pub(crate) struct SmallBpe {
    pub(crate) tokens: Vec<String>,
    pub(crate) merges: Vec<[&'static str; 2]>,
}

pub(crate) const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

pub(crate) fn small_bpe() -> SmallBpe {
    let merges = vec![
        ["h", "e"],
        ["l", "l"],
        ["he", "ll"],
        ["hell", "o"],
        ["Ġ", "w"],
        ["Ġw", "o"],
        ["1", "2"],
        ["12", "3"],
        ["Ċ", "Ċ"],
        ["Ã", "©"],
    ];
    let mut tokens: Vec<String> = SPECIAL.iter().map(|&token| token.to_owned()).collect();
    tokens.extend(byte_alphabet().into_iter().map(String::from));
    tokens.extend(merges.iter().map(|pair| pair.concat()));
    SmallBpe { tokens, merges }
}

/// Texts on which tokenizers differ: cases, numbers, white space, scripts, code, emoji.
pub(crate) const TEXTS: [&str; 20] = [
    "hello world",
    "Hello, World! It's 12:30; don't we'LL I'M they'd",
    "  leading and trailing  ",
    "1234567890 3.14159 1,000,000 v2.0.1",
    "tabs\tand\nnewlines\r\n\r\n  \n\n   mixed\n",
    "fn main() {\n    let x = vec![1, 2, 3];\n    println!(\"{x:?}\");\n}\n",
    "def f(x):\n\treturn x**2 if x >= 0 else -x  # comment\n",
    "naïve café résumé Ångström",
    "cafe\u{301} A\u{30a} decomposed",
    "日本語のテキスト と 中文字符 한국어",
    "Привет, мир! Ελληνικά עברית العربية",
    "👩‍👩‍👧‍👦 🇫🇷 🚀🚀 👍🏽 ❤️",
    "½ ² ٣ Ⅷ ⑨ 一二三",
    "<|im_start|>user\nhi<|im_end|>\n",
    "https://example.org/a?b=c&d=%20#frag",
    "a\u{a0}b\u{2003}c\u{200b}d\u{3000}e",
    "....!!!???---___***///\\\\\\",
    "αβγ∑∫√≤≥≠∞ $x^2 + y_1$",
    "                    deep indentation",
    "ｆｕｌｌｗｉｄｔｈ ﬁ ligature ẞß İi ǅ",
];
