//! Chooses the batch size if the operator leaves it to the engine. Pure.

use std::fmt;

/// On the CPU, a batch of 16 has some five times the throughput of a single sequence; more gain little.
const CPU_BATCH: usize = 16;
/// A GPU reads its weights once for many more sequences.
const GPU_BATCH: usize = 64;

/// The KV tokens counted per sequence, unless the context is shorter. Longer sequences find room since
/// others are shorter: admission checks the free pages.
pub(super) const SEQUENCE_TOKENS: usize = 1024;

/// The inputs of an automatic batch size, which also explain it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AutoBatch {
    /// Whether all layers are on GPUs.
    pub(super) on_gpus: bool,
    /// KV tokens of all sequences together.
    pub(super) tokens: usize,
    /// The maximum number of tokens of one sequence.
    pub(super) context_length: usize,
}

impl AutoBatch {
    /// Returns the largest batch size, whatever the memory.
    pub(super) fn most(on_gpus: bool) -> usize {
        if on_gpus { GPU_BATCH } else { CPU_BATCH }
    }

    /// Returns the batch size; at least 1.
    pub(super) fn sequences(&self) -> usize {
        within(Self::most(self.on_gpus), self.tokens, self.context_length)
    }
}

/// Returns how many sequences, up to `most`, fit into that many tokens; at least 1.
pub(super) fn within(most: usize, tokens: usize, context_length: usize) -> usize {
    (tokens / tokens_per_sequence(context_length)).clamp(1, most)
}

fn tokens_per_sequence(context_length: usize) -> usize {
    SEQUENCE_TOKENS.min(context_length).max(1)
}

impl fmt::Display for AutoBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = Self::most(self.on_gpus);
        write!(f, "auto: {most} on {}", if self.on_gpus { "a GPU" } else { "the CPU" })?;
        if self.sequences() < most {
            let (tokens, each) = (self.tokens, tokens_per_sequence(self.context_length));
            write!(f, ", fewer as there is room for {tokens} tokens, {each} for each")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(on_gpus: bool, tokens: usize, context_length: usize) -> AutoBatch {
        AutoBatch { on_gpus, tokens, context_length }
    }

    #[test]
    fn auto_batch_size_follows_from_device_and_kv_capacity() {
        for (on_gpus, tokens, context_length, sequences) in [
            (false, 1 << 20, 40_960, 16),
            (true, 1 << 20, 40_960, 64),
            (true, 30_000, 40_960, 29),
            (false, 9_216, 40_960, 9),
            (false, 256, 256, 1),
            (false, 9_216, 512, 16),
            (true, 100, 40_960, 1),
        ] {
            let batch = auto(on_gpus, tokens, context_length);
            assert_eq!(batch.sequences(), sequences, "{batch:?}");
        }
    }

    #[test]
    fn auto_batch_size_is_displayed_with_its_reason() {
        assert_eq!(auto(false, 1 << 20, 4096).to_string(), "auto: 16 on the CPU");
        assert_eq!(auto(true, 1 << 20, 4096).to_string(), "auto: 64 on a GPU");
        let fewer = auto(false, 9_216, 4096).to_string();
        let expected = "auto: 16 on the CPU, fewer as there is room for 9216 tokens, 1024 for each";
        assert_eq!(fewer, expected);
    }
}
