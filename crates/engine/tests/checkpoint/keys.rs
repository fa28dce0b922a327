//! Keys of the architecture that the decoder does not compute.

use engine::gguf::{Array, Value};
use engine::injected::InjectedRows;
use engine::{Input, Request};

use crate::edit::{Gguf, answer};

fn int(value: i128) -> Value {
    Value::Int(value)
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

#[test]
fn unsupported_config_keys_are_refused_by_name() {
    for (key, value) in [
        ("rope.dimension_count", int(16)),
        ("rope.dimension_sections", Value::Array(Array::Int(vec![8, 4, 4, 0]))),
        ("rope.freq_base_swa", Value::Float(10_000.0)),
        ("rope.scale_linear", Value::Float(4.0)),
        ("rope.scaling.yarn_log_multiplier", Value::Float(0.1)),
        ("rope.scaling.yarn_ext_factor", Value::Float(0.5)),
        ("attention.sliding_window", int(128)),
        ("attention.scale", Value::Float(1.0)),
        ("attention.causal", Value::Bool(false)),
        ("attention.clamp_kqv", Value::Float(8.0)),
        ("attention.max_alibi_bias", Value::Float(8.0)),
        ("attention.key_length_mla", int(32)),
        ("attn_logit_softcapping", Value::Float(50.0)),
        ("final_logit_softcapping", Value::Float(30.0)),
        ("logit_scale", Value::Float(0.5)),
        ("embedding_scale", Value::Float(12.0)),
        ("residual_scale", Value::Float(0.2)),
        ("use_parallel_residual", Value::Bool(true)),
        ("vocab_size", int(100)),
        ("expert_count", int(8)),
        ("n_deepstack_layers", int(3)),
        ("nextn_predict_layers", int(1)),
        ("something.of_tomorrow", text("new")),
    ] {
        let error = Gguf::fixture("qwen3/qwen3-f32").with(&format!(".{key}"), value).refusal();
        assert!(error.contains(&format!("\"qwen3.{key}\"")), "{key}: {error}");
    }
    for (model, key, value) in [
        ("qwen3moe/qwen3moe-q8_0", "expert_weights_scale", Value::Float(2.5)),
        ("qwen3moe/qwen3moe-q8_0", "expert_weights_norm", Value::Bool(false)),
        ("qwen3moe/qwen3moe-q8_0", "expert_gating_func", int(2)),
        ("qwen3moe/qwen3moe-q8_0", "expert_shared_feed_forward_length", int(64)),
        ("qwen3moe/qwen3moe-q8_0", "leading_dense_block_count", int(1)),
        ("qwen3moe/qwen3moe-q8_0", "moe_every_n_layers", int(2)),
        ("qwen2moe/qwen2moe-f32", "expert_weights_norm", Value::Bool(true)),
        ("qwen2moe/qwen2moe-f32", "expert_group_count", int(4)),
    ] {
        let error = Gguf::fixture(model).with(&format!(".{key}"), value).refusal();
        assert!(error.contains(&format!(".{key}\"")), "{model} {key}: {error}");
    }
}

#[test]
fn config_keys_with_the_supported_value_are_accepted() {
    for (model, key, value) in [
        ("qwen3/qwen3-f32", "rope.dimension_count", int(32)),
        ("qwen3/qwen3-f32", "vocab_size", int(512)),
        ("qwen3/qwen3-f32", "attention.causal", Value::Bool(true)),
        ("qwen3/qwen3-f32", "attention.scale", Value::Float(1.0 / 32f64.sqrt())),
        ("qwen3/qwen3-f32", "attention.sliding_window", int(0)),
        ("qwen3/qwen3-f32", "attention.sliding_window", int(1024)),
        ("qwen3/qwen3-f32", "rope.scaling.finetuned", Value::Bool(true)),
        ("qwen3/qwen3-f32", "logit_scale", Value::Float(1.0)),
        ("qwen3/qwen3-f32", "expert_count", int(0)),
        ("qwen3moe/qwen3moe-q8_0", "expert_weights_norm", Value::Bool(true)),
        ("qwen3moe/qwen3moe-q8_0", "expert_gating_func", int(1)),
        ("qwen3moe/qwen3moe-q8_0", "expert_shared_feed_forward_length", int(0)),
        ("yarn/yarn-f32", "rope.scaling.yarn_ext_factor", Value::Float(1.0)),
    ] {
        let started = Gguf::fixture(model).with(&format!(".{key}"), value).start();
        assert!(started.is_ok(), "{model} {key}: {}", started.unwrap_err());
    }
    let named = Gguf::fixture("qwen3/qwen3-f32")
        .with("general.basename", text("tiny"))
        .with("quantize.imatrix.file", text("x.dat"))
        .with("general.type", text("model"));
    assert!(named.start().is_ok());
}

#[test]
fn yarn_without_a_valid_factor_is_refused() {
    let yarn = || Gguf::fixture("yarn/yarn-f32");
    let error = yarn().with(".rope.scaling.factor", None).refusal();
    assert!(error.contains("\"qwen3.rope.scaling.factor\" is missing"), "{error}");
    let error = yarn().with(".rope.scaling.factor", Value::Float(0.0)).refusal();
    assert!(error.contains("rope.scaling.factor") && error.contains("above 0"), "{error}");
    let plain = Gguf::fixture("qwen3/qwen3-f32").with(".rope.scaling.type", text("yarn"));
    let error = plain.refusal();
    assert!(error.contains("\"qwen3.rope.scaling.factor\" is missing"), "{error}");
}

#[test]
fn files_that_are_not_text_models_are_refused_by_kind() {
    for (file, part) in [
        (Gguf::fixture("qwen3/qwen3-f32").with("general.type", text("adapter")), "LoRA adapter"),
        (Gguf::fixture("qwen3/qwen3-f32").with("general.type", text("mmproj")), "mmproj"),
        (Gguf::fixture("qwen3/qwen3-f32").with("general.type", text("imatrix")), "imatrix"),
        (Gguf::fixture("qwen3/qwen3-f32").with("general.architecture", text("clip")), "clip"),
        (
            Gguf::fixture("embedding/embedding").with(".pooling_type", int(4)),
            "reranker or classifier",
        ),
        (
            Gguf::fixture("qwen3/qwen3-f32").with(
                ".classifier.output_labels",
                Value::Array(Array::String(vec!["yes".into(), "no".into()])),
            ),
            "classifier or reward model",
        ),
    ] {
        let error = file.refusal();
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// As llama.cpp reads them: a number for all layers, or one for each.
#[test]
fn per_layer_lists_are_accepted_if_all_values_are_equal() {
    let list = |numbers: &[i64]| Value::Array(Array::Int(numbers.to_vec()));
    let input = || Input::Text("the lease ends".to_owned());
    let expected = answer(&Gguf::fixture("qwen3/qwen3-f32").start().unwrap(), input());
    for (key, numbers) in [
        ("attention.head_count_kv", [2, 2]),
        ("attention.head_count", [4, 4]),
        ("feed_forward_length", [96, 96]),
    ] {
        let file = Gguf::fixture("qwen3/qwen3-f32").with(&format!(".{key}"), list(&numbers));
        let engine = file.start().unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(answer(&engine, input()), expected, "{key}");
    }
    for (numbers, part) in [
        ([2, 1].as_slice(), "each layer"),
        (&[2], "one number for each of the 2 layers"),
        (&[2, 2, 2], "one number for each of the 2 layers"),
    ] {
        let file = Gguf::fixture("qwen3/qwen3-f32").with(".attention.head_count_kv", list(numbers));
        let error = file.refusal();
        assert!(error.contains("qwen3.attention.head_count_kv"), "{error}");
        assert!(error.contains(part), "{numbers:?}: {error}");
    }
}

/// Text has equal positions on all axes, and DeepStack concerns images only.
#[test]
fn text_models_of_vision_models_answer_like_text_models() {
    let input = || Input::Text("the lease ends".to_owned());
    let sections = |numbers: [i64; 4]| Value::Array(Array::Int(numbers.to_vec()));
    for (fixture, architecture, numbers) in
        [("qwen2/qwen2-f32", "qwen2vl", [2, 3, 3, 0]), ("qwen3/qwen3-f32", "qwen3vl", [6, 5, 5, 0])]
    {
        let expected = answer(&Gguf::fixture(fixture).start().unwrap(), input());
        let vision = Gguf::fixture(fixture)
            .of(architecture)
            .with(".rope.dimension_sections", sections(numbers));
        let engine = vision.start().unwrap_or_else(|error| panic!("{architecture}: {error}"));
        assert_eq!(answer(&engine, input()), expected, "{architecture}");
        assert_eq!(engine.info().architecture, architecture);
    }
    let deep = Gguf::fixture("qwen3/qwen3-f32")
        .of("qwen3vl")
        .with(".rope.dimension_sections", sections([6, 5, 5, 0]))
        .with(".n_deepstack_layers", int(3));
    let engine = deep.start().unwrap();
    let rows = InjectedRows {
        start: 1,
        positions: InjectedRows::consecutive_positions(1),
        values: vec![0.5; 64].into(),
        added: vec![0.5; 2 * 64].into(),
        hash: [0; 32],
    };
    let image = Input::Injected { tokens: vec![1, 2, 3], rows: vec![rows.clone()] };
    let error = engine.submit(&Request::greedy(image, 4)).unwrap_err().to_string();
    assert!(error.contains("1 rows for each of its 3 layers with DeepStack"), "{error}");
    let rows = InjectedRows { added: vec![0.5; 3 * 64].into(), ..rows };
    answer(&engine, Input::Injected { tokens: vec![1, 2, 3], rows: vec![rows] });
    answer(&engine, input());
}
