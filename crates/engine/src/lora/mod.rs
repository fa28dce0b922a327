//! LoRA adapters in PEFT's format, loaded beside the base model and chosen per request; one batch
//! may use several.
//!
//! An adapter adds `scale · B(A x)` to the result of a projection of `x`, in f32. The base's
//! weights do not change, whatever their format. Rows of a batch without an adapter are not
//! changed.
//!
//! - `config`: reads `adapter_config.json`; unsupported settings are refused by name
//! - `pattern`: ranks and alphas of single modules
//! - `load`: reads `adapter_model.safetensors` and checks every tensor of it
//! - `heads`: the order of value heads in hybrid models
//! - `rows`: which rows of a step have which adapter
//!
//! Weights have transformers' names and order of rows. A Qwen GGUF file has queries and keys in the
//! same order (the rotary embedding rotates halves in both), so an adapter fits both kinds of
//! files. Only the value heads of Qwen3.5's recurrent layers are in another order in GGUF files, which
//! is applied to the adapter's rows and columns when it is loaded.

mod config;
mod heads;
mod load;
mod pattern;
mod rows;

use std::path::PathBuf;

pub use crate::error::AdapterError;
pub use crate::layout::AdapterId;
pub(crate) use load::{CONFIG, WEIGHTS};
pub(crate) use rows::AdaptedRows;

use crate::architecture::{DeltaNet, FeedForward, ModelConfig, Part};
use crate::error::LoadError;
use crate::kernels::low_rank::LowRank;

/// An adapter's folder and the name that requests use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterSource {
    /// The name that requests use.
    pub name: String,
    /// The folder with `adapter_config.json` and `adapter_model.safetensors`.
    pub folder: PathBuf,
}

/// A matrix of a layer that an adapter may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Projection {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// The attention output.
    Output,
    /// The feed-forward block's gate.
    Gate,
    /// The feed-forward block's up projection.
    Up,
    /// The feed-forward block's down projection.
    Down,
    /// Queries, keys and values of a recurrent layer.
    DeltaQkv,
    /// The gate of a recurrent layer's output.
    DeltaGate,
    /// The rate of a recurrent layer.
    DeltaBeta,
    /// The decay of a recurrent layer.
    DeltaAlpha,
    /// The output of a recurrent layer.
    DeltaOutput,
}

impl Projection {
    /// All projections, in the order of their discriminants.
    pub(crate) const ALL: [Self; 12] = [
        Self::Q,
        Self::K,
        Self::V,
        Self::Output,
        Self::Gate,
        Self::Up,
        Self::Down,
        Self::DeltaQkv,
        Self::DeltaGate,
        Self::DeltaBeta,
        Self::DeltaAlpha,
        Self::DeltaOutput,
    ];

    /// Its name in transformers' layers.
    fn module(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
            Self::DeltaQkv => "linear_attn.in_proj_qkv",
            Self::DeltaGate => "linear_attn.in_proj_z",
            Self::DeltaBeta => "linear_attn.in_proj_b",
            Self::DeltaAlpha => "linear_attn.in_proj_a",
            Self::DeltaOutput => "linear_attn.out_proj",
        }
    }

    /// Whether a layer of the model has it.
    fn is_in(self, config: &ModelConfig, layer: usize) -> bool {
        match self {
            Self::Gate | Self::Up | Self::Down => true,
            Self::Q | Self::K | Self::V | Self::Output => !config.is_recurrent(layer),
            Self::DeltaQkv
            | Self::DeltaGate
            | Self::DeltaBeta
            | Self::DeltaAlpha
            | Self::DeltaOutput => config.is_recurrent(layer),
        }
    }

    /// Returns its shape: (outputs, inputs).
    fn shape(self, config: &ModelConfig, ffn: usize) -> (usize, usize) {
        let ModelConfig { hidden, heads, kv_heads, head_dim, delta, .. } = *config;
        let of_delta = |count: fn(&DeltaNet) -> usize| delta.as_ref().map_or(0, count);
        match self {
            // In hybrid models it has the gates of the heads' outputs, too.
            Self::Q if delta.is_some() => (2 * heads * head_dim, hidden),
            Self::DeltaQkv => (of_delta(DeltaNet::channels), hidden),
            Self::DeltaGate => (of_delta(DeltaNet::values), hidden),
            Self::DeltaBeta | Self::DeltaAlpha => (of_delta(|delta| delta.value_heads), hidden),
            Self::DeltaOutput => (hidden, of_delta(DeltaNet::values)),
            Self::Q => (heads * head_dim, hidden),
            Self::K | Self::V => (kv_heads * head_dim, hidden),
            Self::Output => (hidden, heads * head_dim),
            Self::Gate | Self::Up => (ffn, hidden),
            Self::Down => (hidden, ffn),
        }
    }
}

/// An adapter's matrices for one projection of one layer.
#[derive(Debug, Clone, PartialEq)]
struct Delta {
    rank: usize,
    scale: f32,
    /// `[rank, inputs]`
    a: Vec<f32>,
    /// `[rank, outputs]`: the file's matrix, transposed.
    b: Vec<f32>,
}

impl Delta {
    /// Borrows the matrices for the kernel.
    fn as_kernel(&self) -> LowRank<'_> {
        LowRank { a: &self.a, b: &self.b, rank: self.rank, scale: self.scale }
    }
}

/// The matrices by layer and projection.
type Layers = Vec<[Option<Delta>; Projection::ALL.len()]>;

/// One adapter.
#[derive(Debug)]
struct Adapter {
    name: String,
    layers: Layers,
}

/// The adapters of an engine.
#[derive(Debug, Default)]
pub struct Adapters(Vec<Adapter>);

impl Adapters {
    /// Loads adapters for a model with this config.
    ///
    /// # Errors
    /// When an adapter is missing, damaged, not supported or made for another model, or the model
    /// supports none.
    pub fn load(sources: &[AdapterSource], config: &ModelConfig) -> Result<Self, LoadError> {
        let load = |source: &AdapterSource| {
            let layers = read(source, config).map_err(|problem| LoadError::Adapter {
                name: source.name.clone(),
                folder: source.folder.clone(),
                problem: Box::new(problem),
            })?;
            Ok(Adapter { name: source.name.clone(), layers })
        };
        sources.iter().map(load).collect::<Result<_, _>>().map(Self)
    }

    /// Divides the adapters' layers among the parts of a model. `parts` must be all parts, in
    /// order.
    pub(crate) fn divide(mut self, parts: &[Part]) -> Vec<Self> {
        let mut of = |part: &Part| {
            let adapters = self.0.iter_mut().map(|adapter| Adapter {
                name: adapter.name.clone(),
                layers: adapter.layers.drain(..part.len().min(adapter.layers.len())).collect(),
            });
            Self(adapters.collect())
        };
        parts.iter().map(&mut of).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of adapters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The adapters' names, in the order in which they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|adapter| adapter.name.as_str())
    }

    /// Finds an adapter by name.
    pub fn find(&self, name: &str) -> Option<AdapterId> {
        self.0.iter().position(|adapter| adapter.name == name).map(AdapterId::new)
    }

    /// The adapters' size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let deltas = self.0.iter().flat_map(|one| one.layers.iter().flatten().flatten());
        deltas.map(|delta| size_of::<f32>() * (delta.a.len() + delta.b.len())).sum()
    }

    /// Returns each adapter's matrices for a projection of a layer; `None` for adapters that do not
    /// change it.
    #[cfg(feature = "cuda")]
    pub(crate) fn deltas(
        &self,
        layer: usize,
        projection: Projection,
    ) -> impl Iterator<Item = Option<LowRank<'_>>> {
        let ids = (0..self.len()).map(AdapterId::new);
        ids.map(move |id| self.delta(id, layer, projection).map(Delta::as_kernel))
    }

    /// The largest rank of all adapters; 0 if there are none.
    #[cfg(feature = "cuda")]
    pub(crate) fn max_rank(&self) -> usize {
        let deltas = self.0.iter().flat_map(|one| one.layers.iter().flatten().flatten());
        deltas.map(|delta| delta.rank).max().unwrap_or(0)
    }

    /// Returns an adapter's matrices for a projection of a layer, or `None` if it does not change
    /// it.
    fn delta(&self, id: AdapterId, layer: usize, projection: Projection) -> Option<&Delta> {
        self.0.get(id.index())?.layers.get(layer)?[projection as usize].as_ref()
    }
}

fn read(source: &AdapterSource, config: &ModelConfig) -> Result<Layers, AdapterError> {
    let dense = "adapters are for dense Qwen2, Qwen2.5 and Qwen3 models that write text";
    let refused = |what: &str| AdapterError::NotSupported { what: what.to_owned(), allowed: dense };
    let FeedForward::Dense { ffn } = config.feed_forward else {
        return Err(refused("the base is a model of experts"));
    };
    if config.pooling.is_some() {
        return Err(refused("the base is an embedding model"));
    }
    load::read(&source.folder, config, ffn)
}

/// The most adapters beside one base model.
pub(crate) const MOST: usize = 256;

/// Checks that there are not too many adapters and that their names are unique and not empty.
pub(crate) fn check(sources: &[AdapterSource]) -> Result<(), LoadError> {
    if sources.len() > MOST {
        let count = sources.len();
        return Err(LoadError::InvalidOption(format!(
            "{count} adapters were named; at most {MOST} can be loaded"
        )));
    }
    for (place, source) in sources.iter().enumerate() {
        let name = &source.name;
        if name.is_empty() || sources[..place].iter().any(|other| other.name == *name) {
            return Err(LoadError::InvalidOption(format!(
                "two adapters are called {name:?}, or one has no name; give each a name of its own"
            )));
        }
    }
    Ok(())
}
