//! Launching the kernels on a device: one method per kernel, which checks sizes.
//!
//! - `buffers`: buffers on the device
//! - `rows`: norms, activation, rotary embedding, biases
//! - `experts`: choosing experts and mixing their results
//! - `pages`: memory for keys and values
//! - `attention`: uploading a step, storing its keys and values, and attention
//! - `logits`: copying results to the CPU, whole rows or the argmax of each
//! - `low_rank`: LoRA products
//!
//! Rows of numbers are candle tensors, f32 and contiguous, the form in which candle's quantized
//! products take and return them. Everything runs in order on one stream.

mod attention;
mod buffers;
mod experts;
mod logits;
mod low_rank;
mod pages;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaStream, LaunchConfig, PushKernelArg, result, sys,
};
use candle_core::{CudaDevice, Device, Result, bail};

pub(crate) use attention::Step;
pub(crate) use low_rank::{AdaptedStep, Deltas};
pub(crate) use pages::Pages;

use super::arguments::{Argument, NAMES};
use super::launch::{Launch, variants};

/// The kernels' module, compiled by nvcc.
const PTX: &str = include_str!(env!("QWEN_QUEUE_KERNELS"));
/// Blocks of attention per multiprocessor up to which tiles are split.
const BLOCKS_PER_MULTIPROCESSOR: usize = 4;

/// The kernels, loaded on a device.
pub(crate) struct Kernels {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    functions: HashMap<String, CudaFunction>,
    /// The number of attention blocks that keeps the device busy.
    blocks: usize,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernels").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Kernels {
    /// Loads the kernels.
    ///
    /// # Errors
    /// When `device` is not a CUDA device, or the driver refuses the module.
    pub(crate) fn new(device: &Device, multiprocessors: usize) -> Result<Self> {
        let device = device.as_cuda_device()?.clone();
        // SAFETY: candle and this module use only this stream, so that all uses of an allocation,
        // from its creation to its release, are ordered without events.
        unsafe { device.disable_event_tracking() };
        let stream = device.cuda_stream();
        keep_freed_memory(&stream);
        let module = stream.context().load_module(PTX.into()).w()?;
        let functions = all_names()
            .map(|name| {
                let function = module.load_function(&name).w()?;
                Ok((name, function))
            })
            .collect::<Result<_>>()?;
        Ok(Self { device, stream, functions, blocks: multiprocessors * BLOCKS_PER_MULTIPROCESSOR })
    }

    /// Makes the device current for the calling thread, for libraries that do not select it
    /// themselves.
    pub(crate) fn bind(&self) -> Result<()> {
        self.stream.context().bind_to_thread().w()
    }

    /// Waits until everything launched so far is done. Returns an error if any of it failed.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().w()
    }

    /// Launches a kernel, which runs after everything launched before.
    ///
    /// # Safety
    /// The kernel accesses only memory that its pointers lead to, and that memory is freed in the
    /// stream's order.
    unsafe fn run(&self, launch: &Launch) -> Result<()> {
        if launch.grid.0 == 0 || launch.grid.1 == 0 {
            return Ok(());
        }
        let Some(function) = self.functions.get(&launch.name) else {
            bail!("there is no kernel {:?}", launch.name)
        };
        let mut builder = self.stream.launch_builder(function);
        for argument in &launch.arguments {
            match argument {
                Argument::Pointer(address) => builder.arg(address),
                Argument::Int(number) => builder.arg(number),
                Argument::Float(number) => builder.arg(number),
            };
        }
        let config = LaunchConfig {
            grid_dim: (launch.grid.0, launch.grid.1, 1),
            block_dim: (launch.threads, 1, 1),
            shared_mem_bytes: launch.shared_bytes,
        };
        // SAFETY: the arguments are those that the kernel declares (arguments.rs); the rest is the
        // caller's.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// Makes the driver keep the memory that a step frees for the next one. By default it returns the
/// memory to the system whenever the stream is synchronized. Has no effect on devices without
/// memory pools.
fn keep_freed_memory(stream: &CudaStream) {
    let mut most = u64::MAX;
    // SAFETY: the device is that of a live context, the pool is its default one, and the attribute
    // has 64 bits.
    let kept = unsafe {
        result::device::get_default_mem_pool(stream.context().cu_device()).and_then(|pool| {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, attribute, (&raw mut most).cast())
        })
    };
    if let Err(error) = kept {
        tracing::debug!("the driver does not keep freed memory: {error}");
    }
}

fn same(found: usize, expected: usize) -> Result<()> {
    if found != expected {
        bail!("a kernel was given {found} numbers, not {expected}")
    }
    Ok(())
}

/// Converts a count for a kernel, which counts in 32 bits.
fn int(count: usize) -> Result<i32> {
    i32::try_from(count).map_err(|_| {
        candle_core::Error::msg(format!(
            "{count} numbers in one step, more than a kernel can count; set fewer tokens a step"
        ))
    })
}

/// Returns the names of all kernels in the module.
fn all_names() -> impl Iterator<Item = String> {
    NAMES.iter().flat_map(|name| variants(name))
}

#[cfg(test)]
mod tests;
