//! Tests of reading a model's metadata, and of the errors for invalid metadata.

use super::super::MropeOrder;
use super::*;
use crate::gguf::{GgufFile, TensorSpec, Value, Writer};

/// Reads a file with the metadata of a small model after `changes`, and with the embedding as its only
/// tensor. A change to `None` removes the key.
fn config(architecture: &str, changes: &[(&str, Option<Value>)]) -> Result<ModelConfig, String> {
    let mut values = vec![
        ("block_count", Value::Int(2)),
        ("context_length", Value::Int(512)),
        ("embedding_length", Value::Int(64)),
        ("feed_forward_length", Value::Int(96)),
        ("attention.head_count", Value::Int(4)),
        ("attention.layer_norm_rms_epsilon", Value::Float(1e-6)),
    ];
    if architecture.ends_with("moe") {
        values.extend([("expert_count", Value::Int(8)), ("expert_used_count", Value::Int(3))]);
    }
    for (key, change) in changes {
        values.retain(|(known, _)| known != key);
        values.extend(change.clone().map(|value| (*key, value)));
    }
    let mut metadata =
        vec![("general.architecture".to_owned(), Value::String(architecture.to_owned()))];
    metadata
        .extend(values.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value)));
    let embedding = TensorSpec {
        name: "token_embd.weight".to_owned(),
        shape: vec![8, 64],
        dtype: candle_core::quantized::GgmlDType::F32.into(),
    };
    let bytes = vec![0; embedding.byte_len()];
    let mut writer = Writer::begin(Vec::new(), &metadata, &[embedding]).unwrap();
    writer.put(&bytes).unwrap();
    writer.align().unwrap();
    let file = GgufFile::from_bytes(&writer.finish().unwrap(), "test.gguf").unwrap();
    ModelConfig::from_gguf(&file).map_err(|error| error.to_string())
}

fn experts(changes: &[(&str, Option<Value>)]) -> Result<Experts, String> {
    match config("qwen2moe", changes)?.feed_forward {
        FeedForward::Experts(experts) => Ok(experts),
        FeedForward::Dense { .. } => panic!("no experts"),
    }
}

#[test]
fn expert_settings_are_parsed_and_counts_out_of_range_are_refused() {
    let expected = Experts { count: 8, used: 3, ffn: 32, shared_ffn: Some(96), normalized: false };
    assert_eq!(experts(&[]), Ok(expected));
    let widths = [
        ("expert_feed_forward_length", Some(Value::Int(40))),
        ("expert_shared_feed_forward_length", Some(Value::Int(48))),
        ("feed_forward_length", None),
    ];
    let expected = Experts { ffn: 40, shared_ffn: Some(48), ..expected };
    assert_eq!(experts(&widths), Ok(expected));
    // Qwen3's have no expert that all tokens share.
    let error = config("qwen3moe", &widths).unwrap_err();
    assert!(error.contains("expert_shared_feed_forward_length") && error.contains("48"), "{error}");
    let FeedForward::Experts(qwen3) = config("qwen3moe", &widths[..1]).unwrap().feed_forward else {
        panic!("no experts");
    };
    assert_eq!(qwen3, Experts { shared_ffn: None, normalized: true, ..expected });
    for (key, value, problem) in [
        ("expert_used_count", Some(9), "should be from 1 to 8, but is 9"),
        ("expert_used_count", Some(0), "should be from 1 to 8, but is 0"),
        ("expert_used_count", None, "\"qwen2moe.expert_used_count\" is missing"),
        ("expert_count", Some(5000), "should be from 1 to 1024"),
        ("feed_forward_length", None, "\"qwen2moe.feed_forward_length\" is missing"),
    ] {
        let error = experts(&[(key, value.map(Value::Int))]).unwrap_err();
        assert!(error.contains("test.gguf") && error.contains(problem), "{error}");
    }
}

#[test]
fn last_token_pooling_is_accepted_and_other_poolings_are_refused() {
    let pooling = |kind: i128| {
        config("qwen3", &[("pooling_type", Some(Value::Int(kind)))]).map(|config| config.pooling)
    };
    assert_eq!(pooling(0), Ok(None));
    assert_eq!(pooling(3), Ok(Some(Pooling::Last)));
    for (kind, problem) in [(1, "\"mean\""), (2, "\"cls\""), (4, "\"rank\""), (9, "but is 9")] {
        let error = pooling(kind).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

fn yarn(changes: &[(&str, f64)]) -> Result<ModelConfig, String> {
    let mut values = vec![
        ("rope.scaling.type", Some(Value::String("yarn".to_owned()))),
        ("rope.scaling.factor", Some(Value::Float(4.0))),
        ("rope.scaling.original_context_length", Some(Value::Int(256))),
    ];
    values.extend(changes.iter().map(|(key, value)| (*key, Some(Value::Float(*value)))));
    config("qwen3", &values)
}

#[test]
fn yarn_settings_are_parsed_and_invalid_values_are_refused() {
    let config = yarn(&[]).unwrap();
    // The extended context, whether the file has that or the original one.
    assert_eq!(config.context_length, 1024);
    let found = config.yarn.unwrap();
    assert_eq!((found.factor, found.original_context), (4.0, 256));
    assert_eq!((found.beta_fast, found.beta_slow), (32.0, 1.0));
    assert!((found.attention_factor - (1.0 + 4f32.ln() / 10.0)).abs() < 1e-6);
    let given = yarn(&[
        ("rope.scaling.yarn_attn_factor", 1.5),
        ("rope.scaling.attn_factor", 0.5),
        ("rope.scaling.yarn_beta_fast", 16.0),
        ("rope.scaling.yarn_beta_slow", 2.0),
    ]);
    let given = given.unwrap().yarn.unwrap();
    assert_eq!((given.beta_fast, given.beta_slow, given.attention_factor), (16.0, 2.0, 0.75));
    for (key, value, problem) in [
        ("rope.scaling.factor", f64::NAN, "above 0"),
        ("rope.scaling.factor", 0.5, "from 1 to 1024"),
        ("rope.scaling.factor", -1.0, "above 0"),
        ("rope.scaling.factor", 1000.0, "at most 16777216 tokens"),
        ("rope.scaling.yarn_beta_slow", 64.0, "at most yarn_beta_fast"),
        ("rope.scaling.yarn_attn_factor", 0.0, "above 0"),
        ("rope.freq_base", 1.0, "above 1"),
    ] {
        let more = ("rope.scaling.original_context_length", Some(Value::Int(1 << 20)));
        let mut values = vec![
            ("rope.scaling.type", Some(Value::String("yarn".to_owned()))),
            ("rope.scaling.factor", Some(Value::Float(4.0))),
            more,
        ];
        values.retain(|(known, _)| *known != key);
        values.push((key, Some(Value::Float(value))));
        let error = self::config("qwen3", &values).unwrap_err();
        assert!(error.contains(problem), "{key} {value}: {error}");
    }
}

#[test]
fn unsupported_rope_scalings_are_refused_and_no_scaling_means_no_yarn() {
    let scaling = |kind: Option<&str>, factor: Option<f64>| {
        let kind = kind.map(|kind| Value::String(kind.to_owned()));
        let changes =
            [("rope.scaling.type", kind), ("rope.scaling.factor", factor.map(Value::Float))];
        config("qwen3", &changes).map(|config| config.yarn)
    };
    for (kind, factor) in [
        (None, None),
        (None, Some(1.0)),
        (Some("none"), Some(4.0)),
        (Some("linear"), None),
        (Some("linear"), Some(1.0)),
    ] {
        assert_eq!(scaling(kind, factor), Ok(None), "{kind:?} {factor:?}");
    }
    for (kind, factor) in [(None, Some(2.0)), (Some("linear"), Some(2.0)), (Some("longrope"), None)]
    {
        let error = scaling(kind, factor).unwrap_err();
        assert!(error.contains("supported are \"yarn\""), "{error}");
    }
}

#[test]
fn mrope_sections_are_required_of_vision_models_and_must_divide_the_pairs() {
    use crate::gguf::Array;
    let sections = |architecture: &str, sections: &[i64]| {
        let sections = Value::Array(Array::Int(sections.to_vec()));
        config(architecture, &[("rope.dimension_sections", Some(sections))])
    };
    // Heads of 16 numbers have 8 pairs.
    for (architecture, numbers, order) in [
        ("qwen2vl", [2, 3, 3, 0].as_slice(), MropeOrder::Contiguous),
        ("qwen2vl", &[2, 3, 3], MropeOrder::Contiguous),
        ("qwen3vl", &[4, 2, 2, 0], MropeOrder::Interleaved),
        ("qwen3vlmoe", &[3, 3, 2, 0], MropeOrder::Interleaved),
    ] {
        let found = sections(architecture, numbers).unwrap().mrope.unwrap();
        let numbers: Vec<usize> = numbers[..3].iter().map(|number| *number as usize).collect();
        assert_eq!((found.sections.as_slice(), found.order), (numbers.as_slice(), order));
    }
    for (architecture, numbers) in [
        ("qwen2vl", [2, 3, 3, 1].as_slice()),
        ("qwen2vl", &[2, 3]),
        ("qwen2vl", &[16, 24, 24, 0]),
        ("qwen2vl", &[2, 3, -3, 6]),
        ("qwen3vl", &[2, 3, 3, 0]),
    ] {
        let error = sections(architecture, numbers).unwrap_err();
        assert!(error.contains("that divide the 8 pairs of a head"), "{error}");
    }
    let error = config("qwen3vl", &[]).unwrap_err();
    assert!(error.contains("\"qwen3vl.rope.dimension_sections\" is missing"), "{error}");
    for text in ["qwen2", "qwen3"] {
        let error = sections(text, &[2, 3, 3, 0]).unwrap_err();
        assert!(error.contains("rope.dimension_sections"), "{error}");
        assert_eq!(config(text, &[]).unwrap().mrope, None);
    }
}
