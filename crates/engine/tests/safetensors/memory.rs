//! Bounds the peak memory of loading. The test runs in its own process, since the system reports the peak of a
//! whole process.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use engine::model::Decoder;
use engine::{ModelFile, Quantization};
use serde_json::{Map, json};

use super::hf;

const FOLDER: &str = "QWEN_QUEUE_TEST_MEMORY_FOLDER";
const HIDDEN: usize = 1024;
const FFN: usize = 2048;
const LAYERS: usize = 6;
const VOCAB: usize = 512;

/// Writes a Qwen3 of 54 million weights in bf16, a file of 108 MB.
fn write_model(folder: &Path) {
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(hf("qwen3").join(name), folder.join(name)).unwrap();
    }
    let config = json!({
        "model_type": "qwen3", "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_hidden_layers": LAYERS, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 128, "max_position_embeddings": 1024, "vocab_size": VOCAB,
        "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": true,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCAB, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![1024, HIDDEN]),
            ("self_attn.k_proj", vec![512, HIDDEN]),
            ("self_attn.v_proj", vec![512, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, 1024]),
            ("self_attn.q_norm", vec![128]),
            ("self_attn.k_norm", vec![128]),
            ("mlp.gate_proj", vec![FFN, HIDDEN]),
            ("mlp.up_proj", vec![FFN, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, FFN]),
        ] {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let (mut header, mut offset) = (Map::new(), 0);
    for (name, shape) in &tensors {
        let end = offset + 2 * shape.iter().product::<usize>();
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]});
        header.insert(name.clone(), entry);
        offset = end;
    }
    let header = serde_json::to_string(&header).unwrap();
    let mut file = BufWriter::new(File::create(folder.join("model.safetensors")).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    for index in 0..offset / 2 {
        let number = (index as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 - 0.5;
        file.write_all(&half::bf16::from_f32(number / 16.0).to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

/// Returns the peak resident memory of this process in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Besides the packed weights, loading needs memory for one matrix at a time: its bytes in the file, its
/// quantized bytes, and a block of f32 per thread.
#[test]
#[cfg(target_os = "linux")]
fn peak_loading_memory_is_the_weights_plus_one_tensor() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return load_and_check_peak(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let test = "memory::peak_loading_memory_is_the_weights_plus_one_tensor";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let status = command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder.path()).status();
    assert!(status.unwrap().success());
}

fn load_and_check_peak(folder: std::path::PathBuf) {
    let before = peak();
    let quantization = Quantization::FourBit;
    let model = ModelFile::Safetensors { folder, quantization }.open().unwrap();
    let (weights, file) = (model.weight_bytes(), 2 * model.parameters() as usize);
    let decoder = Decoder::load(&model).unwrap();
    let more = peak() - before;
    // The largest tensor: its bytes in the file and quantized, and some slack.
    let tensor = FFN * HIDDEN * 4;
    let allowed = weights + tensor + (12 << 20);
    println!(
        "{} MB of weights from {} MB, {} MB more at the peak",
        weights >> 20,
        file >> 20,
        more >> 20
    );
    assert!(
        weights > 25 << 20 && allowed < 3 * file / 4,
        "the bound is too loose to test anything"
    );
    assert!(more <= allowed, "{more} bytes more, {allowed} allowed");
    drop(decoder);
}
