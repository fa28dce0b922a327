//! GGUF files: metadata, tensor table, tensor data.
//!
//! Opening a file reads its header and checks it against the file's size. A tensor's data is read on
//! demand. The parts of a split file are one [`GgufFile`].

mod cursor;
mod header;
mod metadata;
mod split;
pub mod tensor_type;
mod value;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub use crate::error::GgufError;
pub use metadata::Metadata;
pub(crate) use split::MAX_PARTS;
pub use value::{Array, FromValue, Value};
pub use writer::{TensorSpec, Writer};

use crate::LoadError;
pub use crate::files::Bytes;
use crate::files::{OpenFile, ReadError};
pub use crate::weight_format::WeightFormat;
use header::Header;

/// The size of the first read: more than the header of most models.
const HEADER_BYTES: u64 = 16 << 20;

/// The location of a file's bytes.
enum Source {
    /// On disk.
    File(OpenFile),
    /// In allocated memory.
    Copied(memmap2::Mmap),
    /// In the binary.
    Static(&'static [u8]),
}

impl Source {
    /// Returns all bytes if they are in memory.
    fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::File(_) => None,
            Self::Copied(bytes) => Some(bytes),
            Self::Static(bytes) => Some(bytes),
        }
    }

    /// Returns `len` bytes from `start`.
    fn bytes(&self, start: u64, len: usize) -> Result<Bytes<'_>, ReadError> {
        match self {
            Self::File(file) => file.bytes_at(start, len),
            Self::Copied(bytes) => Ok(Bytes::borrowed(piece(bytes, start, len))),
            Self::Static(bytes) => Ok(Bytes::borrowed(piece(bytes, start, len))),
        }
    }
}

/// Returns part of a file in memory; the header was checked against its length.
fn piece(bytes: &[u8], start: u64, len: usize) -> &[u8] {
    &bytes[start as usize..start as usize + len]
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// The format of its weights.
    pub dtype: WeightFormat,
    /// The length of its data in bytes.
    pub byte_len: usize,
    /// The index of the part that has it, in a split file.
    file: usize,
    /// The offset of its data in that file.
    start: u64,
}

/// A GGUF file, open for reading. Cheap to clone.
#[derive(Clone)]
pub struct GgufFile(Arc<Inner>);

struct Inner {
    /// The file, or the parts of a split file in order.
    sources: Vec<Source>,
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
    /// Opens a file and reads its header. For a split file, any part may be named: all are opened.
    ///
    /// # Errors
    /// Returns an error if a file is missing, unreadable, damaged or not a GGUF file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (source, header) = open_part(path)?;
        let Some(split) = split::Split::read(&header, path)? else {
            return Ok(Self::from_sources(path.display().to_string(), header, vec![source]));
        };
        let (mut sources, mut whole): (Vec<Source>, Option<Header>) = (Vec::new(), None);
        for (number, part) in split.paths(path)?.iter().enumerate() {
            let (source, header) = open_part(part)?;
            split.check(number, &header, part)?;
            sources.push(source);
            match &mut whole {
                None => whole = Some(header),
                Some(whole) => split::join(whole, number, header, part)?,
            }
        }
        let whole = whole.unwrap_or(header);
        split.check_whole(&whole, path)?;
        Ok(Self::from_sources(path.display().to_string(), whole, sources))
    }

    /// Parses a file that is part of the binary; messages call it `label`.
    ///
    /// # Errors
    /// Returns an error if it is damaged or not a GGUF file.
    pub fn from_static(bytes: &'static [u8], label: &str) -> Result<Self, LoadError> {
        // `include_bytes!` guarantees no alignment, but weights need it.
        if bytes.as_ptr().align_offset(32) == 0 {
            Self::parse(Source::Static(bytes), label)
        } else {
            Self::from_bytes(bytes, label)
        }
    }

    /// Parses a copy of these bytes; messages call it `label`.
    ///
    /// # Errors
    /// Returns an error if they are damaged or not a GGUF file.
    pub fn from_bytes(bytes: &[u8], label: &str) -> Result<Self, LoadError> {
        let map = memmap2::MmapMut::map_anon(bytes.len().max(1)).and_then(|mut map| {
            map[..bytes.len()].copy_from_slice(bytes);
            map.make_read_only()
        });
        match map {
            // An empty map is not possible; one zero byte is not a GGUF file either.
            Ok(map) => Self::parse(Source::Copied(map), label),
            Err(error) => Err(LoadError::OutOfMemory(format!("no room for {label}: {error}"))),
        }
    }

    fn parse(source: Source, label: &str) -> Result<Self, LoadError> {
        let bytes = source.in_memory().unwrap_or_default();
        let error = |problem| Metadata::new(label.to_owned()).error(problem);
        match Header::parse(bytes, bytes.len() as u64).map_err(error)? {
            Some(header) => Ok(Self::from_sources(label.to_owned(), header, vec![source])),
            // Unreachable: the whole file is in memory.
            None => Err(error(GgufError::BadMagic { found: Vec::new() })),
        }
    }

    fn from_sources(label: String, header: Header, sources: Vec<Source>) -> Self {
        let metadata = Metadata::of_gguf(label, header.metadata);
        Self(Arc::new(Inner { sources, metadata, tensors: header.tensors }))
    }

    /// Returns the file's name in messages: its path, or a label from the caller.
    pub fn label(&self) -> &str {
        self.0.metadata.label()
    }

    /// Returns all metadata.
    pub fn all_metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Returns a metadata value, or `None` if the key is missing.
    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.0.metadata.value(key)
    }

    /// Returns a metadata value as a type: `None` if the key is missing, an error if the value has another type.
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

    /// Returns a metadata value as a type: an error if the key is missing or the value has another type.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, LoadError> {
        self.0.metadata.require(key)
    }

    /// Returns all tensors, in no particular order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.0.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// Returns a tensor, or `None` if the file does not have it.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.0.tensors.get(name)
    }

    /// Returns the bytes of one of this file's tensors: read from the disk, unless the file is in memory.
    ///
    /// # Errors
    /// Returns an error if they can't be read, or the file was truncated since it was opened.
    pub fn data(&self, info: &TensorInfo) -> Result<Bytes<'_>, LoadError> {
        let source = &self.0.sources[info.file];
        source.bytes(info.start, info.byte_len).map_err(|problem| match source {
            Source::File(file) => file.unreadable(problem),
            Source::Copied(_) | Source::Static(_) => self.unsupported(problem.to_string()),
        })
    }

    /// Returns some of a tensor's bytes from `offset` on: read into `buffer`, unless the file is in memory.
    pub(crate) fn piece<'a>(
        &'a self,
        info: &TensorInfo,
        offset: usize,
        len: usize,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], ReadError> {
        let (source, start) = (&self.0.sources[info.file], info.start + offset as u64);
        if let Some(bytes) = source.in_memory() {
            return Ok(piece(bytes, start, len));
        }
        buffer.resize(len, 0);
        if let Source::File(file) = source {
            file.read_at(start, buffer)?;
        }
        Ok(buffer)
    }

    /// Checks that neither the file nor a part of it was written to since it was opened.
    ///
    /// # Errors
    /// Returns an error if a size or modification time has changed.
    pub fn check_unchanged(&self) -> Result<(), LoadError> {
        let files = self.0.sources.iter().filter_map(|source| match source {
            Source::File(file) => Some(file),
            Source::Copied(_) | Source::Static(_) => None,
        });
        for file in files {
            file.check().map_err(|problem| file.unreadable(problem))?;
        }
        Ok(())
    }

    /// Converts a problem to an error that names the file.
    pub fn error(&self, problem: GgufError) -> LoadError {
        self.0.metadata.error(problem)
    }

    /// Returns an error about a valid file that the engine does not support, naming the file.
    pub fn unsupported(&self, problem: impl Into<String>) -> LoadError {
        self.0.metadata.unsupported(problem)
    }
}

/// Opens a file and reads its header.
fn open_part(path: &Path) -> Result<(Source, Header), LoadError> {
    let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
    let error = |problem| Metadata::new(path.display().to_string()).error(problem);
    let file = OpenFile::open(path).map_err(unreadable)?;
    let mut len = HEADER_BYTES.min(file.len());
    loop {
        let bytes = file.bytes_at(0, len as usize).map_err(|problem| file.unreadable(problem))?;
        match Header::parse(&bytes, file.len()).map_err(error)? {
            Some(header) => return Ok((Source::File(file), header)),
            None => len = (len * 4).min(file.len()),
        }
    }
}
