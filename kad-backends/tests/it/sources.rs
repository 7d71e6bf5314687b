//! Model sources.

use std::path::PathBuf;

use kad_backends::{LoadError, Source};

use crate::support::nano_names;

#[test]
fn a_path_is_used_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::Path(folder.path().to_owned());
    assert_eq!(source.resolve(&|_| ()).unwrap(), folder.path());
    let source: Source = "no/such/model".parse().unwrap();
    match source.resolve(&|_| ()) {
        Err(LoadError::NotFound { path, .. }) => assert_eq!(path, PathBuf::from("no/such/model")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_nano_model_lists_the_known_ones() {
    let error = Source::Nano("no-such-model".into()).resolve(&|_| ()).unwrap_err();
    match error {
        LoadError::UnknownName(error) => assert_eq!(error.known, nano_names()),
        other => panic!("{other}"),
    }
}

#[test]
fn every_nano_model_can_be_opened() {
    for name in nano_names() {
        let path = Source::Nano(name.clone()).resolve(&|_| ()).unwrap();
        let files = kad_backends::ModelFiles::open(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let rows = files.spec.vocab_rows;
        assert!(files.tokenizer.vocab().size() <= rows, "{name}: more tokens than {rows} rows");
        let ids = files.tokenizer.encode("Tom has 12 apples.", false).unwrap();
        assert_eq!(files.tokenizer.decode(&ids, true).unwrap(), "Tom has 12 apples.");
    }
}
