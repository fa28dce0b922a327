//! The pages themselves.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::PAGE_TOKENS;

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvType {
    /// Exact: for full-precision weights, where rounding to f16 would be the largest error.
    F32,
    /// Half the memory; lost in the noise of quantized weights.
    F16,
}

impl KvType {
    /// How many bytes a number takes.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// The shape of a model's keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Layers of the model.
    pub layers: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
    /// How they are kept.
    pub kv_type: KvType,
}

impl KvShape {
    /// Bytes of keys and values per token, over all layers.
    pub fn bytes_per_token(self) -> usize {
        self.layers * self.kv_heads * self.head_dim * 2 * self.kv_type.size()
    }
}

/// Numbers of one kind of one layer. What one head reads of one page is one piece: keys stand as
/// `[pages, kv_heads, head_dim, PAGE_TOKENS]`, so that scores of neighbouring tokens are computed
/// side by side; values as `[pages, kv_heads, PAGE_TOKENS, head_dim]`, so that they add up to
/// neighbouring outputs.
#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    /// The bits of f16: the system hands out zeroed integers without touching them.
    F16(Vec<u16>),
}

impl Numbers {
    fn zeroed(kv_type: KvType, len: usize) -> Self {
        match kv_type {
            KvType::F32 => Self::F32(vec![0.0; len]),
            KvType::F16 => Self::F16(vec![0; len]),
        }
    }

    fn as_pages(&self) -> LayerPages<'_> {
        match self {
            Self::F32(numbers) => LayerPages::F32(numbers),
            Self::F16(bits) => LayerPages::F16(bits.reinterpret_cast()),
        }
    }

    fn write(&mut self, at: usize, from: &[f32]) {
        match self {
            Self::F32(numbers) => numbers[at..at + from.len()].copy_from_slice(from),
            Self::F16(bits) => {
                let to: &mut [f16] = bits[at..at + from.len()].reinterpret_cast_mut();
                to.convert_from_f32_slice(from);
            }
        }
    }

    fn write_strided(&mut self, at: usize, stride: usize, from: &[f32]) {
        match self {
            Self::F32(numbers) => {
                for (to, from) in numbers[at..].iter_mut().step_by(stride).zip(from) {
                    *to = *from;
                }
            }
            Self::F16(bits) => {
                // Rounded several at a time: one by one each asks anew what the machine can do.
                let mut rounded = [f16::ZERO; 64];
                for (index, from) in from.chunks(rounded.len()).enumerate() {
                    let at = at + index * rounded.len() * stride;
                    let rounded = &mut rounded[..from.len()];
                    rounded.convert_from_f32_slice(from);
                    for (to, from) in bits[at..].iter_mut().step_by(stride).zip(rounded) {
                        *to = from.to_bits();
                    }
                }
            }
        }
    }
}

/// All keys `[pages, kv_heads, head_dim, PAGE_TOKENS]`, or all values
/// `[pages, kv_heads, PAGE_TOKENS, head_dim]`, of one layer.
#[derive(Debug, Clone, Copy)]
pub enum LayerPages<'a> {
    /// Exact.
    F32(&'a [f32]),
    /// Rounded.
    F16(&'a [f16]),
}

/// The keys and values of all sequences.
#[derive(Debug)]
pub struct KvPool {
    shape: KvShape,
    pages: usize,
    /// `[layers]` of (keys, values)
    layers: Vec<(Numbers, Numbers)>,
}

impl KvPool {
    /// Room for `pages` pages. Memory is asked for now, and touched when it is used.
    pub fn new(shape: KvShape, pages: usize) -> Self {
        let len = pages * shape.kv_heads * PAGE_TOKENS * shape.head_dim;
        let layer = || (Numbers::zeroed(shape.kv_type, len), Numbers::zeroed(shape.kv_type, len));
        Self { shape, pages, layers: (0..shape.layers).map(|_| layer()).collect() }
    }

    /// The shape of the keys and values.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Stores the keys and values of some tokens, each `[tokens, kv_heads, head_dim]`.
    pub fn write(&mut self, layer: usize, slots: &[usize], keys: &[f32], values: &[f32]) {
        let KvShape { kv_heads, head_dim, .. } = self.shape;
        let (key_pages, value_pages) = &mut self.layers[layer];
        for (token, slot) in slots.iter().enumerate() {
            let (page, place) = (slot / PAGE_TOKENS, slot % PAGE_TOKENS);
            for head in 0..kv_heads {
                let piece = (page * kv_heads + head) * PAGE_TOKENS * head_dim;
                let from = (token * kv_heads + head) * head_dim;
                let (key, value) = (&keys[from..from + head_dim], &values[from..from + head_dim]);
                key_pages.write_strided(piece + place, PAGE_TOKENS, key);
                value_pages.write(piece + place * head_dim, value);
            }
        }
    }

    /// One layer's keys and values.
    pub fn layer(&self, layer: usize) -> (LayerPages<'_>, LayerPages<'_>) {
        let (keys, values) = &self.layers[layer];
        (keys.as_pages(), values.as_pages())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_lies_where_the_layout_says() {
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
