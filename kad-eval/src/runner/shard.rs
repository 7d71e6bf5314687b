//! A part of a run, for one of several processes.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// Every `count`-th item, from the `index`-th (the first is 1), with all of its decoders: what is
/// compared stays together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    index: NonZeroUsize,
    count: NonZeroUsize,
}

impl Shard {
    /// Whether the item at this place of the run, over all tasks, belongs to it.
    pub(crate) fn has(self, place: usize) -> bool {
        place % self.count == self.index.get() - 1
    }

    /// `NAME.shard-2-of-8.EXTENSION`.
    pub(crate) fn file(self, name: &str, extension: &str) -> String {
        format!("{name}.shard-{}-of-{}.{extension}", self.index, self.count)
    }

    /// Whether `file` is what [`file`](Self::file) calls any shard's.
    pub(crate) fn is_file(file: &str, name: &str, extension: &str) -> bool {
        let rest = file.strip_prefix(name).and_then(|rest| rest.strip_prefix(".shard-"));
        let numbers = rest.and_then(|rest| rest.strip_suffix(extension)?.strip_suffix('.'));
        numbers.and_then(|numbers| numbers.replace("-of-", "/").parse::<Self>().ok()).is_some()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let Some((index, count)) = parts else {
            return Err("write I/N, as in 2/8: the second of eight parts".to_owned());
        };
        if index > count {
            return Err(format!("there is no part {index} of {count}: they count from 1"));
        }
        Ok(Self { index, count })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_everything_out_once() {
        for count in 1..6 {
            let shards: Vec<Shard> =
                (1..=count).map(|i| format!("{i}/{count}").parse().unwrap()).collect();
            for place in 0..20 {
                assert_eq!(shards.iter().filter(|shard| shard.has(place)).count(), 1);
            }
        }
    }

    #[test]
    fn names_lead_back_and_nonsense_is_refused() {
        let shard: Shard = "2/12".parse().unwrap();
        assert_eq!(shard.to_string(), "2/12");
        let file = shard.file("records", "jsonl");
        assert_eq!(file, "records.shard-2-of-12.jsonl");
        assert!(Shard::is_file(&file, "records", "jsonl"));
        for other in ["records.jsonl", "records.shard-3-of-2.jsonl", "records.shard-x.jsonl"] {
            assert!(!Shard::is_file(other, "records", "jsonl"), "{other}");
        }
        for wrong in ["0/2", "3/2", "2", "1/0", "a/b", "1/2/3", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
