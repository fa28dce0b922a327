//! Tensors by name and shape, whatever the format of the files.

use std::path::Path;

use crate::LoadError;
use crate::gguf::{GgufError, GgufFile};
use crate::safetensors::{
    CONFIG, Object, PREPROCESSOR, PROCESSOR, SafetensorsError, TOWERS, TensorFile, damaged,
};
use crate::weight_format::WeightFormat;

/// Tensors by name.
pub(super) trait Tensors {
    /// Returns the shape of a tensor, outermost dimension first.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// Returns the format and the bytes of a tensor, after checking its shape.
    ///
    /// # Errors
    /// If it is missing, has another shape or an unsupported format, or cannot be read.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<(WeightFormat, Vec<u8>), LoadError>;

    /// Returns the names of all tensors that can only be a tower's.
    fn names(&self) -> Vec<&str>;

    /// Returns an error that names the file.
    fn unsupported(&self, problem: String) -> LoadError;
}

impl Tensors for GgufFile {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        GgufFile::tensor(self, name).map(|info| info.shape.as_slice())
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<(WeightFormat, Vec<u8>), LoadError> {
        let info = GgufFile::tensor(self, name)
            .ok_or_else(|| self.error(GgufError::MissingTensor { name: name.to_owned() }))?;
        if info.shape != shape {
            return Err(self.error(GgufError::WrongShape {
                name: name.to_owned(),
                found: info.shape.clone(),
                expected: shape.to_vec(),
            }));
        }
        Ok((info.dtype, self.data(info)?.to_vec()))
    }

    fn names(&self) -> Vec<&str> {
        self.tensors().map(|(name, _)| name).collect()
    }

    fn unsupported(&self, problem: String) -> LoadError {
        GgufFile::unsupported(self, problem)
    }
}

/// A folder of safetensors with a tower.
pub struct FolderTensors {
    label: String,
    tensors: TensorFile,
    prefix: &'static str,
    pub(super) config: Object,
    /// `preprocessor_config.json`, or the part of `processor_config.json` about images.
    pub(super) preprocessor: Option<Object>,
}

impl FolderTensors {
    /// Opens a folder; reads headers and JSON files. `None` if it has no tensors of a tower.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, LoadError> {
        let label = folder.display().to_string();
        let error = |problem| damaged(&label, problem);
        let config = Object::read(folder, CONFIG).map_err(error)?.ok_or_else(|| {
            error(SafetensorsError::MissingFile {
                name: CONFIG.to_owned(),
                needed: "which says what kind of model it is".to_owned(),
            })
        })?;
        let preprocessor = match Object::read(folder, PREPROCESSOR).map_err(error)? {
            Some(found) => Some(found),
            None => {
                let processor = Object::read(folder, PROCESSOR).map_err(error)?;
                let images =
                    processor.as_ref().and_then(|all| all.get("image_processor")?.as_object());
                images.map(|images| Object::new(PROCESSOR, images.clone()))
            }
        };
        let tensors = TensorFile::of_folder(folder).map_err(error)?;
        let has = |prefix: &&str| tensors.names().any(|name| name.starts_with(*prefix));
        let Some(prefix) = TOWERS.into_iter().find(has) else { return Ok(None) };
        Ok(Some(Self { label, tensors, prefix, config, preprocessor }))
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn error(&self, problem: SafetensorsError) -> LoadError {
        damaged(&self.label, problem)
    }
}

impl Tensors for FolderTensors {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.shape(&format!("{}{name}", self.prefix))
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<(WeightFormat, Vec<u8>), LoadError> {
        let tensor = format!("{}{name}", self.prefix);
        match self.tensors.shape(&tensor) {
            None => Err(self.error(SafetensorsError::MissingTensor { tensor, hint: "" })),
            Some(found) if found != shape => {
                let (found, expected) = (found.to_vec(), shape.to_vec());
                Err(self.error(SafetensorsError::WrongShape { tensor, found, expected }))
            }
            Some(_) => match self.tensors.stored(&tensor) {
                Ok((dtype, bytes)) => Ok((dtype.into(), bytes.to_vec())),
                Err(problem) => Err(self.error(problem)),
            },
        }
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.names().filter_map(|name| name.strip_prefix(self.prefix)).collect()
    }

    fn unsupported(&self, problem: String) -> LoadError {
        LoadError::Unsupported { file: self.label.clone(), problem }
    }
}
