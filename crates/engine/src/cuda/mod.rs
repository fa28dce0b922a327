//! The engine on NVIDIA's GPUs. It has not run on one yet: its kernels are tested on the CPU by a shim of
//! CUDA, and all else is compiled and linked.
//!
//! | module      | what it does |
//! |-------------|--------------|
//! | `device`    | opens a GPU, and says clearly why not |
//! | `linear`    | products of weights that stay as their file has them, by candle's kernels |
//! | `mlp`       | feed-forward blocks, of experts too |
//! | `layer`     | attention and feed-forward block |
//! | `decoder`   | the model: the same steps as [`crate::model::Decoder`], on the device |
//! | `nvml`      | what the driver says of the GPU's memory and use |
//!
//! Our own kernels are in `kernels/cuda`. Scheduler, pages' owners, sampler and streams are those of the
//! CPU: only the numbers are elsewhere.

mod decoder;
mod device;
mod layer;
mod linear;
mod mlp;
mod nvml;

pub(crate) use decoder::Decoder;
pub(crate) use device::{free_memory, is_lost, load_error, multiprocessors, open};
pub(crate) use nvml::Watch;
