//! What can be wrong with an adapter.

use crate::safetensors::SafetensorsError;

/// What can be wrong with an adapter. Every message says where, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// With its files.
    #[error(transparent)]
    Files(#[from] SafetensorsError),
    /// It, or its base, is of a kind that is not supported.
    #[error("{what}, which is not supported; {allowed}")]
    NotSupported {
        /// What it is.
        what: String,
        /// What is supported, or what to do.
        allowed: &'static str,
    },
    /// A key of its config leads to several values.
    #[error("adapter_config.json: two keys of {key:?} are for {module} and say different things")]
    Ambiguous {
        /// `rank_pattern` or `alpha_pattern`.
        key: &'static str,
        /// The module that both match.
        module: String,
    },
    /// A tensor is none that an adapter for this base has.
    #[error(
        "tensor {tensor:?} is none that an adapter for this base has: allowed are lora_A.weight and \
         lora_B.weight of {modules}, in layers 0 to {last_layer} (base_model.model.model.layers.0.…)"
    )]
    UnknownTensor {
        /// The tensor.
        tensor: String,
        /// The modules that an adapter may add to.
        modules: String,
        /// The base's last layer.
        last_layer: usize,
    },
    /// A tensor is for a module that the config does not name.
    #[error(
        "tensor {tensor:?} is for a module that target_modules in adapter_config.json does not name"
    )]
    NotTargeted {
        /// The tensor.
        tensor: String,
    },
    /// A tensor is missing.
    #[error("tensor {tensor:?} is missing, {needed}")]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// Who needs it.
        needed: &'static str,
    },
    /// A tensor does not have the shape that config and base ask for.
    #[error(
        "tensor {tensor:?} has the shape {found:?}, but rank and base ask for {expected:?}: it is for \
         another base, or not what adapter_config.json says"
    )]
    WrongShape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: [usize; 2],
    },
    /// There is nothing in it.
    #[error("adapter_model.safetensors has no tensors: there is nothing to add to the base")]
    Empty,
}
