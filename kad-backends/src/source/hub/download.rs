//! Downloads a file of the hub and reports the progress.

use std::path::PathBuf;

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiError, ApiRepo};

pub(super) fn download(
    api: &ApiRepo,
    file: &str,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, ApiError> {
    let report = DownloadProgress { file, progress, size: 0, done: 0, told: 0 };
    api.download_with_progress(file, report)
}

/// Reports the progress of a download in steps of 5 %.
struct DownloadProgress<'a> {
    file: &'a str,
    progress: &'a dyn Fn(&str),
    size: usize,
    done: usize,
    told: usize,
}

/// Smallest size in bytes with progress reports.
const WORTH_REPORTING: usize = 10_000_000;

impl Progress for DownloadProgress<'_> {
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
