//! Devices and threads: the backends that support them, and the errors of the others.

use std::num::NonZeroUsize;

use kad_backends::{Backend, Device, Dtype, LoadError, ModelOptions, ModelRequest, load_with};

/// The error for a missing model with these options; options are checked before the model.
fn refusal(backend: Backend, options: ModelOptions) -> LoadError {
    let request = ModelRequest {
        name: "draft".to_owned(),
        source: "./no/such/folder".parse().unwrap(),
        backend,
        dtype: Dtype::Auto,
    };
    load_with(&request, &options, &|_| ()).map(drop).unwrap_err()
}

fn on(device: &str) -> ModelOptions {
    ModelOptions { device: device.parse().unwrap(), ..ModelOptions::default() }
}

#[test]
fn device_names_survive_parsing_and_printing() {
    for (text, device) in [
        ("cpu", Device::Cpu),
        ("cuda", Device::Cuda(0)),
        ("cuda:0", Device::Cuda(0)),
        ("cuda:12", Device::Cuda(12)),
        ("metal", Device::Metal),
    ] {
        assert_eq!(text.parse::<Device>().unwrap(), device);
        assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
    }
    for text in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "metal:0"] {
        let error = text.parse::<Device>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("unknown device `{text}`; ")), "{error}");
        assert!(error.ends_with("known: cpu, cuda, cuda:N, metal"), "{error}");
    }
}

/// No test machine has a hundred GPUs.
#[test]
fn the_error_for_a_missing_gpu_names_the_devices_and_the_remedy() {
    for (backend, found, advice) in [
        (Backend::Naive, "it runs on the CPU only", "use the tch or ort backend for a GPU"),
        (Backend::Candle, "it runs on the CPU only", "use the tch or ort backend for a GPU"),
        (Backend::Tch, "libtorch sees ", "LIBTORCH set to a libtorch for CUDA"),
        (
            Backend::Burn,
            if cfg!(feature = "cuda") { "burn sees " } else { "this build has no CUDA" },
            if cfg!(feature = "cuda") { "and its driver" } else { "--features burn,cuda" },
        ),
    ] {
        if !Backend::compiled().any(|compiled| compiled == backend) {
            continue;
        }
        let error = refusal(backend, on("cuda:99"));
        assert!(matches!(error, LoadError::NoDevice { .. }), "{error}");
        let error = error.to_string();
        let begin = format!("model `draft` cannot run on cuda:99 with the {backend} backend: ");
        assert!(error.starts_with(&format!("{begin}{found}")), "{error}");
        assert!(error.contains(advice) && error.contains("device = \"cpu\""), "{error}");
    }
}

/// ONNX Runtime has its own tests, which need the library.
#[cfg(not(target_os = "macos"))]
#[test]
fn metal_is_refused_without_a_mac() {
    for backend in Backend::compiled() {
        let error = refusal(backend, on("metal"));
        assert!(matches!(error, LoadError::NoDevice { .. }), "{error}");
        let error = error.to_string();
        let found = match backend {
            Backend::Tch => "libtorch sees no Metal device",
            Backend::Burn if cfg!(feature = "metal") => "burn sees no Metal device",
            Backend::Burn => "this build has no Metal; rebuild with --features burn,metal",
            Backend::Ort => "on the CPU and on CUDA only",
            _ => "it runs on the CPU only",
        };
        assert!(error.contains(found), "{error}");
    }
}

#[test]
fn threads_of_rayon_are_refused_with_its_variable() {
    let options = ModelOptions { threads: NonZeroUsize::new(3), ..ModelOptions::default() };
    for backend in [Backend::Candle, Backend::Burn, Backend::Naive] {
        if !Backend::compiled().any(|compiled| compiled == backend) {
            continue;
        }
        let error = refusal(backend, options).to_string();
        assert!(error.contains(&format!("`threads` for `draft` with the {backend}")), "{error}");
        assert!(error.contains("RAYON_NUM_THREADS=3 before kad starts"), "{error}");
    }
}

/// In a separate process, because other tests set the number of threads too.
#[cfg(feature = "tch")]
#[test]
fn models_on_libtorch_share_one_number_of_threads() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "devices::threads_of_libtorch", "--nocapture"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}

#[cfg(feature = "tch")]
#[test]
#[ignore = "run by the test above, in a process of its own"]
fn threads_of_libtorch() {
    let folder = tempfile::tempdir().unwrap();
    crate::support::hf::write_single(folder.path());
    let load = |name: &str, threads| {
        let request = ModelRequest {
            name: name.to_owned(),
            source: folder.path().to_str().unwrap().parse().unwrap(),
            backend: Backend::Tch,
            dtype: Dtype::Auto,
        };
        let options =
            ModelOptions { threads: NonZeroUsize::new(threads), ..ModelOptions::default() };
        load_with(&request, &options, &|_| ()).map(|loaded| loaded.details.options)
    };
    // Neither a default nor the number of cores.
    let options = load("first", 7).unwrap();
    assert_eq!(options.threads, NonZeroUsize::new(7));
    assert_eq!(::tch::get_num_threads(), 7);
    load("same", 7).unwrap();
    load("whatever", 0).unwrap();
    assert_eq!(::tch::get_num_threads(), 7);
    let error = load("other", 2).unwrap_err().to_string();
    assert!(error.contains("`threads = 2` for `other`, but `threads = 7` for `first`"), "{error}");
    assert_eq!(::tch::get_num_threads(), 7);
}
