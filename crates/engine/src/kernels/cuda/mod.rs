//! Kernels for NVIDIA GPUs, in CUDA C++ beside this file. Each has a twin on the CPU in this crate.
//!
//! `arguments` lists the arguments of each kernel, `launch` its launch configuration, and
//! [`AttentionPlan`] assigns attention to blocks. With the feature `cuda`, [`Kernels`] launches
//! them. Without a GPU, tests compile the same sources with the host's C++ compiler and a small
//! shim of CUDA (`host/shim.h`), and run the same launches.

mod arguments;
mod attention_plan;
#[cfg(feature = "cuda")]
mod device;
#[cfg(test)]
mod host;
mod launch;
mod low_rank_plan;
#[cfg(test)]
mod tests;

#[cfg(test)]
use attention_plan::AttentionPlan;
#[cfg(feature = "cuda")]
pub(crate) use device::{AdaptedStep, Deltas, Kernels, Pages, Step};
#[cfg(feature = "cuda")]
pub(crate) use launch::HEAD_DIMS;
#[cfg(feature = "cuda")]
pub(crate) use low_rank_plan::LowRankPlan;
