//! Stored profiles: written, read back, and refused where the file was changed.

use super::*;
use crate::speed::profile::sample_profile;

fn profile() -> Profile {
    let candidates = vec![
        sample_profile::distribution("large", 1e-2, 1e-3),
        sample_profile::distribution("small", 1e-3, 1e-4),
        sample_profile::lookup("n-gram"),
    ];
    let pairs = vec![
        sample_profile::pair("large", "small", 0.7),
        sample_profile::pair("large", "n-gram", 0.3),
    ];
    let mut profile = sample_profile::profile(candidates, pairs);
    profile.conditions = sample_profile::conditions();
    profile.candidates[0].definition = Some("a rule".to_owned());
    let distributions = [("large", vec![-0.25, 0.0, -1000.0]), ("small", vec![-1.5, -1e-4, 0.0])];
    let distributions = distributions.map(|(name, along)| (name.to_owned(), along)).into();
    let trace = TextTrace {
        prompt: 3,
        limit: 9,
        tokens: 3,
        ended: true,
        distributions,
        ..TextTrace::default()
    };
    profile.texts = Some(TracedTexts { target: "large".to_owned(), traces: vec![trace] });
    // A number without a short decimal form.
    profile.conditions.sampling.temperature = 0.1 + 0.2;
    profile
}

#[test]
fn a_written_profile_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.json");
    profile().write(&path).unwrap();
    assert_eq!(Profile::read(&path).unwrap(), profile());
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names, [path], "no temporary file is left");
    // A folder stands where the file should.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    let error = format!("{:#}", profile().write(&taken).unwrap_err());
    assert!(error.contains("cannot write the profile"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
}

/// Arrays of numbers take one line each; nothing else is joined.
#[test]
fn numbers_share_lines() {
    let value = serde_json::json!({ "a": [1, -2.5e-7, 3], "b": ["1", "2"], "c": [[], [4]] });
    let text = compact(&serde_json::to_string_pretty(&value).unwrap());
    assert!(text.contains("\n    1, -2.5e-7, 3\n  ],\n"), "{text}");
    assert!(text.contains("\n    \"1\",\n    \"2\"\n"), "{text}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
}

/// Each kind of damage has a message with its name and the remedy.
#[test]
fn damage_is_named() {
    let whole = serde_json::to_string(&profile()).unwrap();
    let damaged = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from} is not in {whole}");
        whole.replacen(from, to, 1)
    };
    for (text, word) in [
        (whole[..whole.len() / 2].to_owned(), "EOF"),
        ("{}".to_owned(), "missing field `version`"),
        (damaged("\"version\":4", "\"version\":7"), "layout 7"),
        (damaged("\"settings\"", "\"setings\""), "unknown field `setings`"),
        (damaged("\"drafter\":\"small\"", "\"drafter\":\"tiny\""), "`tiny`, which is no candidate"),
        (damaged("\"texts\":{\"target\":\"large", "\"texts\":{\"target\":\"tiny"), "`tiny`"),
        (damaged("\"draft_seconds\":", "\"draft_seconds\":-"), "`n-gram` has a time of -"),
        (damaged("\"seconds\":0.01", "\"seconds\":-0.01"), "a pass takes -0.01 seconds"),
        (damaged("\"round\":", "\"round\":-"), "(`large`, `small`) has a round overhead of -"),
        (damaged("\"counts\":[[]", "\"counts\":[[1,1]"), "more accepted than proposed"),
    ] {
        let error = format!("{:#}", Profile::parse(&text).unwrap_err());
        assert!(error.contains(word), "{word:?} is not in: {error}");
        assert!(error.contains("kad profile"), "{error}");
    }
}
