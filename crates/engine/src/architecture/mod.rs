//! Describes a model before its weights are read: the architecture, sizes, layers with the names and shapes of their
//! tensors, rotary embedding, and the part of the layers that one device computes. Devices and file formats use these
//! descriptions; nothing here computes on tensors.
//!
//! - `config`: the types; `read`, `metadata` and `fixed` read and check them
//! - `qwen2`, `qwen3`, `hybrid`: one constant per architecture
//! - `delta`: layers with a recurrent state
//! - `layer`: the layers, from which the executors load
//! - `rope`, `yarn`, `mrope`: rotary embedding
//! - `part`: the layers of one device

mod config;
mod delta;
mod fixed;
mod hybrid;
mod layer;
mod metadata;
mod mrope;
mod part;
mod qwen2;
mod qwen3;
mod read;
mod rope;
mod yarn;

pub use config::{Architecture, ExpertRule, Experts, FeedForward, ModelConfig, Pooling};
pub use delta::{DeltaNet, DeltaRule, HeadOrder};
pub(crate) use layer::{
    AttentionSpec, DeltaSpec, ExpertsSpec, GatedMlpSpec, GatesSpec, LayerSpec, MatrixSpec,
    MixerSpec, MlpSpec, VectorForm, VectorSpec,
};
pub use mrope::{Mrope, MropeOrder};
pub(crate) use part::Part;
pub(crate) use rope::{Angles, Rope};
pub use yarn::Yarn;
