//! What an engine will take of the machine's memory: counted once, at start, and kept.

use std::fmt;

use super::EngineOptions;
use crate::LoadError;
use crate::gguf::GgufFile;
use crate::kv::{KvPlan, KvShape, PAGE_TOKENS};
use crate::model::{ModelConfig, Workspace};

/// What an engine will take of the machine's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryPlan {
    /// The model's tensors, as the file holds them.
    pub(super) weights: usize,
    /// Keys and values.
    pub(super) kv: KvPlan,
    /// The numbers between the layers of the largest step.
    pub(super) workspace: usize,
}

impl MemoryPlan {
    /// Counts, after the weights are loaded: `available` bytes are free beside them, if the system
    /// tells. Unless `kv_tokens` is set, the pages may have a third of what the workspace leaves.
    ///
    /// # Errors
    /// When more is set than is free.
    pub(super) fn new(
        file: &GgufFile,
        config: &ModelConfig,
        shape: KvShape,
        options: &EngineOptions,
        available: Option<usize>,
    ) -> Result<Self, LoadError> {
        let step_tokens = options.step_tokens.max(options.max_batch + PAGE_TOKENS);
        let workspace = Workspace::bytes(config, step_tokens, options.max_batch);
        let share = available.map_or(1 << 30, |bytes| bytes.saturating_sub(workspace) / 3);
        let context = config.context_length.min(options.context_limit.unwrap_or(usize::MAX));
        let kv = KvPlan::new(shape, context, options.max_batch, options.kv_tokens, share);
        if let Some(free) = available
            && kv.bytes.saturating_add(workspace) > free
        {
            return Err(LoadError::OutOfMemory(format!(
                "keys and values of {} tokens need {} MiB and the workspace {} MiB, {} MiB are free; \
                 set kv_tokens lower",
                kv.pages * PAGE_TOKENS,
                kv.bytes >> 20,
                workspace >> 20,
                free >> 20,
            )));
        }
        let weights = file.tensors().map(|(_, info)| info.byte_len).sum();
        Ok(Self { weights, kv, workspace })
    }

    fn total(&self) -> usize {
        self.weights.saturating_add(self.kv.bytes).saturating_add(self.workspace)
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        write!(
            f,
            "{} MiB of weights, {} MiB of keys and values ({} pages of {PAGE_TOKENS} tokens), {} MiB \
             of workspace: {} MiB in all",
            mib(self.weights),
            mib(self.kv.bytes),
            self.kv.pages,
            mib(self.workspace),
            mib(self.total()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvType;

    #[test]
    fn the_plan_counts_everything_and_refuses_what_does_not_fit() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3");
        let file = GgufFile::open(folder.join("qwen3-f32.gguf")).unwrap();
        let config = ModelConfig::from_gguf(&file).unwrap();
        let shape = config.kv_shape(KvType::F32);
        let plan = |options: &EngineOptions, available| {
            MemoryPlan::new(&file, &config, shape, options, available)
        };
        let roomy = plan(&EngineOptions::default(), Some(1 << 40)).unwrap();
        let pages = (8 * config.context_length).div_ceil(PAGE_TOKENS);
        assert_eq!(roomy.kv.pages, pages);
        assert_eq!(roomy.kv.bytes, pages * PAGE_TOKENS * shape.bytes_per_token());
        assert!(roomy.weights > 400_000 && roomy.weights < 494_176, "{roomy:?}");
        assert!(roomy.to_string().ends_with("MiB in all"), "{roomy}");
        let available = roomy.workspace + 3 * 100 * PAGE_TOKENS * shape.bytes_per_token();
        assert_eq!(plan(&EngineOptions::default(), Some(available)).unwrap().kv.pages, 100);
        let set = EngineOptions { kv_tokens: Some(400 * PAGE_TOKENS), ..EngineOptions::default() };
        let error = plan(&set, Some(available)).unwrap_err().to_string();
        assert!(error.contains("set kv_tokens lower"), "{error}");
    }
}
