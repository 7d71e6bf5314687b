//! Finds the library ONNX Runtime and loads it without telemetry.
//!
//! The build does not need the library. At run time kad searches `ORT_DYLIB_PATH` (a file or a
//! folder; if set, nowhere else), the destination of `scripts/setup-onnxruntime.sh`
//! (`$KAD_CACHE/onnxruntime`, or `kad/onnxruntime` in the user's cache folder), the folder of the
//! program, and the system's library folders.
//!
//! **Telemetry.** Builds of 1.29 and later send usage data. A session option does not stop them;
//! the environment variable [`NO_TELEMETRY`] does. kad cannot set it safely in a running process.
//! So it reads the library file before loading it, and refuses a library that contains the
//! variable's name unless the variable is set. The build of the script has no telemetry.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::errors::{NAME, failed};
use crate::error::LoadError;
use crate::weights::FileBytes;

/// Environment variable with the path of the library.
pub(super) const PATH: &str = "ORT_DYLIB_PATH";
/// Environment variable that disables telemetry in builds that have it.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";
const SCRIPT: &str = "scripts/setup-onnxruntime.sh";
const FOLDERS: [&str; 4] =
    ["/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];

/// The environment of ONNX Runtime: one per process, for the life of the process.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The environment; loads the library on the first call.
///
/// # Errors
/// [`LoadError::NotFound`] if there is no library, [`LoadError::Unsupported`] if it is too old or
/// would send telemetry, [`LoadError::Backend`] if it does not load.
pub(super) fn environment() -> Result<Environment, LoadError> {
    // After a panic the value is `None`, which is correct.
    let mut started = ENVIRONMENT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(environment) = &*started {
        return Ok(environment.clone());
    }
    let path = find()?;
    refuse_telemetry(&path)?;
    let builder = ort::init_from(&path).map_err(|error| refused(&path, error))?;
    let environment = builder.with_telemetry(false).build().map_err(failed)?;
    // Errors are returned; the library must not print them as well.
    environment.set_log_level(LogLevel::Fatal);
    *started = Some(environment.clone());
    Ok(environment)
}

fn refused(path: &Path, error: ort::LoadDynamicError) -> LoadError {
    match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => LoadError::unsupported(
            "version of ONNX Runtime",
            format!("{version_str} at {}, too old; {SCRIPT} fetches one that fits", path.display()),
            &[&format!("1.{} and later", ort::MINOR_VERSION)],
        ),
        other => LoadError::Backend {
            backend: NAME,
            message: format!("{other}; set {PATH} to another library or run {SCRIPT}"),
        },
    }
}

/// The first library found.
fn find() -> Result<PathBuf, LoadError> {
    let chosen = std::env::var_os(PATH).filter(|path| !path.is_empty()).map(PathBuf::from);
    let places = chosen.map_or_else(usual_places, |path| vec![path]);
    let found = places.iter().find_map(|place| match place.is_dir() {
        true => library_in(place),
        false => Some(place.clone()).filter(|file| file.is_file()),
    });
    found.ok_or_else(|| {
        let listed: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        LoadError::NotFound {
            what: "libonnxruntime".to_owned(),
            path: places.first().cloned().unwrap_or_default(),
            advice: format!("set {PATH} or run {SCRIPT} (looked in {})", listed.join(", ")),
        }
    })
}

fn usual_places() -> Vec<PathBuf> {
    let cache = std::env::var_os("KAD_CACHE").filter(|folder| !folder.is_empty());
    let cache = cache.map(PathBuf::from).or_else(|| Some(dirs::cache_dir()?.join("kad")));
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    let own = cache.map(|folder| folder.join("onnxruntime"));
    own.into_iter().chain(beside).chain(FOLDERS.map(PathBuf::from)).collect()
}

/// The library in a folder; the latest of several versions.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(library_name());
    if plain.is_file() {
        return Some(plain);
    }
    let versioned = format!("{}.", library_name());
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).collect();
    found.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&versioned))
    });
    found.into_iter().max_by_key(|path| version(path))
}

/// The numbers in the file name, so that 1.28.0 comes after 1.9.0.
fn version(path: &Path) -> Vec<u64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn library_name() -> String {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    format!("{prefix}onnxruntime{suffix}")
}

/// Refuses a library that would send telemetry.
fn refuse_telemetry(path: &Path) -> Result<(), LoadError> {
    let off = std::env::var(NO_TELEMETRY).is_ok_and(|value| value == "1");
    let library = FileBytes::map(path)?;
    let knows = library.bytes().windows(NO_TELEMETRY.len()).any(|at| at == NO_TELEMETRY.as_bytes());
    if off || !knows {
        return Ok(());
    }
    let found = format!(
        "{} sends telemetry: set {NO_TELEMETRY}=1 before kad starts, or use the build that {SCRIPT} \
         fetches",
        path.display()
    );
    Err(LoadError::unsupported("build of ONNX Runtime", found, &["builds without telemetry"]))
}
