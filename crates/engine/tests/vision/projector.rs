//! Projectors (mmproj) in GGUF, with the tensors of the safetensors fixtures under llama.cpp's names.

use std::collections::BTreeMap;

use engine::gguf::{Array, TensorSpec, Value, Writer};
use engine::vision::tower::TowerWorkspace;
use engine::vision::{Precision, Tower};
use half::f16;
use safetensors::SafeTensors;

use super::towers::{TOWERS, expected};
use super::{distance, folder};
use candle_core::quantized::GgmlDType;

/// A projector that is not written yet.
pub(crate) struct Projector {
    pub(crate) metadata: Vec<(String, Value)>,
    /// Shapes and f16 numbers.
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Projector {
    pub(crate) fn of(name: &str) -> Self {
        let folder = folder().join(name);
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors = BTreeMap::new();
        for (key, view) in stored.tensors() {
            let Some((_, key)) = key.split_once("visual.") else { continue };
            let (pairs, _) = view.data().as_chunks::<2>();
            let numbers = pairs.iter().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect();
            convert(name, key, view.shape().to_vec(), numbers, &mut tensors);
        }
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        Self { metadata: metadata(name, &config["vision_config"]), tensors }
    }

    /// Writes the file, with matrices as F16 and everything else as F32.
    pub(crate) fn write(&self, path: &std::path::Path) {
        let dtype = |shape: &[usize]| if shape.len() > 1 { GgmlDType::F16 } else { GgmlDType::F32 };
        let specs = self.tensors.iter().map(|(name, (shape, _))| TensorSpec {
            name: name.clone(),
            shape: shape.clone(),
            dtype: dtype(shape).into(),
        });
        let file = std::fs::File::create(path).unwrap();
        let mut writer = Writer::begin(file, &self.metadata, &specs.collect::<Vec<_>>()).unwrap();
        for (shape, numbers) in self.tensors.values() {
            let bytes: Vec<u8> = match dtype(shape) {
                GgmlDType::F16 => {
                    numbers.iter().flat_map(|n| f16::from_f32(*n).to_le_bytes()).collect()
                }
                _ => numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
            };
            writer.put(&bytes).unwrap();
            writer.align().unwrap();
        }
        writer.finish().unwrap();
    }
}

/// Adds a tensor under llama.cpp's names.
fn convert(
    tower: &str,
    key: &str,
    shape: Vec<usize>,
    numbers: Vec<f32>,
    tensors: &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) {
    let (stem, kind) = key.rsplit_once('.').unwrap();
    if stem == "patch_embed.proj" && kind == "weight" {
        let [width, 3, 2, side, _] = shape[..] else { panic!("{shape:?}") };
        for frame in 0..2 {
            let slices = numbers.chunks(side * side).skip(frame).step_by(2);
            let name = ["v.patch_embd.weight", "v.patch_embd.weight.1"][frame].to_owned();
            tensors.insert(name, (vec![width, 3, side, side], slices.flatten().copied().collect()));
        }
        return;
    }
    let split_qkv = stem.ends_with("attn.qkv") && tower.starts_with("qwen2");
    if split_qkv {
        let block = stem.split('.').nth(1).unwrap();
        let third = numbers.len() / 3;
        for (of, numbers) in ["q", "k", "v"].iter().zip(numbers.chunks(third)) {
            let mut shape = shape.clone();
            shape[0] /= 3;
            tensors.insert(format!("v.blk.{block}.attn_{of}.{kind}"), (shape, numbers.to_vec()));
        }
        return;
    }
    let stem = match stem {
        "patch_embed.proj" => "v.patch_embd".to_owned(),
        "pos_embed" => "v.position_embd".to_owned(),
        "merger.norm" | "merger.ln_q" => "v.post_ln".to_owned(),
        "merger.linear_fc1" | "merger.mlp.0" => "mm.0".to_owned(),
        "merger.linear_fc2" | "merger.mlp.2" => "mm.2".to_owned(),
        _ => {
            let parts: Vec<&str> = stem.split('.').collect();
            let (list, index, rest) = (parts[0], parts[1], parts[2..].join("."));
            if list == "deepstack_merger_list" {
                // The fixture's DeepStack follows the blocks 0 and 2.
                let block = ["0", "2"][index.parse::<usize>().unwrap()];
                format!("v.deepstack.{block}.{}", rest.trim_start_matches("linear_"))
            } else {
                let part = match rest.as_str() {
                    "norm1" => "ln1",
                    "norm2" => "ln2",
                    "attn.qkv" => "attn_qkv",
                    "attn.proj" => "attn_out",
                    "mlp.fc1" | "mlp.up_proj" | "mlp.linear_fc1" => "ffn_up",
                    "mlp.fc2" | "mlp.down_proj" | "mlp.linear_fc2" => "ffn_down",
                    "mlp.gate_proj" => "ffn_gate",
                    other => panic!("{other}"),
                };
                format!("v.blk.{index}.{part}")
            }
        }
    };
    tensors.insert(format!("{stem}.{kind}"), (shape, numbers));
}

fn metadata(name: &str, vision: &serde_json::Value) -> Vec<(String, Value)> {
    let int = |key: &str| Value::Int(i128::from(vision[key].as_u64().unwrap()));
    let (width, out, ffn, kind) = match name {
        "qwen2vl" => ("embed_dim", "hidden_size", Value::Int(32), "qwen2vl_merger"),
        "qwen2.5vl" => {
            ("hidden_size", "out_hidden_size", int("intermediate_size"), "qwen2.5vl_merger")
        }
        _ => ("hidden_size", "out_hidden_size", int("intermediate_size"), "qwen3vl_merger"),
    };
    let of = |key: &str, value: Value| (format!("clip.vision.{key}"), value);
    let mut all = vec![
        ("general.architecture".to_owned(), Value::String("clip".to_owned())),
        ("clip.has_vision_encoder".to_owned(), Value::Bool(true)),
        ("clip.projector_type".to_owned(), Value::String(kind.to_owned())),
        of("patch_size", int("patch_size")),
        of("embedding_length", int(width)),
        of("feed_forward_length", ffn),
        of("projection_dim", int(out)),
        of("block_count", int("depth")),
        of("attention.head_count", int("num_heads")),
        of("attention.layer_norm_epsilon", Value::Float(1e-6)),
        of("image_mean", Value::Array(Array::Float(vec![0.481_454_66, 0.457_827_5, 0.408_210_73]))),
        of("image_std", Value::Array(Array::Float(vec![0.268_629_54, 0.261_302_6, 0.275_777_1]))),
    ];
    if name == "qwen2.5vl" {
        all.push(of("n_wa_pattern", Value::Int(2)));
        all.push(of("window_size", int("window_size")));
    }
    if name.starts_with("qwen3vl") {
        let flags = Array::Bool(vec![true, false, true]);
        all.push(of("is_deepstack_layers", Value::Array(flags)));
    }
    all
}

#[test]
fn projectors_give_the_rows_of_transformers() {
    let temporary = tempfile::tempdir().unwrap();
    for name in TOWERS {
        let path = temporary.path().join(format!("mmproj-{name}.gguf"));
        Projector::of(name).write(&path);
        let tower = Tower::load(&path, Precision::Full).unwrap();
        for (patches, expected) in expected(name, &tower) {
            let ours = tower.encode(&patches, &mut TowerWorkspace::default()).unwrap();
            let mut off = distance(&ours.rows, &expected.rows);
            for (ours, theirs) in ours.deepstack.iter().zip(&expected.deepstack) {
                off = off.max(distance(ours, theirs));
            }
            assert!(off <= 1e-4, "{name}: off by {off}");
        }
        // The values of CLIP in a file of Qwen3-VL are a converter's mistake.
        let clip = tower.spec().mean[0] < 0.49;
        assert_eq!(clip, name.starts_with("qwen2"));
    }
}

#[test]
fn projectors_of_2024_have_the_names_of_the_mlp_exchanged() {
    let mut projector = Projector::of("qwen2vl");
    for (name, value) in &mut projector.metadata {
        if name.ends_with("feed_forward_length") {
            *value = Value::Int(0);
        }
    }
    for block in 0..3 {
        for kind in ["weight", "bias"] {
            let name = |of: &str| format!("v.blk.{block}.ffn_{of}.{kind}");
            let up = projector.tensors.remove(&name("up")).unwrap();
            let down = projector.tensors.insert(name("down"), up).unwrap();
            projector.tensors.insert(name("up"), down);
        }
    }
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mmproj.gguf");
    projector.write(&path);
    let tower = Tower::load(&path, Precision::Full).unwrap();
    let (patches, expected) = expected("qwen2vl", &tower).remove(0);
    let ours = tower.encode(&patches, &mut TowerWorkspace::default()).unwrap();
    assert!(distance(&ours.rows, &expected.rows) <= 1e-4);
}
