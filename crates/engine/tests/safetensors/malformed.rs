//! A damaged folder is refused with an error that says what is wrong, and never causes a panic.

use std::fs;

use engine::model::Decoder;
use engine::{LoadError, ModelFile, Quantization};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::folder::{Folder, INDEX, WEIGHTS};
use super::hf;

fn copy() -> Folder {
    Folder::copy(&hf("qwen2.5"))
}

/// Loads everything that an engine loads.
fn load(folder: &Folder) -> Result<(), LoadError> {
    let folder = folder.path().to_owned();
    let model = ModelFile::Safetensors { folder, quantization: Quantization::EightBit }.open()?;
    model.chat_template(&model.tokenizer()?)?;
    Decoder::load(&model).map(drop)
}

fn message(folder: &Folder) -> String {
    let error = load(folder).unwrap_err().to_string();
    println!("{error}");
    assert!(
        error.contains(folder.path().to_str().unwrap()),
        "the error does not name the folder: {error}"
    );
    error
}

fn expect(folder: &Folder, parts: &[&str]) {
    let message = message(folder);
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn missing_files_are_refused_by_name() {
    assert!(load(&copy()).is_ok(), "the unchanged copy loads");
    for name in ["config.json", "tokenizer.json"] {
        let folder = copy();
        folder.remove(name);
        expect(&folder, &[name, "is missing"]);
    }
    let folder = copy();
    folder.remove(WEIGHTS);
    expect(&folder, &["neither model.safetensors nor model.safetensors.index.json"]);
    // These files are optional.
    for name in ["generation_config.json", "tokenizer_config.json", "chat_template.jinja"] {
        let folder = copy();
        folder.remove(name);
        assert!(load(&folder).is_ok(), "{name}");
    }
}

#[test]
fn truncated_and_foreign_weight_files_are_refused() {
    let whole = fs::read(hf("qwen2.5").join(WEIGHTS)).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for len in [0, 1, 7, 8, 9, header - 1, header, header + 1, whole.len() / 2, whole.len() - 1] {
        let folder = copy();
        fs::write(folder.path().join(WEIGHTS), &whole[..len]).unwrap();
        expect(&folder, &[WEIGHTS]);
    }
    for (change, part) in [
        (u64::MAX, "more than 100 MB"),
        (200_000_000, "more than 100 MB"),
        (99_000_000, "invalid header length"),
        (3, "header"),
    ] {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&change.to_le_bytes());
        let folder = copy();
        fs::write(folder.path().join(WEIGHTS), bytes).unwrap();
        expect(&folder, &["truncated or no safetensors file", part]);
    }
    let folder = copy();
    fs::write(folder.path().join(WEIGHTS), [whole.as_slice(), &[0]].concat()).unwrap();
    expect(&folder, &["do not end where its"]);
}

/// Headers with wrong offsets.
#[test]
fn invalid_tensor_offsets_are_refused() {
    for (header, part) in [
        (json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}), "shape"),
        (json!({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}), "offset"),
        (json!({"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}}), "offset"),
        (
            json!({"a": {"dtype": "F32", "shape": [1u64 << 62, 9], "data_offsets": [0, 4]}}),
            "overflow",
        ),
        (json!({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}), "F99"),
        (json!({"a": 5}), "JSON"),
    ] {
        let text = header.to_string();
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let folder = copy();
        fs::write(folder.path().join(WEIGHTS), bytes).unwrap();
        expect(&folder, &["truncated or no safetensors file", part]);
    }
}

#[test]
fn tensors_of_wrong_shape_type_or_value_are_refused() {
    let change = |name: &'static str, change: fn(&mut super::folder::Tensor)| {
        let folder = copy();
        let mut tensors = folder.tensors();
        change(tensors.get_mut(name).unwrap());
        folder.write(WEIGHTS, &tensors);
        folder
    };
    let q = "model.layers.1.self_attn.q_proj.weight";
    expect(
        &change("model.layers.0.mlp.up_proj.weight", |tensor| tensor.shape.reverse()),
        &["model.layers.0.mlp.up_proj.weight", "[64, 96]", "config.json asks for [96, 64]"],
    );
    expect(
        &change(q, |tensor| tensor.dtype = Dtype::I32),
        &[q, "the type I32", "supported are F32, F16 and BF16"],
    );
    expect(
        &change(q, |tensor| tensor.data[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
        &[q, "infinite or no number"],
    );
    for (name, hint) in [(q, ""), ("lm_head.weight", "tie_word_embeddings is false")] {
        let folder = copy();
        let mut tensors = folder.tensors();
        tensors.remove(name);
        folder.write(WEIGHTS, &tensors);
        expect(&folder, &[name, "is missing", hint]);
    }
}

#[test]
fn invalid_shard_indexes_are_refused() {
    let sharded = || {
        let folder = copy();
        folder.shard(2);
        folder
    };
    assert!(load(&sharded()).is_ok());
    let folder = sharded();
    folder.remove("model-00002-of-00002.safetensors");
    expect(&folder, &["model-00002-of-00002.safetensors is missing", INDEX]);

    let folder = sharded();
    let set = |folder: &Folder, tensor: &str, file: &str| {
        folder.edit(INDEX, |index| index["weight_map"][tensor] = Value::from(file));
    };
    set(&folder, "ghost.weight", "model-00001-of-00002.safetensors");
    expect(&folder, &["ghost.weight", "is not in model-00001-of-00002.safetensors"]);
    for strange in ["../../x.safetensors", "/etc/x.safetensors", "x.bin", "a\\b.safetensors"] {
        let folder = sharded();
        set(&folder, "ghost.weight", strange);
        expect(&folder, &["the index names the file", "in the same folder"]);
    }
    let folder = sharded();
    fs::copy(
        folder.path().join("model-00001-of-00002.safetensors"),
        folder.path().join("model-00002-of-00002.safetensors"),
    )
    .unwrap();
    expect(&folder, &["is both in model-00001-of-00002.safetensors and in model-00002"]);
    let folder = sharded();
    fs::write(folder.path().join(INDEX), "{").unwrap();
    expect(&folder, &[INDEX, "is not what it should be"]);
}

#[test]
fn unsupported_and_invalid_configs_are_refused() {
    let with = |key: &str, value: Value| {
        let folder = copy();
        folder.edit("config.json", |config| drop(config.insert(key.into(), value)));
        folder
    };
    for (key, value, parts) in [
        (
            "model_type",
            json!("llama"),
            ["\"llama\"", "supported are qwen2, qwen2_moe, qwen3, qwen3_moe"],
        ),
        ("model_type", json!(7), ["model_type", "a text"]),
        ("hidden_act", json!("gelu"), ["hidden_act", "\"silu\""]),
        ("use_sliding_window", json!(true), ["use_sliding_window", "false"]),
        ("layer_types", json!(["linear_attention"]), ["layer_types", "full_attention"]),
        ("quantization_config", json!({"quant_method": "awq"}), ["awq", "unquantized"]),
        ("num_hidden_layers", json!(0), ["num_hidden_layers of config.json", "from 1 to 1024"]),
        ("num_hidden_layers", json!(3), ["model.layers.2.", "is missing"]),
        ("num_attention_heads", json!(-4), ["num_attention_heads", "an integer from 0"]),
        ("num_key_value_heads", json!(3), ["num_key_value_heads", "a divisor of the 4"]),
        ("rms_norm_eps", json!("small"), ["rms_norm_eps", "a number"]),
        ("rms_norm_eps", json!(0.0), ["rms_norm_eps", "above 0"]),
        ("rope_parameters", json!([]), ["rope_parameters", "an object"]),
        ("vocab_size", json!(100), ["vocab_size", "100"]),
        ("vocab_size", json!(1u64 << 40), ["vocab_size", "from 1 to"]),
        ("vocab_size", json!(600), ["model.embed_tokens.weight", "[600, 64]"]),
        ("eos_token_id", json!([9999]), ["eos_token_id", "9999"]),
        ("eos_token_id", json!("x"), ["eos_token_id", "a token's id"]),
    ] {
        expect(&with(key, value), &parts);
    }
    for key in [
        "model_type",
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "max_position_embeddings",
        "vocab_size",
        "rms_norm_eps",
        "rope_parameters",
    ] {
        let folder = copy();
        folder.edit("config.json", |config| drop(config.remove(key)));
        let key = if key == "rope_parameters" { "rope_theta" } else { key };
        expect(&folder, &["config.json", key, "is missing; it should be"]);
    }
    for text in ["", "[]", "{", "\u{0}"] {
        let folder = copy();
        fs::write(folder.path().join("config.json"), text).unwrap();
        expect(&folder, &["config.json is not what it should be"]);
    }
}

#[test]
fn unsupported_tokenizers_are_refused() {
    let edited = |change: fn(&mut serde_json::Map<String, Value>)| {
        let folder = copy();
        folder.edit("tokenizer.json", change);
        folder
    };
    for (change, parts) in [
        (
            (|all| all["model"]["type"] = "WordPiece".into()) as fn(&mut serde_json::Map<_, _>),
            ["WordPiece", "supported is \"BPE\""],
        ),
        (|all| all["model"]["byte_fallback"] = true.into(), ["byte_fallback", "byte-level BPE"]),
        (|all| all["pre_tokenizer"] = Value::Null, ["splits words", "qwen2 and qwen35"]),
        (
            |all| all["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\s+".into(),
            ["splits words", "qwen2 and qwen35"],
        ),
        (|all| all["added_tokens"][0]["lstrip"] = true.into(), ["<|endoftext|>", "lstrip"]),
        (|all| all["added_tokens"][0]["id"] = 99_999.into(), ["added_tokens", "vocab_size"]),
        (|all| all["model"]["vocab"]["a"] = "x".into(), ["model.vocab", "\"a\""]),
        (
            |all| drop(all["model"]["vocab"].as_object_mut().unwrap().remove("a")),
            ["token for each byte", "0x61"],
        ),
        (|all| all["model"]["merges"][0] = json!(["zz", "q"]), ["merges of tokenizer.json", "zz"]),
        (|all| all["model"]["vocab"] = json!([1]), ["model.vocab", "an object"]),
        (|all| drop(all.remove("model")), ["tokenizer.json", "model"]),
    ] {
        expect(&edited(change), &parts);
    }
    let folder = copy();
    folder.edit("tokenizer_config.json", |all| drop(all.insert("eos_token".into(), "<no>".into())));
    expect(&folder, &["tokenizer_config.json", "eos_token", "a token of tokenizer.json"]);
    let folder = copy();
    fs::write(folder.path().join("chat_template.jinja"), "{% if %}").unwrap();
    expect(&folder, &["the chat template", "a Jinja template"]);
}
