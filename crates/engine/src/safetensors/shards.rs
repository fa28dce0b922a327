//! The files with the weights: one, or several with an index.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;

use super::{SafetensorsError, json};
use crate::kernels::mapped_file;

/// The only file of a small model.
pub(crate) const SINGLE: &str = "model.safetensors";
/// Which tensor is in which file of a large one.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The formats of weights that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F32,
    F16,
    BF16,
}

impl Float {
    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }
}

/// Where a tensor is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) shape: Vec<usize>,
    /// As it stands in the file.
    pub(super) dtype: Dtype,
    /// The number of its file.
    shard: usize,
    start: usize,
    pub(super) len: usize,
}

impl Entry {
    /// The format, if it is one of those that are read.
    pub(super) fn float(&self) -> Option<Float> {
        match self.dtype {
            Dtype::F32 => Some(Float::F32),
            Dtype::F16 => Some(Float::F16),
            Dtype::BF16 => Some(Float::BF16),
            _ => None,
        }
    }
}

/// All files with weights, mapped, and where in them each tensor is.
pub(super) struct Shards {
    maps: Vec<memmap2::Mmap>,
    pub(super) tensors: HashMap<String, Entry>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names, in order; each once.
///
/// # Errors
/// When it is no index, or names a file elsewhere.
pub(crate) fn files_of_index(text: &str) -> Result<Vec<String>, SafetensorsError> {
    parse_index(text).map(|index| files(&index))
}

fn parse_index(text: &str) -> Result<Index, SafetensorsError> {
    let index: Index = serde_json::from_str(text).map_err(|error| SafetensorsError::BadJson {
        name: INDEX.to_owned(),
        problem: error.to_string(),
    })?;
    let strange =
        |name: &&String| !name.ends_with(".safetensors") || name.contains(['/', '\\', ':', '\0']);
    match index.weight_map.values().find(strange) {
        Some(name) => Err(SafetensorsError::StrangeShard { name: name.clone() }),
        None => Ok(index),
    }
}

fn files(index: &Index) -> Vec<String> {
    let mut files: Vec<String> = index.weight_map.values().cloned().collect();
    files.sort();
    files.dedup();
    files
}

impl Shards {
    /// Maps the files of a folder and checks their headers. A single file goes before an index.
    pub(super) fn open(folder: &Path) -> Result<Self, SafetensorsError> {
        if folder.join(SINGLE).exists() {
            return Self::of_file(folder, SINGLE);
        }
        let Some(text) = json::text(folder, INDEX)? else {
            return Err(SafetensorsError::NoWeights);
        };
        let index = parse_index(&text)?;
        let files = files(&index);
        let mut shards = Self { maps: Vec::new(), tensors: HashMap::new() };
        for file in &files {
            shards.add(folder, file, &files)?;
        }
        for (tensor, file) in index.weight_map {
            if shards.tensors.get(&tensor).is_none_or(|entry| files[entry.shard] != file) {
                return Err(SafetensorsError::NotInShard { tensor, shard: file });
            }
        }
        Ok(shards)
    }

    /// Maps one file of a folder, whatever its name, and checks its header.
    pub(super) fn of_file(folder: &Path, name: &str) -> Result<Self, SafetensorsError> {
        let mut shards = Self { maps: Vec::new(), tensors: HashMap::new() };
        shards.add(folder, name, &[])?;
        Ok(shards)
    }

    fn add(&mut self, folder: &Path, name: &str, files: &[String]) -> Result<(), SafetensorsError> {
        let map = mapped_file::map(&folder.join(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => SafetensorsError::MissingFile {
                name: name.to_owned(),
                needed: format!("which {INDEX} names"),
            },
            _ => SafetensorsError::Unreadable { name: name.to_owned(), problem: error.to_string() },
        })?;
        let bad = |error: SafeTensorError| SafetensorsError::BadHeader {
            name: name.to_owned(),
            problem: match error {
                SafeTensorError::HeaderTooLarge => "its header claims more than 100 MB".to_owned(),
                SafeTensorError::MetadataIncompleteBuffer => {
                    format!("its tensors do not end where its {} bytes end", map.len())
                }
                error => error.to_string(),
            },
        };
        // Checks that the offsets of all tensors follow one another up to the end of the file, and
        // that each has the bytes of its shape.
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(bad)?;
        let data = header + 8; // behind the header and its length
        for (tensor, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                shape: info.shape.clone(),
                dtype: info.dtype,
                shard: self.maps.len(),
                start: data + start,
                len: end - start,
            };
            if let Some(first) = self.tensors.insert(tensor.clone(), entry) {
                return Err(SafetensorsError::Duplicate {
                    tensor,
                    first: files.get(first.shard).cloned().unwrap_or_default(),
                    second: name.to_owned(),
                });
            }
        }
        self.maps.push(map);
        Ok(())
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.maps.len()
    }

    /// The bytes of a tensor.
    pub(super) fn data(&self, entry: &Entry) -> &[u8] {
        &self.maps[entry.shard][entry.start..entry.start + entry.len]
    }

    /// Lets go of the memory behind a tensor's bytes; they stay readable, from the file again.
    pub(super) fn release(&self, entry: &Entry) {
        mapped_file::release(&self.maps[entry.shard], entry.start, entry.len);
    }
}
