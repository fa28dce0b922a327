//! How many sequences run at once when the operator leaves it to the engine. Pure.

use std::fmt;

/// On the CPU, 16 answers together are written some five times as fast as one, and more gain little.
const ON_CPU: usize = 16;
/// A GPU reads its weights once for many more.
const ON_GPU: usize = 64;

/// Tokens of keys and values that each sequence is counted with, unless the context is shorter. Longer ones find
/// room as others are shorter: admission looks at the pages.
pub(super) const SEQUENCE_TOKENS: usize = 1024;

/// A number of sequences that run at once, and the reason for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AutoBatch {
    /// Whether all layers are on GPUs.
    pub(super) on_gpus: bool,
    /// Tokens of keys and values that all sequences have together.
    pub(super) tokens: usize,
    /// Tokens of one sequence.
    pub(super) context_length: usize,
}

impl AutoBatch {
    /// The most sequences, whatever the memory.
    pub(super) fn most(on_gpus: bool) -> usize {
        if on_gpus { ON_GPU } else { ON_CPU }
    }

    /// How many sequences run at once; at least 1.
    pub(super) fn sequences(&self) -> usize {
        within(Self::most(self.on_gpus), self.tokens, self.context_length)
    }
}

/// How many sequences, of `most`, have room in so many tokens; at least 1.
pub(super) fn within(most: usize, tokens: usize, context_length: usize) -> usize {
    (tokens / tokens_each(context_length)).clamp(1, most)
}

fn tokens_each(context_length: usize) -> usize {
    SEQUENCE_TOKENS.min(context_length).max(1)
}

impl fmt::Display for AutoBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = Self::most(self.on_gpus);
        write!(f, "auto: {most} on {}", if self.on_gpus { "a GPU" } else { "the CPU" })?;
        if self.sequences() < most {
            let (tokens, each) = (self.tokens, tokens_each(self.context_length));
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
    fn the_device_and_the_pages_decide() {
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
    fn the_reason_is_told() {
        assert_eq!(auto(false, 1 << 20, 4096).to_string(), "auto: 16 on the CPU");
        assert_eq!(auto(true, 1 << 20, 4096).to_string(), "auto: 64 on a GPU");
        let fewer = auto(false, 9_216, 4096).to_string();
        let expected = "auto: 16 on the CPU, fewer as there is room for 9216 tokens, 1024 for each";
        assert_eq!(fewer, expected);
    }
}
