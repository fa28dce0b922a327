//! LoRA adapters, as PEFT writes them: loaded beside the base model, chosen per request, several in one
//! batch.
//!
//! An adapter adds `scale · B(A x)` to what a projection makes of `x`, in f32; the base stays as it is, in
//! whatever format. Rows of a batch that nobody adapts are not touched.
//!
//! - `config`: `adapter_config.json`; what is not supported is refused by name
//! - `pattern`: which ranks and scales are whose
//! - `load`: `adapter_model.safetensors`, every tensor of it accounted for
//! - `rows`: which rows of a step are whose
//!
//! The weights are transformers' own, and so is the order of their rows: a Qwen GGUF file holds queries and
//! keys as transformers has them (the rotary embedding turns halves in both), so that an adapter fits
//! both kinds of files.

mod config;
mod error;
mod load;
mod pattern;
mod rows;

use std::path::PathBuf;

pub use error::AdapterError;
pub(crate) use load::{CONFIG, WEIGHTS};
pub(crate) use rows::AdaptedRows;

use crate::kernels::low_rank::LowRank;
use crate::model::{FeedForward, ModelConfig, Part};
use crate::{EngineOptions, LoadError};

/// Where an adapter is, and how requests call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterSource {
    /// How requests call it.
    pub name: String,
    /// The folder with `adapter_config.json` and `adapter_model.safetensors`.
    pub folder: PathBuf,
}

/// An adapter of an engine, by its place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdapterId(u32);

impl AdapterId {
    /// The adapter at this place.
    pub(crate) fn new(place: usize) -> Self {
        Self(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// Its place.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// What tells its keys and values from others'.
    pub(crate) fn salt(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}

/// A matrix of a layer that an adapter may add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Projection {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// What attention mixed, back to the stream.
    Output,
    /// The feed-forward block's gate.
    Gate,
    /// What is gated.
    Up,
    /// The feed-forward block's way back.
    Down,
}

impl Projection {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Q, Self::K, Self::V, Self::Output, Self::Gate, Self::Up, Self::Down];

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
        }
    }

    /// How many numbers it makes, and of how many.
    fn shape(self, config: &ModelConfig, ffn: usize) -> (usize, usize) {
        let ModelConfig { hidden, heads, kv_heads, head_dim, .. } = *config;
        match self {
            Self::Q => (heads * head_dim, hidden),
            Self::K | Self::V => (kv_heads * head_dim, hidden),
            Self::Output => (hidden, heads * head_dim),
            Self::Gate | Self::Up => (ffn, hidden),
            Self::Down => (hidden, ffn),
        }
    }
}

/// What an adapter adds to one projection of one layer.
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
    /// As it is multiplied.
    fn as_kernel(&self) -> LowRank<'_> {
        LowRank { a: &self.a, b: &self.b, rank: self.rank, scale: self.scale }
    }
}

/// By layer and projection.
type Layers = Vec<[Option<Delta>; Projection::ALL.len()]>;

/// One adapter: for each layer what it adds to which projection.
#[derive(Debug)]
struct Adapter {
    name: String,
    layers: Layers,
}

/// The adapters of an engine.
#[derive(Debug, Default)]
pub struct Adapters(Vec<Adapter>);

impl Adapters {
    /// Reads adapters for a model of this kind.
    ///
    /// # Errors
    /// When one is missing, damaged, not supported or made for another model, or the model takes none.
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

    /// What each part of the model needs of them. `parts` are all there are, in their order.
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

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How requests call them, in the order in which they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|adapter| adapter.name.as_str())
    }

    /// The one of this name.
    pub fn find(&self, name: &str) -> Option<AdapterId> {
        self.0.iter().position(|adapter| adapter.name == name).map(AdapterId::new)
    }

    /// Bytes that they take in memory.
    pub fn bytes(&self) -> usize {
        let deltas = self.0.iter().flat_map(|one| one.layers.iter().flatten().flatten());
        deltas.map(|delta| size_of::<f32>() * (delta.a.len() + delta.b.len())).sum()
    }

    /// What each of them adds to a projection of a layer, if anything.
    #[cfg(feature = "cuda")]
    pub(crate) fn deltas(
        &self,
        layer: usize,
        projection: Projection,
    ) -> impl Iterator<Item = Option<LowRank<'_>>> {
        let ids = (0..self.len()).map(AdapterId::new);
        ids.map(move |id| self.delta(id, layer, projection).map(Delta::as_kernel))
    }

    /// The largest rank of any of them; 0 if there are none.
    #[cfg(feature = "cuda")]
    pub(crate) fn most_rank(&self) -> usize {
        let deltas = self.0.iter().flat_map(|one| one.layers.iter().flatten().flatten());
        deltas.map(|delta| delta.rank).max().unwrap_or(0)
    }

    /// What one of them adds to a projection of a layer, if anything.
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

/// The most adapters beside one base.
pub(crate) const MOST: usize = 256;

/// Whether the names can be told apart, and there are not too many.
pub(crate) fn check(options: &EngineOptions) -> Result<(), LoadError> {
    let sources = &options.adapters;
    if sources.len() > MOST {
        let count = sources.len();
        return Err(LoadError::InvalidOption(format!(
            "{count} adapters; at most {MOST} are loaded"
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
