//! The tch backend: the suite of `libraries.rs`, whose tolerances are in `support/library.rs`.

use crate::support::library::{self, Library};

const ALL: [Library; 3] = library::TCH;

#[test]
fn keeps_the_contract_and_agrees_with_naive() {
    for library in ALL {
        // Whether a pass over many tokens has the bits of many passes is reported: it has not.
        library.conforms();
    }
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
