//! The files with the weights: a single one, or several with an index.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;

use super::{SafetensorsError, json};
use crate::files::{Bytes, OpenFile, ReadError};
use crate::foreign;

/// The single file of a small model.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// The index of a large model, which maps tensors to files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The supported formats of weights in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F32,
    F16,
    BF16,
}

impl Float {
    /// Returns the bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }
}

/// The location of a tensor.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) shape: Vec<usize>,
    /// The type in the file.
    pub(super) dtype: Dtype,
    /// The index of its file.
    shard: usize,
    start: u64,
    pub(super) len: usize,
}

impl Entry {
    /// Returns the format, if it is supported.
    pub(super) fn float(&self) -> Option<Float> {
        match self.dtype {
            Dtype::F32 => Some(Float::F32),
            Dtype::F16 => Some(Float::F16),
            Dtype::BF16 => Some(Float::BF16),
            _ => None,
        }
    }
}

/// All files with weights, open, and the locations of the tensors.
pub(super) struct Shards {
    files: Vec<OpenFile>,
    /// The files' names.
    names: Vec<String>,
    pub(super) tensors: HashMap<String, Entry>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Returns the files that an index names, in order, without duplicates.
///
/// # Errors
/// Returns an error if the text is not an index, or names a file outside of the folder.
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
        Some(name) => Err(SafetensorsError::InvalidShardPath { name: name.clone() }),
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
    /// Opens the files of a folder and checks their headers. A single file has precedence over an index.
    pub(super) fn open(folder: &Path) -> Result<Self, SafetensorsError> {
        if folder.join(SINGLE_FILE).exists() {
            return Self::of_file(folder, SINGLE_FILE);
        }
        let Some(text) = json::text(folder, INDEX)? else {
            return Err(SafetensorsError::NoWeights);
        };
        let index = parse_index(&text)?;
        let files = files(&index);
        let mut shards = Self::empty();
        for file in &files {
            shards.add(folder, file)?;
        }
        for (tensor, file) in index.weight_map {
            if shards.tensors.get(&tensor).is_none_or(|entry| files[entry.shard] != file) {
                return Err(SafetensorsError::NotInShard { tensor, shard: file });
            }
        }
        Ok(shards)
    }

    /// Opens one file of a folder with any name, and checks its header.
    pub(super) fn of_file(folder: &Path, name: &str) -> Result<Self, SafetensorsError> {
        let mut shards = Self::empty();
        shards.add(folder, name)?;
        Ok(shards)
    }

    fn empty() -> Self {
        Self { files: Vec::new(), names: Vec::new(), tensors: HashMap::new() }
    }

    fn add(&mut self, folder: &Path, name: &str) -> Result<(), SafetensorsError> {
        let file = OpenFile::open(&folder.join(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => SafetensorsError::MissingFile {
                name: name.to_owned(),
                needed: format!("which {INDEX} names"),
            },
            _ => SafetensorsError::Unreadable { name: name.to_owned(), problem: error.to_string() },
        })?;
        let (header_len, header) = read_header(&file, name)?;
        let data = header_len + LENGTH;
        for (tensor, info) in header.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                shape: info.shape.clone(),
                dtype: info.dtype,
                shard: self.files.len(),
                start: data + start as u64,
                len: end - start,
            };
            if let Some(first) = self.tensors.insert(tensor.clone(), entry) {
                return Err(SafetensorsError::Duplicate {
                    tensor,
                    first: self.names.get(first.shard).cloned().unwrap_or_default(),
                    second: name.to_owned(),
                });
            }
        }
        self.files.push(file);
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Returns the number of files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Reads the bytes of a tensor from its file.
    ///
    /// # Errors
    /// Returns an error if they can't be read, or the file was truncated since it was opened.
    pub(super) fn data(&self, entry: &Entry) -> Result<Bytes<'static>, SafetensorsError> {
        let bytes = self.files[entry.shard].bytes_at(entry.start, entry.len);
        bytes.map_err(|error| self.unreadable(entry.shard, error))
    }

    /// Reads some of a tensor's bytes, from `offset` on, into `out`.
    ///
    /// # Errors
    /// Returns the errors of [`data`](Self::data).
    pub(super) fn read(
        &self,
        entry: &Entry,
        offset: usize,
        out: &mut [u8],
    ) -> Result<(), SafetensorsError> {
        let read = self.files[entry.shard].read_at(entry.start + offset as u64, out);
        read.map_err(|error| self.unreadable(entry.shard, error))
    }

    /// Checks that no file was written to since it was opened.
    ///
    /// # Errors
    /// Returns an error if a size or modification time has changed.
    pub(super) fn check_unchanged(&self) -> Result<(), SafetensorsError> {
        for (number, file) in self.files.iter().enumerate() {
            file.check().map_err(|error| self.unreadable(number, error))?;
        }
        Ok(())
    }

    fn unreadable(&self, shard: usize, error: ReadError) -> SafetensorsError {
        let name = self.names.get(shard).cloned().unwrap_or_default();
        SafetensorsError::Unreadable { name, problem: error.to_string() }
    }
}

/// The bytes of the header's length at the start of a file.
const LENGTH: u64 = 8;
/// The maximum length of a header.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Reads a file's header; returns its length and content. Checks that the offsets of all tensors are contiguous up
/// to the end of the file, and that each tensor has the bytes of its shape.
fn read_header(file: &OpenFile, name: &str) -> Result<(u64, Metadata), SafetensorsError> {
    let bad = |problem: String| SafetensorsError::BadHeader { name: name.to_owned(), problem };
    let read = |offset: u64, len: usize| {
        let bytes = file.bytes_at(offset, len);
        bytes.map_err(|error| SafetensorsError::Unreadable {
            name: name.to_owned(),
            problem: error.to_string(),
        })
    };
    let beginning = read(0, file.len().min(64) as usize)?;
    if let Some(foreign) = foreign::kind(&beginning) {
        let problem = foreign.describe(file.len());
        return Err(SafetensorsError::Foreign { name: name.to_owned(), problem });
    }
    let Some((length, _)) = beginning.split_first_chunk::<8>() else {
        return Err(bad(format!("it has {} bytes, too few for a header", file.len())));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(bad("its header claims more than 100 MB".to_owned()));
    }
    if length > file.len() - LENGTH {
        return Err(bad(format!("invalid header length: {length} bytes of {}", file.len())));
    }
    let header = read(LENGTH, length as usize)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| bad(format!("invalid JSON in the header: {error}")))?;
    if LENGTH + length + header.data_len() as u64 != file.len() {
        return Err(bad(format!("its tensors do not end where its {} bytes end", file.len())));
    }
    Ok((length, header))
}
