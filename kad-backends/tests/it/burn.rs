//! The burn backend: the suite of `libraries.rs`, with what it measured.

use kad_backends::{Dtype, StoredType, burn};
use kad_core::testing::conformance::Tolerance;

use crate::libraries::Library;

/// Measured over all families, logits up to 10.8: 1.05e-5 between passes, 1.29e-5 to naive and to
/// transformers; 5.0e-5 where a file holds blocks (logits up to 20).
const F32: Library = Library {
    name: "burn",
    load: burn::load,
    dtype: Dtype::F32,
    stored: StoredType::F32,
    tolerance: Tolerance { passes: 4e-5, reference: 4e-5 },
    dequantised: 1.5e-4,
};

/// Measured over all families, logits up to 10.8: 8.2e-3 between passes, 1.2e-2 to naive and to
/// transformers; 4.4e-2 where a file holds blocks (logits up to 20).
const F16: Library = Library {
    dtype: Dtype::F16,
    stored: StoredType::F16,
    tolerance: Tolerance { passes: 2.5e-2, reference: 4e-2 },
    dequantised: 1.5e-1,
    ..F32
};

/// Measured over all families, logits up to 10.8: 3.1e-2 between passes, 1.1e-1 to naive and to
/// transformers; 3.8e-1 where a file holds blocks (logits up to 20).
const BF16: Library = Library {
    dtype: Dtype::BF16,
    stored: StoredType::BF16,
    tolerance: Tolerance { passes: 0.1, reference: 0.3 },
    dequantised: 1.0,
    ..F32
};

const ALL: [Library; 3] = [F32, F16, BF16];

#[test]
fn keeps_the_contract_and_agrees_with_naive() {
    for library in ALL {
        // Whether a pass over many tokens has the bits of many passes is reported: it has not.
        library.conforms();
    }
}

#[test]
fn gives_the_numbers_of_transformers() {
    ALL.iter().for_each(Library::agrees_with_transformers);
}

#[test]
fn dequantises_what_a_file_holds() {
    ALL.iter().for_each(Library::dequantises);
}

#[test]
fn texts_and_trees_of_several_chunks_agree_with_naive() {
    ALL.iter().for_each(Library::agrees_with_naive_at_any_length);
}

#[test]
fn kept_paths_leave_no_trace() {
    ALL.iter().for_each(Library::keeps_paths);
}

#[test]
fn early_exits_are_the_models_of_fewer_layers() {
    ALL.iter().for_each(Library::exits_early);
}

#[test]
fn what_does_not_fit_is_refused() {
    ALL.iter().for_each(Library::refuses);
}
