//! Parses the header: metadata and tensor table. Format: docs/gguf.md in the ggml repository.
//!
//! Every claim of the file is checked against its actual bytes before it is used, so a damaged file causes
//! an error and never a panic or a large allocation.

use std::collections::{HashMap, hash_map::Entry};

use super::cursor::Cursor;
use super::tensor_type;
use super::{Array, GgufError, TensorInfo, Value};
use crate::foreign;

const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_DIMS: u32 = 4;
/// The maximum capacity reserved by a count in the file; tables then grow as they are read.
const MAX_RESERVED_CAPACITY: usize = 1 << 12;

/// Everything before the tensor data.
pub(super) struct Header {
    pub(super) metadata: HashMap<String, Value>,
    pub(super) tensors: HashMap<String, TensorInfo>,
}

impl Header {
    /// Parses the header of a file of `file_len` bytes that begins with `bytes`; `None` if the header is longer
    /// than `bytes`.
    pub(super) fn parse(bytes: &[u8], file_len: u64) -> Result<Option<Self>, GgufError> {
        let mut cursor = Cursor::new(bytes, file_len);
        match Self::read(&mut cursor, bytes, file_len) {
            Err(_) if cursor.wants_more() => Ok(None),
            header => header.map(Some),
        }
    }

    fn read(cursor: &mut Cursor<'_>, bytes: &[u8], file_len: u64) -> Result<Self, GgufError> {
        let magic = &bytes[..bytes.len().min(4)];
        if magic != b"GGUF" {
            return Err(match foreign::kind(bytes) {
                Some(foreign) => GgufError::Foreign(foreign.describe(file_len)),
                None => GgufError::BadMagic { found: magic.to_vec() },
            });
        }
        cursor.take(4, "the magic")?;
        let version = cursor.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::UnsupportedVersion { version });
        }
        // The smallest tensor entry is 25 bytes (an empty name, one dimension), the smallest
        // metadata entry 13 (an empty key, one byte).
        let tensor_count = cursor.count("the tensor table", 25)?;
        let metadata_count = cursor.count("the metadata", 13)?;
        let metadata = read_metadata(cursor, metadata_count)?;
        let alignment = alignment(&metadata)?;
        let tensors = read_tensors(cursor, tensor_count, alignment, file_len)?;
        Ok(Self { metadata, tensors })
    }
}

fn read_metadata(
    cursor: &mut Cursor<'_>,
    count: usize,
) -> Result<HashMap<String, Value>, GgufError> {
    let mut metadata = HashMap::with_capacity(count.min(MAX_RESERVED_CAPACITY));
    for index in 0..count {
        let key = cursor.string(&format!("metadata key {index}"))?;
        let kind = cursor.u32(&format!("the type of metadata {key:?}"))?;
        let value = read_value(cursor, kind, &key)?;
        match metadata.entry(key) {
            Entry::Vacant(free) => free.insert(value),
            Entry::Occupied(taken) => {
                return Err(GgufError::Duplicate { what: "metadata", name: taken.key().clone() });
            }
        };
    }
    Ok(metadata)
}

fn read_value(cursor: &mut Cursor<'_>, kind: u32, key: &str) -> Result<Value, GgufError> {
    let what = || format!("metadata {key:?}");
    Ok(match kind {
        8 => Value::String(cursor.string(&what())?),
        9 => Value::Array(read_array(cursor, key)?),
        7 => Value::Bool(cursor.array::<1>(&what())?[0] != 0),
        6 => Value::Float(f64::from(f32::from_le_bytes(cursor.array(&what())?))),
        12 => Value::Float(f64::from_le_bytes(cursor.array(&what())?)),
        10 => Value::Int(i128::from(u64::from_le_bytes(cursor.array(&what())?))),
        _ => Value::Int(i128::from(read_small_int(cursor, kind, key, &what())?)),
    })
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, GgufError> {
    let what = format!("metadata {key:?}");
    let kind = cursor.u32(&what)?;
    let element_size = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => {
            return Err(GgufError::UnknownValueType {
                key: key.to_owned(),
                found: "array of arrays".to_owned(),
            });
        }
        _ => return Err(unknown_type(key, kind)),
    };
    let count = cursor.count(&what, element_size)?;
    Ok(match kind {
        8 => {
            let mut texts = Vec::with_capacity(count.min(MAX_RESERVED_CAPACITY));
            for _ in 0..count {
                texts.push(cursor.string(&what)?);
            }
            Array::String(texts)
        }
        7 => Array::Bool(cursor.take(count, &what)?.iter().map(|byte| *byte != 0).collect()),
        6 => Array::Float(cursor.collect(count, &what, f32::from_le_bytes)?),
        12 => Array::Float(cursor.collect(count, &what, |b| f64::from_le_bytes(b) as f32)?),
        0 => Array::Int(cursor.take(count, &what)?.iter().map(|byte| i64::from(*byte)).collect()),
        1 => Array::Int(cursor.collect(count, &what, |b| i64::from(i8::from_le_bytes(b)))?),
        2 => Array::Int(cursor.collect(count, &what, |b| i64::from(u16::from_le_bytes(b)))?),
        3 => Array::Int(cursor.collect(count, &what, |b| i64::from(i16::from_le_bytes(b)))?),
        4 => Array::Int(cursor.collect(count, &what, |b| i64::from(u32::from_le_bytes(b)))?),
        5 => Array::Int(cursor.collect(count, &what, |b| i64::from(i32::from_le_bytes(b)))?),
        10 => {
            // Arrays of supported models fit into i64; larger values are saturated.
            Array::Int(cursor.collect(count, &what, |b| {
                i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)
            })?)
        }
        _ => Array::Int(cursor.collect(count, &what, i64::from_le_bytes)?),
    })
}

fn read_small_int(
    cursor: &mut Cursor<'_>,
    kind: u32,
    key: &str,
    what: &str,
) -> Result<i64, GgufError> {
    Ok(match kind {
        0 => i64::from(u8::from_le_bytes(cursor.array(what)?)),
        1 => i64::from(i8::from_le_bytes(cursor.array(what)?)),
        2 => i64::from(u16::from_le_bytes(cursor.array(what)?)),
        3 => i64::from(i16::from_le_bytes(cursor.array(what)?)),
        4 => i64::from(u32::from_le_bytes(cursor.array(what)?)),
        5 => i64::from(i32::from_le_bytes(cursor.array(what)?)),
        11 => i64::from_le_bytes(cursor.array(what)?),
        _ => return Err(unknown_type(key, kind)),
    })
}

fn unknown_type(key: &str, kind: u32) -> GgufError {
    GgufError::UnknownValueType { key: key.to_owned(), found: format!("number {kind}") }
}

fn alignment(metadata: &HashMap<String, Value>) -> Result<u64, GgufError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::Int(value)) if matches!(value, 8..=65536) && value.count_ones() == 1 => {
            Ok(*value as u64)
        }
        Some(other) => Err(GgufError::WrongValue {
            key: "general.alignment".to_owned(),
            expected: "a power of two from 8 to 65536".to_owned(),
            found: other.describe(),
        }),
    }
}

fn read_tensors(
    cursor: &mut Cursor<'_>,
    count: usize,
    alignment: u64,
    file_len: u64,
) -> Result<HashMap<String, TensorInfo>, GgufError> {
    let mut entries = Vec::with_capacity(count.min(MAX_RESERVED_CAPACITY));
    for index in 0..count {
        entries.push(read_tensor_entry(cursor, index)?);
    }
    let data_start = cursor.position().next_multiple_of(alignment);
    let mut tensors = HashMap::with_capacity(entries.len());
    for (name, info, offset) in entries {
        if offset % alignment != 0 {
            return Err(GgufError::Misaligned { name, offset, alignment });
        }
        let start = data_start.saturating_add(offset);
        let end = start.saturating_add(info.byte_len as u64);
        if end > file_len {
            let what = format!("the data of tensor {name:?}");
            return Err(GgufError::Truncated { what, at: start, end, len: file_len });
        }
        let info = TensorInfo { start, ..info };
        match tensors.entry(name) {
            Entry::Vacant(free) => free.insert(info),
            Entry::Occupied(taken) => {
                return Err(GgufError::Duplicate { what: "tensor", name: taken.key().clone() });
            }
        };
    }
    Ok(tensors)
}

/// Reads one entry of the tensor table, with its data offset.
fn read_tensor_entry(
    cursor: &mut Cursor<'_>,
    index: usize,
) -> Result<(String, TensorInfo, u64), GgufError> {
    let name = cursor.string(&format!("the name of tensor {index}"))?;
    let what = format!("the entry of tensor {name:?}");
    let dim_count = cursor.u32(&what)?;
    if !(1..=MAX_DIMS).contains(&dim_count) {
        let problem = format!("a tensor has 1 to {MAX_DIMS} dimensions");
        return Err(GgufError::BadShape {
            name,
            shape: format!("of {dim_count} dimensions"),
            problem,
        });
    }
    let dims = cursor.collect(dim_count as usize, &what, u64::from_le_bytes)?;
    let type_id = cursor.u32(&what)?;
    let offset = cursor.u64(&what)?;
    let Some(dtype) = tensor_type::from_id(type_id) else {
        return Err(GgufError::UnsupportedTensorType {
            name,
            found: tensor_type::name_of_id(type_id),
            supported: tensor_type::supported_names(),
        });
    };
    let bad_shape = |problem: String| GgufError::BadShape {
        name: name.clone(),
        shape: format!("{dims:?}"),
        problem,
    };
    let block = dtype.block_size() as u64;
    let elements = dims.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim));
    let byte_len = elements
        .and_then(|elements| (elements / block).checked_mul(dtype.type_size() as u64))
        .and_then(|bytes| usize::try_from(bytes).ok());
    let (Some(elements), Some(byte_len)) = (elements, byte_len) else {
        return Err(bad_shape("it is larger than memory can be".to_owned()));
    };
    if elements == 0 {
        return Err(bad_shape("it is empty".to_owned()));
    }
    if dims[0] % block != 0 {
        let format = tensor_type::name_of(dtype);
        return Err(bad_shape(format!("rows of {format} are multiples of {block}")));
    }
    // The file lists the innermost dimension first; candle and others list it last.
    let shape = dims.iter().rev().map(|dim| *dim as usize).collect();
    Ok((name, TensorInfo { shape, dtype, byte_len, file: 0, start: 0 }, offset))
}
