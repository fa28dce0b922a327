//! Gated DeltaNet (<https://arxiv.org/abs/2412.06464>): a causal convolution, and a memory per value head that each
//! token decays, corrects and reads.
//!
//! Per token with query `q`, key `k`, value `v`, decay `g` and rate `beta`, the memory `S` `[key_dim, value_dim]`
//! becomes `g S + k dᵀ` with `d = beta (v - g Sᵀ k)`, and the output is `Sᵀ q`. The columns of `S` do not depend on one
//! another, so a thread takes some columns through all tokens of a sequence: they stay in the nearest cache, and one
//! token and a whole prompt are computed by the same operations in the same order. So results do not depend on how a
//! prompt is cut. The matrix form of the rule (WY representation) would need more multiplications on a CPU: for heads of
//! 128 and chunks of 64 tokens about 90,000 per token and head, here 65,000.
//!
//! - `convolve`: the convolution
//! - `memory`: the rule
//! - `gates`: decay, rate, and the lengths of queries and keys

mod convolve;
mod gates;
mod memory;

pub(crate) use convolve::convolve;
pub(crate) use gates::{decay_and_rate, normalize_keys};
pub(crate) use memory::{MemoryShape, TokenRows, advance};

#[cfg(test)]
mod tests;
