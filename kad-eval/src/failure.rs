//! Errors of commands and their exit codes.

use std::process::ExitCode;

use kad_backends::LoadError;
use kad_core::{DecodeError, ModelError};

use crate::output;

/// Exit code after Ctrl-C, as in shells: 128 + SIGINT.
pub(crate) const INTERRUPTED_EXIT: u8 = 130;

/// An error of [`Experiment`](crate::Experiment) or [`run`](crate::run()).
///
/// ```
/// use kad_eval::{ErrorKind, Experiment};
///
/// let error = "name = 3".parse::<Experiment>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Request);
/// assert!(error.to_string().contains("name"));
/// ```
#[derive(Debug)]
pub struct Error(Failure);

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be carried out as written.
    Request,
    /// The work failed. Finished items are kept, and the same call continues.
    Work,
    /// The user interrupted. Finished items are kept, and the same call continues.
    Interrupted,
}

impl Error {
    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self.0 {
            Failure::Request(_) => ErrorKind::Request,
            Failure::Work(_) | Failure::ReaderGone => ErrorKind::Work,
            Failure::Interrupted(_) => ErrorKind::Interrupted,
        }
    }
}

impl std::fmt::Display for Error {
    /// The error with all its causes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Failure::Request(error) | Failure::Work(error) => write!(f, "{error:#}"),
            Failure::Interrupted(message) => f.write_str(message),
            Failure::ReaderGone => f.write_str("the reader of the output closed it"),
        }
    }
}

impl std::error::Error for Error {
    /// The causes are part of the message; the first of them is also here.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Failure::Request(error) | Failure::Work(error) => error.source(),
            Failure::Interrupted(_) | Failure::ReaderGone => None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

/// The reason why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request cannot be carried out as written: exit code 2.
    Request(anyhow::Error),
    /// The work failed: exit code 1.
    Work(anyhow::Error),
    /// The user interrupted; finished items are kept: exit code 130.
    Interrupted(String),
    /// The reader of the output closed the pipe: no message, exit code 0.
    ReaderGone,
}

impl Failure {
    /// An error of the request.
    pub(crate) fn request(error: impl Into<anyhow::Error>) -> Self {
        Failure::Request(error.into())
    }

    /// Prints the message to stderr and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (message, code) = match self {
            Failure::Request(error) => (format!("error: {error:#}"), 2),
            Failure::Work(error) => (format!("error: {error:#}"), 1),
            Failure::Interrupted(message) => (message.clone(), INTERRUPTED_EXIT),
            Failure::ReaderGone => return ExitCode::SUCCESS,
        };
        output::error(&message);
        ExitCode::from(code)
    }
}

/// An error of the request that is found during the work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongRequest(pub(crate) String);

impl From<anyhow::Error> for Failure {
    /// Sorts an error by its causes: a closed pipe, a request (of things that are absent or cannot be
    /// combined), or work that failed.
    fn from(error: anyhow::Error) -> Self {
        if error.chain().any(is_closed_pipe) {
            Failure::ReaderGone
        } else if error.chain().any(is_wrong_request) {
            Failure::Request(error)
        } else {
            Failure::Work(error)
        }
    }
}

type Cause = dyn std::error::Error + 'static;

fn is_closed_pipe(cause: &Cause) -> bool {
    let io = cause.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn is_wrong_request(cause: &Cause) -> bool {
    let decoding = matches!(
        cause.downcast_ref(),
        Some(
            DecodeError::EmptyPrompt
                | DecodeError::PromptTooLong { .. }
                | DecodeError::NoTokensRequested
        )
    );
    let loading = matches!(
        cause.downcast_ref(),
        Some(
            LoadError::Source { .. }
                | LoadError::UnknownName { .. }
                | LoadError::NotFound { .. }
                | LoadError::NotCompiled { .. }
                | LoadError::Unsupported { .. }
                | LoadError::NoDevice { .. }
        )
    );
    let context = matches!(cause.downcast_ref(), Some(ModelError::ContextFull { .. }));
    decoding || loading || context || cause.is::<WrongRequest>()
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::from(anyhow::Error::from(error))
    }
}
