//! Divides a model's layers among devices by their free memory.

use super::EngineOptions;
use super::batch::SEQUENCE_TOKENS;
use super::device::Place;
use super::load::kv_type;
use super::memory::{CPU_SHARE, GPU_SHARE, available_on, context_length, workspace_bytes};
use super::spread::{self, Needs, PageTargets, Room};
use crate::architecture::{ModelConfig, Part};
use crate::kv::{KvShape, PAGE_TOKENS};
use crate::lora::Adapters;
use crate::{Checkpoint, LoadError};

/// The tokens per sequence for which room is reserved first: more do not move a layer off the GPUs.
const SUFFICIENT_TOKENS: usize = 4096;

/// Assigns layers to places: all to the only one, or divided by the memory of each.
///
/// # Errors
/// Returns an error if there are more places than layers, or the model does not fit.
pub(super) fn parts(
    file: &Checkpoint,
    config: &ModelConfig,
    adapters: &Adapters,
    places: &[Place],
    options: &EngineOptions,
) -> Result<Vec<(Place, Part)>, LoadError> {
    if let [place] = places {
        return Ok(vec![(place.clone(), Part::whole(config))]);
    }
    let named: Vec<String> = places.iter().map(Place::to_string).collect();
    if places.len() > config.layers {
        return Err(LoadError::InvalidOption(format!(
            "{} devices ({}) are more than the {} layers of {}; name fewer",
            places.len(),
            named.join(", "),
            config.layers,
            file.label()
        )));
    }
    let set = options.kv_tokens.is_some();
    let rooms = places.iter().map(|place| Room::of(place, set));
    let rooms = rooms.collect::<Result<Vec<Room>, _>>()?;
    let needs = Needs::of(file, config, adapters, options);
    let Some(sizes) = spread::divide(&needs, &rooms) else {
        return Err(LoadError::OutOfMemory(too_large(file, &needs, &rooms)));
    };
    let (used, idle): (Vec<_>, Vec<_>) =
        places.iter().zip(&sizes).partition(|(_, size)| **size > 0);
    for (place, _) in idle {
        tracing::info!(
            "{} has room on the devices before {place}, which computes nothing",
            file.label()
        );
    }
    Ok(used.into_iter().map(|(place, _)| place.clone()).zip(Part::from_sizes(&sizes)).collect())
}

impl Room {
    /// Returns the free memory of a device. If the number of pages is set, they may use all of it.
    fn of(place: &Place, set: bool) -> Result<Self, LoadError> {
        /// GPU memory for kernels' code and the driver's rounding, and machine memory for requests.
        const MARGIN: usize = 256 << 20;
        let is_gpu = !matches!(place, Place::Cpu);
        let free = match available_on(place) {
            Some(free) => free.saturating_sub(MARGIN),
            None if is_gpu => {
                return Err(LoadError::Device(format!(
                    "the driver does not tell how much memory is free on {place}, by which layers are divided; \
                     name one device alone"
                )));
            }
            // Unknown: assume no limit.
            None => usize::MAX,
        };
        let share = match (set, is_gpu) {
            (true, _) => (1, 1),
            (false, true) => GPU_SHARE,
            (false, false) => CPU_SHARE,
        };
        Ok(Self { name: place.to_string(), is_gpu, free, share })
    }
}

impl Needs {
    fn of(
        file: &Checkpoint,
        config: &ModelConfig,
        adapters: &Adapters,
        options: &EngineOptions,
    ) -> Self {
        let (mut layers, end) = file.layer_bytes(config.layers);
        for layer in &mut layers {
            *layer += adapters.bytes().div_ceil(config.layers);
        }
        let shape = KvShape { layers: 1, ..config.kv_shape(kv_type(file)) };
        let context = context_length(config, options);
        let pages = |tokens: usize| tokens.div_ceil(PAGE_TOKENS).max(1);
        let full = |context: usize| pages(context.saturating_mul(options.max_batch));
        // If the engine chooses the batch size, no layer is moved off the GPUs for a larger one.
        let comfort = if options.auto_batch { SEQUENCE_TOKENS } else { SUFFICIENT_TOKENS };
        let wish = match options.kv_tokens {
            Some(tokens) => {
                PageTargets { least: pages(tokens), enough: pages(tokens), most: pages(tokens) }
            }
            None => {
                PageTargets { least: 1, enough: full(context.min(comfort)), most: full(context) }
            }
        };
        Self {
            layers,
            end,
            workspace: workspace_bytes(config, options),
            page: PAGE_TOKENS * shape.bytes_per_token(),
            pages: wish,
        }
    }
}

/// Returns the message for a model that does not fit on the devices.
fn too_large(file: &Checkpoint, needs: &Needs, rooms: &[Room]) -> String {
    let mib = |bytes: usize| bytes >> 20;
    let devices: Vec<String> =
        rooms.iter().map(|room| format!("{} has {} MiB", room.name, mib(room.free))).collect();
    let layers: usize = needs.layers.iter().sum();
    let tokens = needs.pages.least * PAGE_TOKENS;
    format!(
        "{} does not fit on these devices together: {} MiB of weights ({} MiB the largest layer, of which each GPU \
         must hold one), {} MiB of keys and values for {tokens} tokens, and {} MiB of workspace on each; {}. Choose a \
         smaller model or quantization, set kv_tokens lower, or name more devices",
        file.label(),
        mib(layers + needs.end),
        mib(needs.layers.iter().copied().max().unwrap_or(0)),
        mib(needs.pages.least.saturating_mul(needs.page).saturating_mul(needs.layers.len())),
        mib(needs.workspace),
        devices.join(", "),
    )
}
