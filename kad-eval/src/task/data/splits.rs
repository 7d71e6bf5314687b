//! The files of a folder that hold the splits of a dataset.
//!
//! The hub writes a split as `test-00000-of-00002.parquet`, `test-00001-of-00002.parquet`, in older
//! repositories with a digest after the numbers. Some datasets have `test.jsonl`. People who copy
//! one name it `test.parquet`.

/// The files that hold these splits, one split after the other.
///
/// # Errors
/// The file that is missing, for messages.
pub(super) fn files(names: &[&str], splits: &[&str]) -> Result<Vec<String>, String> {
    let files = splits.iter().map(|split| split_files(names, split));
    Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Does any file belong to this split?
pub(super) fn mentions(names: &[&str], split: &str) -> bool {
    whole(names, split).is_some() || names.iter().any(|name| part(name, split).is_some())
}

/// Names that the tables may have, for messages.
pub(super) fn named(splits: &[&str]) -> String {
    splits.iter().map(|split| format!("{split}.parquet")).collect::<Vec<_>>().join(" and ")
}

fn whole(names: &[&str], split: &str) -> Option<String> {
    let candidates = ["jsonl", "parquet"].map(|ending| format!("{split}.{ending}"));
    candidates.into_iter().find(|candidate| names.contains(&candidate.as_str()))
}

fn split_files(names: &[&str], split: &str) -> Result<Vec<String>, String> {
    if let Some(file) = whole(names, split) {
        return Ok(vec![file]);
    }
    let parts = names.iter().filter_map(|name| Some((part(name, split)?, *name)));
    let mut parts: Vec<((usize, usize), &str)> = parts.collect();
    parts.sort_unstable();
    let Some(((_, count), _)) = parts.first().copied() else {
        return Err(format!("{split}-*.parquet (or {split}.parquet)"));
    };
    for index in 0..count {
        if parts.get(index).is_none_or(|(place, _)| *place != (index, count)) {
            return Err(format!("{split}-{index:05}-of-{count:05}.parquet"));
        }
    }
    // A further part is of another edition; nothing tells which parts belong together.
    match parts.get(count) {
        Some((_, name)) => Err(format!("one edition of {split} ({name} is of another): it")),
        None => Ok(parts.into_iter().map(|(_, name)| name.to_owned()).collect()),
    }
}

/// The index and the count in the name of a part of this split.
fn part(name: &str, split: &str) -> Option<(usize, usize)> {
    let numbers = name.strip_prefix(split)?.strip_prefix('-')?.strip_suffix(".parquet")?;
    let (index, rest) = numbers.split_once("-of-")?;
    let count = rest.split_once('-').map_or(rest, |(count, _digest)| count);
    let number = |text: &str| (text.len() >= 5).then(|| text.parse().ok()).flatten();
    Some((number(index)?, number(count)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_in_their_order_and_whole_files_first() {
        let found = |names: &[&str]| files(names, &["test"]);
        let one = ["README.md", "test-00000-of-00001-67c6c9fef07685a3.parquet"];
        assert_eq!(found(&one).unwrap(), one[1..]);
        let two = [
            "test-00001-of-00002.parquet",
            "train-00000-of-00001.parquet",
            "test-00000-of-00002.parquet",
        ];
        assert_eq!(found(&two).unwrap(), [two[2], two[0]]);
        assert_eq!(files(&two, &["train", "test"]).unwrap(), [two[1], two[2], two[0]]);
        assert_eq!(found(&["test.parquet", one[1]]).unwrap(), ["test.parquet"]);
        assert_eq!(found(&["test.parquet", "test.jsonl"]).unwrap(), ["test.jsonl"]);
        assert!(mentions(&one, "test") && !mentions(&one, "train"));
    }

    #[test]
    fn a_missing_part_is_named() {
        let missing = |names: &[&str]| files(names, &["test"]).unwrap_err();
        assert_eq!(
            missing(&["test-1.parquet", "tests.parquet"]),
            "test-*.parquet (or test.parquet)"
        );
        let parts = ["test-00000-of-00003.parquet", "test-00002-of-00003.parquet"];
        assert_eq!(missing(&parts), "test-00001-of-00003.parquet");
        assert_eq!(missing(&parts[1..]), "test-00000-of-00003.parquet");
        let mixed = ["test-00000-of-00001.parquet", "test-00001-of-00002.parquet"];
        assert!(missing(&mixed).contains("test-00001-of-00002.parquet is of another"));
    }
}
