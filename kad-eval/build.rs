//! Bakes into the binary what a run's provenance must say: the source revision and the versions
//! of the libraries that compute.

use std::path::Path;
use std::process::Command;

/// Libraries whose version can change numbers, with the feature that brings them.
const LIBRARIES: [(&str, Option<&str>); 6] = [
    ("candle-core", Some("CANDLE")),
    ("burn", Some("BURN")),
    ("tch", Some("TCH")),
    ("tokenizers", None),
    ("safetensors", None),
    ("rand_chacha", None),
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for watched in [".git/logs/HEAD", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    let revision = git(&root, &["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"])
        .unwrap_or("unknown".into());
    println!("cargo:rustc-env=KAD_REVISION={revision}");
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let versions: Vec<String> = LIBRARIES
        .iter()
        .filter(|(_, feature)| feature.is_none_or(enabled))
        .filter_map(|(name, _)| Some(format!("{name} {}", version(&lock, name)?)))
        .collect();
    println!("cargo:rustc-env=KAD_LIBRARIES={}", versions.join(", "));
    let target = ["CARGO_CFG_TARGET_ARCH", "CARGO_CFG_TARGET_FEATURE"]
        .map(|name| std::env::var(name).unwrap_or_default());
    println!("cargo:rustc-env=KAD_TARGET={} ({})", target[0], target[1]);
    // Else the program would need LD_LIBRARY_PATH to start.
    if let Ok(libtorch) = std::env::var("DEP_KAD_BACKENDS_LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}");
    }
}

fn enabled(feature: &str) -> bool {
    std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some()
}

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(root).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The newest version of `name` in a lock file, whose entries are sorted: ours, where a library
/// brings an older one along.
fn version<'l>(lock: &'l str, name: &str) -> Option<&'l str> {
    let wanted = format!("name = \"{name}\"\n");
    let entry = lock.split("[[package]]").filter(|e| e.contains(&wanted)).last()?;
    entry.split("version = \"").nth(1)?.split('"').next()
}
