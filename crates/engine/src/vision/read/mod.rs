//! Reads a tower from a projector file (mmproj) in GGUF, or from a folder of safetensors.
//!
//! - `tensors`: tensors by name and shape, whatever the format of the files.
//! - `names`: the names of a tower's tensors in both formats.
//! - `projector`: the sizes in a projector's metadata.
//! - `config`: the sizes in the JSON files beside safetensors.
//! - `matrices`: makes matrices for products.
//! - `random`: random weights, for benchmarks.

mod config;
mod matrices;
mod names;
mod projector;
mod random;
mod tensors;
mod weights;

use std::path::Path;

use super::spec::{Precision, TowerSpec};
use crate::LoadError;
use crate::gguf::GgufFile;
use names::{Layout, Names};
use tensors::{FolderTensors, Tensors};
pub(super) use weights::{Block, Merger, Norm, TowerWeights};

/// The file of a tower, open for reading.
pub enum TowerFile {
    /// A projector (mmproj).
    Gguf(GgufFile),
    /// A folder of safetensors.
    Folder(Box<FolderTensors>),
}

impl std::fmt::Debug for TowerFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TowerFile").field(&self.label()).finish()
    }
}

impl TowerFile {
    /// Opens a projector, if `path` is a file, or a folder of safetensors. Reads headers only.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        if !path.is_dir() {
            return GgufFile::open(path).map(Self::Gguf);
        }
        Self::of_folder(path)?.ok_or_else(|| LoadError::Unsupported {
            file: path.display().to_string(),
            problem: "it has no tensors of a vision tower (model.visual.…)".to_owned(),
        })
    }

    /// Opens a folder of safetensors; `None` if it has no tensors of a tower. Reads headers only.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub(crate) fn of_folder(folder: &Path) -> Result<Option<Self>, LoadError> {
        let found = FolderTensors::open(folder)?;
        Ok(found.map(|folder| Self::Folder(Box::new(folder))))
    }

    /// Returns its name in messages.
    pub fn label(&self) -> &str {
        match self {
            Self::Gguf(file) => file.label(),
            Self::Folder(folder) => folder.label(),
        }
    }

    /// Reads and checks the sizes of the tower.
    ///
    /// # Errors
    /// If a value is missing or out of range, or the tower is of another kind.
    pub fn spec(&self) -> Result<TowerSpec, LoadError> {
        let spec = match self {
            Self::Gguf(file) => projector::spec(file)?,
            Self::Folder(folder) => config::spec(folder)?,
        };
        spec.check().map_err(|problem| self.unsupported(problem))?;
        Ok(spec)
    }

    /// Loads the weights.
    pub(super) fn weights(
        &self,
        spec: &TowerSpec,
        precision: Precision,
    ) -> Result<TowerWeights, LoadError> {
        let (tensors, layout): (&dyn Tensors, Layout) = match self {
            Self::Gguf(file) => (file, Layout::Gguf),
            Self::Folder(folder) => (folder.as_ref(), Layout::Transformers),
        };
        weights::load(tensors, &Names::new(layout, spec, tensors), spec, precision)
    }

    /// Makes random weights of a tower, for benchmarks.
    pub(super) fn random(
        spec: &TowerSpec,
        precision: Precision,
    ) -> Result<TowerWeights, LoadError> {
        let tensors = random::RandomTensors::new();
        let names = Names::new(Layout::Transformers, spec, &tensors);
        weights::load(&tensors, &names, spec, precision)
    }

    fn unsupported(&self, problem: String) -> LoadError {
        LoadError::Unsupported { file: self.label().to_owned(), problem }
    }
}
