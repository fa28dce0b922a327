//! Finds models and starts engines as the settings specify.

use std::time::Instant;

use engine::source::{self, SourceOptions, Token};
use engine::vision::EncoderOptions;
use engine::{
    AdapterSource, DeviceChoice, Engine, EngineOptions, LoadError, ModelFile, Quantization,
    Speculation,
};
use protocol::ModelId;
use service::Settings;
use service::settings::{self, BatchSize, Device, LoraAdapter, Secret};

use super::ModelError;

/// The number of steps after which the engine behaves as if its device were lost. An environment
/// variable and not a setting, because it exists to test that failure (docs/OPERATING.md).
const LOSE_DEVICE_AFTER: &str = "QWEN_QUEUE_LOSE_DEVICE_AFTER";

/// Finds a model, and downloads it if necessary. Blocks.
pub(super) fn find(name: &str, settings: &Settings) -> Result<ModelFile, ModelError> {
    Ok(source::resolve(name, &source_options(settings))?)
}

/// Finds the adapters, and downloads them if necessary. Blocks.
pub(super) fn adapters(settings: &Settings) -> Result<Vec<AdapterSource>, ModelError> {
    let options = source_options(settings);
    let find = |adapter: &LoraAdapter| {
        let folder = source::resolve_adapter(&adapter.source, &options)?;
        Ok(AdapterSource { name: adapter.name.to_string(), folder })
    };
    settings.lora_adapters.iter().map(find).collect()
}

/// Finds the draft model, and downloads it if necessary, unless speculation is off. Blocks.
pub(super) fn draft_model(settings: &Settings) -> Result<Option<ModelFile>, ModelError> {
    let used = settings.speculation != settings::Speculation::Off;
    let name = settings.draft_model.as_ref().filter(|_| used);
    name.map(|name| find(name, settings)).transpose()
}

/// Loads a model and starts its engine. Blocks.
pub(super) fn start(
    id: &ModelId,
    file: &ModelFile,
    options: &EngineOptions,
) -> Result<Engine, LoadError> {
    tracing::info!(target: "worker.model", "loading {id}");
    let began = Instant::now();
    let engine = Engine::start(file, options)?;
    let info = engine.info();
    tracing::info!(
        target: "worker.model",
        "ready after {:.1} s: {id}, {} with {:.1} M parameters in {}, {} tokens of context, on {}, {} tasks at once",
        began.elapsed().as_secs_f64(),
        info.architecture,
        info.parameters as f64 / 1e6,
        info.quantization,
        info.context_length,
        info.device,
        info.max_batch,
    );
    Ok(engine)
}

/// Returns the options of the hub and the cache that the settings specify.
pub fn source_options(settings: &Settings) -> SourceOptions {
    let defaults = SourceOptions::from_env();
    SourceOptions {
        cache_dir: settings
            .hf_hub_cache
            .clone()
            .or_else(|| settings.hf_home.as_ref().map(|home| home.join("hub")))
            .or(defaults.cache_dir),
        quantization: settings.quantization.map(|quantization| match quantization {
            settings::Quantization::None => Quantization::None,
            settings::Quantization::EightBit => Quantization::EightBit,
            settings::Quantization::FourBit => Quantization::FourBit,
        }),
        endpoint: settings.hf_endpoint.trim_end_matches('/').to_owned(),
        token: settings
            .hf_token
            .as_ref()
            .map(Secret::reveal)
            .and_then(Token::new)
            .or(defaults.token),
        ..defaults
    }
}

/// Converts the settings to engine options, without the number of KV tokens.
///
/// # Errors
/// If a device is named twice, which validated settings exclude.
pub(super) fn engine_options(settings: &Settings) -> Result<EngineOptions, LoadError> {
    let device = match &settings.model_device {
        Device::Auto => DeviceChoice::Auto,
        Device::Named { gpus, cpu } => DeviceChoice::of(gpus.clone(), *cpu)?,
    };
    let defaults = EngineOptions::default();
    let (max_batch, auto_batch) = match settings.max_batch_size {
        BatchSize::Auto => (defaults.max_batch, true),
        BatchSize::Sequences(count) => (count, false),
    };
    Ok(EngineOptions {
        device,
        max_batch,
        auto_batch,
        kv_tokens: settings.kv_tokens,
        speculation: match settings.speculation {
            settings::Speculation::Off => Speculation::Off,
            settings::Speculation::Lookup => Speculation::Lookup,
        },
        images: EncoderOptions {
            max_tokens: settings.max_image_tokens,
            max_video_tokens: settings.max_video_tokens,
            ..defaults.images
        },
        lose_device_after: std::env::var(LOSE_DEVICE_AFTER)
            .ok()
            .and_then(|steps| steps.parse().ok()),
        ..defaults
    })
}
