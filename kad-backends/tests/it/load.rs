//! Loading models by request, and refused requests.

use kad_backends::{Backend, Dtype, LoadError, ModelRequest, Source, load};
use kad_core::LogitRows;

use crate::support::{gguf, hf, nano_names};

fn request(source: &str, backend: Backend, dtype: Dtype) -> ModelRequest {
    ModelRequest { name: "m".into(), source: source.parse().unwrap(), backend, dtype }
}

/// The backends that read weights; ONNX graphs have their own tests.
fn interpreters() -> impl Iterator<Item = Backend> {
    Backend::compiled().filter(|backend| *backend != Backend::Ort)
}

#[test]
fn backend_and_dtype_names_survive_parsing_and_printing() {
    for backend in Backend::all() {
        assert_eq!(backend.name().parse::<Backend>().unwrap(), backend);
        assert_eq!(backend.to_string(), backend.name());
    }
    for name in ["auto", "f32", "f16", "bf16", "quantized", "q8_0", "q4_0", "int8", "q8", "q4"] {
        assert_eq!(name.parse::<Dtype>().unwrap().to_string(), name);
    }
    let error = "cuda".parse::<Backend>().unwrap_err().to_string();
    let known: Vec<&str> = Backend::all().map(Backend::name).collect();
    assert_eq!(error, format!("unknown backend `cuda`; known: {}", known.join(", ")));
    assert!("fp8".parse::<Dtype>().unwrap_err().to_string().contains("known: auto, f32"));
}

#[test]
fn a_missing_source_is_an_error() {
    let wanted = request("./no/such/folder", Backend::Naive, Dtype::Auto);
    let found = load(&wanted, &|_| ()).map(|_| ());
    assert!(matches!(found, Err(LoadError::NotFound { .. })), "{found:?}");
    assert_eq!(wanted.source, Source::Path("./no/such/folder".into()));
}

/// Loads a model and runs one token; other tests check the numbers.
fn runs(source: &str, backend: Backend) {
    let loaded = load(&request(source, backend, Dtype::Auto), &|_| ())
        .unwrap_or_else(|error| panic!("{source} on {backend}: {error}"));
    let vocab = *loaded.model.vocab();
    assert_eq!(vocab, loaded.details.vocab);
    assert_eq!(vocab.fingerprint(), loaded.tokenizer.vocab().fingerprint());
    let ids = loaded.tokenizer.encode("hello world", true).unwrap();
    let mut rows = LogitRows::new(vocab.size());
    loaded.model.start().unwrap().extend(&ids, 1, &mut rows).unwrap();
    assert!(rows.row(0).iter().all(|logit| logit.is_finite()));
    let shown = loaded.details.to_string();
    assert!(shown.contains(&format!("backend      {backend}")), "{shown}");
    assert!(loaded.eos.iter().all(|&id| (id as usize) < vocab.size()));
}

#[test]
fn both_formats_run_on_every_backend() {
    let folder = tempfile::tempdir().unwrap();
    hf::write_single(folder.path());
    let file = folder.path().join("other.gguf");
    for backend in interpreters() {
        runs(folder.path().to_str().unwrap(), backend);
        for architecture in ["llama", "qwen2"] {
            std::fs::write(&file, gguf::small_model(architecture).bytes()).unwrap();
            runs(file.to_str().unwrap(), backend);
        }
    }
}

#[test]
fn every_nano_model_runs_on_every_backend() {
    for name in nano_names() {
        interpreters().for_each(|backend| runs(&format!("nano:{name}"), backend));
    }
}

#[test]
fn a_tokenizer_smaller_than_the_embedding_sets_the_width_of_logits() {
    let mut writer = gguf::small_model("llama");
    let rows = crate::support::small_bpe().tokens.len();
    let embedding = writer.tensors.iter_mut().find(|t| t.name == "token_embd.weight").unwrap();
    embedding.shape[0] += 5;
    embedding.bytes.extend(vec![0; 5 * 32 * 4]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, writer.bytes()).unwrap();
    let wanted = request(path.to_str().unwrap(), Backend::Naive, Dtype::Auto);
    assert_eq!(load(&wanted, &|_| ()).unwrap().model.vocab().size(), rows);
}

#[test]
fn an_unsupported_dtype_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    hf::write_single(folder.path());
    let source = folder.path().to_str().unwrap();
    let refusal = |backend, dtype| {
        load(&request(source, backend, dtype), &|_| ()).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refusal(Backend::Naive, Dtype::F16).contains("f16 with the naive backend"));
    if cfg!(feature = "candle") {
        assert!(refusal(Backend::Candle, Dtype::Quantized).contains("without quantised tensors"));
    }
}

/// For the backends that this build lacks: three with default features.
#[test]
fn the_error_for_a_missing_backend_names_its_feature() {
    for backend in Backend::all() {
        let name = backend.name();
        if Backend::compiled().any(|compiled| compiled == backend) {
            continue;
        }
        let error = load(&request(".", backend, Dtype::Auto), &|_| ()).map(|_| ()).unwrap_err();
        let wanted = format!("backend {name} is not in this build: rebuild with --features {name}");
        assert_eq!(error.to_string(), wanted);
    }
}

#[cfg(feature = "tensors")]
#[test]
fn tensor_libraries_refuse_quantised_dtypes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    std::fs::write(&file, gguf::small_model("llama").bytes()).unwrap();
    for backend in Backend::compiled().filter(|b| matches!(b, Backend::Burn | Backend::Tch)) {
        let asked = |dtype| load(&request(file.to_str().unwrap(), backend, dtype), &|_| ());
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            assert_eq!(asked(dtype).unwrap().details.dtype, dtype);
        }
        for dtype in [Dtype::Quantized, Dtype::Q8_0, Dtype::Q4_0] {
            let message = asked(dtype).map(|_| ()).unwrap_err().to_string();
            let wanted = format!("dtype is not supported: {dtype} with the {backend} backend");
            assert!(message.starts_with(&wanted), "{message}");
            assert!(message.contains("f32, f16, bf16"), "{message}");
        }
    }
}
