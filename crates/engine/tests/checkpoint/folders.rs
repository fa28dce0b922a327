//! Folders of safetensors: what config.json and the weights say beside what is read, and what is no model of
//! transformers at all.

use std::fs;
use std::path::Path;

use engine::{ModelFile, Quantization};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::fixtures;
use crate::edit::refusal;
use crate::folder::{Folder, Tensor, WEIGHTS};

fn copy(family: &str) -> Folder {
    Folder::copy(&fixtures().join(family).join("hf"))
}

fn model(folder: &Folder) -> ModelFile {
    ModelFile::Safetensors {
        folder: folder.path().to_owned(),
        quantization: Quantization::EightBit,
    }
}

/// Why a folder is refused.
fn refused(folder: &Folder) -> String {
    refusal(model(folder))
}

fn starts(folder: &Folder) -> Result<(), String> {
    let started = engine::Engine::start(&model(folder), &Default::default());
    started.map(drop).map_err(|error| error.to_string())
}

fn with_key(family: &str, key: &str, value: Value) -> Folder {
    let folder = copy(family);
    folder.edit("config.json", |config| drop(config.insert(key.into(), value)));
    folder
}

fn with_tensor(family: &str, name: &str, shape: &[usize]) -> Folder {
    let folder = copy(family);
    let mut tensors = folder.tensors();
    let data = 1f32.to_le_bytes().repeat(shape.iter().product());
    tensors.insert(name.to_owned(), Tensor { dtype: Dtype::F32, shape: shape.to_vec(), data });
    folder.write(WEIGHTS, &tensors);
    folder
}

#[test]
fn unsupported_tensors_are_refused_by_name() {
    for (family, tensor, shape) in [
        ("qwen3", "model.layers.0.self_attn.q_proj.bias", [128].as_slice()),
        ("qwen2.5", "model.layers.1.mlp.down_proj.bias", &[64]),
        ("qwen2", "model.layers.0.self_attn.q_norm.weight", &[16]),
        ("qwen3", "model.layers.0.self_attn.q_proj.weight_scale", &[1]),
        ("qwen3", "model.layers.2.input_layernorm.weight", &[64]),
        ("qwen2", "visual.patch_embed.proj.weight", &[64, 64]),
        ("qwen3", "lm_head.bias", &[512]),
    ] {
        let error = refused(&with_tensor(family, tensor, shape));
        assert!(error.contains(&format!("{tensor:?}")), "{family} {tensor}: {error}");
        assert!(error.contains("not used"), "{family} {tensor}: {error}");
    }
    for tensor in ["score.weight", "v_head.summary.weight", "classifier.weight"] {
        let error = refused(&with_tensor("qwen2.5", tensor, &[1, 64]));
        assert!(error.contains("classifier or reward model"), "{tensor}: {error}");
    }
}

#[test]
fn tensors_ignored_by_transformers_are_ignored() {
    for (family, tensor, shape) in [
        ("qwen3", "lm_head.weight", [512, 64].as_slice()), // a tied model's
        ("qwen2", "model.layers.0.self_attn.rotary_emb.inv_freq", &[8]),
        ("qwen2.5", "model.rotary_emb.inv_freq", &[8]),
    ] {
        assert_eq!(starts(&with_tensor(family, tensor, shape)), Ok(()), "{family} {tensor}");
    }
}

#[test]
fn unsupported_config_keys_are_refused_by_name() {
    for (family, key, value) in [
        ("qwen3", "partial_rotary_factor", json!(0.5)),
        ("qwen3", "is_causal", json!(false)),
        ("qwen2.5", "mlp_bias", json!(true)),
        ("qwen2", "use_mrope", json!(true)),
        ("qwen3", "use_qk_norm", json!(false)),
        ("qwen2", "qkv_bias", json!(false)),
        ("qwen3", "final_logit_softcapping", json!(30.0)),
        ("qwen2.5", "embedding_multiplier", json!(12)),
        ("qwen3", "num_experts", json!(8)),
        ("qwen3", "something_of_tomorrow", json!({"a": 1})),
        ("qwen2", "rope_scaling", json!({"factor": 4.0})),
        ("qwen2", "rope_scaling", json!({"type": "default", "mrope_section": [16, 24, 24]})),
        ("qwen3", "rope_scaling", json!({"type": "mrope", "mrope_section": [6, 5, 5]})),
        ("qwen3", "rope_scaling", json!({"type": "default", "mrope_interleaved": true})),
        ("qwen3", "auto_map", json!({"AutoModelForCausalLM": "modeling_x.X"})),
    ] {
        let error = refused(&with_key(family, key, value));
        assert!(error.contains(key) && error.contains("config.json"), "{key}: {error}");
    }
    let yarn = json!({"rope_type": "yarn", "rope_theta": 10000.0,
                      "original_max_position_embeddings": 256});
    for key in ["rope_scaling", "rope_parameters"] {
        let error = refused(&with_key("qwen3", key, yarn.clone()));
        assert!(error.contains("\"factor\" is missing"), "{key}: {error}");
    }
}

#[test]
fn config_keys_without_an_effect_are_ignored() {
    for (family, key, value) in [
        ("qwen2.5", "_name_or_path", json!("somewhere/else")),
        ("qwen3", "unsloth_version", json!("2025.1")),
        ("qwen3", "torch_dtype", json!("bfloat16")),
        ("qwen2", "use_mrope", json!(false)),
        ("qwen3", "something_of_tomorrow", Value::Null),
        ("qwen2", "id2label", json!({"0": "LABEL_0"})),
        ("qwen3", "partial_rotary_factor", json!(1.0)),
        ("qwen3", "auto_map", json!({"AutoTokenizer": ["x.Y", null]})),
        ("qwen3", "quantization_config", Value::Null),
    ] {
        assert_eq!(starts(&with_key(family, key, value)), Ok(()), "{key}");
    }
}

#[test]
fn classifiers_and_reward_models_are_refused_by_kind() {
    for name in [
        "Qwen2ForSequenceClassification",
        "Qwen2ForRewardModel",
        "Qwen2ForProcessRewardModel",
        "Qwen3ForTokenClassification",
    ] {
        let error = refused(&with_key("qwen2.5", "architectures", json!([name])));
        assert!(error.contains("classifier or reward model") && error.contains(name), "{error}");
    }
    for name in ["Qwen2Model", "LlavaQwenForCausalLM", "Qwen2VLForConditionalGeneration"] {
        let error = refused(&with_key("qwen2.5", "architectures", json!([name])));
        assert!(
            error.contains(name) && error.contains("supported are Qwen2ForCausalLM"),
            "{error}"
        );
    }
}

#[test]
fn prequantized_weights_are_refused_with_their_quantization_method() {
    let mlx = json!({"group_size": 64, "bits": 4});
    for (key, value, parts) in [
        ("quantization", mlx.clone(), ["Apple's MLX", "4 bits"]),
        ("quantization_config", mlx, ["Apple's MLX", "4 bits"]),
        ("quantization_config", json!({"quant_method": "awq", "bits": 3}), ["by AWQ", "\"awq\""]),
        (
            "quantization_config",
            json!({"quant_method": "gptq", "bits": 3}),
            ["by GPTQ", "\"gptq\""],
        ),
        ("quantization_config", json!({"quant_method": "fp8"}), ["weight_block_size", "\"fp8\""]),
        (
            "quantization_config",
            json!({"quant_method": "awq", "bits": 4, "version": "gemv"}),
            ["by AWQ", "\"gemv\""],
        ),
        (
            "quantization_config",
            json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}),
            ["by GPTQ", "\"marlin\""],
        ),
        (
            "quantization_config",
            json!({"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "static"}),
            ["FP8", "\"static\""],
        ),
        (
            "quantization_config",
            json!({"quant_method": "bitsandbytes", "load_in_4bit": true}),
            ["quantized already", "\"bitsandbytes\""],
        ),
        (
            "quantization_config",
            json!({"quant_method": "compressed-tensors"}),
            ["quantized already", "\"compressed-tensors\""],
        ),
        ("quantization_config", json!({}), ["quantized already", "unknown"]),
    ] {
        let error = refused(&with_key("qwen3", key, value));
        for part in parts.into_iter().chain(["unquantized model", "GGUF file"]) {
            assert!(error.contains(part), "{part:?}: {error}");
        }
    }
    let awq = json!({"quant_method": "awq", "bits": 4});
    let error = refused(&with_key("qwen3", "quantization_config", awq));
    assert!(error.contains("none is in the files"), "{error}");
    for (file, part) in [("quantize_config.json", "by GPTQ"), ("quant_config.json", "by AWQ")] {
        let folder = copy("qwen3");
        fs::write(folder.path().join(file), r#"{"bits": 4, "w_bit": 4}"#).unwrap();
        let error = refused(&folder);
        assert!(error.contains(part) && error.contains(file), "{error}");
    }
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 123\n";

#[test]
fn git_lfs_pointers_are_reported_as_pointers_not_as_damage() {
    for name in [WEIGHTS, "tokenizer.json"] {
        let folder = copy("qwen3");
        fs::write(folder.path().join(name), POINTER).unwrap();
        let error = refused(&folder);
        assert!(error.contains(name) && error.contains("Git LFS pointer"), "{error}");
        assert!(error.contains("git lfs pull") && !error.contains("damaged"), "{error}");
    }
    let sharded = copy("qwen3");
    sharded.shard(2);
    fs::write(sharded.path().join("model-00002-of-00002.safetensors"), POINTER).unwrap();
    let error = refused(&sharded);
    assert!(error.contains("model-00002-of-00002") && error.contains("Git LFS pointer"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        refusal(ModelFile::Path(path))
    };
    let error = file("model.gguf", POINTER);
    assert!(error.contains("Git LFS pointer") && !error.contains("damaged"), "{error}");
    let error = file("page.gguf", "<!doctype html>\n<html><title>Qwen</title>");
    assert!(error.contains("web page") && !error.contains("damaged"), "{error}");
    assert!(Path::new(folder.path()).exists());
}
