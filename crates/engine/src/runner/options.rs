//! How an engine is set up.

use super::DeviceChoice;
use super::batch::AutoBatch;
use super::device::Place;
use crate::LoadError;
use crate::lora::{self, AdapterSource};

/// How an engine is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Where it computes.
    pub device: DeviceChoice,
    /// Sequences that run at once; at least 1.
    pub max_batch: usize,
    /// Chooses `max_batch` by the device and by how many sequences the pages hold, whatever it says; see
    /// [`ModelInfo::max_batch`](crate::ModelInfo::max_batch) for the choice.
    pub auto_batch: bool,
    /// Tokens of one sequence, prompt and answer together; the model's own limit if `None` or
    /// larger.
    pub context_limit: Option<usize>,
    /// Tokens of all sequences together. If `None`: `max_batch` full contexts, or what fits into a
    /// third of the memory that is free at start.
    pub kv_tokens: Option<usize>,
    /// Tokens computed in one step: more makes prompts faster, less makes running answers smoother.
    pub step_tokens: usize,
    /// Adapters that are loaded beside the model, for requests that name them.
    pub adapters: Vec<AdapterSource>,
    /// Lets candle lay out the weights that it multiplies at start, not in the first request.
    pub warm_up: bool,
    /// Steps after which the device seems lost: to rehearse what happens then. `None`: never.
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
            adapters: Vec::new(),
            warm_up: true,
            lose_device_after: None,
        }
    }
}

impl EngineOptions {
    /// The same with the most sequences that these places run at once, if that is the engine's choice.
    pub(super) fn on(&self, places: &[Place]) -> Self {
        let on_gpus = !places.iter().any(|place| matches!(place, Place::Cpu));
        let max_batch = if self.auto_batch { AutoBatch::most(on_gpus) } else { self.max_batch };
        Self { max_batch, ..self.clone() }
    }

    pub(super) fn check(&self) -> Result<(), LoadError> {
        let limits = [
            ("max_batch", Some(self.max_batch), 1, 1024),
            ("step_tokens", Some(self.step_tokens), 1, 1 << 16),
            ("context_limit", self.context_limit, 2, usize::MAX),
            ("kv_tokens", self.kv_tokens, 2, 1 << 40),
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
    fn options_out_of_range_are_named() {
        let options = EngineOptions { max_batch: 0, ..EngineOptions::default() };
        let error = options.check().unwrap_err().to_string();
        assert_eq!(error, "max_batch is 0; set it from 1 to 1024");
        let options = EngineOptions { context_limit: Some(1), ..EngineOptions::default() };
        assert!(options.check().unwrap_err().to_string().contains("at least 2"));
    }
}
