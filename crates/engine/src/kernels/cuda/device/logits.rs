//! Copying results to the CPU: whole rows, or the argmax of each.

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{Result, Storage, Tensor, bail};

use super::super::arguments::Argmax;
use super::{Kernels, int, same};

impl Kernels {
    /// Waits for the computation of `rows` and copies them to the CPU.
    pub(crate) fn download<T: CudaDType + DeviceRepr>(
        &self,
        rows: &Tensor,
        to: &mut [T],
    ) -> Result<()> {
        same(rows.elem_count(), to.len())?;
        let rows = rows.contiguous()?;
        let (storage, layout) = rows.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { bail!("these rows are not on the device") };
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("scattered rows") };
        let from = storage.as_cuda_slice::<T>()?.slice(start..end);
        self.stream.memcpy_dtoh(&from, to).w()?;
        self.synchronize()
    }

    /// Returns the index of the largest logit of each row of `logits` `[rows, width]`, the first of
    /// equal ones; `u32::MAX` for rows in which no logit is above minus infinity. The result is
    /// `[rows, 1]`, u32.
    pub(crate) fn likeliest(&self, logits: &Tensor) -> Result<Tensor> {
        let (rows, width) = logits.dims2()?;
        let places = self.blank_words((rows, 1))?;
        let kernel =
            Argmax { logits: self.at(logits)?, places: self.at(&places)?, width: int(width)? };
        // SAFETY: one block and one place per row.
        unsafe { self.run(&kernel.launch(rows))? };
        Ok(places)
    }
}
