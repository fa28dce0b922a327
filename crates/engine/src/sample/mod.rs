//! From logits to a token.

mod random;
mod sampler;

pub use sampler::Sampler;
