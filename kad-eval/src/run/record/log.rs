//! The file of records: appended line by line, read record by record.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Record;
use crate::files;

/// Appends records to a file, each as one write of a whole line.
pub(crate) struct RecordWriter {
    file: File,
    path: PathBuf,
}

impl RecordWriter {
    /// Opens `path` for appending, and cuts off a last line that a crash left unfinished. Returns its
    /// records, reduced by `keep`: the texts of a long run would not fit into memory.
    pub(crate) fn resume(
        path: &Path,
        keep: &dyn Fn(Record) -> Record,
    ) -> Result<(Self, Vec<Record>)> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut records = Vec::new();
        let whole = each_line(path, &mut |line, number| {
            records.push(keep(parse(line, path, number)?));
            Ok(())
        })?;
        file.set_len(whole).and_then(|()| file.seek(SeekFrom::End(0)))?;
        Ok((Self { file, path: path.to_owned() }, records))
    }

    pub(crate) fn write(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.write_all(&line).with_context(|| {
            format!(
                "cannot write the record of an item to {}: make room and start the same command again, \
                 it continues",
                self.path.display()
            )
        })
    }
}

/// The records of `path`, reduced by `keep`; none if there is no such file.
pub(crate) fn read(path: &Path, keep: &dyn Fn(Record) -> Record) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    each(path, &mut |record| {
        records.push(keep(record));
        Ok(())
    })?;
    Ok(records)
}

/// Gives the records of `path` to `see`, one after the other; none if there is no such file.
pub(crate) fn each(path: &Path, see: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
    if path.exists() {
        each_line(path, &mut |line, number| see(parse(line, path, number)?))?;
    }
    Ok(())
}

/// Number of whole lines of `path`, which are not parsed.
pub(crate) fn lines(path: &Path) -> Result<u64> {
    let mut lines = 0;
    each_line(path, &mut |_, _| {
        lines += 1;
        Ok(())
    })?;
    Ok(lines)
}

/// Writes the lines of `sources` to `path` in the order of `rank`, atomically. Of lines with the same
/// rank the first is kept; lines without a rank are left out.
///
/// # Errors
/// Fails if a file cannot be read or the disk is full; `path` is then unchanged.
pub(crate) fn sort_into<R: Ord>(
    path: &Path,
    sources: &[PathBuf],
    rank: &dyn Fn(&Record) -> Option<R>,
) -> Result<()> {
    let mut lines: Vec<(R, usize, u64)> = Vec::new();
    for (source, file) in sources.iter().enumerate() {
        let mut at = 0;
        each_line(file, &mut |line, number| {
            let place = at;
            at += line.len() as u64 + 1;
            if !line.is_empty()
                && let Some(rank) = rank(&parse(line, file, number)?)
            {
                lines.push((rank, source, place));
            }
            Ok(())
        })?;
    }
    lines.sort();
    lines.dedup_by(|later, earlier| later.0 == earlier.0);
    let copy = |out: &mut std::io::BufWriter<&File>| {
        let open = |path: &PathBuf| File::open(path).map(BufReader::new);
        let mut files = sources.iter().map(open).collect::<std::io::Result<Vec<_>>>()?;
        let mut line = Vec::new();
        for (_, source, place) in lines {
            line.clear();
            files[source].seek(SeekFrom::Start(place))?;
            files[source].read_until(b'\n', &mut line)?;
            out.write_all(&line)?;
        }
        Ok(())
    };
    files::replace(path, copy).with_context(|| format!("cannot write {}", path.display()))
}

/// Gives every whole line, without its newline, and its number to `see`; returns their length in
/// bytes. A line without newline is not whole.
fn each_line(path: &Path, see: &mut dyn FnMut(&[u8], usize) -> Result<()>) -> Result<u64> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut reader = BufReader::new(File::open(path).with_context(unreadable)?);
    let (mut line, mut whole) = (Vec::new(), 0);
    for number in 1.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).with_context(unreadable)?;
        if line.pop() != Some(b'\n') {
            break;
        }
        see(&line, number)?;
        whole += read as u64;
    }
    Ok(whole)
}

fn parse(line: &[u8], path: &Path, number: usize) -> Result<Record> {
    serde_json::from_slice(line).with_context(|| {
        format!(
            "{} line {number} is not a record of this version of kad: delete line {number} and \
             rerun, the item is decoded again",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::sample;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        (folder, path)
    }

    fn resume(path: &Path) -> Result<(RecordWriter, Vec<Record>)> {
        RecordWriter::resume(path, &|it| it.without_text(false))
    }

    #[test]
    fn a_torn_line_is_dropped_and_whole_lines_are_kept() {
        let (_folder, path) = folder();
        let (first, second) = (sample("a", "0", true), sample("a", "1", false));
        let (mut writer, _) = resume(&path).unwrap();
        writer.write(&first).unwrap();
        writer.write(&second).unwrap();
        drop(writer);
        let bytes = std::fs::read(&path).unwrap();
        let light = [first.clone(), second.clone()].map(|it| it.without_text(false));
        for cut in 0..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let (mut writer, held) = resume(&path).unwrap();
            let lines = bytes[..cut].iter().filter(|b| **b == b'\n').count();
            assert_eq!(held, light[..lines]);
            writer.write(&second).unwrap();
            let (_, after) = resume(&path).unwrap();
            assert_eq!((after.len(), after.last()), (lines + 1, Some(&light[1])));
            assert_eq!(read(&path, &|it| it).unwrap().last(), Some(&second), "with its text");
        }
    }

    #[test]
    fn a_whole_line_that_is_no_record_is_an_error() {
        let (_folder, path) = folder();
        std::fs::write(&path, "{\"decoder\": 3}\n").unwrap();
        let error = resume(&path).err().unwrap().to_string();
        assert!(
            error.contains("line 1 is not a record") && error.contains("delete line 1 and rerun"),
            "{error}"
        );
    }

    /// Lines of two files become one file in order, each once, byte for byte.
    #[test]
    fn files_are_put_together_in_order() {
        let (folder, path) = folder();
        let other = folder.path().join("other.jsonl");
        let write = |path: &Path, items: &[&str]| {
            let (mut writer, _) = RecordWriter::resume(path, &|it| it).unwrap();
            items.iter().for_each(|item| writer.write(&sample("a", item, true)).unwrap());
        };
        write(&path, &["3", "1", "9"]);
        write(&other, &["2", "1"]);
        let rank = |record: &Record| record.item.parse::<u32>().ok().filter(|n| *n < 9);
        sort_into(&path, &[path.clone(), other], &rank).unwrap();
        let found = read(&path, &|it| it).unwrap();
        assert_eq!(found, ["1", "2", "3"].map(|item| sample("a", item, true)));
    }
}
