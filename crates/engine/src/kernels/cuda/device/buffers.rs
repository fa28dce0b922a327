//! Buffers on the device.

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::cuda_backend::{CudaDType, CudaStorage};
use candle_core::op::BackpropOp;
use candle_core::{Result, Shape, Storage, Tensor, bail};

use super::super::arguments::Pointer;
use super::Kernels;

impl Kernels {
    pub(super) fn upload(&self, numbers: &[u32]) -> Result<CudaSlice<u32>> {
        // The driver refuses allocations of zero bytes.
        self.device.clone_htod(if numbers.is_empty() { &[0][..] } else { numbers })
    }

    /// Allocates an uninitialized f32 tensor. The caller must have a kernel write all of it.
    pub(super) fn blank(&self, shape: (usize, usize)) -> Result<Tensor> {
        // SAFETY: any bits are an f32, and the caller has a kernel write all of them.
        let slice = unsafe { self.device.alloc::<f32>((shape.0 * shape.1).max(1))? };
        Ok(tensor(CudaStorage::wrap_cuda_slice(slice, self.device.clone()), shape))
    }

    /// Allocates an uninitialized u32 tensor. The caller must have a kernel write all of it.
    pub(super) fn blank_words(&self, shape: (usize, usize)) -> Result<Tensor> {
        // SAFETY: any bits are a u32, and the caller has a kernel write all of them.
        let slice = unsafe { self.device.alloc::<u32>((shape.0 * shape.1).max(1))? };
        Ok(tensor(CudaStorage::wrap_cuda_slice(slice, self.device.clone()), shape))
    }

    /// Returns a pointer to a tensor's numbers. Fails unless it is contiguous, on the device and of
    /// type `T`.
    pub(super) fn at<'a, T: CudaDType>(&self, tensor: &'a Tensor) -> Result<Pointer<'a, T>> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, _)) = layout.contiguous_offsets() else {
            bail!("a kernel needs contiguous numbers")
        };
        let Storage::Cuda(storage) = &*storage else {
            bail!("a kernel needs numbers on the device")
        };
        let address = storage.as_cuda_slice::<T>()?.device_ptr(&self.stream).0;
        Ok(Pointer::new(address + (start * size_of::<T>()) as u64))
    }

    /// Returns a pointer to a slice's numbers.
    pub(super) fn slice<'a, T>(&self, slice: &'a CudaSlice<T>) -> Pointer<'a, T> {
        Pointer::new(slice.device_ptr(&self.stream).0)
    }
}

fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}
