//! Adapters that cannot be used are refused with what is wrong and what is allowed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use engine::gguf::GgufFile;
use engine::lora::{AdapterSource, Adapters};
use engine::model::ModelConfig;
use engine::{EngineOptions, ModelFile};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::adapter;
use crate::common::fixtures;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A copy of an adapter for qwen3 to change.
struct Copy(TempDir);

impl Copy {
    fn of(kind: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in [CONFIG, WEIGHTS] {
            fs::copy(adapter("qwen3", kind).folder.join(name), folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Sets keys in the config file.
    fn set(&self, values: &Value) -> &Self {
        let text = fs::read_to_string(self.path(CONFIG)).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        for (key, value) in values.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(self.path(CONFIG), config.to_string()).unwrap();
        self
    }

    /// Changes the tensors of the weights file.
    fn change(&self, change: impl FnOnce(&mut Tensors)) -> &Self {
        let bytes = fs::read(self.path(WEIGHTS)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let own =
            |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        let mut tensors: Tensors =
            file.tensors().into_iter().map(|(name, view)| (name, own(view))).collect();
        change(&mut tensors);
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        fs::write(self.path(WEIGHTS), serialize(views, None).unwrap()).unwrap();
        self
    }

    fn load(&self) -> Result<Adapters, String> {
        load(self.0.path(), "qwen3/qwen3-f32.gguf")
    }

    /// Returns the error that refuses it.
    fn refused(&self) -> String {
        let error = self.load().expect_err("it was loaded");
        let folder = self.0.path().display().to_string();
        assert!(
            error.starts_with(&format!("the adapter mine in {folder} cannot be used")),
            "{error}"
        );
        error
    }
}

fn load(folder: &Path, base: &str) -> Result<Adapters, String> {
    let file = GgufFile::open(fixtures().join(base)).unwrap();
    let config = ModelConfig::from_gguf(&file).unwrap();
    let source = AdapterSource { name: "mine".to_owned(), folder: folder.to_owned() };
    Adapters::load(&[source], &config).map_err(|error| error.to_string())
}

fn tensor(layer: usize, module: &str, half: &str) -> String {
    format!("base_model.model.model.layers.{layer}.{module}.lora_{half}.weight")
}

#[test]
fn unsupported_adapter_options_are_refused_by_name() {
    for (values, said) in [
        (json!({"peft_type": "IA3"}), "type \"IA3\", which is not supported; supported is LORA"),
        (json!({"peft_type": null}), "\"peft_type\" is missing"),
        (json!({"use_dora": true}), "it is a DoRA adapter"),
        (json!({"modules_to_save": ["lm_head"]}), "modules_to_save"),
        (json!({"trainable_token_indices": [1, 2]}), "trainable_token_indices"),
        (json!({"trainable_token_indices": {"embed_tokens": [1]}}), "trainable_token_indices"),
        (json!({"target_parameters": ["mlp.experts.down_proj"]}), "target_parameters"),
        (json!({"layer_replication": [[0, 1]]}), "layer_replication"),
        (json!({"lora_bias": true}), "lora_bias"),
        (json!({"fan_in_fan_out": true}), "fan_in_fan_out"),
        (json!({"bias": "lora_only"}), "supported is \"none\""),
        (json!({"alora_invocation_tokens": [7]}), "activated LoRA"),
        (json!({"use_qalora": true}), "QA-LoRA"),
        (json!({"init_lora_weights": "pissa_niter_4"}), "path_initial_model_for_weight_conversion"),
        (json!({"target_modules": ["q_proj", "v_proj", "lm_head"]}), "names \"lm_head\""),
        (json!({"target_modules": ["embed_tokens"]}), "supported are q_proj, k_proj"),
        (json!({"target_modules": ["experts.0.up_proj"]}), "supported are q_proj, k_proj"),
        (json!({"target_modules": [3]}), "\"target_modules\" should be a list of names"),
        (json!({"r": 0}), "ranks from 1 to 512"),
        (json!({"r": 513}), "ranks from 1 to 512"),
        (json!({"r": 2.5}), "ranks from 1 to 512"),
        (json!({"r": "3"}), "\"r\" should be a number"),
        (json!({"r": null}), "\"r\" is missing"),
        (json!({"lora_alpha": null}), "\"lora_alpha\" is missing"),
        (json!({"lora_alpha": 1e300}), "numbers that f32 holds"),
        (json!({"use_rslora": "yes"}), "\"use_rslora\" should be true or false"),
        (json!({"rank_pattern": [1]}), "\"rank_pattern\" should be an object"),
        (json!({"rank_pattern": {"q_proj": "4"}}), "\"rank_pattern\" should be an object"),
        (json!({"alpha_pattern": {"(?<=x)q_proj": 4}}), "without look-around"),
        (json!({"rank_pattern": {"q_proj": 3, "self_attn.*": 4}}), "two keys of \"rank_pattern\""),
        (json!({"layers_to_transform": "all"}), "\"layers_to_transform\" should be the number"),
    ] {
        let copy = Copy::of("narrow");
        let error = copy.set(&values).refused();
        assert!(error.contains(said), "{values}: {error}");
    }
}

#[test]
fn adapter_options_without_an_effect_are_accepted() {
    for values in [
        json!({"modules_to_save": [], "layer_replication": [], "trainable_token_indices": null}),
        json!({"init_lora_weights": "gaussian"}),
        json!({"init_lora_weights": false}),
        json!({"target_modules": r".*\.(q|v)_proj"}),
        json!({"target_modules": ["self_attn.q_proj", "v_proj"]}),
        json!({"alpha_pattern": {r"model\.layers\.[01]\.self_attn\.q_proj": 7, "self_attn.*": 7}}),
        json!({"layers_to_transform": [0, 1]}),
        json!({"a_key_of_a_later_version": 3}),
    ] {
        let copy = Copy::of("narrow");
        assert!(copy.set(&values).load().is_ok(), "{values}: {:?}", copy.load().err());
    }
}

#[test]
fn mismatched_adapter_tensors_are_refused_by_name() {
    type Change = fn(&mut Tensors);
    let cases: [(Change, &str); 11] = [
        (|tensors| tensors.clear(), "has no tensors"),
        (
            |tensors| drop(tensors.remove(&tensor(0, "self_attn.q_proj", "B"))),
            "lora_B.weight\" is missing, though its other half is there",
        ),
        (
            |tensors| drop(tensors.remove(&tensor(1, "self_attn.v_proj", "A"))),
            "lora_A.weight\" is missing, though its other half is there",
        ),
        (
            |tensors| tensors.retain(|name, _| !name.contains("layers.1.self_attn.v_proj")),
            "is missing, though target_modules in adapter_config.json names its module",
        ),
        (
            |tensors| {
                let one = tensors[&tensor(0, "self_attn.q_proj", "A")].clone();
                tensors.insert(tensor(0, "self_attn.k_proj", "A"), one);
            },
            "is for a module that target_modules in adapter_config.json does not name",
        ),
        (
            |tensors| {
                let one = tensors[&tensor(0, "self_attn.q_proj", "A")].clone();
                tensors.insert(tensor(2, "self_attn.q_proj", "A"), one);
            },
            "in layers 0 to 1",
        ),
        (
            |tensors| {
                let one = tensors[&tensor(0, "self_attn.q_proj", "A")].clone();
                tensors.insert("base_model.model.lm_head.weight".to_owned(), one);
            },
            "\"base_model.model.lm_head.weight\" is none that an adapter for this base has",
        ),
        (
            |tensors| {
                let one = tensors[&tensor(0, "self_attn.q_proj", "A")].clone();
                let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector";
                tensors.insert(name.to_owned(), one);
            },
            "is of a DoRA adapter",
        ),
        (
            |tensors| {
                let (_, shape, _) = tensors.get_mut(&tensor(0, "self_attn.q_proj", "B")).unwrap();
                shape.reverse();
            },
            "has the shape [3, 128], but rank and base ask for [128, 3]",
        ),
        (
            |tensors| {
                let (dtype, shape, _) =
                    tensors.get_mut(&tensor(0, "self_attn.q_proj", "A")).unwrap();
                (*dtype, shape[1]) = (Dtype::I32, 64);
            },
            "the type I32, which is not supported; supported are F32, F16 and BF16",
        ),
        (
            |tensors| {
                let (_, _, data) = tensors.get_mut(&tensor(1, "self_attn.v_proj", "B")).unwrap();
                data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            },
            "holds a weight that is infinite or no number",
        ),
    ];
    for (change, said) in cases {
        let copy = Copy::of("narrow");
        let error = copy.change(change).refused();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn ranks_in_the_config_must_match_the_tensors() {
    let error = Copy::of("narrow").set(&json!({"r": 4})).refused();
    assert!(error.contains("has the shape [3, 64], but rank and base ask for [4, 64]"), "{error}");
    let error = Copy::of("broad").set(&json!({"rank_pattern": {}})).refused();
    assert!(error.contains("has the shape [6, 64], but rank and base ask for [4, 64]"), "{error}");
    // An adapter of layer 1 alone.
    let copy = Copy::of("narrow");
    copy.change(|tensors| tensors.retain(|name, _| name.contains("layers.1.")));
    assert!(copy.set(&json!({"layers_to_transform": 1})).load().is_ok());
    assert!(copy.set(&json!({"layers_to_transform": [0]})).refused().contains("does not name"));
}

#[test]
fn missing_and_damaged_adapter_files_are_refused_by_name() {
    let copy = Copy::of("narrow");
    fs::write(copy.path(WEIGHTS), &fs::read(copy.path(WEIGHTS)).unwrap()[..900]).unwrap();
    assert!(
        copy.refused().contains("adapter_model.safetensors is truncated"),
        "{}",
        copy.refused()
    );
    fs::write(copy.path(WEIGHTS), u64::MAX.to_le_bytes()).unwrap();
    assert!(copy.refused().contains("truncated or no safetensors file"), "{}", copy.refused());
    fs::remove_file(copy.path(WEIGHTS)).unwrap();
    assert!(copy.refused().contains("adapter_model.safetensors is missing"), "{}", copy.refused());
    fs::write(copy.path("adapter_model.bin"), "pickle").unwrap();
    assert!(copy.refused().contains("safe_serialization=True"), "{}", copy.refused());
    fs::write(copy.path(CONFIG), "{").unwrap();
    assert!(copy.refused().contains("adapter_config.json is not what it should be"));
    fs::remove_file(copy.path(CONFIG)).unwrap();
    assert!(copy.refused().contains("adapter_config.json is missing"));
}

#[test]
fn every_truncated_file_is_refused() {
    let copy = Copy::of("narrow");
    let whole = fs::read(copy.path(WEIGHTS)).unwrap();
    for len in (0..whole.len()).step_by(173) {
        fs::write(copy.path(WEIGHTS), &whole[..len]).unwrap();
        copy.refused();
    }
}

#[test]
fn adapters_of_another_base_architecture_are_refused() {
    let narrow = adapter("qwen3", "narrow").folder;
    let error = load(&narrow, "qwen2/qwen2-f32.gguf").unwrap_err();
    assert!(error.contains("it is for another base"), "{error}");
    let error = load(&narrow, "qwen3moe/qwen3moe-f32.gguf").unwrap_err();
    assert!(error.contains("the base is a model of experts, which is not supported"), "{error}");
    let error = load(&narrow, "embedding/embedding.gguf").unwrap_err();
    assert!(error.contains("the base is an embedding model"), "{error}");
    // An engine does not start if one of its adapters cannot be loaded.
    let options =
        EngineOptions { adapters: vec![adapter("qwen3", "none")], ..EngineOptions::default() };
    let base = ModelFile::Path(fixtures().join("qwen3/qwen3-f32.gguf"));
    let error = engine::Engine::start(&base, &options).unwrap_err().to_string();
    assert!(error.contains("adapter_config.json is missing"), "{error}");
}
