//! A projector that takes seconds to encode an image: large enough, of zeros, in a file without blocks on disk.

use std::io::Write;

use protocol::PixelLimits;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Images of 256 tokens of 8 × 8 pixels.
pub(crate) const PIXELS: PixelLimits = PixelLimits { min: Some(255 * 64), max: Some(257 * 64) };

const WIDTH: usize = 512;
const INNER: usize = 2048;
/// Twice the lease of the tests and more, on a machine with fast cores that does nothing else.
const DEPTH: usize = 160;
/// The rows of the text models of the engine's tests.
const OUT: usize = 32;

/// Writes a tower of the family Qwen3-VL.
pub(crate) fn slow() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"model_type": "qwen3_vl", "vision_config": {
        "deepstack_visual_indexes": [0, 2], "depth": DEPTH, "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": WIDTH, "in_channels": 3, "intermediate_size": INNER, "model_type": "qwen3_vl_vision",
        "num_heads": 8, "num_position_embeddings": 49, "out_hidden_size": OUT, "patch_size": 4,
        "spatial_merge_size": 2, "temporal_patch_size": 2,
    }});
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut linear = |name: &str, outputs: usize, inputs: usize| {
        shapes.push((format!("{name}.weight"), vec![outputs, inputs]));
        shapes.push((format!("{name}.bias"), vec![outputs]));
    };
    for block in 0..DEPTH {
        linear(&format!("blocks.{block}.attn.qkv"), 3 * WIDTH, WIDTH);
        linear(&format!("blocks.{block}.attn.proj"), WIDTH, WIDTH);
        linear(&format!("blocks.{block}.mlp.linear_fc1"), INNER, WIDTH);
        linear(&format!("blocks.{block}.mlp.linear_fc2"), WIDTH, INNER);
    }
    for merger in ["merger", "deepstack_merger_list.0", "deepstack_merger_list.1"] {
        linear(&format!("{merger}.linear_fc1"), 4 * WIDTH, 4 * WIDTH);
        linear(&format!("{merger}.linear_fc2"), OUT, 4 * WIDTH);
    }
    let mut norm = |name: &str, width: usize| {
        shapes.push((format!("{name}.weight"), vec![width]));
        shapes.push((format!("{name}.bias"), vec![width]));
    };
    for block in 0..DEPTH {
        norm(&format!("blocks.{block}.norm1"), WIDTH);
        norm(&format!("blocks.{block}.norm2"), WIDTH);
    }
    norm("merger.norm", WIDTH);
    norm("deepstack_merger_list.0.norm", 4 * WIDTH);
    norm("deepstack_merger_list.1.norm", 4 * WIDTH);
    shapes.push(("patch_embed.proj.weight".into(), vec![WIDTH, 3, 2, 4, 4]));
    shapes.push(("patch_embed.proj.bias".into(), vec![WIDTH]));
    shapes.push(("pos_embed.weight".into(), vec![49, WIDTH]));
    write(&folder.path().join("model.safetensors"), &shapes);
    folder
}

/// Writes tensors of zeros in f16.
fn write(path: &std::path::Path, shapes: &[(String, Vec<usize>)]) {
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in shapes {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let tensor = json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert(format!("model.visual.{name}"), tensor);
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
}
