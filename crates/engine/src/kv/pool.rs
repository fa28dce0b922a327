//! Storage of the pages.

use half::f16;

use crate::kernels::arena::Region;
use crate::kernels::store_pages::{PageLayout, store};
use crate::layout::{KvShape, KvType, LayerPages, PAGE_TOKENS, StateShape};

/// The keys and values of one layer. What one head reads of one page is contiguous: keys are
/// `[pages, kv_heads, head_dim, PAGE_TOKENS]`, so that scores of neighbouring tokens are computed
/// side by side; values are `[pages, kv_heads, PAGE_TOKENS, head_dim]`, so that they add up to
/// neighbouring outputs.
///
/// They are in large memory pages, since a step reads the keys and values of all its sequences.
#[derive(Debug)]
enum Layer {
    /// (keys, values)
    F32(Region<f32>, Region<f32>),
    F16(Region<f16>, Region<f16>),
}

impl Layer {
    fn zeroed(kv_type: KvType, len: usize) -> Self {
        match kv_type {
            KvType::F32 => Self::F32(Region::zeroed(len), Region::zeroed(len)),
            KvType::F16 => Self::F16(Region::zeroed(len), Region::zeroed(len)),
        }
    }
}

/// The recurrent states of one layer.
#[derive(Debug)]
struct States {
    /// The last inputs of the convolution. `[slots, kernel - 1, channels]`
    conv: Region<f32>,
    /// `[slots, value_heads, key_dim, value_dim]`, in the order of the kernel.
    memory: Region<f32>,
}

/// The keys and values of all sequences, and their recurrent states in hybrid models.
#[derive(Debug)]
pub struct KvPool {
    shape: KvShape,
    pages: usize,
    /// `[layers]`
    layers: Vec<Layer>,
    /// `[recurrent layers]`
    states: Vec<States>,
}

impl KvPool {
    /// Allocates `pages` pages. Memory is reserved now and touched only when pages are used.
    pub fn new(shape: KvShape, pages: usize) -> Self {
        let len = pages * shape.kv_heads * PAGE_TOKENS * shape.head_dim;
        let layers = (0..shape.layers).map(|_| Layer::zeroed(shape.kv_type, len)).collect();
        Self { shape, pages, layers, states: Vec::new() }
    }

    /// Allocates slots of recurrent state, which are touched only when they are used.
    pub fn with_states(self, shape: StateShape, slots: usize) -> Self {
        let zeroed = |_| States {
            conv: Region::zeroed(slots * shape.conv),
            memory: Region::zeroed(slots * shape.memory),
        };
        Self { states: (0..shape.layers).map(zeroed).collect(), ..self }
    }

    /// Returns the states of all slots of a recurrent layer: of its convolution, and its memory. `None` if
    /// there are none.
    pub(crate) fn states_of(&mut self, layer: usize) -> Option<(&mut [f32], &mut [f32])> {
        let States { conv, memory } = self.states.get_mut(layer)?;
        Some((conv, memory))
    }

    /// The shape of the keys and values.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// The number of pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Stores the keys and values of some tokens, each `[tokens, kv_heads, head_dim]`, in the slots
    /// `slots`.
    pub fn write(&mut self, layer: usize, slots: &[usize], keys: &[f32], values: &[f32]) {
        let KvShape { kv_heads, head_dim, .. } = self.shape;
        let layout = PageLayout { page_tokens: PAGE_TOKENS, kv_heads, head_dim };
        match &mut self.layers[layer] {
            Layer::F32(to_keys, to_values) => {
                store(layout, slots, (keys, values), (to_keys, to_values));
            }
            Layer::F16(to_keys, to_values) => {
                store(layout, slots, (keys, values), (to_keys, to_values));
            }
        }
    }

    /// Returns one layer's keys and values.
    pub fn layer(&self, layer: usize) -> (LayerPages<'_>, LayerPages<'_>) {
        match &self.layers[layer] {
            Layer::F32(keys, values) => (LayerPages::F32(keys), LayerPages::F32(values)),
            Layer::F16(keys, values) => (LayerPages::F16(keys), LayerPages::F16(values)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_written_at_their_layout_offsets() {
        for kv_type in [KvType::F32, KvType::F16] {
            let shape = KvShape { layers: 2, kv_heads: 2, head_dim: 4, kv_type };
            let mut pool = KvPool::new(shape, 3);
            let keys: Vec<f32> = (0..8).map(|n| n as f32).collect();
            let values: Vec<f32> = keys.iter().map(|n| -n).collect();
            pool.write(1, &[PAGE_TOKENS + 5], &keys, &values);
            let key_at = |head: usize| (2 + head) * PAGE_TOKENS * 4 + PAGE_TOKENS + 5;
            let value_at = |head: usize| ((2 + head) * PAGE_TOKENS + 5) * 4 + 1;
            let read = |pages: LayerPages<'_>, at: usize| match pages {
                LayerPages::F32(numbers) => numbers[at],
                LayerPages::F16(numbers) => numbers[at].to_f32(),
            };
            assert_eq!(read(pool.layer(1).0, key_at(0)), 1.0);
            assert_eq!(read(pool.layer(1).0, key_at(1)), 5.0);
            assert_eq!(read(pool.layer(1).1, value_at(1)), -5.0);
            assert_eq!(read(pool.layer(0).0, key_at(1)), 0.0);
        }
    }
}
