//! One file of the hub, with progress.

use std::path::PathBuf;

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiError, ApiRepo};

pub(super) fn download(
    api: &ApiRepo,
    file: &str,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, ApiError> {
    let report = Report { file, progress, size: 0, done: 0, told: 0 };
    api.download_with_progress(file, report)
}

/// Says how far a download is, in steps of five percent.
struct Report<'a> {
    file: &'a str,
    progress: &'a dyn Fn(&str),
    size: usize,
    done: usize,
    told: usize,
}

/// Smaller files come without words.
const WORTH_REPORTING: usize = 10_000_000;

impl Progress for Report<'_> {
    fn init(&mut self, size: usize, _file: &str) {
        self.size = size;
    }

    fn update(&mut self, bytes: usize) {
        self.done += bytes;
        let step = self.done * 20 / self.size.max(1);
        if self.size >= WORTH_REPORTING && step > self.told {
            self.told = step;
            let megabytes = self.size / 1_000_000;
            (self.progress)(&format!("{}: {} % of {megabytes} MB", self.file, step * 5));
        }
    }

    fn finish(&mut self) {}
}
