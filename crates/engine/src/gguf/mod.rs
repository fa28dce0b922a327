//! GGUF files: metadata, tensor table, tensor data.
//!
//! A file is mapped (or embedded in the binary), its header is parsed once and checked against
//! the bytes that are there; from then on every tensor's data is a slice that exists.

mod cursor;
mod header;
mod metadata;
pub mod tensor_type;
mod value;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;

pub use crate::error::GgufError;
pub use metadata::Metadata;
pub use value::{Array, FromValue, Value};
pub use writer::{TensorSpec, Writer};

use crate::LoadError;
use crate::kernels::mapped_file;

/// The bytes of a file, aligned for every weight format.
enum Bytes {
    /// A file's.
    Mapped(memmap2::Mmap),
    /// A copy.
    Copied(memmap2::Mmap),
    Static(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) | Self::Copied(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// The format of its weights.
    pub dtype: GgmlDType,
    /// How many bytes its data has.
    pub byte_len: usize,
    /// Where its data begins in the file.
    start: usize,
}

/// A GGUF file, open for reading. Cheap to clone.
#[derive(Clone)]
pub struct GgufFile(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    metadata: Metadata,
    tensors: HashMap<String, TensorInfo>,
}

impl std::fmt::Debug for GgufFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GgufFile")
            .field("label", &self.label())
            .field("metadata", &self.0.metadata.len())
            .field("tensors", &self.0.tensors.len())
            .finish()
    }
}

impl GgufFile {
    /// Maps a file and parses its header.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let map = mapped_file::map(path)
            .map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(Bytes::Mapped(map), path.display().to_string())
    }

    /// Parses a file that is part of the binary; `label` is what messages call it.
    pub fn from_static(bytes: &'static [u8], label: &str) -> Result<Self, LoadError> {
        // `include_bytes!` promises no alignment, and the weights need some.
        if bytes.as_ptr().align_offset(32) == 0 {
            Self::parse(Bytes::Static(bytes), label.to_owned())
        } else {
            Self::from_bytes(bytes, label)
        }
    }

    /// Parses a copy of these bytes; `label` is what messages call it.
    pub fn from_bytes(bytes: &[u8], label: &str) -> Result<Self, LoadError> {
        let map = memmap2::MmapMut::map_anon(bytes.len().max(1)).and_then(|mut map| {
            map[..bytes.len()].copy_from_slice(bytes);
            map.make_read_only()
        });
        match map {
            // An empty map cannot be; one zero byte is no GGUF file either.
            Ok(map) => Self::parse(Bytes::Copied(map), label.to_owned()),
            Err(error) => Err(LoadError::OutOfMemory(format!("no room for {label}: {error}"))),
        }
    }

    fn parse(bytes: Bytes, label: String) -> Result<Self, LoadError> {
        match header::Header::parse(bytes.as_slice()) {
            Ok(header) => Ok(Self(Arc::new(Inner {
                bytes,
                metadata: Metadata::of_gguf(label, header.metadata),
                tensors: header.tensors,
            }))),
            Err(problem) => Err(Metadata::new(label).error(problem)),
        }
    }

    /// How messages call the file: its path, or what the caller named it.
    pub fn label(&self) -> &str {
        self.0.metadata.label()
    }

    /// Everything the file says beside its tensors.
    pub fn all_metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// A metadata value, if it is there.
    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.0.metadata.value(key)
    }

    /// A metadata value as a type; `None` if the key is missing, an error if it is something else.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), engine::LoadError> {
    /// let file = engine::gguf::GgufFile::open("model.gguf")?;
    /// let bos: Option<u32> = file.get("tokenizer.ggml.bos_token_id")?;
    /// let tokens: &[String] = file.require("tokenizer.ggml.tokens")?;
    /// # Ok(()) }
    /// ```
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, LoadError> {
        self.0.metadata.get(key)
    }

    /// A metadata value as a type; an error if the key is missing or it is something else.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, LoadError> {
        self.0.metadata.require(key)
    }

    /// All tensors, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.0.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// One tensor, if it is there.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.0.tensors.get(name)
    }

    /// The bytes of one of this file's tensors.
    pub fn data(&self, info: &TensorInfo) -> &[u8] {
        &self.0.bytes.as_slice()[info.start..info.start + info.byte_len]
    }

    /// Lets go of the memory behind a tensor's bytes: who packed or copied them needs them no more.
    /// They stay readable, from the file again.
    pub fn release(&self, info: &TensorInfo) {
        if let Bytes::Mapped(map) = &self.0.bytes {
            mapped_file::release(map, info.start, info.byte_len);
        }
    }

    /// A problem of this file as an error that names it.
    pub fn error(&self, problem: GgufError) -> LoadError {
        self.0.metadata.error(problem)
    }

    /// Something this engine cannot do with a sound file, as an error that names the file.
    pub fn unsupported(&self, problem: impl Into<String>) -> LoadError {
        self.0.metadata.unsupported(problem)
    }
}
