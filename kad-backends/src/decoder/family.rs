//! Model families.

use super::spec::{NormPlace, Norms, QueryKeyNorm};
use crate::error::LoadError;

/// A model family; it determines properties that the settings of a file leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Olmo2,
    Gemma3,
}

impl Family {
    /// The family `name` in the table `known`; `what` describes the name in the error.
    pub(crate) fn named(
        name: &str,
        known: &[(&str, Family)],
        what: &'static str,
    ) -> Result<Family, LoadError> {
        let found = known.iter().find(|(known, _)| *known == name).map(|(_, family)| *family);
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        found.ok_or_else(|| LoadError::unsupported(what, name, &names))
    }

    /// Norms of the family, for files that store norm weights unchanged.
    pub(crate) fn norms(self) -> Norms {
        let (place, query_key) = match self {
            Family::Llama | Family::Mistral | Family::Qwen2 => {
                (NormPlace::Before, QueryKeyNorm::None)
            }
            Family::Qwen3 => (NormPlace::Before, QueryKeyNorm::Head),
            Family::Olmo2 => (NormPlace::After, QueryKeyNorm::Whole),
            Family::Gemma3 => (NormPlace::Both, QueryKeyNorm::Head),
        };
        Norms { place, query_key, minus_one: false }
    }
}
