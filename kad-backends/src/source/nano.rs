//! The small models shipped with the project.

use std::path::{Path, PathBuf};

use crate::error::LoadError;
use crate::unknown_name::UnknownName;

/// Folder of the shipped models in a checkout.
const NANO_FOLDER: &str = "experiments/nano/models";

/// Existing folders for the shipped models: `KAD_NANO` first, then the checkouts above the working
/// directory and of the build.
fn nano_folders() -> Vec<PathBuf> {
    let chosen = std::env::var_os("KAD_NANO").map(PathBuf::from);
    let here = std::env::current_dir().unwrap_or_default();
    let above = here.ancestors().map(|folder| folder.join(NANO_FOLDER)).collect::<Vec<_>>();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(|root| root.join(NANO_FOLDER));
    chosen.into_iter().chain(above).chain(built).filter(|folder| folder.is_dir()).collect()
}

/// Names of the available shipped models, sorted.
///
/// ```
/// for name in kad_backends::nano_models() {
///     println!("nano:{name}");
/// }
/// ```
pub fn nano_models() -> Vec<String> {
    let mut names: Vec<String> = nano_folders().iter().flat_map(|f| models_in(f)).collect();
    names.sort();
    names.dedup();
    names
}

fn models_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let models = entries.filter(|entry| entry.path().join("config.json").is_file());
    models.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

pub(super) fn find(name: &str) -> Result<PathBuf, LoadError> {
    let candidates = nano_folders().into_iter().map(|folder| folder.join(name));
    if let Some(found) = candidates.into_iter().find(|path| path.join("config.json").is_file()) {
        return Ok(found);
    }
    let known = nano_models();
    if known.is_empty() {
        return Err(LoadError::NotFound {
            what: format!("nano model `{name}`"),
            path: PathBuf::from(NANO_FOLDER),
            advice: "run inside a checkout of the project, or set KAD_NANO to the folder that \
                     holds the nano models"
                .to_owned(),
        });
    }
    Err(UnknownName { kind: "nano model", given: name.to_owned(), known }.into())
}
