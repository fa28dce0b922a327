//! Samples a token from logits.
//!
//! ```text
//! logits ─▶ penalties ─▶ allowed ─▶ candidates: top_k, top_p, min_p ─▶ token
//!    │    bias, repetition,  by a grammar
//!    │    presence, frequency
//!    └─▶ logprobs, before penalties
//! ```

mod allowed;
mod candidates;
mod defaults;
mod logprobs;
mod penalties;
mod promising;
mod random;
mod sampler;

pub use allowed::AllowedTokens;
pub(crate) use defaults::PREFIX as RECOMMENDED;
pub(crate) use defaults::recommended;
pub use logprobs::{Logprobs, logprobs};
pub use sampler::Sampler;
