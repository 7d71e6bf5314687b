//! From text to token ids and back, and from conversations to text.

mod chat;
mod date;
pub(crate) mod tokenizer;

pub(crate) use self::chat::default_of;
pub use self::chat::{ChatTemplate, Message};
pub use self::tokenizer::{TokenStream, Tokenizer};
