//! CPU and CUDA kernels. The only module with `unsafe`: each block has a SAFETY comment, and each
//! kernel is tested against a scalar twin.
#![allow(unsafe_code)]

pub(crate) mod arena;
pub(crate) mod attention;
pub(crate) mod attention_gate;
#[cfg(any(feature = "cuda", test))]
pub(crate) mod cuda;
pub(crate) mod delta;
mod dequantize;
pub(crate) mod few_outputs;
mod grids;
pub(crate) mod likeliest;
pub(crate) mod low_rank;
#[cfg(test)]
pub(crate) mod machine;
mod nibbles;
mod numbers;
pub(crate) mod packed;
pub(crate) mod parallel;
pub(crate) mod pool;
pub(crate) mod rows;
pub(crate) mod scattered;
pub(crate) mod segments;
pub(crate) mod simd;
pub(crate) mod small_matmul;
pub(crate) mod store_pages;
pub(crate) mod tower_rows;

pub(crate) use dequantize::dequantize;
pub(crate) use numbers::as_numbers;
