//! Folders in Hugging Face's layout.

use std::fs;
use std::path::Path;

use kad_backends::{Format, LoadError, ModelFiles};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Messages, hf, without};

fn set(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap();
    change(&mut value);
    fs::write(folder.join(file), value.to_string()).unwrap();
}

fn error_of(folder: &Path) -> String {
    without(folder, &ModelFiles::open(folder).map(|_| ()).unwrap_err().to_string())
}

#[test]
fn a_single_file_and_three_shards_hold_the_same_tensors() {
    let (single, sharded) = (tempdir().unwrap(), tempdir().unwrap());
    hf::write_single(single.path());
    hf::write_sharded(sharded.path());
    let single = ModelFiles::open(single.path()).unwrap();
    let sharded = ModelFiles::open(sharded.path()).unwrap();
    assert_eq!(single.format, Format::SafeTensors);
    assert_eq!(single.spec, sharded.spec);
    assert_eq!(single.tokenizer.vocab(), sharded.tokenizer.vocab());
    for (name, shape, values) in hf::tensors() {
        for files in [&single, &sharded] {
            let tensor = files.weights.tensor(&name).unwrap();
            assert_eq!((tensor.shape, tensor.to_f32().unwrap()), (&shape[..], values.clone()));
        }
    }
    assert_eq!(single.weights.names().count(), hf::tensors().len());
    assert_eq!(single.weights.total_bytes(), 4 * single.weights.parameters());
}

#[test]
fn end_tokens_of_all_files_are_collected() {
    let folder = tempdir().unwrap();
    hf::write_single(folder.path());
    // config.json says 0, tokenizer_config.json <|im_end|> = 2.
    assert_eq!(ModelFiles::open(folder.path()).unwrap().eos, [0, 2]);
    let generation = json!({"eos_token_id": [5, 2]}).to_string();
    fs::write(folder.path().join("generation_config.json"), generation).unwrap();
    let files = ModelFiles::open(folder.path()).unwrap();
    assert_eq!((files.eos, files.tokenizer.bos()), (vec![0, 2, 5], Some(1)));
}

#[test]
fn missing_files_are_named() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let mut messages = Messages::default();
    messages.add("an empty folder", &error_of(path));
    let part = "model-00002-of-00003.safetensors";
    hf::write_sharded(path);
    fs::remove_file(path.join(part)).unwrap();
    messages.add(part, &error_of(path));
    hf::write_single(path);
    fs::remove_file(path.join("model.safetensors.index.json")).unwrap();
    fs::remove_file(path.join("model.safetensors")).unwrap();
    messages.add("model.safetensors", &error_of(path));
    hf::write_single(path);
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    messages.add("tokenizer.json", &error_of(path));
    messages.add("the folder", &without(path, &error_of(&path.join("nothing"))));
    insta::assert_snapshot!(messages);
}

#[test]
fn tensors_and_configuration_must_belong_together() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let mut messages = Messages::default();
    for (key, value) in [
        ("intermediate_size", json!(64)),
        ("num_hidden_layers", json!(3)),
        ("num_hidden_layers", json!(1)),
        ("tie_word_embeddings", json!(false)),
    ] {
        let case = format!("{key} = {value}");
        hf::write_single(path);
        set(path, "config.json", |config| config[key] = value);
        messages.add(case, &error_of(path));
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn truncated_weights_are_refused_at_every_length() {
    let folder = tempdir().unwrap();
    hf::write_single(folder.path());
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize + 8;
    let cuts = (0..header + 8).step_by(3).chain((header..whole.len()).step_by(997));
    for cut in cuts.chain([whole.len() - 1]) {
        fs::write(&path, &whole[..cut]).unwrap();
        match ModelFiles::open(folder.path()) {
            Err(LoadError::Corrupt { path: found, .. }) => assert_eq!(found, path),
            Err(other) => panic!("cut at {cut}: {other}"),
            Ok(_) => panic!("cut at {cut} of {} was accepted", whole.len()),
        }
    }
}

#[test]
fn files_with_broken_json_are_named() {
    let folder = tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        hf::write_single(folder.path());
        fs::write(folder.path().join(file), "{\"model_type\": ").unwrap();
        let error = error_of(folder.path());
        assert!(error.contains(file) && error.contains("corrupt"), "{error}");
    }
    hf::write_sharded(folder.path());
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, json!({"weight_map": {"w": "../../elsewhere"}}).to_string()).unwrap();
    assert!(error_of(folder.path()).contains("is not a file name"));
}

#[test]
fn damaged_json_never_panics() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    hf::write_single(path);
    let noise = crate::support::random(3, 1200, 1.0);
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        let whole = fs::read(path.join(file)).unwrap();
        for pair in noise.chunks(2).take(200) {
            let mut bytes = whole.clone();
            let at = ((pair[0] + 1.0) / 2.0 * (whole.len() - 1) as f32) as usize;
            bytes[at] = b"0{}[]\",:a9-"[((pair[1] + 1.0) * 5.4) as usize];
            fs::write(path.join(file), bytes).unwrap();
            let _ = ModelFiles::open(path);
        }
        fs::write(path.join(file), whole).unwrap();
    }
}

/// Both once made the tokenizer library panic.
#[test]
fn malformed_tokenizers_are_errors() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    hf::write_single(path);
    let file = path.join("tokenizer.json");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("\"decoder\":{", "\"decoder\":{,")).unwrap();
    assert!(error_of(path).contains("tokenizer.json is corrupt: it is not JSON"));
    fs::write(&file, &whole).unwrap();
    set(path, "tokenizer.json", |json| {
        json["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAEC"});
    });
    assert!(error_of(path).contains("tokenizer.json is corrupt"));
}
