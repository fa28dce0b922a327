//! What metadata says, and what is said of metadata that makes no sense.

use std::path::Path;

use super::*;
use crate::gguf::{GgufFile, TensorSpec, Value, Writer};

/// A file of this architecture: metadata of a small model, changed, and no tensor but the embedding.
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
        dtype: candle_core::quantized::GgmlDType::F32,
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
fn experts_are_read_and_out_of_range_refused() {
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
fn poolings_are_read_and_others_refused() {
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
fn yarn_is_read_and_what_makes_no_sense_refused() {
    let config = yarn(&[]).unwrap();
    // The stretched context, whichever of the two the file tells.
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
fn other_scalings_are_refused_and_none_is_none() {
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
fn missing_and_misshapen_experts_are_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen2moe");
    let whole = std::fs::read(folder.join("qwen2moe-f32.gguf")).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let mut bytes = whole.clone();
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|at| whole[*at..].starts_with(from)).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
        let file = GgufFile::from_bytes(&bytes, "test.gguf").unwrap();
        Decoder::load(&file).unwrap_err().to_string()
    };
    for name in ["ffn_gate_inp", "ffn_up_exps", "ffn_down_shexp", "ffn_gate_inp_shexp"] {
        let from = format!("blk.1.{name}.weight");
        let error = replaced(from.as_bytes(), from.replace("ffn", "xxx").as_bytes());
        assert!(error.contains(&format!("{from:?} is missing")), "{error}");
    }
    // The count of experts follows its key and the number of its type: 6 of them become 5.
    let key = |count: u32| {
        [b"qwen2moe.expert_count".as_slice(), &4u32.to_le_bytes(), &count.to_le_bytes()].concat()
    };
    let error = replaced(&key(6), &key(5));
    assert!(error.contains("asks for [5, "), "{error}");
}
