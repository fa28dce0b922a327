//! Copies of a model's folder to change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Map, Value};
use tempfile::TempDir;

pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// A temporary copy, deleted when dropped.
pub(crate) struct Folder(TempDir);

/// A tensor of a safetensors file.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

impl Tensor {
    /// Converts it from f32 to f16.
    pub(crate) fn halve(&mut self) {
        assert_eq!(self.dtype, Dtype::F32);
        let numbers = self.data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        self.data = numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect();
        self.dtype = Dtype::F16;
    }
}

pub(crate) type Tensors = BTreeMap<String, Tensor>;

impl Folder {
    pub(crate) fn copy(from: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).unwrap();
    }

    /// Changes the JSON object in a file.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        let path = self.path().join(name);
        let mut json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut json);
        fs::write(path, serde_json::to_string(&json).unwrap()).unwrap();
    }

    pub(crate) fn tensors(&self) -> Tensors {
        let bytes = fs::read(self.path().join(WEIGHTS)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |view: TensorView<'_>| Tensor {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        };
        file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect()
    }

    /// Calls `change` with all tensors and each of them in turn. It may change both.
    pub(crate) fn rewrite(&self, change: impl Fn(&mut Tensors, &mut Tensor)) {
        let mut tensors = self.tensors();
        let names: Vec<String> = tensors.keys().cloned().collect();
        for name in names {
            let mut tensor = tensors[&name].clone();
            change(&mut tensors, &mut tensor);
            if tensors.contains_key(&name) {
                tensors.insert(name, tensor);
            }
        }
        self.write(WEIGHTS, &tensors);
    }

    pub(crate) fn write(&self, name: &str, tensors: &Tensors) {
        let views = tensors.iter().map(|(name, tensor)| {
            (name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data).unwrap())
        });
        fs::write(self.path().join(name), serialize(views, None).unwrap()).unwrap();
    }

    /// Splits the weights into `files` files with an index.
    pub(crate) fn shard(&self, files: usize) {
        let tensors = self.tensors();
        let mut parts = vec![Tensors::new(); files];
        let mut map = Map::new();
        for (index, (name, tensor)) in tensors.into_iter().enumerate() {
            let part = index % files;
            let file = format!("model-{:05}-of-{files:05}.safetensors", part + 1);
            map.insert(name.clone(), file.into());
            parts[part].insert(name, tensor);
        }
        for (part, tensors) in parts.iter().enumerate() {
            self.write(&format!("model-{:05}-of-{files:05}.safetensors", part + 1), tensors);
        }
        let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
        fs::write(self.path().join(INDEX), index.to_string()).unwrap();
        self.remove(WEIGHTS);
    }
}
