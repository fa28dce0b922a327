//! The engine on NVIDIA GPUs. It has not run on one yet: its kernels are tested on the CPU with a
//! shim of CUDA, the rest is only compiled and linked.
//!
//! | module      | what it does |
//! |-------------|--------------|
//! | `device`    | opens a GPU, or says why it cannot be used |
//! | `linear`    | products with weights in their file's format, by candle's kernels |
//! | `mlp`       | feed-forward blocks, dense and with experts |
//! | `layer`     | attention and feed-forward block |
//! | `decoder`   | the model: the same steps as [`crate::model::Decoder`], on the device |
//! | `nvml`      | the driver's figures of the GPU's memory and utilization |
//!
//! The engine's own kernels are in `kernels/cuda`. Scheduler, page allocator, sampler and streams
//! are the same as for the CPU.

mod decoder;
mod device;
mod layer;
mod linear;
mod mlp;
mod nvml;

pub(crate) use decoder::Decoder;
pub(crate) use device::{free_memory, multiprocessors, open};

pub(crate) use crate::error::{is_lost, load_error};
pub(crate) use nvml::Watch;
