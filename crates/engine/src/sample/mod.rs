//! From logits to a token.
//!
//! ```text
//! logits ─▶ penalties ─▶ allowed ─▶ candidates: top_k, top_p, min_p ─▶ a draw
//!    │    bias, repetition,  what a grammar
//!    │    presence, frequency  leaves
//!    └─▶ logprobs: of the model's own distribution
//! ```

mod allowed;
mod candidates;
mod defaults;
mod logprobs;
mod penalties;
mod random;
mod sampler;

pub use allowed::AllowedTokens;
pub(crate) use defaults::PREFIX as RECOMMENDED;
pub use defaults::SamplingDefaults;
pub use logprobs::{Logprobs, logprobs};
pub use sampler::Sampler;
