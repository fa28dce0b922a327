//! Kernels for NVIDIA's GPUs, in CUDA C++ beside this file.
//!
//! What they compute is what their twins in this crate compute on the CPU. `arguments` has what each takes,
//! `launch` on how many threads it runs, [`AttentionPlan`] what blocks of attention do; with the feature
//! `cuda`, [`Kernels`] launches them. Without a GPU the tests compile the same sources with the C++ compiler of
//! the machine, by a small shim of CUDA (`host/shim.h`), and run the same launches.

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
