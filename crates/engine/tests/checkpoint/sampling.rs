//! What a model's makers recommend for drawing tokens.

use std::fs;

use engine::gguf::Value;
use engine::{Engine, EngineOptions, ModelFile, Quantization, Sampling};
use serde_json::{Value as Json, json};

use crate::common::fixtures;
use crate::edit::Gguf;
use crate::folder::Folder;

fn of_folder(family: &str, generation: &Json) -> Sampling {
    let folder = Folder::copy(&fixtures().join(family).join("hf"));
    fs::write(folder.path().join("generation_config.json"), generation.to_string()).unwrap();
    let model = ModelFile::Safetensors {
        folder: folder.path().to_owned(),
        quantization: Quantization::EightBit,
    };
    Engine::start(&model, &EngineOptions::default()).unwrap().sampling_defaults().clone()
}

#[test]
fn sampling_defaults_are_read_from_gguf_metadata() {
    let plain = Gguf::fixture("qwen3/qwen3-q8_0");
    assert!(plain.start().unwrap().sampling_defaults().is_empty());
    let file = plain
        .with("general.sampling.temp", Value::Float(0.6))
        .with("general.sampling.top_k", Value::Int(20))
        .with("general.sampling.top_p", Value::Float(0.95))
        .with("general.sampling.min_p", Value::Float(0.0))
        .with("general.sampling.penalty_repeat", Value::Float(1.05))
        .with("general.sampling.xtc_probability", Value::Float(0.1));
    let expected = Sampling {
        temperature: Some(0.6),
        top_p: Some(0.95),
        top_k: Some(20),
        min_p: Some(0.0),
        repetition_penalty: Some(1.05),
        ..Sampling::default()
    };
    assert_eq!(*file.start().unwrap().sampling_defaults(), expected);
}

#[test]
fn sampling_defaults_are_read_from_generation_config() {
    // As Qwen3 has it.
    let qwen3 = json!({
        "bos_token_id": 503, "do_sample": true, "eos_token_id": [505, 503], "pad_token_id": 503,
        "temperature": 0.6, "top_k": 20, "top_p": 0.95, "transformers_version": "4.51.0",
    });
    let expected = Sampling {
        temperature: Some(0.6),
        top_p: Some(0.95),
        top_k: Some(20),
        ..Sampling::default()
    };
    assert_eq!(of_folder("qwen3", &qwen3), expected);
    // As Qwen2.5 has it.
    let qwen2 = json!({
        "do_sample": true, "repetition_penalty": 1.05, "temperature": 0.7, "top_k": 20, "top_p": 0.8,
    });
    let expected = Sampling {
        temperature: Some(0.7),
        top_p: Some(0.8),
        top_k: Some(20),
        repetition_penalty: Some(1.05),
        ..Sampling::default()
    };
    assert_eq!(of_folder("qwen2.5", &qwen2), expected);
    // As base models have it: the likeliest token, whatever else is said.
    let base =
        json!({"do_sample": false, "max_new_tokens": 2048, "temperature": 0.9, "top_p": 0.5});
    let expected = Sampling { temperature: Some(0.0), ..Sampling::default() };
    assert_eq!(of_folder("qwen2", &base), expected);
    for nothing in [json!({}), json!({"do_sample": true}), json!({"temperature": null})] {
        assert!(of_folder("qwen3", &nothing).is_empty(), "{nothing}");
    }
    // What cannot be is left out, and the rest is used.
    let wrong = json!({"temperature": -1, "top_p": "high", "top_k": 2.5, "min_p": 0.05});
    let expected = Sampling { min_p: Some(0.05), ..Sampling::default() };
    assert_eq!(of_folder("qwen3", &wrong), expected);
}
