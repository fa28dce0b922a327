//! Options of an engine.

use std::path::PathBuf;

use super::DeviceChoice;
use super::batch::AutoBatch;
use super::device::Place;
use crate::lora::{self, AdapterSource};
use crate::speculate::{MOST_ROWS, Speculation};
use crate::vision::EncoderOptions;
use crate::{Checkpoint, LoadError, ModelFile};

/// Options of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// The devices that compute.
    pub device: DeviceChoice,
    /// The maximum number of concurrent sequences; at least 1.
    pub max_batch: usize,
    /// Chooses the batch size by the device and by how many sequences fit into the pages, ignoring `max_batch`;
    /// see [`ModelInfo::max_batch`](crate::ModelInfo::max_batch) for the choice.
    pub auto_batch: bool,
    /// The maximum tokens of one sequence, prompt and answer together; the model's own limit if `None` or
    /// larger.
    pub context_limit: Option<usize>,
    /// KV tokens of all sequences together. If `None`: `max_batch` full contexts, or as many as fit into a
    /// third of the memory that is free at start.
    pub kv_tokens: Option<usize>,
    /// Tokens computed per step: more speeds up prompts, less makes running answers smoother.
    pub step_tokens: usize,
    /// Which tokens are drafted, so that a step verifies several; answers do not change. Ignored with models and
    /// devices that cannot verify them exactly: see [`Engine::speculation`](crate::Engine::speculation).
    pub speculation: Speculation,
    /// A smaller model of the same vocabulary that drafts tokens too, on the CPU, unless speculation is off.
    pub draft_model: Option<ModelFile>,
    /// Drafts as many tokens as a step takes whenever there is a guess, whether it pays or not, for tests.
    pub draft_always: bool,
    /// Adapters to load beside the model, for requests that name them.
    pub adapters: Vec<AdapterSource>,
    /// The projector (mmproj) of a model that sees. If `None`: the tower in the model's folder of safetensors, or the
    /// only projector in the folder of its GGUF file.
    pub projector: Option<PathBuf>,
    /// How images are encoded.
    pub images: EncoderOptions,
    /// Prepares weights and kernels at start instead of in the first request.
    pub warm_up: bool,
    /// Simulates the loss of the device after this many steps, for tests and drills. `None`: never.
    pub lose_device_after: Option<u64>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            max_batch: 8,
            auto_batch: false,
            context_limit: None,
            kv_tokens: None,
            step_tokens: 512,
            speculation: Speculation::Off,
            draft_model: None,
            draft_always: false,
            adapters: Vec::new(),
            projector: None,
            images: EncoderOptions::default(),
            warm_up: true,
            lose_device_after: None,
        }
    }
}

impl EngineOptions {
    /// Returns the options with the maximum batch size for these places, if the engine chooses it.
    pub(super) fn on(&self, places: &[Place]) -> Self {
        let on_gpus = !places.iter().any(|place| matches!(place, Place::Cpu));
        let max_batch = if self.auto_batch { AutoBatch::most(on_gpus) } else { self.max_batch };
        Self { max_batch, ..self.clone() }
    }

    /// Opens the draft model, if there is one and it is used.
    pub(super) fn open_draft_model(&self) -> Result<Option<Checkpoint>, LoadError> {
        let used = self.draft_model.as_ref().filter(|_| self.speculation != Speculation::Off);
        used.map(ModelFile::open).transpose()
    }

    /// Returns the most rows of one step that need logits.
    pub(super) fn logit_rows(&self) -> usize {
        match self.speculation {
            Speculation::Off => self.max_batch,
            Speculation::Lookup => self.max_batch.max(MOST_ROWS),
        }
    }

    pub(super) fn check(&self) -> Result<(), LoadError> {
        let limits = [
            ("max_batch", Some(self.max_batch), 1, 1024),
            ("step_tokens", Some(self.step_tokens), 1, 1 << 16),
            ("context_limit", self.context_limit, 2, usize::MAX),
            ("kv_tokens", self.kv_tokens, 2, 1 << 40),
            ("images.threads", Some(self.images.threads), 1, 64),
            ("images.max_tokens", Some(self.images.max_tokens), 4, 1 << 16),
        ];
        for (name, value, least, most) in limits {
            if let Some(value) = value
                && !(least..=most).contains(&value)
            {
                let range = if most == usize::MAX {
                    format!("at least {least}")
                } else {
                    format!("from {least} to {most}")
                };
                return Err(LoadError::InvalidOption(format!("{name} is {value}; set it {range}")));
            }
        }
        lora::check(&self.adapters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_options_are_refused_by_name() {
        let options = EngineOptions { max_batch: 0, ..EngineOptions::default() };
        let error = options.check().unwrap_err().to_string();
        assert_eq!(error, "max_batch is 0; set it from 1 to 1024");
        let options = EngineOptions { context_limit: Some(1), ..EngineOptions::default() };
        assert!(options.check().unwrap_err().to_string().contains("at least 2"));
    }
}
