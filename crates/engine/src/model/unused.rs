//! Tensors that stand in a model's files and that its decoder does not take.

use std::collections::BTreeSet;

use super::ModelConfig;
use crate::safetensors::TOWERS;
use crate::stored_tensor::layer_of;
use crate::{Checkpoint, LoadError};

/// How many of them a message names.
const MAX_NAMED_TENSORS: usize = 3;

/// What the tensors of a head begin with that gives scores instead of tokens.
const CLASSIFIER_HEAD_PREFIXES: [&str; 7] =
    ["cls.", "score.", "classifier.", "v_head.", "value_head.", "reward_head.", "qa_outputs."];

/// Refuses a checkpoint that has a tensor beside those that were taken, unless it is known to change nothing.
pub(super) fn refuse(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    taken: &BTreeSet<String>,
) -> Result<(), LoadError> {
    let is_unused = |name: &&str| {
        !taken.contains(*name) && !is_harmless(name, checkpoint.has_tied_head(), config)
    };
    let mut unused: Vec<&str> = checkpoint.tensor_names().filter(is_unused).collect();
    unused.sort_unstable();
    let unsupported = |problem: String| Err(checkpoint.metadata().unsupported(problem));
    let is_head = |name: &&&str| CLASSIFIER_HEAD_PREFIXES.iter().any(|head| name.starts_with(head));
    if let Some(head) = unused.iter().find(is_head) {
        return unsupported(format!(
            "it is a classifier or reward model (it has the tensor {head:?}), which gives scores and not text: \
             choose a model that writes text"
        ));
    }
    let named: Vec<String> =
        unused.iter().take(MAX_NAMED_TENSORS).map(|name| format!("{name:?}")).collect();
    let more = match unused.len().saturating_sub(MAX_NAMED_TENSORS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match named.as_slice() {
        [] => Ok(()),
        named => unsupported(format!(
            "it has tensors that are not used by a {} model of {} layers: {}{more}. Without them its answers \
             would be wrong: choose another file of the model, or a newer version of this program",
            config.architecture.name,
            config.layers,
            named.join(", ")
        )),
    }
}

/// The tensors that may be left out; docs/ENGINE.md lists them.
fn is_harmless(name: &str, tied: bool, config: &ModelConfig) -> bool {
    // What makes logits of a row is not computed by a model of embeddings.
    let head = name == "output.weight" && config.pooling.is_some();
    // transformers takes the embedding where both are there.
    let tied_head = ["lm_head.weight", "language_model.lm_head.weight"].contains(&name) && tied;
    // Frequencies that older versions of transformers saved; they follow from the config.
    let of_model = ["model.", "language_model."].iter().any(|prefix| name.starts_with(prefix));
    let frequencies = of_model && name.ends_with(".rotary_emb.inv_freq");
    // A model's tower is loaded by itself, and checked there.
    let tower = config.mrope.is_some() && TOWERS.iter().any(|prefix| name.starts_with(prefix));
    head || tied_head || frequencies || tower || predicts_further_tokens(name, config)
}

/// Whether a tensor belongs to the layers of a hybrid model that predict several tokens at once (MTP), after the last
/// layer.
fn predicts_further_tokens(name: &str, config: &ModelConfig) -> bool {
    let of_gguf = layer_of(name, "blk.").is_some_and(|layer| layer >= config.layers);
    let of_folder = ["mtp.", "model.mtp."].iter().any(|prefix| name.starts_with(prefix));
    config.delta.is_some() && (of_gguf || of_folder)
}
