//! Estimates a model's properties and memory before its weights are read.

use super::load::{kv_type, most_common_format};
use super::memory::{self, Held, ROOM, context_length, workspace_bytes};
use super::vision::Projector;
use super::{EngineOptions, batch};
use crate::kv::PAGE_TOKENS;
use crate::lora::Adapters;
use crate::model::Decoder;
use crate::speculate::DraftModel;
use crate::{LoadError, ModelFile};

/// Properties from a model's headers and config, and the memory that an engine with it will use, summed
/// over its devices. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The most common weight format by bytes, e.g. `Q4_K`.
    pub quantization: String,
    /// The maximum tokens of prompt and answer together, if memory suffices.
    pub context_length: usize,
    /// Weights, adapters, workspace, and room for the tokenizer and requests: everything but the KV cache.
    pub fixed: usize,
    /// KV bytes of one token.
    pub per_token: usize,
    /// The KV tokens to make room for: set by the options, or full contexts.
    pub wanted_tokens: usize,
    /// The batch size, if it was set, or its maximum.
    pub max_batch: usize,
    /// Whether the engine chooses the batch size by its pages.
    pub auto_batch: bool,
}

impl Survey {
    /// Opens the files and checks everything that precedes the weights, as [`Engine::start`] would.
    ///
    /// # Errors
    /// Returns an error if a file is missing, unreadable or damaged, the model is not supported, or an
    /// option is out of range.
    ///
    /// [`Engine::start`]: super::Engine::start
    pub fn of(model: &ModelFile, options: &EngineOptions) -> Result<Self, LoadError> {
        options.check()?;
        let options = &options.on(&options.device.open()?);
        let file = model.open()?;
        let config = file.config()?;
        Decoder::check(&file, &config)?;
        let tokenizer = file.tokenizer()?;
        file.chat_template(&tokenizer)?;
        let projector = Projector::open(model, &config, &tokenizer, options)?;
        let for_images = projector.map_or(0, |projector| projector.bytes(options));
        let context_length = context_length(&config, options);
        // They are small, so load them now to report their errors early.
        let adapters = Adapters::load(&options.adapters, &config)?.bytes();
        let fixed = file.weight_bytes().saturating_add(adapters).saturating_add(for_images);
        let workspace = workspace_bytes(&config, options).saturating_mul(options.device.count());
        let fixed = fixed.saturating_add(workspace).saturating_add(ROOM);
        let draft_model = options.open_draft_model()?;
        let of_draft = draft_model.map(|draft| DraftModel::bytes(&draft, &file, &tokenizer));
        let fixed = fixed.saturating_add(of_draft.transpose()?.unwrap_or(0));
        let held = Held { available: options.device.available_memory(), ..Held::default() };
        let states = memory::states(&config, options, held).map_or(0, |plan| plan.bytes);
        let fixed = fixed.saturating_add(states);
        let full = context_length.saturating_mul(options.max_batch);
        Ok(Self {
            quantization: most_common_format(&file),
            context_length,
            fixed,
            per_token: config.kv_shape(kv_type(&file)).bytes_per_token(),
            wanted_tokens: options.kv_tokens.unwrap_or(full),
            max_batch: options.max_batch,
            auto_batch: options.auto_batch,
        })
    }

    /// Returns how many KV tokens fit into that many bytes: whole pages, at most as many as wanted, and at
    /// least one page.
    pub fn tokens_within(&self, bytes: usize) -> usize {
        let pages = bytes / self.per_token.max(1) / PAGE_TOKENS;
        self.wanted_tokens.min(pages.max(1) * PAGE_TOKENS)
    }

    /// Returns the batch size with room for that many tokens.
    pub fn batch_within(&self, tokens: usize) -> usize {
        if !self.auto_batch {
            return self.max_batch;
        }
        batch::within(self.max_batch, tokens, self.context_length.min(tokens))
    }

    /// Returns the total memory with room for that many tokens.
    pub fn bytes(&self, tokens: usize) -> usize {
        let paged = tokens.div_ceil(PAGE_TOKENS).saturating_mul(PAGE_TOKENS);
        self.fixed.saturating_add(paged.saturating_mul(self.per_token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;

    #[test]
    fn survey_estimates_equal_the_memory_plan_of_the_engine() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        for name in ["qwen3/qwen3-q8_0", "qwen2.5/qwen2.5-f16", "qwen3moe/qwen3moe-q8_0"] {
            let file = ModelFile::Path(folder.join(format!("{name}.gguf")));
            let options = EngineOptions { kv_tokens: Some(1000), ..EngineOptions::default() };
            let survey = Survey::of(&file, &options).unwrap();
            let engine = Engine::start(&file, &options).unwrap();
            let (info, plan) = (engine.info(), engine.memory());
            assert_eq!(survey.quantization, info.quantization, "{name}");
            assert_eq!(survey.wanted_tokens, 1000);
            assert_eq!(
                survey.bytes(1000),
                plan.weights + plan.workspace + plan.keys_and_values + ROOM,
                "{name}"
            );
            assert_eq!(survey.tokens_within(usize::MAX), 1000);
            assert_eq!(survey.tokens_within(survey.per_token * 100), 96);
            assert_eq!(survey.tokens_within(0), PAGE_TOKENS);
            assert_eq!((survey.batch_within(1000), info.max_batch), (8, 8), "as set");
        }
    }

    #[test]
    fn auto_batch_sets_the_engine_batch_size() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        for (name, kv_tokens, sequences) in [
            ("qwen3/qwen3-q8_0", None, 16),
            ("qwen3/qwen3-q8_0", Some(9 * 1024), 9),
            ("qwen2.5/qwen2.5-f16", Some(256), 1),
            ("qwen3moe/qwen3moe-q8_0", Some(1 << 20), 16),
        ] {
            let file = ModelFile::Path(folder.join(format!("{name}.gguf")));
            let device = crate::DeviceChoice::Cpu;
            // `max_batch` has no effect here.
            let options = EngineOptions {
                device,
                auto_batch: true,
                max_batch: 200,
                kv_tokens,
                ..EngineOptions::default()
            };
            let survey = Survey::of(&file, &options).unwrap();
            let engine = Engine::start(&file, &options).unwrap();
            assert_eq!(engine.info().max_batch, sequences, "{name}, {kv_tokens:?}");
            assert_eq!(engine.load().capacity, sequences);
            assert_eq!(survey.batch_within(survey.wanted_tokens), sequences);
            assert_eq!(survey.wanted_tokens, kv_tokens.unwrap_or(16 * survey.context_length));
        }
    }

    #[test]
    fn survey_refuses_missing_and_truncated_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let survey = |path: &std::path::Path| {
            Survey::of(&ModelFile::Path(path.into()), &EngineOptions::default())
        };
        assert!(matches!(survey(&path), Err(LoadError::Unreadable { .. })));
        let good = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qwen3/qwen3-q8_0.gguf");
        let bytes = std::fs::read(good).unwrap();
        // The header is complete, the weights are not.
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(survey(&path), Err(LoadError::Damaged { .. })));
    }
}
