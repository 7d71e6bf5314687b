//! Where libtorch is, noted in what is linked with it.
//!
//! A program linked with libtorch asks the loader for it before `main`. So that this works without
//! `LD_LIBRARY_PATH`, the folder that the build found it in becomes a run path of this crate's
//! tests and examples. Cargo does not hand such arguments on: a crate that makes a program of this
//! one gets the folder as `DEP_KAD_BACKENDS_LIBTORCH` in its build script, and says
//! `cargo::rustc-link-arg=-Wl,-rpath,FOLDER` itself, as kad-eval does.

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

/// The folder of the library, as torch-sys looks for it; none where it is not linked, where it is
/// the system's own, or where the linker knows no run paths.
fn libtorch() -> Option<PathBuf> {
    let feature = |name: &str| std::env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if !feature("TCH") || feature("TCH_DOC_ONLY") || !["linux", "macos"].contains(&&*system) {
        return None;
    }
    let root = std::env::var_os("LIBTORCH_LIB").or_else(|| std::env::var_os("LIBTORCH"))?;
    Some(PathBuf::from(root).join("lib")).filter(|folder| folder.is_dir())
}
