//! KV pages on the device.

use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{Result, Tensor};

use super::super::arguments::{Kept, Pointer, WritePages};
use super::{Kernels, Step, int, same};
use crate::kv::{KvShape, PAGE_TOKENS};

/// The keys and values of all sequences on the device, each `[pages, kv_heads, PAGE_TOKENS,
/// head_dim]` per layer. So what a block of attention reads of a page is contiguous.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(super) shape: KvShape,
    pub(super) pages: usize,
    /// The keys and values of each layer, as bytes.
    layers: Vec<(CudaSlice<u8>, CudaSlice<u8>)>,
}

impl Kernels {
    /// Allocates `pages` pages for each layer, zeroed.
    pub(crate) fn pages(&self, shape: KvShape, pages: usize) -> Result<Pages> {
        let bytes = pages * shape.kv_heads * PAGE_TOKENS * shape.head_dim * shape.kv_type.size();
        let layer =
            |_| Ok((self.device.alloc_zeros::<u8>(bytes)?, self.device.alloc_zeros::<u8>(bytes)?));
        Ok(Pages { shape, pages, layers: (0..shape.layers).map(layer).collect::<Result<_>>()? })
    }

    /// Stores the keys and values of the step's tokens, both `[tokens, kv_heads * head_dim]`.
    pub(crate) fn write_pages(
        &self,
        pages: &Pages,
        layer: usize,
        step: &Step,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<()> {
        let KvShape { kv_heads, head_dim, kv_type, .. } = pages.shape;
        same(keys.elem_count(), step.tokens * kv_heads * head_dim)?;
        same(values.elem_count(), step.tokens * kv_heads * head_dim)?;
        let (key_pages, value_pages) = self.of_layer(pages, layer);
        let kernel = WritePages {
            keys: self.at(keys)?,
            values: self.at(values)?,
            slots: self.slice(&step.slots),
            key_pages,
            value_pages,
            kv_heads: int(kv_heads)?,
            dim: int(head_dim)?,
        };
        // SAFETY: one slot per token; `step` has checked that they lie in these pages.
        unsafe { self.run(&kernel.launch(kv_type, step.tokens)) }
    }

    /// Returns pointers to a layer's keys and values.
    pub(super) fn of_layer<'a>(
        &self,
        pages: &'a Pages,
        layer: usize,
    ) -> (Pointer<'a, Kept>, Pointer<'a, Kept>) {
        let (keys, values) = &pages.layers[layer];
        (self.slice(keys).of_pages(), self.slice(values).of_pages())
    }
}
