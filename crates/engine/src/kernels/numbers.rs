//! Access to tensors as slices.

use std::ops::Deref;

use candle_core::{CpuStorage, Result, Storage, Tensor, bail};

/// Returns the numbers of a contiguous f32 tensor on the CPU. Fails for any other tensor.
pub(crate) fn as_numbers(tensor: &Tensor) -> Result<impl Deref<Target = [f32]> + '_> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a kernel needs contiguous numbers, not {layout:?}")
    };
    if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
        bail!("a CPU kernel needs f32 numbers on the CPU")
    }
    Ok(Numbers { storage, start, end })
}

struct Numbers<S> {
    storage: S,
    start: usize,
    end: usize,
}

impl<S: Deref<Target = Storage>> Deref for Numbers<S> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(numbers)) => &numbers[self.start..self.end],
            _ => &[], // refused by `as_numbers`
        }
    }
}
