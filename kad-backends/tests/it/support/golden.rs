//! The models of `tests/golden` with the logits computed by transformers.

use std::path::Path;
use std::sync::Arc;

use kad_backends::decoder::spec::DecoderSpec;
use kad_backends::families::{from_gguf, from_hf_config};
use kad_backends::gguf::Gguf;
use kad_backends::{StoredType, Weights};
use kad_core::testing::conformance::worst;
use kad_core::{Fingerprint, LanguageModel, LogitRows, TokenId, Vocab};
use safetensors::{Dtype, SafeTensors};

/// Folders of `tests/golden`.
pub(crate) const ALL: [&str; 8] =
    ["llama", "qwen2", "mistral", "qwen3", "qwen3-plain", "olmo2", "gemma3", "gemma3-plain"];

/// Folders that also have a GGUF file.
pub(crate) const GGUF: [&str; 3] = ["qwen3-plain", "olmo2", "gemma3-plain"];

pub(crate) struct Golden {
    pub(crate) spec: DecoderSpec,
    pub(crate) weights: Arc<Weights>,
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) logits: Vec<f64>,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Golden {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let json = |file: &str| -> serde_json::Value {
            serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
        };
        let file = std::fs::read(folder.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let tensors = tensors.iter().map(|(name, view)| {
            let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
            let stored = match view.dtype() {
                Dtype::BF16 => StoredType::BF16,
                other => {
                    assert_eq!(other, Dtype::F32);
                    StoredType::F32
                }
            };
            (name.to_owned(), stored, shape, bytes)
        });
        let expected = json("expected.json");
        Golden {
            spec: from_hf_config(&json("config.json")).unwrap(),
            weights: Arc::new(Weights::from_memory(tensors.collect())),
            tokens: serde_json::from_value(expected["tokens"].clone()).unwrap(),
            logits: serde_json::from_value::<Vec<Vec<f64>>>(expected["logits"].clone())
                .unwrap()
                .concat(),
        }
    }

    /// The same model from its GGUF file.
    pub(crate) fn read_gguf(name: &str) -> Golden {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let gguf = Gguf::open(&folder.join("model.gguf")).unwrap();
        let spec = from_gguf(&gguf.metadata, &gguf.weights).unwrap();
        Golden { spec, weights: Arc::new(gguf.weights), ..Golden::read(name) }
    }

    /// All models with their names.
    pub(crate) fn all() -> impl Iterator<Item = (String, Golden)> {
        let folders = ALL.map(|name| (name.to_owned(), Golden::read(name)));
        let files = GGUF.map(|name| (format!("{name}, GGUF"), Golden::read_gguf(name)));
        folders.into_iter().chain(files)
    }

    pub(crate) fn vocab(&self) -> Vocab {
        Vocab::new(self.spec.vocab_rows, Fingerprint([1; 32]))
    }

    /// Largest absolute difference from the expected logits.
    pub(crate) fn worst(&self, model: &dyn LanguageModel) -> f64 {
        let mut rows = LogitRows::new(self.vocab().size());
        let mut session = model.start().unwrap();
        session.extend(&self.tokens, self.tokens.len(), &mut rows).unwrap();
        assert_eq!(rows.iter().flatten().count(), self.logits.len());
        let pairs = rows.iter().flatten().zip(&self.logits);
        worst(pairs.map(|(found, expected)| f64::from(*found) - expected))
    }
}
