//! The kernels on a device: each method launches one and says what it takes and gives.
//!
//! - `buffers`: numbers on the device
//! - `rows`: norms, activation, rotary turn, biases
//! - `experts`: which, and what they make together
//! - `pages`: keys and values
//! - `attention`: what a step needs on the device, and attention
//! - `logits`: to the CPU, whole rows or the likeliest of each
//! - `low_rank`: what adapters add to products
//!
//! Rows of numbers are candle's tensors, f32 and contiguous, as candle's quantized products take and give
//! them. Everything goes through one stream, in order: what is launched first is done first.

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

/// All kernels, as the driver takes them.
const PTX: &str = include_str!(env!("QWEN_QUEUE_KERNELS"));
/// Blocks of attention that a multiprocessor is given before tiles are left whole.
const BLOCKS_PER_MULTIPROCESSOR: usize = 4;

/// The kernels, loaded on a device.
pub(crate) struct Kernels {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    functions: HashMap<String, CudaFunction>,
    /// As many as keep the device busy.
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
    /// When `device` is none of CUDA, or the driver refuses the kernels.
    pub(crate) fn new(device: &Device, multiprocessors: usize) -> Result<Self> {
        let device = device.as_cuda_device()?.clone();
        // SAFETY: candle and this module use this one stream alone, so that all that is done with an
        // allocation, from its making to its end, is done in order without events.
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

    /// Makes the device that of the calling thread, for libraries that do not name theirs.
    pub(crate) fn bind(&self) -> Result<()> {
        self.stream.context().bind_to_thread().w()
    }

    /// Waits until all that was launched is done. What went wrong meanwhile is told here.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().w()
    }

    /// Has the device run a kernel, after all that it was given before.
    ///
    /// # Safety
    /// The kernel stays within what its pointers lead to, and that is freed in the stream's order.
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
        // SAFETY: the arguments are those that the kernel declares (arguments.rs); else see above.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// Has the driver leave to the process what a step frees, for the next one. Else it goes back, and is asked for
/// anew, each time the stream is waited for. Where there are no pools of memory nothing is gained, nor lost.
fn keep_freed_memory(stream: &CudaStream) {
    let mut most = u64::MAX;
    // SAFETY: the device is that of a live context, the pool its own, and the attribute a number of 64 bits.
    let kept = unsafe {
        result::device::get_default_mem_pool(stream.context().cu_device()).and_then(|pool| {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, attribute, (&raw mut most).cast())
        })
    };
    if let Err(error) = kept {
        tracing::debug!("the driver keeps no freed memory: {error}");
    }
}

fn same(found: usize, expected: usize) -> Result<()> {
    if found != expected {
        bail!("a kernel is given {found} numbers in the place of {expected}")
    }
    Ok(())
}

/// Kernels count in 32 bits.
fn int(count: usize) -> Result<i32> {
    i32::try_from(count).map_err(|_| {
        candle_core::Error::msg(format!("{count} numbers in one step; set fewer tokens a step"))
    })
}

/// The names of all kernels in the module.
fn all_names() -> impl Iterator<Item = String> {
    NAMES.iter().flat_map(|name| variants(name))
}

#[cfg(test)]
mod tests;
