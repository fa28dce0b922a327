//! Tests models in safetensors files: compares them with transformers in float32 and with the GGUF files of the
//! same models, and checks the errors for damaged folders.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests too

#[path = "../common/mod.rs"]
mod common;
mod experts;
mod folder;
mod malformed;
mod memory;
mod quantized;

use std::path::Path;

use common::{Fixture, distance, fixtures};
use engine::batch::{ForwardBatch, Logits, SequenceRows};
use engine::kv::{KvPool, KvType, PageAllocator};
use engine::model::{Decoder, Workspace};
use engine::safetensors::SafetensorsModel;
use engine::text::ChatOptions;
use engine::{Checkpoint, ModelFile, Quantization};
use folder::Folder;

/// Returns the folder of a fixture with the layout of a hub repository.
pub(crate) fn hf(family: &str) -> std::path::PathBuf {
    fixtures().join(family).join("hf")
}

fn open(folder: &Path, quantization: Quantization) -> Checkpoint {
    let folder = folder.to_owned();
    ModelFile::Safetensors { folder, quantization }.open().unwrap()
}

fn gguf(path: &str) -> Checkpoint {
    ModelFile::Path(fixtures().join(path)).open().unwrap()
}

/// Returns the logits of all tokens of a prompt. `[tokens][vocab]`
pub(crate) fn logits(checkpoint: &Checkpoint, tokens: &[u32]) -> Vec<Vec<f32>> {
    let model = Decoder::load(checkpoint).unwrap();
    let mut pool = KvPool::new(model.config().kv_shape(KvType::F32), 64);
    let table = PageAllocator::new(64).reserve(tokens.len()).unwrap();
    let (mut batch, mut workspace) = (ForwardBatch::default(), Workspace::default());
    batch.push(SequenceRows::text(tokens, 0, &table, Logits::All));
    let logits = model.forward(&batch, &mut pool, &mut workspace).unwrap();
    logits.chunks(model.config().vocab).map(<[f32]>::to_vec).collect()
}

fn greedy(checkpoint: &Checkpoint, prompt: &[u32], count: usize) -> Vec<u32> {
    let model = Decoder::load(checkpoint).unwrap();
    let mut pool = KvPool::new(model.config().kv_shape(KvType::F32), 64);
    let table = PageAllocator::new(64).reserve(prompt.len() + count).unwrap();
    let mut workspace = Workspace::default();
    let mut tokens = prompt.to_vec();
    let mut done = 0;
    while tokens.len() < prompt.len() + count {
        let mut batch = ForwardBatch::default();
        batch.push(SequenceRows::text(&tokens[done..], done, &table, Logits::Last));
        done = tokens.len();
        let logits = model.forward(&batch, &mut pool, &mut workspace).unwrap();
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        tokens.push(best as u32);
    }
    tokens.split_off(prompt.len())
}

fn root_mean_square(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let squares = a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).powi(2));
    (squares.sum::<f32>() / a.iter().map(Vec::len).sum::<usize>() as f32).sqrt()
}

#[test]
fn unquantized_models_equal_transformers() {
    for (family, truth) in [
        ("qwen2", "qwen2-f32"),
        ("qwen2.5", "qwen2.5-f32"),
        ("qwen3", "qwen3-f32"),
        ("wide", "wide-bf16"),
    ] {
        let fixture = Fixture::load(truth);
        let model = open(&hf(family), Quantization::None);
        for prompt in &fixture.prompts {
            let rows = logits(&model, &prompt.tokens);
            let off = distance(&rows[prompt.first_position..], &fixture.logits(prompt));
            println!("{family} {}: off by {off}", prompt.name);
            assert!(off <= 1e-3, "{family} {}: off by {off}", prompt.name);
            let tokens = greedy(&model, &prompt.tokens, prompt.greedy.len());
            assert_eq!(tokens, prompt.greedy, "{family} {}", prompt.name);
        }
    }
}

/// With the matrices in f16, the logits are bitwise equal to those of the GGUF file with the same weights.
#[test]
fn f16_safetensors_logits_equal_the_f16_gguf_file() {
    let fixture = Fixture::load("qwen3-f16");
    let folder = Folder::copy(&hf("qwen3"));
    folder.rewrite(|_, tensor| {
        if tensor.shape.len() > 1 {
            tensor.halve();
        }
    });
    let model = open(folder.path(), Quantization::None);
    for prompt in &fixture.prompts {
        let rows = logits(&model, &prompt.tokens);
        assert_eq!(rows, logits(&gguf("qwen3/qwen3-f16.gguf"), &prompt.tokens));
        assert!(distance(&rows[prompt.first_position..], &fixture.logits(prompt)) <= 1e-3);
    }
}

#[test]
fn sharded_models_match_single_file_models() {
    let tokens = Fixture::load("qwen2.5-f32").longest().tokens.clone();
    for quantization in [Quantization::None, Quantization::EightBit] {
        let folder = Folder::copy(&hf("qwen2.5"));
        folder.shard(3);
        assert!(!folder.path().join("model.safetensors").exists());
        let whole = logits(&open(&hf("qwen2.5"), quantization), &tokens);
        assert_eq!(logits(&open(folder.path(), quantization), &tokens), whole);
    }
}

/// A model quantized at load has about the same error as one quantized by llama.cpp, whose embedding is
/// quantized too.
#[test]
fn load_time_quantization_is_as_accurate_as_prequantized_files() {
    let fixture = Fixture::load("wide-bf16");
    for (quantization, file, allowed) in [
        (Quantization::EightBit, "wide/wide-q8_0.gguf", 1.05),
        (Quantization::FourBit, "wide/wide-q4_k.gguf", 1.15),
    ] {
        let prompt = &fixture.prompts[2];
        let truth = fixture.logits(prompt);
        let ours =
            root_mean_square(&logits(&open(&hf("wide"), quantization), &prompt.tokens), &truth);
        let theirs = root_mean_square(&logits(&gguf(file), &prompt.tokens), &truth);
        println!("{quantization}: an error of {ours}, llama.cpp's {theirs}");
        assert!(ours > 0.0 && ours <= allowed * theirs, "{quantization}: {ours}, {theirs}");
    }
}

#[test]
fn tokenizer_and_chat_template_equal_those_of_the_gguf_file() {
    let (theirs, ours) = (gguf("qwen3/qwen3-f32.gguf"), open(&hf("qwen3"), Quantization::None));
    let (gguf_tokenizer, tokenizer) = (theirs.tokenizer().unwrap(), ours.tokenizer().unwrap());
    assert_eq!(tokenizer.ends(), [503, 505]);
    assert_eq!(tokenizer.ends(), gguf_tokenizer.ends());
    let text = std::fs::read_to_string(fixtures().join("text/tokenization.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for case in json["encode"].as_array().unwrap() {
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode(case["text"].as_str().unwrap()).unwrap(), ids);
        assert_eq!(tokenizer.decode(&ids), gguf_tokenizer.decode(&ids));
    }
    let messages = [serde_json::json!({"role": "user", "content": "What is a lease?"})];
    let render = |checkpoint: &Checkpoint, tokenizer| {
        let template = checkpoint.chat_template(tokenizer).unwrap();
        template.render(&messages, &ChatOptions::default()).unwrap()
    };
    assert_eq!(render(&ours, &tokenizer), render(&theirs, &gguf_tokenizer));
}

/// Files in the form that transformers 4 wrote, which many hub models have.
#[test]
fn transformers_4_files_load_identically() {
    let folder = Folder::copy(&hf("qwen3"));
    folder.edit("config.json", |config| {
        config.remove("rope_parameters");
        config.insert("rope_theta".into(), 1_000_000.into());
        config.insert("rope_scaling".into(), serde_json::Value::Null);
        config.insert("eos_token_id".into(), 505.into());
    });
    let template = std::fs::read_to_string(folder.path().join("chat_template.jinja")).unwrap();
    folder.remove("chat_template.jinja");
    folder.remove("generation_config.json");
    folder.edit("tokenizer_config.json", |config| {
        let named = serde_json::json!([{"name": "tool_use", "template": "no"},
                                       {"name": "default", "template": template}]);
        config.insert("chat_template".into(), named);
        config.insert("eos_token".into(), serde_json::json!({"content": "<|im_end|>"}));
    });
    folder.edit("tokenizer.json", |tokenizer| {
        let merges = tokenizer["model"]["merges"].as_array_mut().unwrap();
        for merge in merges {
            *merge =
                format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()).into();
        }
    });
    let (old, new) =
        (open(folder.path(), Quantization::None), open(&hf("qwen3"), Quantization::None));
    assert_eq!(old.config().unwrap(), new.config().unwrap());
    let (a, b) = (old.tokenizer().unwrap(), new.tokenizer().unwrap());
    assert_eq!(a.encode("the task's lease").unwrap(), b.encode("the task's lease").unwrap());
    assert_eq!(a.ends(), b.ends());
    let messages = [serde_json::json!({"role": "user", "content": "Hi"})];
    let text = |checkpoint: &Checkpoint, tokenizer| {
        let template = checkpoint.chat_template(tokenizer).unwrap();
        template.render(&messages, &ChatOptions::default()).unwrap()
    };
    assert_eq!(text(&old, &a), text(&new, &b));
}

/// The config equals that of the GGUF file, with all values of YaRN.
#[test]
fn yarn_logits_equal_those_of_the_gguf_file() {
    let folder = Folder::copy(&hf("qwen3"));
    let yarn = serde_json::json!({
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 4.0,
    });
    folder.edit("config.json", |config| {
        config.remove("rope_parameters");
        config.insert("rope_theta".into(), 10_000.into());
        config.insert("max_position_embeddings".into(), 512.into());
        config.insert("rope_scaling".into(), yarn.clone());
    });
    let config = || open(folder.path(), Quantization::None).config().unwrap();
    assert_eq!(config(), gguf("yarn/yarn-f32.gguf").config().unwrap());
    folder.edit("config.json", |config| {
        config["rope_scaling"]["attention_factor"] = 1.5.into();
        config["rope_scaling"]["beta_slow"] = 2.into();
    });
    let yarn = config().yarn.unwrap();
    assert_eq!((yarn.attention_factor, yarn.beta_fast, yarn.beta_slow), (1.5, 4.0, 2.0));
    folder.edit("config.json", |config| config["rope_scaling"]["mscale"] = 1.into());
    let error = SafetensorsModel::open(folder.path(), Quantization::None).unwrap_err().to_string();
    assert!(error.contains("has \"mscale\"; supported of yarn are"), "{error}");
}

/// The head in the files of a tied model is not read, as in transformers.
#[test]
fn tied_output_heads_use_the_embedding() {
    let tokens = &Fixture::load("qwen3-f32").prompts[1].tokens;
    let folder = Folder::copy(&hf("qwen3"));
    folder.rewrite(|tensors, _| {
        let mut head = tensors["model.embed_tokens.weight"].clone();
        head.data.fill(0);
        tensors.entry("lm_head.weight".into()).or_insert(head);
    });
    let ours = open(folder.path(), Quantization::None);
    let plain = open(&hf("qwen3"), Quantization::None);
    assert_eq!(ours.parameters(), plain.parameters());
    assert_eq!(logits(&ours, tokens), logits(&plain, tokens));
    // If the config does not say whether the head is tied, the files decide.
    for family in ["qwen3", "qwen2.5"] {
        let silent = Folder::copy(&hf(family));
        silent.edit("config.json", |config| drop(config.remove("tie_word_embeddings")));
        let plain = open(&hf(family), Quantization::None);
        let silent = open(silent.path(), Quantization::None);
        assert_eq!(logits(&silent, tokens), logits(&plain, tokens));
    }
}

#[test]
fn engine_info_reports_quantization_and_architecture() {
    use engine::{Engine, EngineOptions};
    for (quantization, expected) in [("none", "F32"), ("8bit", "Q8_0"), ("4bit", "Q4_K")] {
        let quantization: Quantization = quantization.parse().unwrap();
        let model = ModelFile::Safetensors { folder: hf("wide"), quantization };
        let engine = Engine::start(&model, &EngineOptions::default()).unwrap();
        assert_eq!(engine.info().quantization, expected);
        assert_eq!(engine.info().architecture, "qwen3");
    }
    assert!(SafetensorsModel::open(hf("wide"), Quantization::None).is_ok());
}
