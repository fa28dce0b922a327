//! Writes GGUF files, for synthetic models and tests.

use std::io::{self, Write};

use super::tensor_type;
use super::value::{Array, Value};
use crate::weight_format::WeightFormat;

const ALIGNMENT: usize = 32;

/// A tensor to write.
#[derive(Debug, Clone)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// The format of its weights.
    pub dtype: WeightFormat,
}

impl TensorSpec {
    /// Returns the length of its data in bytes.
    pub fn byte_len(&self) -> usize {
        self.shape.iter().product::<usize>() / self.dtype.block_size() * self.dtype.type_size()
    }
}

/// Writes the header, then each tensor's data in the order of the header.
pub struct Writer<W: Write> {
    to: W,
    written: usize,
}

impl<W: Write> Writer<W> {
    /// Writes the header; the data of `tensors` must follow, in this order.
    pub fn begin(to: W, metadata: &[(String, Value)], tensors: &[TensorSpec]) -> io::Result<Self> {
        let mut header = Vec::new();
        header.extend_from_slice(b"GGUF");
        header.extend_from_slice(&3u32.to_le_bytes());
        header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            put_string(&mut header, key);
            put_value(&mut header, value)?;
        }
        let mut offset = 0;
        for tensor in tensors {
            put_string(&mut header, &tensor.name);
            header.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
            for dim in tensor.shape.iter().rev() {
                header.extend_from_slice(&(*dim as u64).to_le_bytes());
            }
            let id = tensor_type::id_of(tensor.dtype).ok_or_else(|| {
                io::Error::other(format!("{:?} cannot stand in a file", tensor.dtype))
            })?;
            header.extend_from_slice(&id.to_le_bytes());
            header.extend_from_slice(&(offset as u64).to_le_bytes());
            offset = (offset + tensor.byte_len()).next_multiple_of(ALIGNMENT);
        }
        let mut writer = Self { to, written: 0 };
        writer.put(&header)?;
        writer.align()?;
        Ok(writer)
    }

    /// Writes part of the current tensor's data.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.written += bytes.len();
        Ok(())
    }

    /// Ends the current tensor's data.
    pub fn align(&mut self) -> io::Result<()> {
        let padding = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.put(&[0; ALIGNMENT][..padding])
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }
}

fn put_string(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(&(text.len() as u64).to_le_bytes());
    to.extend_from_slice(text.as_bytes());
}

fn put_value(to: &mut Vec<u8>, value: &Value) -> io::Result<()> {
    fn kind(to: &mut Vec<u8>, kind: u32) {
        to.extend_from_slice(&kind.to_le_bytes());
    }
    fn narrow(value: impl TryInto<i32>) -> io::Result<i32> {
        value.try_into().map_err(|_| io::Error::other("integer beyond 32 bits"))
    }
    match value {
        Value::Int(value) => match u32::try_from(*value) {
            Ok(value) => {
                kind(to, 4);
                to.extend_from_slice(&value.to_le_bytes());
            }
            Err(_) => {
                kind(to, 5);
                to.extend_from_slice(&narrow(*value)?.to_le_bytes());
            }
        },
        Value::Float(value) => {
            kind(to, 6);
            to.extend_from_slice(&(*value as f32).to_le_bytes());
        }
        Value::Bool(value) => {
            kind(to, 7);
            to.push(u8::from(*value));
        }
        Value::String(text) => {
            kind(to, 8);
            put_string(to, text);
        }
        Value::Array(array) => {
            kind(to, 9);
            kind(
                to,
                match array {
                    Array::Int(_) => 5,
                    Array::Float(_) => 6,
                    Array::Bool(_) => 7,
                    Array::String(_) => 8,
                },
            );
            to.extend_from_slice(&(array.len() as u64).to_le_bytes());
            match array {
                Array::Int(values) => {
                    for value in values {
                        to.extend_from_slice(&narrow(*value)?.to_le_bytes());
                    }
                }
                Array::Float(values) => {
                    for value in values {
                        to.extend_from_slice(&value.to_le_bytes());
                    }
                }
                Array::Bool(values) => to.extend(values.iter().map(|value| u8::from(*value))),
                Array::String(texts) => {
                    for text in texts {
                        put_string(to, text);
                    }
                }
            }
        }
    }
    Ok(())
}
