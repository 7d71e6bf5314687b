//! Tokenizers and chat templates.

mod chat;
mod date;
pub(crate) mod tokenizer;

pub(crate) use self::chat::default_of;
pub use self::chat::{ChatTemplate, Message};
pub use self::tokenizer::{TokenStream, Tokenizer};
