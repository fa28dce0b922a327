//! Models with experts as transformers saves them: with one tensor per matrix of each expert.

use engine::Quantization;
use engine::gguf::GgufFile;
use safetensors::tensor::Dtype;
use serde_json::{Map, Value, json};

use crate::common::{Fixture, fixtures};
use crate::folder::{Folder, Tensor, Tensors, WEIGHTS};
use crate::{distance, greedy, hf, logits, open, root_mean_square};

/// The beginnings of tensor names of a layer in GGUF and in transformers, except those of experts.
const LAYER: [(&str, &str); 13] = [
    ("attn_norm.weight", "input_layernorm.weight"),
    ("attn_q.", "self_attn.q_proj."),
    ("attn_k.", "self_attn.k_proj."),
    ("attn_v.", "self_attn.v_proj."),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("attn_q_norm.weight", "self_attn.q_norm.weight"),
    ("attn_k_norm.weight", "self_attn.k_norm.weight"),
    ("ffn_norm.weight", "post_attention_layernorm.weight"),
    ("ffn_gate_inp.weight", "mlp.gate.weight"),
    ("ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"),
    ("ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"),
    ("ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"),
    ("ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"),
];

/// Builds the folder that transformers writes for a fixture's model from its GGUF file. The names and
/// configs are those that transformers wrote for these models, which are too large to store twice.
fn folder(family: &str) -> Folder {
    let folder = Folder::copy(&hf("qwen3"));
    folder.edit("config.json", |config| change(config, family));
    let file = GgufFile::open(fixtures().join(format!("{family}/{family}-f32.gguf"))).unwrap();
    let mut tensors = Tensors::new();
    for (name, info) in file.tensors() {
        let tensor = |shape: &[usize], data: &[u8]| Tensor {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            data: data.to_vec(),
        };
        let (shape, data) = (info.shape.as_slice(), file.data(info).unwrap());
        let data = &*data;
        let Some((layer, module)) = name.strip_prefix("blk.").and_then(|n| n.split_once('.'))
        else {
            let theirs = match name {
                "token_embd.weight" => "model.embed_tokens.weight",
                "output_norm.weight" => "model.norm.weight",
                "output.weight" => "lm_head.weight",
                other => panic!("{other}"),
            };
            tensors.insert(theirs.to_owned(), tensor(shape, data));
            continue;
        };
        let prefix = format!("model.layers.{layer}");
        let exps = module.strip_prefix("ffn_").and_then(|rest| rest.strip_suffix("_exps.weight"));
        if let Some(kind) = exps {
            for (expert, data) in data.chunks_exact(data.len() / shape[0]).enumerate() {
                let name = format!("{prefix}.mlp.experts.{expert}.{kind}_proj.weight");
                tensors.insert(name, tensor(&shape[1..], data));
            }
            continue;
        }
        let (ours, theirs) =
            LAYER.into_iter().find(|(ours, _)| module.starts_with(ours)).expect("a known tensor");
        // The shared expert's gate has one row.
        let row = [1, shape[shape.len() - 1]];
        let shape = if module.starts_with("ffn_gate_inp_shexp") { &row } else { shape };
        let name = format!("{prefix}.{}", module.replacen(ours, theirs, 1));
        tensors.insert(name, tensor(shape, data));
    }
    folder.write(WEIGHTS, &tensors);
    folder
}

fn change(config: &mut Map<String, Value>, family: &str) {
    let own = match family {
        "qwen2moe" => {
            config.remove("head_dim");
            json!({
                "model_type": "qwen2_moe", "num_experts": 6, "num_experts_per_tok": 2,
                "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64,
                "norm_topk_prob": false, "qkv_bias": true, "decoder_sparse_step": 1,
                "mlp_only_layers": [], "tie_word_embeddings": false,
            })
        }
        "qwen3moe" => json!({
            "model_type": "qwen3_moe", "num_local_experts": 8, "num_experts_per_tok": 3,
            "moe_intermediate_size": 32, "norm_topk_prob": true, "decoder_sparse_step": 1,
            "mlp_only_layers": [], "tie_word_embeddings": true,
        }),
        other => panic!("{other}"),
    };
    config.extend(own.as_object().unwrap().clone());
}

const FAMILIES: [&str; 2] = ["qwen2moe", "qwen3moe"];

#[test]
fn unquantized_experts_equal_transformers() {
    for family in FAMILIES {
        let folder = folder(family);
        let model = open(folder.path(), Quantization::None);
        let fixture = Fixture::load(&format!("{family}-f32"));
        for prompt in &fixture.prompts {
            let rows = logits(&model, &prompt.tokens);
            let off = distance(&rows[prompt.first_position..], &fixture.logits(prompt));
            assert!(off <= 1e-3, "{family} {}: off by {off}", prompt.name);
            assert_eq!(
                greedy(&model, &prompt.tokens, 64),
                prompt.greedy,
                "{family} {}",
                prompt.name
            );
        }
    }
}

/// The error is about that of the GGUF file in the same format, whose embedding is quantized too.
#[test]
fn experts_are_quantized_at_load() {
    let folder = folder("qwen3moe");
    let truth = Fixture::load("qwen3moe-f32");
    let (ours, theirs) =
        (open(folder.path(), Quantization::EightBit), crate::gguf("qwen3moe/qwen3moe-q8_0.gguf"));
    assert!(ours.weight_bytes() < theirs.weight_bytes() * 11 / 10);
    let prompt = truth.prompts.iter().find(|prompt| prompt.name == "short").unwrap();
    let off = |model| root_mean_square(&logits(model, &prompt.tokens), &truth.logits(prompt));
    let (ours, theirs) = (off(&ours), off(&theirs));
    println!("off by {ours} and {theirs}");
    assert!(ours <= 1.5 * theirs, "off by {ours} and {theirs}");
}

#[test]
fn unsupported_expert_configs_are_refused() {
    for (family, values, said) in [
        ("qwen2moe", json!({"norm_topk_prob": true}), "norm_topk_prob of config.json is true"),
        ("qwen2moe", json!({"qkv_bias": false}), "qkv_bias of config.json is false"),
        ("qwen3moe", json!({"norm_topk_prob": null}), "norm_topk_prob of config.json is false"),
        ("qwen3moe", json!({"decoder_sparse_step": 2}), "decoder_sparse_step of config.json is 2"),
        ("qwen3moe", json!({"mlp_only_layers": [0]}), "mlp_only_layers of config.json is [0]"),
        ("qwen3moe", json!({"num_local_experts": null}), "\"num_experts\" is missing"),
        (
            "qwen3moe",
            json!({"num_experts_per_tok": 9}),
            "num_experts_per_tok of config.json\" should be from 1 to 8",
        ),
    ] {
        let folder = folder(family);
        folder.edit("config.json", |config| config.extend(values.as_object().unwrap().clone()));
        let file = engine::ModelFile::Safetensors {
            folder: folder.path().to_owned(),
            quantization: Quantization::None,
        };
        let error = file.open().and_then(|model| model.config()).unwrap_err().to_string();
        assert!(error.contains(said), "{values}: {error}");
    }
    let folder = folder("qwen3moe");
    let mut tensors = folder.tensors();
    tensors.remove("model.layers.1.mlp.experts.7.up_proj.weight").unwrap();
    folder.write(WEIGHTS, &tensors);
    let model = open(folder.path(), Quantization::None);
    let error = engine::model::Decoder::load(&model).unwrap_err().to_string();
    assert!(error.contains("model.layers.1.mlp.experts.7.up_proj.weight\" is missing"), "{error}");
}
