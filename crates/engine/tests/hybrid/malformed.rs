//! Damaged files and other models: errors name what is wrong.

use engine::gguf::{Array, Value};
use engine::{ModelFile, Quantization};
use serde_json::{Value as Json, json};

use crate::FAMILIES;
use crate::common::fixtures;
use crate::edit::Gguf;
use crate::folder::{Folder, WEIGHTS};

/// Keys without which a file is not read.
const REQUIRED: [&str; 11] = [
    "block_count",
    "context_length",
    "embedding_length",
    "attention.head_count",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count",
    "ssm.conv_kernel",
    "ssm.state_size",
    "ssm.group_count",
    "ssm.time_step_rank",
    "ssm.inner_size",
];

#[test]
fn every_missing_key_is_named() {
    for family in FAMILIES {
        let whole = Gguf::fixture(&format!("{family}/{family}-f32"));
        let own: &[&str] = match family {
            "qwen35" => &["feed_forward_length", "rope.dimension_sections"],
            "qwen35moe" => &["expert_count", "expert_used_count", "rope.dimension_sections"],
            _ => &["expert_count", "expert_used_count"],
        };
        for key in REQUIRED.iter().chain(own) {
            let error = whole.clone().with(&format!(".{key}"), None).refusal();
            assert!(error.contains(&format!("\"{family}.{key}\"")), "{key}: {error}");
        }
    }
}

#[test]
fn every_wrong_value_is_named() {
    let whole = Gguf::fixture("qwen35/qwen35-f32");
    for (key, value, expected) in [
        ("ssm.conv_kernel", 1, "from 2"),
        ("ssm.conv_kernel", 9, "from 1 to 8"),
        ("ssm.time_step_rank", 5, "a multiple of the 2 key heads"),
        ("ssm.inner_size", 97, "a multiple of the 6 value heads"),
        ("ssm.group_count", 0, "from 1"),
        ("ssm.state_size", 1 << 20, "from 1 to 1024"),
        ("nextn_predict_layers", 5, "below block_count, 5"),
        ("rope.dimension_count", 7, "even"),
        ("rope.dimension_count", 64, "from 1 to 32"),
        ("full_attention_interval", 0, "from 1"),
    ] {
        let error = whole.clone().with(&format!(".{key}"), Value::Int(value)).refusal();
        let named = error.contains(&format!("\"qwen35.{key}\"")) && error.contains(expected);
        assert!(named, "{key} of {value}: {error}");
    }
    let recurrent = |layers: &[bool]| Value::Array(Array::Bool(layers.to_vec()));
    let key = ".attention.recurrent_layers";
    let error = whole.clone().with(key, recurrent(&[true, false, true, true, false])).refusal();
    assert!(error.contains("recurrent_layers") && error.contains("layer 1"), "{error}");
    let error = whole.clone().with(key, recurrent(&[true])).refusal();
    assert!(error.contains("for each of the 4 layers"), "{error}");
    whole.with(key, recurrent(&[true, true, true, false, false])).loads();
}

#[test]
fn every_missing_or_misshapen_tensor_is_named() {
    for family in FAMILIES {
        let whole = Gguf::fixture(&format!("{family}/{family}-f32"));
        let names = whole.tensor_names();
        assert!(names.len() > 40, "{names:?}");
        for name in names {
            // The rows of the embedding are the vocabulary, which the head has, too.
            if name == "token_embd.weight" {
                let error = whole.clone().without_tensor(&name).refusal();
                assert!(error.contains("token_embd.weight"), "{error}");
                continue;
            }
            let ignored = name.starts_with("blk.4.");
            let optional = name == "output.weight";
            let without = whole.clone().without_tensor(&name);
            let misshapen = whole.clone().with_longer_tensor(&name);
            if ignored {
                without.loads();
                misshapen.loads();
                continue;
            }
            for (file, may_load) in [(without, optional), (misshapen, false)] {
                match may_load {
                    true => file.loads(),
                    false => {
                        let error = file.refusal();
                        assert!(error.contains(&format!("{name:?}")), "{name}: {error}");
                    }
                }
            }
        }
        let error = whole.with_tensor("blk.0.ssm_d", &[6]).refusal();
        assert!(error.contains("\"blk.0.ssm_d\"") && error.contains("not used"), "{error}");
    }
}

fn refusal(folder: &Folder) -> String {
    let file = ModelFile::Safetensors {
        folder: folder.path().to_owned(),
        quantization: Quantization::None,
    };
    let survey = engine::Survey::of(&file, &engine::EngineOptions::default());
    survey.expect_err("a damaged folder").to_string()
}

#[test]
fn wrong_configs_are_refused_by_key() {
    for family in FAMILIES {
        let whole = Folder::copy(&fixtures().join(family).join("hf"));
        let edited = |key: &str, value: Json| {
            let folder = Folder::copy(whole.path());
            folder.edit("config.json", |config| {
                let config = match config.get_mut("text_config") {
                    Some(Json::Object(text)) => text,
                    _ => config,
                };
                config.insert(key.to_owned(), value);
            });
            refusal(&folder)
        };
        for key in [
            "linear_conv_kernel_dim",
            "linear_key_head_dim",
            "linear_value_head_dim",
            "linear_num_key_heads",
            "linear_num_value_heads",
            "head_dim",
        ] {
            let error = edited(key, Json::Null);
            assert!(error.contains(key), "{family} {key}: {error}");
        }
        let full =
            json!(["full_attention", "linear_attention", "linear_attention", "linear_attention"]);
        for (key, value) in [
            ("layer_types", full),
            ("layer_types", json!(["linear_attention"])),
            ("attn_output_gate", json!(false)),
            ("hidden_act", json!("gelu")),
            ("attention_bias", json!(true)),
            ("linear_num_value_heads", json!(5)),
            ("something_of_tomorrow", json!(1)),
        ] {
            let error = edited(key, value);
            assert!(error.contains(key), "{family} {key}: {error}");
        }
    }
}

#[test]
fn missing_and_misshapen_tensors_of_folders_are_named() {
    for (family, tensors) in [
        (
            "qwen35",
            ["in_proj_qkv.weight", "in_proj_z.weight", "in_proj_b.weight", "A_log"].as_slice(),
        ),
        ("qwen35moe", &["in_proj_a.weight", "dt_bias", "conv1d.weight", "norm.weight"]),
        ("qwen3next", &["in_proj_qkvz.weight", "in_proj_ba.weight", "out_proj.weight"]),
    ] {
        let whole = Folder::copy(&fixtures().join(family).join("hf"));
        let all = whole.tensors();
        for tensor in tensors {
            let name = all
                .keys()
                .find(|name| name.contains(&format!("layers.1.linear_attn.{tensor}")))
                .unwrap_or_else(|| panic!("{tensor}"));
            let mut without = all.clone();
            let mut longer = without.remove(name).unwrap();
            whole.write(WEIGHTS, &without);
            let error = refusal(&whole);
            let own = name.replace("qkvz", "qkv");
            assert!(error.contains(name.as_str()) || error.contains(&own), "{name}: {error}");
            let row = longer.data.len() / longer.shape[0];
            longer.data.extend(vec![0; row]);
            longer.shape[0] += 1;
            without.insert(name.clone(), longer);
            whole.write(WEIGHTS, &without);
            let error = refusal(&whole);
            assert!(error.contains(name.as_str()), "{name}: {error}");
        }
    }
}

#[test]
fn other_architectures_are_refused_by_name() {
    let error = Gguf::fixture("qwen35/qwen35-f32").of("qwen4exp").refusal();
    assert!(error.contains("\"qwen4exp\"") && error.contains("qwen35moe"), "{error}");
    let folder = Folder::copy(&fixtures().join("qwen35/hf"));
    for kind in ["qwen4_exp", "kimi_linear", "qwen3_omni_moe"] {
        folder.edit("config.json", |config| {
            config.insert("model_type".to_owned(), json!(kind));
        });
        let error = refusal(&folder);
        assert!(error.contains(kind) && error.contains("qwen3_5"), "{error}");
    }
}
