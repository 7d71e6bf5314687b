//! How a command ends when it does not succeed.

use std::process::ExitCode;

use crate::output;

/// Why a command stopped, and thereby its exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request cannot be carried out as written: exit code 2.
    Request(anyhow::Error),
    /// The work failed: exit code 1.
    Work(anyhow::Error),
    /// The user interrupted; what was finished is kept: exit code 130.
    Interrupted(String),
    /// Whoever read the output went away: nothing to say, exit code 0.
    ReaderGone,
}

impl Failure {
    /// Marks an error as the request's fault.
    pub(crate) fn request(error: impl Into<anyhow::Error>) -> Self {
        Failure::Request(error.into())
    }

    /// Prints the message to stderr and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (message, code) = match self {
            Failure::Request(error) => (format!("error: {error:#}"), 2),
            Failure::Work(error) => (format!("error: {error:#}"), 1),
            Failure::Interrupted(message) => (message.clone(), 130),
            Failure::ReaderGone => return ExitCode::SUCCESS,
        };
        output::note(&message);
        ExitCode::from(code)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let closed = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if closed {
            Failure::ReaderGone
        } else {
            Failure::Work(error)
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::from(anyhow::Error::from(error))
    }
}
