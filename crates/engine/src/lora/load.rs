//! Loads an adapter's files.

use std::path::Path;

use super::config::AdapterConfig;
use super::{AdapterError, Delta, Layers, Projection, heads};
use crate::architecture::ModelConfig;
use crate::safetensors::{Object, SafetensorsError, TensorFile};

/// The file with the adapter's settings.
pub(crate) const CONFIG: &str = "adapter_config.json";
/// The file with the adapter's weights.
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// The prefix that PEFT puts before the names of the base's modules.
const PREFIX: &str = "base_model.model.";

/// Reads the adapter in `folder` for a dense model whose feed-forward blocks are `ffn` wide.
pub(super) fn read(folder: &Path, model: &ModelConfig, ffn: usize) -> Result<Layers, AdapterError> {
    let missing = |name: &str, needed: &str| SafetensorsError::MissingFile {
        name: name.to_owned(),
        needed: needed.to_owned(),
    };
    let config = Object::read(folder, CONFIG)?
        .ok_or_else(|| missing(CONFIG, "which says what kind of adapter it is; name the folder that PEFT's save_pretrained wrote"))?;
    let config = AdapterConfig::read(&config)?;
    if !folder.join(WEIGHTS).exists() {
        let pickled = folder.join("adapter_model.bin").exists();
        let needed = match pickled {
            true => {
                "and adapter_model.bin is never read, as it is a program; save it with safe_serialization=True"
            }
            false => "which holds the adapter's weights",
        };
        return Err(missing(WEIGHTS, needed).into());
    }
    let file = TensorFile::open(folder, WEIGHTS)?;
    let all: Vec<Module> = modules(model).collect();
    let names: Vec<String> = all.iter().map(|module| module.name.clone()).collect();
    let supported = match model.delta {
        None => "supported are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj",
        Some(_) => {
            "supported are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, in_proj_qkv, \
             in_proj_z, in_proj_b, in_proj_a and out_proj"
        }
    };
    if let Some(target) = config.unknown_target(&names) {
        let what: String = target.chars().take(80).collect();
        let what = format!("target_modules names {what:?}");
        return Err(AdapterError::NotSupported { what, allowed: supported });
    }
    check_names(&file, &config, &all, model)?;
    let mut layers: Layers = (0..model.layers).map(|_| std::array::from_fn(|_| None)).collect();
    for module in &all {
        let targeted = config.targets(&module.name, module.layer);
        layers[module.layer][module.projection as usize] =
            delta(&file, &config, module, targeted, model, ffn)?;
    }
    Ok(layers)
}

/// A projection of a layer, with its name in the base.
struct Module {
    layer: usize,
    projection: Projection,
    name: String,
}

impl Module {
    /// Returns the name of its tensor A or B.
    fn tensor(&self, half: &str) -> String {
        format!("{PREFIX}{}.lora_{half}.weight", self.name)
    }
}

fn modules(model: &ModelConfig) -> impl Iterator<Item = Module> {
    (0..model.layers).flat_map(move |layer| {
        let own = Projection::ALL.into_iter().filter(move |one| one.is_in(model, layer));
        own.map(move |projection| Module {
            layer,
            projection,
            name: format!("model.layers.{layer}.{}", projection.module()),
        })
    })
}

/// Checks that every tensor is A or B of a projection that the config names.
fn check_names(
    file: &TensorFile,
    config: &AdapterConfig,
    modules: &[Module],
    model: &ModelConfig,
) -> Result<(), AdapterError> {
    if file.names().next().is_none() {
        return Err(AdapterError::Empty);
    }
    let known: std::collections::HashMap<String, &Module> = modules
        .iter()
        .flat_map(|module| ["A", "B"].map(|half| (module.tensor(half), module)))
        .collect();
    // Sorted, so that the message for a file is always the same.
    let mut names: Vec<&str> = file.names().collect();
    names.sort_unstable();
    for tensor in names {
        let Some(module) = known.get(tensor) else {
            if tensor.contains("lora_magnitude_vector") {
                let what = format!("tensor {tensor:?} is of a DoRA adapter");
                let allowed = "train with use_dora=False, or merge it into its base";
                return Err(AdapterError::NotSupported { what, allowed });
            }
            let of_model = |one: &&Projection| model.delta.is_some() || one.is_in(model, 0);
            let modules: Vec<&str> =
                Projection::ALL.iter().filter(of_model).map(|one| one.module()).collect();
            return Err(AdapterError::UnknownTensor {
                tensor: tensor.chars().take(200).collect(),
                modules: modules.join(", "),
                last_layer: model.layers.saturating_sub(1),
            });
        };
        if config.targets(&module.name, module.layer) == Some(false) {
            return Err(AdapterError::NotTargeted { tensor: tensor.to_owned() });
        }
    }
    Ok(())
}

/// Reads A and B of a projection. Returns `None` if the adapter does not change it.
fn delta(
    file: &TensorFile,
    config: &AdapterConfig,
    module: &Module,
    targeted: Option<bool>,
    model: &ModelConfig,
    ffn: usize,
) -> Result<Option<Delta>, AdapterError> {
    let names = [module.tensor("A"), module.tensor("B")];
    let shapes = [file.shape(&names[0]), file.shape(&names[1])];
    let (a, b) = match shapes {
        [None, None] if targeted != Some(true) => return Ok(None),
        [Some(a), Some(b)] => (a, b),
        [a, b] => {
            let needed = match (a, b) {
                (None, None) => "though target_modules in adapter_config.json names its module",
                _ => "though its other half is there",
            };
            let tensor = names[usize::from(a.is_some())].clone();
            return Err(AdapterError::MissingTensor { tensor, needed });
        }
    };
    let (rank, scale) = (config.rank(&module.name)?, config.scale(&module.name)?);
    let (outputs, inputs) = module.projection.shape(model, ffn);
    for (tensor, found, expected) in
        [(&names[0], a, [rank, inputs]), (&names[1], b, [outputs, rank])]
    {
        if found != expected {
            let (tensor, found) = (tensor.clone(), found.to_vec());
            return Err(AdapterError::WrongShape { tensor, found, expected });
        }
    }
    let a = file.numbers(&names[0])?;
    let by_output = file.numbers(&names[1])?;
    let mut b = vec![0.0; by_output.len()];
    for (output, row) in by_output.chunks_exact(rank).enumerate() {
        for (j, number) in row.iter().enumerate() {
            b[j * outputs + output] = *number;
        }
    }
    let mut delta = Delta { rank, scale, a, b };
    if let Some(config) = &model.delta {
        heads::reorder(&mut delta, module.projection, config);
    }
    Ok(Some(delta))
}
