//! Compares rendered chat templates with those of `transformers`.

use kad_backends::{ChatTemplate, Message, ModelFiles, Source};
use serde_json::json;
use tempfile::tempdir;

use crate::support::{hf, nano_names};

#[test]
fn chatml_adds_its_system_prompt_only_without_a_given_one() {
    let template = ChatTemplate::new(hf::CHATML, "", "").unwrap();
    let text = template.render(&[Message::user("Hi")], true).unwrap();
    let system = "<|im_start|>system\nBe brief.<|im_end|>\n";
    let rest = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(text, format!("{system}{rest}"));
    let messages = [Message::system("S"), Message::user("U"), Message::assistant("A")];
    let text = template.render(&messages, false).unwrap();
    let expected = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n\
                    <|im_start|>assistant\nA<|im_end|>\n";
    assert_eq!(text, expected);
}

#[test]
fn a_folder_may_keep_its_template_in_three_places() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    hf::write_single(path);
    let render = || {
        let template = ModelFiles::open(path).unwrap().chat_template;
        template.map(|template| template.render(&[Message::user("x")], false).unwrap())
    };
    assert!(render().unwrap().starts_with("<|im_start|>system"));
    let settings = |template: serde_json::Value| {
        let settings = json!({"eos_token": "<|im_end|>", "chat_template": template});
        std::fs::write(path.join("tokenizer_config.json"), settings.to_string()).unwrap();
    };
    settings(json!([{"name": "tool_use", "template": "tools"},
                    {"name": "default", "template": "{{ messages[0].content }}{{ eos_token }}"}]));
    assert_eq!(render().unwrap(), "x<|im_end|>");
    settings(json!(null));
    assert!(render().is_none());
    std::fs::write(path.join("chat_template.jinja"), "[{{ messages | length }}]\n").unwrap();
    assert_eq!(render().unwrap(), "[1]");
    std::fs::write(path.join("chat_template.jinja"), "{% if %}").unwrap();
    let error = ModelFiles::open(path).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("chat template: "), "{error}");
}

#[test]
fn rendered_nano_templates_survive_tokenization() {
    for name in nano_names() {
        let path = Source::Nano(name.clone()).resolve(&|_| ()).unwrap();
        let files = ModelFiles::open(&path).unwrap();
        let template = files.chat_template.unwrap_or_else(|| panic!("{name} has no template"));
        let text = template.render(&[Message::user("Tom has 2 apples.")], true).unwrap();
        assert!(text.contains("Tom has 2 apples."), "{name}: {text}");
        let ids = files.tokenizer.encode(&text, false).unwrap();
        assert_eq!(files.tokenizer.decode(&ids, false).unwrap(), text, "{name}");
    }
}

#[test]
fn a_huge_indent_is_refused() {
    let template = "{{ messages | tojson(indent=9223372036854775807) }}";
    let template = ChatTemplate::new(template, "", "").unwrap();
    assert!(template.render(&[Message::user("Hi")], true).is_err());
}
