//! One file of tensors by itself, such as an adapter.

use std::path::Path;

use super::shards::Shards;
use super::{SafetensorsError, quantize};

/// The tensors of one file, by their names there.
pub(crate) struct TensorFile(Shards);

impl TensorFile {
    /// Opens a file of a folder and checks its header.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, SafetensorsError> {
        Shards::of_file(folder, name).map(Self)
    }

    /// What the tensors are called, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub(crate) fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.0.tensors.get(tensor).map(|entry| entry.shape.as_slice())
    }

    /// The numbers of a tensor, row after row.
    ///
    /// # Errors
    /// When it is missing, in a format that is not read, or holds what is no finite number.
    pub(crate) fn numbers(&self, tensor: &str) -> Result<Vec<f32>, SafetensorsError> {
        let name = || tensor.to_owned();
        let missing = || SafetensorsError::MissingTensor { tensor: name(), hint: "" };
        let entry = self.0.tensors.get(tensor).ok_or_else(missing)?;
        let Some(float) = entry.float() else {
            let found = entry.dtype.to_string();
            return Err(SafetensorsError::UnknownType { tensor: name(), found });
        };
        let (numbers, finite) = quantize::widen_all(float, &self.0.data(entry)?);
        if finite { Ok(numbers) } else { Err(SafetensorsError::NotFinite { tensor: name() }) }
    }
}
