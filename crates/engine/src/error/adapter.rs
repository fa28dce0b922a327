//! Errors of adapters.

use super::SafetensorsError;

/// The reason why an adapter cannot be used. Every message says where the problem is and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// A file is missing or damaged.
    #[error(transparent)]
    Files(#[from] SafetensorsError),
    /// The adapter or its base is of an unsupported kind.
    #[error("{what}, which is not supported; {allowed}")]
    NotSupported {
        /// The kind.
        what: String,
        /// The supported kinds, or what to do.
        allowed: &'static str,
    },
    /// Two keys of a pattern match a module and have different values.
    #[error("adapter_config.json: two keys of {key:?} are for {module} and say different things")]
    Ambiguous {
        /// `rank_pattern` or `alpha_pattern`.
        key: &'static str,
        /// The module that both match.
        module: String,
    },
    /// A tensor's name is not one that an adapter for this base may have.
    #[error(
        "tensor {tensor:?} is none that an adapter for this base has: allowed are lora_A.weight and \
         lora_B.weight of {modules}, in layers 0 to {last_layer} (base_model.model.model.layers.0.…)"
    )]
    UnknownTensor {
        /// The tensor.
        tensor: String,
        /// The modules that an adapter may change.
        modules: String,
        /// The number of the base's last layer.
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
        /// Why it is needed.
        needed: &'static str,
    },
    /// A tensor's shape does not fit the config's rank and the base.
    #[error(
        "tensor {tensor:?} has the shape {found:?}, but rank and base ask for {expected:?}: it is for \
         another base, or not what adapter_config.json says"
    )]
    WrongShape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits.
        expected: [usize; 2],
    },
    /// The file has no tensors.
    #[error("adapter_model.safetensors has no tensors: there is nothing to add to the base")]
    Empty,
}
