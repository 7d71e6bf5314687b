//! Reads safetensors: a single file, or shards with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype as FileDtype, SafeTensors};
use serde::Deserialize;

use crate::error::LoadError;
use crate::stored_type::StoredType;
use crate::weights::{FileBytes, TensorLocation, Weights};

/// File name of an unsharded model.
pub(crate) const SINGLE: &str = "model.safetensors";
/// File name of the index from tensors to shards.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// The distinct shards of an index.
///
/// # Errors
/// [`LoadError::Corrupt`] if the file is no index, or names a file outside its folder.
pub(crate) fn shards_of(path: &Path) -> Result<Vec<String>, LoadError> {
    let shards: BTreeSet<String> = read_index(path)?.weight_map.into_values().collect();
    Ok(shards.into_iter().collect())
}

fn read_index(path: &Path) -> Result<ShardIndex, LoadError> {
    let json = std::fs::read(path).map_err(LoadError::io(path))?;
    let index: ShardIndex = serde_json::from_slice(&json)
        .map_err(|error| LoadError::corrupt(path, format!("it is not a shard index: {error}")))?;
    let outside = |shard: &&String| shard.contains(['/', '\\']) || shard.starts_with('.');
    match index.weight_map.values().find(outside) {
        Some(shard) => Err(LoadError::corrupt(path, format!("shard `{shard}` is not a file name"))),
        None => Ok(index),
    }
}

/// Maps the folder's safetensors files and reads their headers.
pub(crate) fn open_folder(folder: &Path) -> Result<Weights, LoadError> {
    let index_path = folder.join(INDEX);
    if !index_path.is_file() {
        return open_files(&[single_file(folder)?]);
    }
    let shards = shards_of(&index_path)?;
    let weights = open_files(&shards.iter().map(|shard| folder.join(shard)).collect::<Vec<_>>())?;
    let promised = read_index(&index_path)?.weight_map;
    match promised.iter().find(|(name, _)| !weights.contains(name)) {
        Some((name, shard)) => {
            Err(LoadError::corrupt(&index_path, format!("tensor `{name}` is not in {shard}")))
        }
        None => Ok(weights),
    }
}

fn single_file(folder: &Path) -> Result<PathBuf, LoadError> {
    let path = folder.join(SINGLE);
    if path.is_file() {
        return Ok(path);
    }
    let advice = format!(
        "the folder needs {SINGLE}, or {INDEX} with its shards; PyTorch .bin files must be converted"
    );
    Err(LoadError::NotFound { what: "the model's weights".to_owned(), path, advice })
}

fn open_files(files: &[PathBuf]) -> Result<Weights, LoadError> {
    let mut storages = Vec::with_capacity(files.len());
    let mut index = BTreeMap::new();
    for (file, path) in files.iter().enumerate() {
        if !path.is_file() {
            return Err(LoadError::NotFound {
                what: "a shard that the index names".to_owned(),
                path: path.clone(),
                advice: "fetch the model again, or complete the folder".to_owned(),
            });
        }
        let storage = FileBytes::map(path)?;
        for (name, entry) in entries(file, storage.bytes(), path)? {
            if index.insert(name.clone(), entry).is_some() {
                let what = format!("tensor `{name}` is also in another shard");
                return Err(LoadError::corrupt(path, what));
            }
        }
        storages.push(storage);
    }
    Ok(Weights::assemble(storages, index))
}

fn entries(
    file: usize,
    bytes: &[u8],
    path: &Path,
) -> Result<Vec<(String, TensorLocation)>, LoadError> {
    let parsed = SafeTensors::deserialize(bytes)
        .map_err(|error| LoadError::corrupt(path, error.to_string()))?;
    let mut entries = Vec::with_capacity(parsed.len());
    for (name, view) in parsed.iter() {
        let stored = stored_type(view.dtype(), name)?;
        let begin = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        let range = begin..begin + view.data().len();
        let shape = view.shape().to_vec();
        entries.push((name.to_owned(), TensorLocation { file, bytes: range, stored, shape }));
    }
    Ok(entries)
}

fn stored_type(dtype: FileDtype, tensor: &str) -> Result<StoredType, LoadError> {
    match dtype {
        FileDtype::F32 => Ok(StoredType::F32),
        FileDtype::F16 => Ok(StoredType::F16),
        FileDtype::BF16 => Ok(StoredType::BF16),
        other => {
            let found = format!("{other} of tensor `{tensor}`");
            Err(LoadError::unsupported("safetensors type", found, &["F32", "F16", "BF16"]))
        }
    }
}
