//! Writes small GGUF files by the specification of the format.

use super::{SmallBpe, f32_bytes, random, small_bpe};

/// A metadata value with its exact type.
pub(crate) enum Meta {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    U64(u64),
    I64(i64),
    F64(f64),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Bools(Vec<bool>),
}

impl Meta {
    pub(crate) fn text(text: &str) -> Self {
        Meta::Text(text.to_owned())
    }

    fn tag(&self) -> u32 {
        match self {
            Meta::U8(_) => 0,
            Meta::I8(_) => 1,
            Meta::U16(_) => 2,
            Meta::I16(_) => 3,
            Meta::U32(_) => 4,
            Meta::I32(_) => 5,
            Meta::F32(_) => 6,
            Meta::Bool(_) => 7,
            Meta::Text(_) => 8,
            Meta::Texts(_) | Meta::I32s(_) | Meta::F32s(_) | Meta::Bools(_) => 9,
            Meta::U64(_) => 10,
            Meta::I64(_) => 11,
            Meta::F64(_) => 12,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let array = |out: &mut Vec<u8>, tag: u32, len: usize| {
            out.extend(tag.to_le_bytes());
            out.extend((len as u64).to_le_bytes());
        };
        match self {
            Meta::U8(x) => out.push(*x),
            Meta::I8(x) => out.extend(x.to_le_bytes()),
            Meta::U16(x) => out.extend(x.to_le_bytes()),
            Meta::I16(x) => out.extend(x.to_le_bytes()),
            Meta::U32(x) => out.extend(x.to_le_bytes()),
            Meta::I32(x) => out.extend(x.to_le_bytes()),
            Meta::F32(x) => out.extend(x.to_le_bytes()),
            Meta::Bool(x) => out.push(u8::from(*x)),
            Meta::Text(x) => write_text(x, out),
            Meta::U64(x) => out.extend(x.to_le_bytes()),
            Meta::I64(x) => out.extend(x.to_le_bytes()),
            Meta::F64(x) => out.extend(x.to_le_bytes()),
            Meta::Texts(xs) => {
                array(out, 8, xs.len());
                xs.iter().for_each(|x| write_text(x, out));
            }
            Meta::I32s(xs) => {
                array(out, 5, xs.len());
                xs.iter().for_each(|x| out.extend(x.to_le_bytes()));
            }
            Meta::Bools(xs) => {
                array(out, 7, xs.len());
                out.extend(xs.iter().map(|&x| u8::from(x)));
            }
            Meta::F32s(xs) => {
                array(out, 6, xs.len());
                xs.iter().for_each(|x| out.extend(x.to_le_bytes()));
            }
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A tensor: shape with the slowest-varying dimension first, type number, bytes.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: u32,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) pairs: Vec<(String, Meta)>,
    pub(crate) tensors: Vec<Tensor>,
}

pub(crate) const ALIGNMENT: usize = 32;

impl Writer {
    pub(crate) fn pair(&mut self, key: &str, value: Meta) -> &mut Self {
        self.pairs.retain(|(known, _)| known != key);
        self.pairs.push((key.to_owned(), value));
        self
    }

    pub(crate) fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        kind: u32,
        bytes: Vec<u8>,
    ) -> &mut Self {
        self.tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), kind, bytes });
        self
    }

    pub(crate) fn f32(&mut self, name: &str, shape: &[usize], seed: u64) -> &mut Self {
        let values = random(seed, shape.iter().product(), 0.5);
        self.tensor(name, shape, 0, f32_bytes(&values))
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            write_text(key, &mut out);
            out.extend(value.tag().to_le_bytes());
            value.write(&mut out);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            write_text(&tensor.name, &mut out);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|&dim| out.extend((dim as u64).to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += tensor.bytes.len().next_multiple_of(ALIGNMENT) as u64;
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(&tensor.bytes);
        }
        out
    }
}

/// Sizes of the small model: hidden, layers, heads, key-value heads, inner width.
pub(crate) const SIZES: [usize; 5] = [32, 2, 4, 2, 48];

/// A whole small model of either architecture, tokenizer included.
pub(crate) fn small_model(arch: &str) -> Writer {
    let [hidden, layers, heads, kv_heads, ffn] = SIZES;
    let mut writer = Writer::default();
    let bpe = small_bpe();
    let vocab = bpe.tokens.len();
    writer.pair("general.architecture", Meta::text(arch));
    for (key, size) in [
        ("embedding_length", hidden),
        ("block_count", layers),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("feed_forward_length", ffn),
        ("context_length", 128),
    ] {
        writer.pair(&format!("{arch}.{key}"), Meta::U32(size as u32));
    }
    writer.pair(&format!("{arch}.attention.layer_norm_rms_epsilon"), Meta::F32(1e-5));
    writer.pair(&format!("{arch}.rope.freq_base"), Meta::F32(1e4));
    tokenizer(&mut writer, &bpe);
    writer.f32("token_embd.weight", &[vocab, hidden], 1);
    writer.f32("output_norm.weight", &[hidden], 2);
    let kv = hidden / heads * kv_heads;
    for layer in 0..layers {
        for name in norms(arch) {
            let width = match (*name, arch) {
                ("attn_q_norm", "olmo2") => hidden,
                ("attn_k_norm", "olmo2") => kv,
                ("attn_q_norm" | "attn_k_norm", _) => hidden / heads,
                _ => hidden,
            };
            writer.f32(&format!("blk.{layer}.{name}.weight"), &[width], layer as u64);
        }
        let shapes: [(&str, &[usize]); 7] = [
            ("attn_q", &[hidden, hidden]),
            ("attn_k", &[kv, hidden]),
            ("attn_v", &[kv, hidden]),
            ("attn_output", &[hidden, hidden]),
            ("ffn_gate", &[ffn, hidden]),
            ("ffn_up", &[ffn, hidden]),
            ("ffn_down", &[hidden, ffn]),
        ];
        for (i, (name, shape)) in shapes.into_iter().enumerate() {
            let seed = (10 * layer + i) as u64;
            writer.f32(&format!("blk.{layer}.{name}.weight"), shape, seed);
            if arch == "qwen2" && ["attn_q", "attn_k", "attn_v"].contains(&name) {
                writer.f32(&format!("blk.{layer}.{name}.bias"), &shape[..1], seed + 100);
            }
        }
    }
    writer
}

/// Norms of a layer of the architecture.
fn norms(arch: &str) -> &[&str] {
    match arch {
        "qwen3" => &["attn_norm", "attn_q_norm", "attn_k_norm", "ffn_norm"],
        "olmo2" => &["attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm"],
        "gemma3" => &[
            "attn_norm",
            "attn_q_norm",
            "attn_k_norm",
            "post_attention_norm",
            "ffn_norm",
            "post_ffw_norm",
        ],
        _ => &["attn_norm", "ffn_norm"],
    }
}

fn tokenizer(writer: &mut Writer, bpe: &SmallBpe) {
    let types = (0..bpe.tokens.len()).map(|id| if id < 3 { 3 } else { 1 }).collect();
    let merges = bpe.merges.iter().map(|pair| pair.join(" ")).collect();
    writer
        .pair("tokenizer.ggml.model", Meta::text("gpt2"))
        .pair("tokenizer.ggml.pre", Meta::text("gpt-2"))
        .pair("tokenizer.ggml.tokens", Meta::Texts(bpe.tokens.clone()))
        .pair("tokenizer.ggml.token_type", Meta::I32s(types))
        .pair("tokenizer.ggml.merges", Meta::Texts(merges))
        .pair("tokenizer.ggml.bos_token_id", Meta::U32(1))
        .pair("tokenizer.ggml.eos_token_id", Meta::U32(2))
        .pair("tokenizer.chat_template", Meta::text(super::hf::CHATML));
}
