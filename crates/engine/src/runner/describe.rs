//! Describes the loaded model, for callers and for the log.

use super::EngineOptions;
use super::load::{DevicePlan, Loaded, most_common_format};
use crate::Checkpoint;
use crate::api::ModelInfo;
use crate::model::ModelConfig;

/// Describes the adapters loaded beside the model, for the log.
pub(super) fn beside(adapters: &[String]) -> String {
    match adapters {
        [] => String::new(),
        names => format!(" with the adapters {}", names.join(", ")),
    }
}

/// Describes the memory plan for the log; of a single device without its name, which the line has already.
pub(super) fn describe_plan(devices: &[DevicePlan], layers: usize) -> String {
    if let [DevicePlan { memory, .. }] = devices {
        return memory.to_string();
    }
    let plans = devices.iter().map(|DevicePlan { device, layers: own, memory }| {
        format!("on {device} {own} of {layers} layers: {memory}")
    });
    plans.collect::<Vec<_>>().join("; ")
}

pub(super) fn describe(
    file: &Checkpoint,
    config: &ModelConfig,
    loaded: &Loaded,
    options: &EngineOptions,
) -> ModelInfo {
    let devices: Vec<&str> = loaded.devices.iter().map(|plan| plan.device.as_str()).collect();
    ModelInfo {
        architecture: config.architecture.name.to_owned(),
        name: file.metadata().get::<&str>("general.name").ok().flatten().map(str::to_owned),
        quantization: most_common_format(file),
        parameters: file.parameters(),
        context_length: loaded.context_length,
        device: devices.join(","),
        max_batch: loaded.batch.map_or(options.max_batch, |auto| auto.sequences()),
        embedding_length: config.pooling.map(|_| config.hidden),
    }
}
