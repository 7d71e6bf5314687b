//! Chat templates: render a conversation in the format of the model's training.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::date::{now, strftime};
use crate::error::LoadError;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Text of the message.
    pub content: String,
}

impl Message {
    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".to_owned(), content: content.into() }
    }

    /// A system prompt.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: "system".to_owned(), content: content.into() }
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant".to_owned(), content: content.into() }
    }
}

/// A compiled chat template, rendered as in the library `transformers`: Jinja with `trim_blocks`
/// and `lstrip_blocks`, Python's string methods, `raise_exception`, `strftime_now` and `tojson`.
///
/// `strftime_now` uses UTC; the environment variable `SOURCE_DATE_EPOCH` fixes its date.
/// `enable_thinking` is false. The rendered text contains special tokens as text, including the
/// beginning-of-sequence token if the template writes it: encode it with `add_special = false`.
///
/// ```
/// use kad_backends::{ChatTemplate, Message};
/// let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}\n{% endfor %}\
///               {% if add_generation_prompt %}<|assistant|>{% endif %}";
/// let template = ChatTemplate::new(source, "<s>", "</s>")?;
/// let text = template.render(&[Message::user("Hi")], true)?;
/// assert_eq!(text, "<|user|>Hi</s>\n<|assistant|>");
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

/// Name of the template in error messages.
const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles the template `source`; `bos_token` and `eos_token` are variables of the template.
    ///
    /// # Errors
    /// [`LoadError::Template`] with the line of a syntax error.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, LoadError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(failed)?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, without_generation_tags(source)).map_err(failed)?;
        Ok(Self { environment, bos_token: bos_token.to_owned(), eos_token: eos_token.to_owned() })
    }

    /// Renders the conversation; `add_generation_prompt` appends the beginning of the model's
    /// answer.
    ///
    /// # Errors
    /// [`LoadError::Template`], also from the template's own `raise_exception`.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, LoadError> {
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let context = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
            enable_thinking => false,
            // `transformers` passes `none` for these, and templates test `is not none`.
            tools => Value::from(()),
            documents => Value::from(()),
        };
        template.render(context).map_err(failed)
    }
}

fn failed(error: Error) -> LoadError {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    LoadError::Template { message: format!("{detail}{line}") }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> Result<String, Error> {
    let invalid = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    strftime(now(), &format).map_err(invalid)
}

/// Replaces `{% generation %}`, which marks text for training and is unknown to minijinja.
fn without_generation_tags(source: &str) -> String {
    let mut out = source.to_owned();
    for (tag, harmless) in [("endgeneration", "endif"), ("generation", "if true")] {
        for open in ["{%", "{%-", "{%+"] {
            for close in ["%}", "-%}", "+%}"] {
                let tagged = format!("{open} {tag} {close}");
                out = out.replace(&tagged, &format!("{open} {harmless} {close}"));
            }
        }
    }
    out
}

/// Widest indent: templates use 2 or 4, and a huge one would exhaust the memory.
const WIDEST_INDENT: usize = 64;

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    if indent.is_some_and(|width| width > WIDEST_INDENT) {
        let message = format!("tojson: an indent above {WIDEST_INDENT}");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    // Further options of `transformers`; templates use their defaults only.
    let _: (Option<Value>, Option<Value>, Option<Value>) =
        (options.get("ensure_ascii")?, options.get("separators")?, options.get("sort_keys")?);
    options.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent {
        Some(width) => {
            let spaces = " ".repeat(width);
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut out, formatter))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut out, PythonSpacing)),
    };
    let bad = |message: String| Error::new(ErrorKind::BadSerialization, message);
    written.map_err(|error| bad(error.to_string()))?;
    let text = String::from_utf8(out).map_err(|error| bad(error.to_string()))?;
    Ok(Value::from_safe_string(text))
}

/// Formats JSON with a space after every comma and colon.
struct PythonSpacing;

impl Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The template for plain conversations among several named ones.
pub(crate) fn default_of(named: BTreeMap<String, String>) -> Option<String> {
    let mut named = named;
    named.remove("default").or_else(|| (named.len() == 1).then(|| named.pop_first())?.map(|t| t.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, LoadError> {
        ChatTemplate::new(source, "<s>", "</s>")?.render(messages, true)
    }

    #[test]
    fn block_tags_leave_no_empty_lines() {
        let source = "{{ bos_token }}\n  {% for m in messages %}\n[{{ m['role'].upper() }}] \
                      {{ m.content | trim }}\n  {% endfor %}\n{% if tools is not none %}x{% endif %}";
        assert_eq!(render(source, &[Message::user(" hi ")]).unwrap(), "<s>\n[USER] hi\n");
    }

    #[test]
    fn a_refusal_by_the_template_reaches_the_user() {
        let source =
            "{% if messages[0].role != 'user' %}\n{{ raise_exception('user first') }}{% endif %}";
        let error = render(source, &[Message::system("s")]).unwrap_err().to_string();
        assert_eq!(error, "chat template: user first (line 2)");
        let error = render("{% for %}", &[]).unwrap_err().to_string();
        assert!(error.contains("(line 1)"), "{error}");
    }

    #[test]
    fn json_has_the_spacing_of_python() {
        let source = "{{ messages | tojson }}";
        let out = render(source, &[Message::user("<é> \"q\" & 'a'")]).unwrap();
        assert_eq!(out, r#"[{"role": "user", "content": "<é> \"q\" & 'a'"}]"#);
        let out = render("{{ [1, {}] | tojson(indent=2) }}", &[]).unwrap();
        assert_eq!(out, "[\n  1,\n  {}\n]");
    }

    #[test]
    fn generation_tags_render_their_content() {
        let source =
            "{%- generation -%} a {%- endgeneration -%}{% generation %}b{% endgeneration %}";
        assert_eq!(render(source, &[]).unwrap(), "ab");
    }
}
