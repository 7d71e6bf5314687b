//! The part of a run that one of several processes does.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// Every `count`-th item from the `index`-th, counted from 1. A shard decodes an item with every
/// decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    index: NonZeroUsize,
    count: NonZeroUsize,
}

impl Shard {
    /// True if the shard has the item at `place`, counted from 0 over all tasks.
    pub(crate) fn has(self, place: usize) -> bool {
        place % self.count == self.index.get() - 1
    }

    /// `shard-2-of-8`, as in names of files.
    pub(crate) fn word(self) -> String {
        format!("shard-{}-of-{}", self.index, self.count)
    }

    /// The shard's own name for `file`, as `records.shard-2-of-8.RUN.jsonl`: a copied file still
    /// names its run.
    pub(crate) fn file(self, file: &str, run: &str) -> String {
        let (name, extension) = file.split_once('.').unwrap_or((file, ""));
        format!("{name}.{}.{run}.{extension}", self.word())
    }

    /// The shard and the run of a name that [`file`](Self::file) made for `file`.
    pub(crate) fn of_file<'n>(found: &'n str, file: &str) -> Option<(Self, &'n str)> {
        let (name, extension) = file.split_once('.')?;
        let rest = found.strip_prefix(name)?.strip_prefix(".shard-")?;
        let (numbers, run) = rest.strip_suffix(extension)?.strip_suffix('.')?.split_once('.')?;
        Some((numbers.replace("-of-", "/").parse().ok()?, run))
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let Some((index, count)) = parts else {
            return Err("write I/N, for example 2/8 for the second of eight shards".to_owned());
        };
        if index > count {
            return Err(format!(
                "shard {index} of {count} does not exist; shards are numbered from 1"
            ));
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
        let file = shard.file("records.jsonl", "1f0c");
        assert_eq!(file, "records.shard-2-of-12.1f0c.jsonl");
        let of = |file| Shard::of_file(file, "records.jsonl");
        assert_eq!(of(&file), Some((shard, "1f0c")));
        for other in [
            "records.jsonl",
            "records.shard-2-of-12.jsonl",
            "records.shard-3-of-2.1f0c.jsonl",
            "records.shard-x.1f0c.jsonl",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        for wrong in ["0/2", "3/2", "2", "1/0", "a/b", "1/2/3", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
