//! Parquet tables. A row becomes a JSON object under the names of its columns, so that tables and
//! JSON lines are read by the same types.

use std::fs::File;
use std::io::ErrorKind;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

use super::unreadable;

pub(super) fn rows(path: &Path) -> Result<Vec<Value>> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    if file.metadata().is_ok_and(|about| about.is_dir()) {
        return Err(unreadable(path, ErrorKind::IsADirectory.into()));
    }
    caught(|| objects(file)).map_err(|error| broken(path, &error))
}

fn objects(file: File) -> Result<Vec<Value>, ParquetError> {
    let table = SerializedFileReader::new(file)?;
    let mut rows = Vec::new();
    for group in 0..table.num_row_groups() {
        for row in table.get_row_group(group)?.get_row_iter(None)? {
            rows.push(object(&row?));
        }
    }
    Ok(rows)
}

/// Turns a panic of the reader into an error, without a word on stderr: it panics if the pages of a
/// damaged table contradict its head.
fn caught<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    /// The hook belongs to the process: nobody may take it while it is replaced here.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    panic::set_hook(hook);
    let contradiction = |_| Err(ParquetError::General("its pages contradict its head".to_owned()));
    result.unwrap_or_else(contradiction)
}

fn broken(path: &Path, error: &ParquetError) -> anyhow::Error {
    anyhow!(
        "{} cannot be read as a parquet table ({error}): fetch it again (a file of a few hundred \
         bytes is a pointer that git-lfs would have replaced), or write it again, compressed with \
         snappy, gzip or not at all",
        path.display()
    )
}

fn object(row: &Row) -> Value {
    let fields = row.get_column_iter().map(|(name, field)| (name.clone(), value(field)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// Kinds of fields that no task reads (dates, decimals, maps) become null.
fn value(field: &Field) -> Value {
    match field {
        Field::Bool(truth) => Value::from(*truth),
        Field::Byte(number) => Value::from(*number),
        Field::Short(number) => Value::from(*number),
        Field::Int(number) => Value::from(*number),
        Field::Long(number) => Value::from(*number),
        Field::UByte(number) => Value::from(*number),
        Field::UShort(number) => Value::from(*number),
        Field::UInt(number) => Value::from(*number),
        Field::ULong(number) => Value::from(*number),
        Field::Float(number) => Value::from(f64::from(*number)),
        Field::Double(number) => Value::from(*number),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        _ => Value::Null,
    }
}
