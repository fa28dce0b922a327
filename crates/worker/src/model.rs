//! From what the settings say to an engine that runs.

use std::time::Instant;

use engine::source::{self, SourceError, SourceOptions, Token};
use engine::{DeviceChoice, Engine, EngineOptions, LoadError, Quantization};
use service::Settings;
use service::settings::{self, Device, Secret};

/// Steps after which the device seems lost. No setting: it is for rehearsing what happens then, in tests and
/// by operators (docs/OPERATING.md).
const LOSE_DEVICE_AFTER: &str = "QWEN_QUEUE_LOSE_DEVICE_AFTER";

/// The model can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It can't be found or downloaded.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Finds the model, downloads it if need be, and starts an engine with it. Takes as long as that takes.
///
/// # Errors
/// When it can't be found, downloaded, read or held in memory; the message says what to do.
pub fn load(settings: &Settings) -> Result<Engine, ModelError> {
    let name = &settings.model_name;
    tracing::info!(target: "worker.model", "loading {name}");
    let began = Instant::now();
    let file = source::resolve(name, &source_options(settings))?;
    let engine = Engine::start(&file, &engine_options(settings))?;
    let info = engine.info();
    tracing::info!(
        target: "worker.model",
        "ready after {:.1} s: {name}, {} with {:.1} M parameters in {}, {} tokens of context, on {}",
        began.elapsed().as_secs_f64(),
        info.architecture,
        info.parameters as f64 / 1e6,
        info.quantization,
        info.context_length,
        info.device
    );
    Ok(engine)
}

fn source_options(settings: &Settings) -> SourceOptions {
    let defaults = SourceOptions::from_env();
    SourceOptions {
        cache_dir: settings.hf_home.as_ref().map(|home| home.join("hub")).or(defaults.cache_dir),
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

fn engine_options(settings: &Settings) -> EngineOptions {
    EngineOptions {
        device: match settings.model_device {
            Device::Auto => DeviceChoice::Auto,
            Device::Cpu => DeviceChoice::Cpu,
            Device::Cuda(ordinal) => DeviceChoice::Cuda(ordinal),
        },
        max_batch: settings.max_batch_size,
        kv_tokens: settings.kv_tokens,
        lose_device_after: std::env::var(LOSE_DEVICE_AFTER)
            .ok()
            .and_then(|steps| steps.parse().ok()),
        ..EngineOptions::default()
    }
}
