//! A model on a tensor library.

use kad_core::{LanguageModel, ModelError, Session, Vocab};

use super::layer::Layer;
use super::operations::{FloatType, Tensor, model_error};
use super::session::TensorSession;
use crate::decoder::spec::DecoderSpec;
use crate::early_exit::{self, LayeredModel};
use crate::error::LoadError;

/// The model; clones share all weights.
#[derive(Clone)]
pub(super) struct TensorModel<T: Tensor> {
    pub(super) name: String,
    pub(super) vocab: Vocab,
    pub(super) spec: DecoderSpec,
    pub(super) float: FloatType,
    pub(super) device: T::Device,
    /// `[1, vocab_rows, hidden]`.
    pub(super) embedding: T,
    pub(super) blocks: Vec<Layer<T>>,
    pub(super) final_norm: T,
    /// `[1, vocab, hidden]`; for a tied head, the first rows of the embedding.
    pub(super) head: T,
}

impl<T: Tensor> LayeredModel for TensorModel<T> {
    fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    fn early_exit(&self, name: &str, layers: usize) -> Result<Box<dyn LayeredModel>, LoadError> {
        let spec = early_exit::spec(self, layers)?;
        let mut exit = Self { name: name.to_owned(), spec, ..self.clone() };
        exit.blocks.truncate(layers);
        Ok(Box::new(exit))
    }

    fn library(&self) -> Option<String> {
        T::library()
    }
}

impl<T: Tensor> LanguageModel for TensorModel<T> {
    fn name(&self) -> &str {
        &self.name
    }
    fn vocab(&self) -> &Vocab {
        &self.vocab
    }
    fn context_len(&self) -> usize {
        self.spec.context_len
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        Ok(Box::new(TensorSession::new(self).map_err(model_error::<T>)?))
    }
}
