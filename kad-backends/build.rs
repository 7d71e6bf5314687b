//! Adds the folder of libtorch as a run path to this crate's tests and examples.
//!
//! The loader needs libtorch before `main` runs; the run path makes `LD_LIBRARY_PATH` unnecessary.
//! Cargo does not pass link arguments to dependent crates. The build script of a program gets the
//! folder as `DEP_KAD_BACKENDS_LIBTORCH` and prints `cargo::rustc-link-arg=-Wl,-rpath,FOLDER`
//! itself, as kad-eval's does.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["LIBTORCH", "LIBTORCH_LIB"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if let Some(folder) = libtorch() {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
        println!("cargo::metadata=libtorch={}", folder.display());
    }
}

/// Folder of libtorch, found as torch-sys does. `None` if it is not linked, if the system's copy is
/// used, or if the platform has no run paths.
fn libtorch() -> Option<PathBuf> {
    let feature = |name: &str| std::env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if !feature("TCH") || feature("TCH_DOC_ONLY") || !["linux", "macos"].contains(&&*system) {
        return None;
    }
    let root = std::env::var_os("LIBTORCH_LIB").or_else(|| std::env::var_os("LIBTORCH"))?;
    Some(PathBuf::from(root).join("lib")).filter(|folder| folder.is_dir())
}
