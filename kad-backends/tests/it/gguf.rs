//! GGUF files: values read back, and refused files.

use std::fs;
use std::path::Path;

use half::f16;
use kad_backends::decoder::spec::{Activation, RopeScaling};
use kad_backends::families::from_gguf;
use kad_backends::gguf::{Gguf, Value};
use kad_backends::{Format, LoadError, ModelFiles, StoredType};
use tempfile::tempdir;

use crate::support::gguf::{Meta, Writer, small_model};
use crate::support::{Messages, hf, without};

fn open(bytes: &[u8]) -> Result<Gguf, LoadError> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    Gguf::open(&path)
}

fn written(writer: &Writer) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, writer.bytes()).unwrap();
    (folder, path)
}

fn error_of(writer: &Writer) -> String {
    let (folder, path) = written(writer);
    let error = ModelFiles::open(&path).map(|_| ()).unwrap_err().to_string();
    without(folder.path(), &error)
}

#[test]
fn metadata_of_every_type_are_read() {
    let mut writer = Writer::default();
    writer
        .pair("u8", Meta::U8(200))
        .pair("i8", Meta::I8(-7))
        .pair("u16", Meta::U16(60_000))
        .pair("i16", Meta::I16(-30_000))
        .pair("u32", Meta::U32(u32::MAX))
        .pair("i32", Meta::I32(i32::MIN))
        .pair("f32", Meta::F32(0.5))
        .pair("bool", Meta::Bool(true))
        .pair("text", Meta::text("é"))
        .pair("u64", Meta::U64(u64::MAX))
        .pair("i64", Meta::I64(i64::MIN))
        .pair("f64", Meta::F64(-1e300))
        .pair("texts", Meta::Texts(vec!["a".into(), String::new()]))
        .pair("floats", Meta::F32s(vec![]));
    let metadata = open(&writer.bytes()).unwrap().metadata;
    let expected = [
        ("u8", Value::Unsigned(200)),
        ("i8", Value::Signed(-7)),
        ("u16", Value::Unsigned(60_000)),
        ("i16", Value::Signed(-30_000)),
        ("u32", Value::Unsigned(u32::MAX.into())),
        ("i32", Value::Signed(i32::MIN.into())),
        ("f32", Value::Float(0.5)),
        ("bool", Value::Bool(true)),
        ("text", Value::Text("é".into())),
        ("u64", Value::Unsigned(u64::MAX)),
        ("i64", Value::Signed(i64::MIN)),
        ("f64", Value::Float(-1e300)),
        ("texts", Value::Array(vec![Value::Text("a".into()), Value::Text(String::new())])),
        ("floats", Value::Array(vec![])),
    ];
    for (key, value) in expected {
        assert_eq!(metadata.get(key), Some(&value), "{key}");
    }
    assert_eq!(metadata.iter().count(), 14);
}

#[test]
fn tensors_of_every_type_are_read_with_rows_first() {
    let kinds = [
        (0, StoredType::F32),
        (1, StoredType::F16),
        (2, StoredType::Q4_0),
        (3, StoredType::Q4_1),
        (6, StoredType::Q5_0),
        (8, StoredType::Q8_0),
        (12, StoredType::Q4K),
        (13, StoredType::Q5K),
        (14, StoredType::Q6K),
        (30, StoredType::BF16),
    ];
    let mut writer = Writer::default();
    let mut stored_bytes = Vec::new();
    for (i, (kind, stored)) in kinds.into_iter().enumerate() {
        let len = stored.bytes_for(&[3, 512]).unwrap() as usize;
        let bytes: Vec<u8> = (0..len).map(|at| (at * 31 + i) as u8).collect();
        writer.tensor(&format!("t{kind}"), &[3, 512], kind, bytes.clone());
        stored_bytes.push(bytes);
    }
    let gguf = open(&writer.bytes()).unwrap();
    for ((kind, stored), bytes) in kinds.into_iter().zip(stored_bytes) {
        let tensor = gguf.weights.tensor(&format!("t{kind}")).unwrap();
        assert_eq!(
            (tensor.stored, tensor.shape, tensor.bytes),
            (stored, &[3, 512][..], &bytes[..])
        );
        assert_eq!(tensor.to_f32().unwrap().len(), 3 * 512);
    }
    assert_eq!(gguf.weights.parameters(), 10 * 3 * 512);
}

#[test]
fn a_whole_model_is_read_under_hugging_face_names() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let architectures = ["llama", "qwen2", "qwen3", "olmo2", "gemma3"];
    for arch in architectures {
        let pairing = if arch == "llama" { "Interleaved" } else { "Halves" };
        fs::write(&path, small_model(arch).bytes()).unwrap();
        // The folder of a single file works as well.
        for path in [&path, folder.path()] {
            let files = ModelFiles::open(path).unwrap();
            assert_eq!((files.format, files.spec.family.as_str()), (Format::Gguf, arch));
            assert_eq!(files.spec.qkv_bias, arch == "qwen2");
            assert_eq!(format!("{:?}", files.spec.rope.pairing), pairing);
            assert!(files.spec.tied_head);
            assert_eq!(files.eos, [2]);
            let q = files.weights.tensor("model.layers.1.self_attn.k_proj.weight").unwrap();
            assert_eq!(q.shape, [16, 32]);
        }
    }
    fs::copy(&path, folder.path().join("other.gguf")).unwrap();
    let error = ModelFiles::open(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("2 .gguf files: give the path of one"), "{error}");
}

/// Settings missing in Gemma 3 files are those of the published models.
#[test]
fn missing_settings_of_gemma3_files_have_defaults() {
    let spec = |changes: Vec<(&str, Meta)>| {
        let mut writer = small_model("gemma3");
        for (key, value) in changes {
            writer.pair(&format!("gemma3.{key}"), value);
        }
        let gguf = open(&writer.bytes()).unwrap();
        from_gguf(&gguf.metadata, &gguf.weights).unwrap()
    };
    let window = || ("attention.sliding_window", Meta::U32(16));
    let plain = spec(vec![]);
    assert_eq!((plain.attention_scale(), plain.window_of(0)), (1.0 / 8f64.sqrt(), None));
    assert_eq!(plain.scales.embedding, f64::from(32f32.sqrt()));
    assert!(!plain.norms.minus_one && plain.activation == Activation::GeluTanh);

    let scaling = ("rope.scaling.factor", Meta::F32(8.0));
    let local = spec(vec![window(), scaling, ("rope.freq_base", Meta::F32(1e6))]);
    // Five of six layers have the window, so both layers of this model do.
    assert_eq!((local.window_of(0), local.window_of(1)), (Some(16), Some(16)));
    assert_eq!((local.rope_of(0).theta, &local.rope_of(0).scaling), (1e4, &RopeScaling::None));
    assert_eq!(local.rope.theta, 1e6);
    assert_eq!(local.rope.scaling, RopeScaling::Linear { factor: 8.0 });

    let base = ("rope.freq_base_swa", Meta::F32(500.0));
    let second = ("attention.sliding_window_pattern", Meta::U32(2));
    let said = spec(vec![window(), second, base]);
    assert_eq!((said.window_of(0), said.window_of(1)), (Some(16), None));
    assert_eq!(said.rope_of(0).theta, 500.0);
    let listed = ("attention.sliding_window_pattern", Meta::Bools(vec![false, true]));
    let listed = spec(vec![window(), listed]);
    assert_eq!((listed.window_of(0), listed.window_of(1)), (None, Some(16)));
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let whole = small_model("llama").bytes();
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    // Every length in the first keys, then in steps through tokens, descriptions and tensors.
    let cuts = (0..400).chain((400..whole.len()).step_by(53)).chain([whole.len() - 1]);
    for cut in cuts {
        fs::write(&path, &whole[..cut]).unwrap();
        match Gguf::open(&path) {
            Err(LoadError::Corrupt { path: found, what }) => {
                assert_eq!(found, path);
                assert!(!what.is_empty());
            }
            Err(other) => panic!("cut at {cut}: {other}"),
            Ok(_) => panic!("cut at {cut} of {} was accepted", whole.len()),
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let whole = small_model("llama").bytes();
    let head = whole.len() - whole.len() / 2;
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let noise = crate::support::random(7, 800, 1.0);
    for (i, pair) in noise.chunks(2).enumerate() {
        let mut bytes = whole.clone();
        let at = ((pair[0] + 1.0) / 2.0 * (head - 8) as f32) as usize;
        match i % 3 {
            0 => bytes[at] = (pair[1] * 128.0) as i8 as u8,
            // Lengths and counts that are far too large.
            1 => bytes[at..at + 8].fill(0xff),
            _ => bytes[at..at + 8].copy_from_slice(&(1u64 << (i % 60)).to_le_bytes()),
        }
        fs::write(&path, &bytes).unwrap();
        let _ = ModelFiles::open(&path);
    }
}

#[test]
fn false_headers_are_refused_with_the_defect() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut messages = Messages::default();
    let mut refused = |case: &str, bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Gguf::open(&path).map(|_| ()).unwrap_err().to_string();
        messages.add(case, &without(folder.path(), &error));
    };
    let whole = small_model("llama").bytes();
    for (case, at, new) in [
        ("magic", 0, &b"GGML"[..]),
        ("version 1", 4, &1u32.to_le_bytes()),
        ("big-endian version 3", 4, &3u32.to_be_bytes()),
        ("2⁶⁴ − 1 tensors", 8, &u64::MAX.to_le_bytes()),
        ("2⁴⁰ metadata", 16, &(1u64 << 40).to_le_bytes()),
        ("a key of 2⁴⁰ bytes", 24, &(1u64 << 40).to_le_bytes()),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        refused(case, &bytes);
    }
    for (shape, kind, len) in [
        (&[4, 33][..], 2, 1000),
        (&[4, 32], 0, 100),
        (&[usize::MAX, usize::MAX], 0, 8),
        (&[usize::MAX / 4, 1], 0, 8),
        (&[4, 32], 10, 100),
        (&[1, 1, 1, 1, 1], 0, 4),
    ] {
        let mut writer = Writer::default();
        writer.tensor("w", shape, kind, vec![0; len]);
        refused(&format!("shape {shape:?}, type {kind}, {len} bytes"), &writer.bytes());
    }
    let mut twice = Writer::default();
    twice.f32("output.weight", &[2], 0).f32("lm_head.weight", &[2], 0);
    refused("output.weight and lm_head.weight", &twice.bytes());
    let mut alignment = Writer::default();
    alignment.pair("general.alignment", Meta::U32(24));
    refused("general.alignment = 24", &alignment.bytes());
    insta::assert_snapshot!(messages);
}

#[test]
fn contradictory_metadata_are_refused_by_key() {
    let mut messages = Messages::default();
    for (case, key, value) in [
        ("mamba", "general.architecture", Meta::text("mamba")),
        ("two", "llama.block_count", Meta::text("two")),
        ("2⁶⁴ − 1", "llama.block_count", Meta::U64(u64::MAX)),
        ("[2, 1]", "llama.attention.head_count_kv", Meta::I32s(vec![2, 1])),
        ("3", "llama.attention.head_count_kv", Meta::U32(3)),
        ("8", "llama.expert_count", Meta::U32(8)),
        ("yarn", "llama.rope.scaling.type", Meta::text("yarn")),
        ("8.0", "llama.attention.clamp_kqv", Meta::F32(8.0)),
        ("1.0", "llama.attention.scale", Meta::F32(1.0)),
        ("4", "llama.attention.sliding_window", Meta::U32(4)),
        ("4", "llama.attention.value_length", Meta::U32(4)),
        ("4", "llama.rope.dimension_count", Meta::U32(4)),
        ("falcon", "tokenizer.ggml.pre", Meta::text("falcon")),
        ("bert", "tokenizer.ggml.model", Meta::text("bert")),
        ("[1]", "tokenizer.ggml.token_type", Meta::I32s(vec![1])),
    ] {
        let mut writer = small_model("llama");
        writer.pair(key, value);
        messages.add(format!("{key} = {case}"), &error_of(&writer));
    }
    for (name, width) in [("blk.0.attn_q_norm.weight", 8), ("blk.0.attn_output.bias", 32)] {
        let mut writer = small_model("llama");
        writer.f32(name, &[width], 0);
        messages.add(name, &error_of(&writer));
    }
    insta::assert_snapshot!(messages);
    // A list of equal sizes counts as one size, signed or not.
    let mut writer = small_model("llama");
    writer.pair("llama.attention.head_count_kv", Meta::I32s(vec![2, 2]));
    let (folder, path) = written(&writer);
    assert_eq!(ModelFiles::open(&path).unwrap().spec.kv_heads, 2);
    drop(folder);
}

#[test]
fn llama_3_scaling_is_recognised_by_its_divisors() {
    let mut writer = small_model("llama");
    writer.pair("llama.rope.freq_base", Meta::F32(500_000.0));
    // Wavelengths of 4 pairs with base 500000: 6.28, 167, 4443, 118143; original context 8192.
    // The third is between 8192/4 and 8192, so it is scaled in part.
    let turns = 8192.0 * 500_000f64.powf(-0.5) / std::f64::consts::TAU;
    let kept = (turns - 1.0) / 3.0;
    let third = (1.0 / (kept + (1.0 - kept) / 32.0)) as f32;
    writer.tensor(
        "rope_freqs.weight",
        &[4],
        0,
        crate::support::f32_bytes(&[1.0, 1.0, third, 32.0]),
    );
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, writer.bytes()).unwrap();
    let rope = ModelFiles::open(&path).unwrap().spec.rope;
    assert!(format!("{rope:?}").contains("Llama3 { factor: 32.0"), "{rope:?}");
    let tensor = writer.tensors.last_mut().unwrap();
    tensor.bytes = crate::support::f32_bytes(&[1.0, 2.0, 3.0, 4.0]);
    assert!(error_of(&writer).contains("`rope_freqs.weight`"));
}

#[test]
fn half_precision_from_a_file_is_exact() {
    let values = [0.1f32, -65_504.0, 6e-8, 0.0];
    let bytes = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    let mut writer = Writer::default();
    writer.tensor("w", &[1, 4], 1, bytes);
    let gguf = open(&writer.bytes()).unwrap();
    let expected: Vec<f32> = values.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
    assert_eq!(gguf.weights.tensor("w").unwrap().to_f32().unwrap(), expected);
}

#[test]
fn a_folder_with_a_configuration_is_not_read_as_gguf() {
    let folder = tempdir().unwrap();
    hf::write_single(folder.path());
    fs::write(folder.path().join("extra.gguf"), "junk").unwrap();
    assert_eq!(ModelFiles::open(folder.path()).unwrap().format, Format::SafeTensors);
    assert!(ModelFiles::open(Path::new("/nowhere/model.gguf")).is_err());
}
