//! Tokenizers: both file formats agree, decoding inverts encoding, streams keep characters whole.

use std::fs;

use kad_backends::gguf::Gguf;
use kad_backends::{ModelFiles, Tokenizer};
use tempfile::tempdir;

use crate::support::gguf::{Meta, Writer, small_model};
use crate::support::{SPECIAL, TEXTS, hf, small_bpe};

fn of_folder() -> Tokenizer {
    let folder = tempdir().unwrap();
    hf::write_single(folder.path());
    ModelFiles::open(folder.path()).unwrap().tokenizer
}

fn of_gguf(writer: &Writer) -> Tokenizer {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, writer.bytes()).unwrap();
    Gguf::open(&path).unwrap().metadata.tokenizer().unwrap()
}

#[test]
fn both_formats_have_the_same_ids_and_fingerprint() {
    let (folder, gguf) = (of_folder(), of_gguf(&small_model("llama")));
    assert_eq!(folder.vocab(), gguf.vocab());
    assert_eq!(folder.vocab().size(), small_bpe().tokens.len());
    assert_eq!(folder.eos(), [0, 2]);
    for text in TEXTS {
        let ids = folder.encode(text, true).unwrap();
        assert_eq!(ids, gguf.encode(text, true).unwrap(), "{text:?}");
        assert_eq!(folder.decode(&ids, false).unwrap(), text);
    }
}

#[test]
fn another_token_changes_the_fingerprint() {
    let mut writer = small_model("llama");
    let mut tokens = small_bpe().tokens;
    tokens.push("extra".into());
    let mut types = vec![1; tokens.len()];
    types[..3].fill(3);
    writer.pair("tokenizer.ggml.tokens", Meta::Texts(tokens.clone()));
    writer.pair("tokenizer.ggml.token_type", Meta::I32s(types.clone()));
    let plain = of_gguf(&small_model("llama")).vocab();
    assert_ne!(of_gguf(&writer).vocab().fingerprint(), plain.fingerprint());
    // Rows padded by a converter are no tokens.
    let id = tokens.len() - 1;
    tokens[id] = format!("[PAD{id}]");
    types[id] = 5;
    writer.pair("tokenizer.ggml.tokens", Meta::Texts(tokens));
    writer.pair("tokenizer.ggml.token_type", Meta::I32s(types));
    assert_eq!(of_gguf(&writer).vocab(), plain);
}

#[test]
fn merges_and_special_tokens_are_applied() {
    let tokenizer = of_folder();
    let texts = |text: &str| {
        let ids = tokenizer.encode(text, true).unwrap();
        ids.iter().map(|&id| tokenizer.token_text(id)).collect::<Vec<_>>()
    };
    assert_eq!(texts("hello world"), ["hello", " wo", "r", "l", "d"]);
    assert_eq!(texts("<|im_start|>hell"), ["<|im_start|>", "hell"]);
    // A character in two tokens shows its bytes.
    assert_eq!(texts("ü"), ["\\xc3", "\\xbc"]);
    assert_eq!(texts("é"), ["é"]);
    for (id, token) in SPECIAL.iter().enumerate() {
        assert_eq!(tokenizer.id_of(token), Some(id as u32));
        assert!(tokenizer.is_special(id as u32));
    }
    assert!(!tokenizer.is_special(3));
    assert_eq!((tokenizer.id_of("nothing"), tokenizer.token_text(100_000)), (None, String::new()));
}

#[test]
fn the_beginning_of_sequence_is_added_as_the_file_says() {
    let mut writer = small_model("llama");
    assert_eq!(of_gguf(&writer).encode("l", true).unwrap().len(), 1);
    writer.pair("tokenizer.ggml.add_bos_token", Meta::Bool(true));
    let tokenizer = of_gguf(&writer);
    let plain = tokenizer.encode("l", false).unwrap();
    assert_eq!(tokenizer.encode("l", true).unwrap(), [&[1], &plain[..]].concat());
    assert_eq!(tokenizer.bos(), Some(1));
    writer.pair("tokenizer.ggml.add_eos_token", Meta::Bool(true));
    assert_eq!(of_gguf(&writer).encode("l", true).unwrap(), [&[1], &plain[..], &[2]].concat());
}

#[test]
fn a_stream_shows_whole_characters_and_loses_nothing() {
    let tokenizer = of_folder();
    for text in TEXTS {
        let ids = tokenizer.encode(text, false).unwrap();
        let mut stream = tokenizer.stream_with_special();
        let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{text:?}: {pieces:?}");
        assert_eq!(pieces.concat() + &stream.finish(), text);
        let mut stream = tokenizer.stream();
        let shown: String = ids.iter().map(|&id| stream.push(id)).collect();
        assert_eq!(shown, tokenizer.decode(&ids, true).unwrap());
    }
}

#[test]
fn invalid_utf8_does_not_block_a_stream() {
    let tokenizer = of_folder();
    let byte = |byte: u8| u32::from(byte) + 3;
    let mut stream = tokenizer.stream();
    // A lone continuation byte, a character interrupted by a letter, a character of four bytes.
    assert_eq!(stream.push(byte(0x80)), "\u{fffd}");
    assert_eq!(stream.push(byte(0xe2)), "");
    assert_eq!(stream.push(byte(b'a')), "\u{fffd}a");
    let rocket: Vec<String> = "🚀".bytes().map(|b| stream.push(byte(b))).collect();
    assert_eq!(rocket, ["", "", "", "🚀"]);
    assert_eq!(stream.push(byte(0xf0)), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}

#[test]
fn truncation_of_the_file_is_disabled() {
    // The folder's tokenizer.json truncates to 4 tokens.
    assert_eq!(of_folder().encode("abcdefgh", true).unwrap().len(), 8);
}

/// SentencePiece pieces with scores: the highest score merges first.
#[test]
fn sentence_piece_vocabularies_are_read() {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let mut types = vec![2, 3, 3];
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    types.extend([6; 256]);
    let pieces = ["▁", "a", "b", "c", "ab", "bc", "▁a", "▁ab"];
    // "bc" merges before "ab", "▁ab" last.
    let piece_scores = [-10.0, -11.0, -12.0, -13.0, -2.0, -1.0, -3.0, -4.0];
    tokens.extend(pieces.map(String::from));
    types.extend([1; 8]);
    let mut scores = vec![0.0; 259];
    scores.extend(piece_scores);
    let mut writer = small_model("llama");
    writer
        .pair("tokenizer.ggml.model", Meta::text("llama"))
        .pair("tokenizer.ggml.tokens", Meta::Texts(tokens))
        .pair("tokenizer.ggml.token_type", Meta::I32s(types))
        .pair("tokenizer.ggml.scores", Meta::F32s(scores));
    let tokenizer = of_gguf(&writer);
    let texts = |text: &str| {
        let ids = tokenizer.encode(text, true).unwrap();
        ids.iter().map(|&id| tokenizer.token(id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(texts("abc"), ["<s>", "▁a", "bc"]);
    assert_eq!(texts("ab c"), ["<s>", "▁ab", "▁", "c"]);
    assert_eq!(texts("é"), ["<s>", "▁", "<0xC3>", "<0xA9>"]);
    let ids = tokenizer.encode("ab é", true).unwrap();
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "ab é");
    let mut stream = tokenizer.stream();
    let shown: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(shown.concat(), " ab é");
    assert_eq!(shown[shown.len() - 2..], ["", "é"]);
}

fn of_json(json: &serde_json::Value) -> Tokenizer {
    let folder = tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_file(&path).unwrap()
}

/// Two strings with one id: a hash map returns them in random order.
#[test]
fn strings_that_share_an_id_keep_the_fingerprint_stable() {
    let mut json = hf::tokenizer();
    let plain = of_json(&json).vocab().fingerprint();
    json["model"]["vocab"]["another spelling"] = 5.into();
    let found: Vec<_> = (0..8).map(|_| of_json(&json).vocab().fingerprint()).collect();
    assert!(found.iter().all(|f| *f == found[0]), "{found:?}");
    assert_ne!(found[0], plain);
}

#[test]
fn settings_that_the_library_panics_on_are_errors() {
    let mut json = hf::tokenizer();
    json["pre_tokenizer"] = serde_json::json!({"type": "FixedLength", "length": 0});
    let error = of_json(&json).encode("some text", false).unwrap_err().to_string();
    assert!(error.contains("does not support one of its parts"), "{error}");
}
