//! Rebuilds the `tokenizer.json` of a GGUF file.
//!
//! The metadata hold tokens, token types and merges (or scores). They only name the pre-tokenizer,
//! in `tokenizer.ggml.pre`. [`PRETOKENIZERS`] lists the supported names; an unknown name is
//! refused, because a wrong pre-tokenizer would produce plausible but wrong token ids.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::metadata::Metadata;
use super::reader::Value;
use crate::error::LoadError;
use crate::text::tokenizer::{SpecialIds, Tokenizer};

/// Values of `tokenizer.ggml.token_type`.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNUSED: u64 = 5;

/// Pre-tokenizers by their names in `tokenizer.ggml.pre`.
const PRETOKENIZERS: [(&str, PreTokenizer); 10] = [
    ("smollm", PreTokenizer::Digits),
    ("starcoder", PreTokenizer::Digits),
    ("qwen2", PreTokenizer::Qwen2),
    ("deepseek-r1-qwen", PreTokenizer::Qwen2),
    ("llama-bpe", PreTokenizer::Llama3),
    ("llama3", PreTokenizer::Llama3),
    ("llama-v3", PreTokenizer::Llama3),
    // The name in OLMo-2's files: the first model with this pre-tokenizer.
    ("dbrx", PreTokenizer::Cl100k),
    ("gpt-2", PreTokenizer::Gpt2),
    ("default", PreTokenizer::Default),
];

#[derive(Clone, Copy, PartialEq)]
enum PreTokenizer {
    /// Each digit alone, the rest as GPT-2.
    Digits,
    Gpt2,
    Qwen2,
    Llama3,
    /// As Llama 3, but without `ignore_merges`.
    Cl100k,
    /// The default of llama.cpp for files without a name.
    Default,
}

impl Metadata {
    /// Builds the tokenizer of the file.
    ///
    /// # Errors
    /// [`LoadError::Config`] for contradictory metadata, [`LoadError::Unsupported`] for an unknown
    /// kind of tokenizer or pre-tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        let tokens = TokenTable::read(self)?;
        let key = "tokenizer.ggml.model";
        let json = match self.text(key)?.ok_or_else(|| self.wrong(key, "is missing"))? {
            "gpt2" => byte_level(self, &tokens)?,
            "llama" => sentence_piece(self, &tokens)?,
            other => {
                return Err(LoadError::unsupported("GGUF tokenizer", other, &["gpt2", "llama"]));
            }
        };
        let id = |key: &str| self.token_id(key);
        let eos = [
            id("tokenizer.ggml.eos_token_id")?,
            id("tokenizer.ggml.eot_token_id")?,
            id("tokenizer.ggml.eom_token_id")?,
        ];
        let special = SpecialIds {
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: eos.into_iter().flatten().collect(),
        };
        Tokenizer::from_json(&json.to_string().into_bytes(), special)
    }

    fn token_id(&self, key: &str) -> Result<Option<u32>, LoadError> {
        let id = self.natural(key)?.map(u32::try_from).transpose();
        id.map_err(|_| self.wrong(key, "is not a token id"))
    }
}

struct TokenTable<'a> {
    texts: Vec<&'a str>,
    types: Vec<u64>,
}

impl<'a> TokenTable<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self, LoadError> {
        let key = "tokenizer.ggml.tokens";
        let texts = texts(metadata, key)?;
        if texts.is_empty() {
            return Err(metadata.wrong(key, "is missing or empty"));
        }
        let key = "tokenizer.ggml.token_type";
        let types = match metadata.array(key)? {
            None => vec![1; texts.len()],
            Some(values) => values
                .iter()
                .map(|value| match value {
                    Value::Signed(n) => Ok(*n as u64),
                    Value::Unsigned(n) => Ok(*n),
                    _ => Err(metadata.wrong(key, "contains a value that is not a number")),
                })
                .collect::<Result<_, _>>()?,
        };
        if types.len() != texts.len() {
            let what = format!("has {} entries for {} tokens", types.len(), texts.len());
            return Err(metadata.wrong(key, what));
        }
        Ok(Self { texts, types })
    }

    /// Ids and texts of the tokens, without the padding of converters.
    fn present(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let padding =
            |id: usize| self.types[id] == UNUSED && self.texts[id] == format!("[PAD{id}]");
        self.texts.iter().copied().enumerate().filter(move |&(id, _)| !padding(id))
    }

    fn vocab(&self) -> Json {
        Json::Object(self.present().map(|(id, text)| (text.to_owned(), json!(id))).collect())
    }

    /// `added_tokens`: control tokens (special) and user-defined tokens.
    fn added(&self) -> Json {
        let token = |(id, text): (usize, &str)| {
            let special = match self.types[id] {
                CONTROL | UNKNOWN => true,
                USER_DEFINED => false,
                _ => return None,
            };
            Some(json!({
                "id": id, "content": text, "special": special, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            }))
        };
        self.present().filter_map(token).collect()
    }
}

fn texts<'a>(metadata: &'a Metadata, key: &str) -> Result<Vec<&'a str>, LoadError> {
    let text = |value: &'a Value| match value {
        Value::Text(text) => Ok(text.as_str()),
        _ => Err(metadata.wrong(key, "contains a value that is not a string")),
    };
    metadata.array(key)?.unwrap_or_default().iter().map(text).collect()
}

/// A byte-level BPE tokenizer like GPT-2's.
fn byte_level(metadata: &Metadata, tokens: &TokenTable<'_>) -> Result<Json, LoadError> {
    let key = "tokenizer.ggml.pre";
    let pre = metadata.text(key)?.unwrap_or("default");
    let known = || PRETOKENIZERS.map(|(name, _)| name);
    let kind = PRETOKENIZERS.iter().find(|(name, _)| *name == pre).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| LoadError::unsupported("GGUF pre-tokenizer", pre, &known()))?;
    let key = "tokenizer.ggml.merges";
    // A token may begin with a space, so the search for the separator starts at the second
    // character.
    let merge = |merge: &str| {
        let second = merge.char_indices().nth(1).map_or(merge.len(), |(at, _)| at);
        let space = merge[second..].find(' ').map(|at| at + second);
        let space = space.ok_or_else(|| {
            metadata.wrong(key, format!("contains `{merge}`, which is not a pair"))
        })?;
        Ok::<_, LoadError>(json!([&merge[..space], &merge[space + 1..]]))
    };
    let merges: Json = texts(metadata, key)?.into_iter().map(merge).collect::<Result<_, _>>()?;
    // Llama 3 encodes a word that is itself a token as this token, regardless of the merges.
    let ignore_merges = kind == PreTokenizer::Llama3;
    let add_bos =
        metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(kind == PreTokenizer::Llama3);
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(),
        "normalizer": if kind == PreTokenizer::Qwen2 { json!({"type": "NFC"}) } else { Json::Null },
        "pre_tokenizer": pre_tokenizer(kind),
        "post_processor": post_processor(metadata, tokens, add_bos)?,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "vocab": tokens.vocab(), "merges": merges, "ignore_merges": ignore_merges,
        },
    }))
}

fn pre_tokenizer(kind: PreTokenizer) -> Json {
    const CONTRACTIONS: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    // Words with at most one preceding symbol; numbers in groups of `digits`.
    let modern = |digits: &str| {
        split(&format!(
            r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ))
    };
    let mut steps = match kind {
        PreTokenizer::Digits => {
            vec![json!({"type": "Digits", "individual_digits": true}), split(GPT2)]
        }
        PreTokenizer::Gpt2 => vec![split(GPT2)],
        PreTokenizer::Qwen2 => vec![modern(r"\p{N}")],
        PreTokenizer::Llama3 | PreTokenizer::Cl100k => vec![modern(r"\p{N}{1,3}")],
        PreTokenizer::Default => vec![
            split(r"[\p{P}\$\+<=>\^~\|]+"),
            split(GPT2),
            split(r"\p{N}+"),
            split("[0-9][0-9][0-9]"),
        ],
    };
    steps.push(json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
    }));
    json!({"type": "Sequence", "pretokenizers": steps})
}

/// Adds the beginning-of-sequence and end-of-sequence tokens that the file asks for.
fn post_processor(
    metadata: &Metadata,
    tokens: &TokenTable<'_>,
    add_bos: bool,
) -> Result<Json, LoadError> {
    let add_eos = metadata.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
    let mut single = Vec::new();
    let mut special = Map::new();
    let mut add = |key: &str, single: &mut Vec<Json>| {
        let id = metadata.token_id(key)?.ok_or_else(|| metadata.wrong(key, "is missing"))?;
        let text = tokens.texts.get(id as usize);
        let text = *text.ok_or_else(|| metadata.wrong(key, "is outside the vocabulary"))?;
        single.push(json!({"SpecialToken": {"id": text, "type_id": 0}}));
        special.insert(text.to_owned(), json!({"id": text, "ids": [id], "tokens": [text]}));
        Ok::<(), LoadError>(())
    };
    if add_bos {
        add("tokenizer.ggml.bos_token_id", &mut single)?;
    }
    single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
    if add_eos {
        add("tokenizer.ggml.eos_token_id", &mut single)?;
    }
    if special.is_empty() {
        return Ok(Json::Null);
    }
    Ok(json!({
        "type": "TemplateProcessing", "single": single, "special_tokens": special,
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    }))
}

/// A SentencePiece BPE tokenizer: merges are ranked by the score of their result, unknown
/// characters fall back to bytes, and `▁` stands for a space.
fn sentence_piece(metadata: &Metadata, tokens: &TokenTable<'_>) -> Result<Json, LoadError> {
    let scores = scores(metadata, tokens)?;
    let unknown = tokens.types.iter().position(|&kind| kind == UNKNOWN);
    let prefix = metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let add_bos = metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(true);
    let mut normalizers =
        vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": post_processor(metadata, tokens, add_bos)?,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "vocab": tokens.vocab(), "merges": merges_by_score(tokens, &scores),
            "unk_token": unknown.map(|id| tokens.texts[id]), "fuse_unk": true, "byte_fallback": true,
        },
    }))
}

fn scores(metadata: &Metadata, tokens: &TokenTable<'_>) -> Result<Vec<f64>, LoadError> {
    let key = "tokenizer.ggml.scores";
    let score = |value: &Value| match value {
        Value::Float(score) if !score.is_nan() => Ok(*score),
        _ => Err(metadata.wrong(key, "contains a value that is not a number")),
    };
    let scores: Vec<f64> =
        metadata.array(key)?.unwrap_or_default().iter().map(score).collect::<Result<_, _>>()?;
    if scores.len() == tokens.texts.len() {
        return Ok(scores);
    }
    let what = format!("has {} entries for {} tokens", scores.len(), tokens.texts.len());
    Err(metadata.wrong(key, what))
}

/// All pairs of tokens that concatenate to a token: the resulting token with the highest score
/// first, then in vocabulary order.
fn merges_by_score(tokens: &TokenTable<'_>, scores: &[f64]) -> Json {
    const NORMAL: u64 = 1;
    let ids: HashMap<&str, usize> = tokens.present().map(|(id, text)| (text, id)).collect();
    let mut merges = Vec::new();
    for (id, text) in tokens.present().filter(|&(id, _)| tokens.types[id] == NORMAL) {
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                merges.push((scores[id], id, l, r, [left, right]));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
    merges.into_iter().map(|(.., parts)| json!(parts)).collect()
}
