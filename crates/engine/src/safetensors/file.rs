//! The tensors of safetensors files by their names in them: those of an adapter, or of a vision tower.

use std::path::Path;

use candle_core::quantized::GgmlDType;

use super::shards::{Float, Shards};
use super::{SafetensorsError, quantize};
use crate::files::Bytes;

/// The tensors of one file or of a folder's files, by their names in them.
pub(crate) struct TensorFile(Shards);

impl TensorFile {
    /// Opens a file of a folder and checks its header.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, SafetensorsError> {
        Shards::of_file(folder, name).map(Self)
    }

    /// Opens the files with the weights of a model's folder and checks their headers.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, SafetensorsError> {
        Shards::open(folder).map(Self)
    }

    /// Returns the names of the tensors, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.tensors.keys().map(String::as_str)
    }

    /// Returns the shape of a tensor, or `None` if the file does not have it.
    pub(crate) fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.0.tensors.get(tensor).map(|entry| entry.shape.as_slice())
    }

    /// Returns the numbers of a tensor, row by row.
    ///
    /// # Errors
    /// Returns an error if it is missing, in an unsupported format, or has a number that is not finite.
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

    /// Returns the format and the bytes of a tensor.
    ///
    /// # Errors
    /// If it is missing, in an unsupported format, or cannot be read.
    pub(crate) fn stored(
        &self,
        tensor: &str,
    ) -> Result<(GgmlDType, Bytes<'static>), SafetensorsError> {
        let name = || tensor.to_owned();
        let missing = || SafetensorsError::MissingTensor { tensor: name(), hint: "" };
        let entry = self.0.tensors.get(tensor).ok_or_else(missing)?;
        let dtype = match entry.float() {
            Some(Float::F32) => GgmlDType::F32,
            Some(Float::F16) => GgmlDType::F16,
            Some(Float::BF16) => GgmlDType::BF16,
            None => {
                let found = entry.dtype.to_string();
                return Err(SafetensorsError::UnknownType { tensor: name(), found });
            }
        };
        Ok((dtype, self.0.data(entry)?))
    }
}
