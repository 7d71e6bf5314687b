//! Options of a run: folders, limits, parallel jobs.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

/// Options of a run: folders, limits, parallel jobs.
///
/// No option changes an item's text, grade or number of forward passes; `limit` changes the number
/// of items.
///
/// ```
/// use kad_eval::RunOptions;
///
/// let options = RunOptions { limit: 10.try_into().ok(), ..RunOptions::default() };
/// assert_eq!(options.out.to_str(), Some("results"));
/// assert_eq!(options.jobs.get(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Folder of all results. A run has the folder `out/NAME/RUN-ID`. Default: `results`.
    pub out: PathBuf,
    /// Folder of benchmark files (`gsm8k/test.jsonl`, …), or `hf:` for the files of the hub.
    /// Default: none, for tasks that need none.
    pub data: Option<PathBuf>,
    /// Largest number of items of each task. Default: all.
    pub limit: Option<NonZeroU64>,
    /// Items decoded at a time. Each job loads the models for itself. Default: 1.
    pub jobs: NonZeroUsize,
    /// Ends the run at the first item that fails. Default: false, the item is left out.
    pub fail_fast: bool,
    /// Writes notes, warnings and progress to stderr. Default: false. Nothing ever goes to stdout.
    pub messages: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            out: "results".into(),
            data: None,
            limit: None,
            jobs: NonZeroUsize::MIN,
            fail_fast: false,
            messages: false,
        }
    }
}
