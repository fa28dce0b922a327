//! KV pages on the device.

use candle_core::Result;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;

use super::super::arguments::{Kept, Pointer};
use super::Kernels;
use crate::layout::{KvShape, PAGE_TOKENS};

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
