//! Reads `adapter_config.json` and refuses adapters of kinds that are not supported.

use serde_json::Value;

use super::AdapterError;
use super::pattern::Patterns;
use crate::kernels::low_rank::MAX_RANK;
use crate::safetensors::Object;

/// The settings of an adapter.
pub(super) struct AdapterConfig {
    rank: f64,
    alpha: f64,
    ranks: Patterns,
    alphas: Patterns,
    /// rsLoRA: whether scales are divided by the root of the rank instead of the rank.
    rank_stabilized: bool,
    /// The modules that the adapter changes, if they are listed.
    targets: Option<Vec<String>>,
    /// The layers that the adapter changes, if they are listed.
    layers: Option<Vec<usize>>,
    /// Whether `exclude_modules` is set.
    excludes: bool,
}

/// Keys that change what is computed, with the reason for refusing them and what to do. They may be
/// absent, null, false or empty.
const MUST_BE_UNSET: [(&str, &str, &str); 14] = [
    ("use_dora", "it is a DoRA adapter", "train with use_dora=False, or merge it into its base"),
    (
        "modules_to_save",
        "it has whole modules beside LoRA (modules_to_save)",
        "train without them, or merge it into its base",
    ),
    (
        "trainable_token_indices",
        "it trains rows of the embedding (trainable_token_indices)",
        MERGE_OR_RETRAIN_HINT,
    ),
    (
        "target_parameters",
        "it adds to parameters of experts (target_parameters)",
        MERGE_OR_RETRAIN_HINT,
    ),
    ("layer_replication", "it replicates layers (layer_replication)", MERGE_OR_RETRAIN_HINT),
    ("lora_bias", "it has biases (lora_bias)", "train with lora_bias=False"),
    ("fan_in_fan_out", "its weights are transposed (fan_in_fan_out)", "Qwen's layers are not"),
    ("alora_invocation_tokens", "it is an activated LoRA", MERGE_OR_RETRAIN_HINT),
    ("use_qalora", "it is a QA-LoRA adapter", MERGE_OR_RETRAIN_HINT),
    ("use_bdlora", "it is a block-diagonal LoRA adapter", MERGE_OR_RETRAIN_HINT),
    ("arrow_config", "it is a router of adapters (arrow_config)", "load the adapters themselves"),
    ("kasa_config", "it is a KaSA adapter", MERGE_OR_RETRAIN_HINT),
    ("velora_config", "it is a VeLoRA adapter", MERGE_OR_RETRAIN_HINT),
    ("monteclora_config", "it is a MonteCLoRA adapter", MERGE_OR_RETRAIN_HINT),
];

const MERGE_OR_RETRAIN_HINT: &str = "train without it, or merge it into its base";

/// Values of `init_lora_weights` that leave the base's weights unchanged. With others (PiSSA,
/// OLoRA, LoftQ, CorDA) the adapter does not fit the published base.
const BASE_PRESERVING_INITS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

impl AdapterConfig {
    /// Reads the settings.
    ///
    /// # Errors
    /// When a value has the wrong type or asks for something unsupported.
    pub(super) fn read(config: &Object) -> Result<Self, AdapterError> {
        let kind = config.text("peft_type")?;
        let kind = kind.ok_or_else(|| config.missing("peft_type", "\"LORA\""))?;
        if kind != "LORA" {
            let what = format!("it is an adapter of the type {:?}", short(kind));
            return Err(AdapterError::NotSupported { what, allowed: "supported is LORA" });
        }
        for (key, what, allowed) in MUST_BE_UNSET {
            if config.get(key).is_some_and(|value| !is_unset(value)) {
                return Err(AdapterError::NotSupported { what: what.to_owned(), allowed });
            }
        }
        if let Some(bias) = config.text("bias")?.filter(|bias| *bias != "none") {
            let what = format!("it trains biases (bias is {:?})", short(bias));
            return Err(AdapterError::NotSupported { what, allowed: "supported is \"none\"" });
        }
        if let Some(Value::String(init)) = config.get("init_lora_weights")
            && !BASE_PRESERVING_INITS.contains(&init.to_ascii_lowercase().as_str())
        {
            let what =
                format!("it is for a base that {:?} changed (init_lora_weights)", short(init));
            let allowed = "save it once more with path_initial_model_for_weight_conversion, as PEFT \
                           describes, which makes an adapter for the base as it was";
            return Err(AdapterError::NotSupported { what, allowed });
        }
        let rank = config.number("r")?;
        let alpha = config.number("lora_alpha")?;
        let excludes = config.get("exclude_modules").is_some_and(|value| !is_unset(value));
        Ok(Self {
            rank: rank.ok_or_else(|| config.missing("r", "the rank"))?,
            alpha: alpha.ok_or_else(|| config.missing("lora_alpha", "a number"))?,
            ranks: Patterns::read(config, "rank_pattern")?,
            alphas: Patterns::read(config, "alpha_pattern")?,
            rank_stabilized: config.flag("use_rslora")?.unwrap_or(false),
            targets: targets(config)?,
            layers: layers(config)?,
            excludes,
        })
    }

    /// Returns the rank of a module's matrices.
    pub(super) fn rank(&self, module: &str) -> Result<usize, AdapterError> {
        let rank = self.ranks.of(module)?.unwrap_or(self.rank);
        if rank.fract() == 0.0 && (1.0..=MAX_RANK as f64).contains(&rank) {
            return Ok(rank as usize);
        }
        let what = format!("the rank of {module} is {rank}");
        Err(AdapterError::NotSupported { what, allowed: "supported are ranks from 1 to 512" })
    }

    /// Returns the factor for the product of a module's matrices: alpha / rank, or alpha / √rank
    /// with rsLoRA.
    pub(super) fn scale(&self, module: &str) -> Result<f32, AdapterError> {
        let alpha = self.alphas.of(module)?.unwrap_or(self.alpha);
        let rank = self.rank(module)? as f64;
        let scale = alpha / if self.rank_stabilized { rank.sqrt() } else { rank };
        if (scale as f32).is_finite() {
            return Ok(scale as f32);
        }
        let what = format!("lora_alpha of {module} is {alpha}");
        Err(AdapterError::NotSupported { what, allowed: "supported are numbers that f32 holds" })
    }

    /// Whether the config names this module in this layer; `None` if it has no list of modules, or
    /// excludes some.
    pub(super) fn targets(&self, module: &str, layer: usize) -> Option<bool> {
        let targets = self.targets.as_ref().filter(|_| !self.excludes)?;
        let layers = self.layers.as_ref();
        let in_layer = layers.is_none_or(|layers| layers.contains(&layer));
        Some(in_layer && targets.iter().any(|target| ends_with(module, target)))
    }

    /// Returns a listed target that matches none of these modules.
    pub(super) fn unknown_target(&self, modules: &[String]) -> Option<&str> {
        let mut targets = self.targets.iter().flatten();
        let unknown = |target: &&String| !modules.iter().any(|module| ends_with(module, target));
        targets.find(unknown).map(String::as_str)
    }
}

/// Whether a module's name equals `target` or ends with `.target`.
fn ends_with(module: &str, target: &str) -> bool {
    let before = module.strip_suffix(target);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Reads the listed modules. Returns `None` for a text, which is an expression: the tensors then
/// define the modules.
fn targets(config: &Object) -> Result<Option<Vec<String>>, AdapterError> {
    let expected = "a list of names of modules, or a text";
    match config.get("target_modules") {
        None | Some(Value::String(_)) => Ok(None),
        Some(Value::Array(names)) => {
            let name = |value: &Value| match value {
                Value::String(name) if !name.is_empty() => Ok(name.clone()),
                other => Err(config.wrong("target_modules", expected, other).into()),
            };
            names.iter().map(name).collect::<Result<_, _>>().map(Some)
        }
        Some(other) => Err(config.wrong("target_modules", expected, other).into()),
    }
}

/// Reads the listed layers, a number or a list. Returns `None` if none are named.
fn layers(config: &Object) -> Result<Option<Vec<usize>>, AdapterError> {
    let Some(value) = config.get("layers_to_transform") else { return Ok(None) };
    let wrong = || config.wrong("layers_to_transform", "the number of a layer, or a list", value);
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let layers = match value {
        Value::Array(numbers) => numbers.iter().map(number).collect::<Option<Vec<_>>>(),
        one => number(one).map(|number| vec![number]),
    };
    Ok(Some(layers.ok_or_else(wrong)?))
}

/// Whether a value counts as unset: null, false or empty.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Returns the first 60 characters, for messages.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
