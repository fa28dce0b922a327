//! Makes whole models as folders of safetensors, in the form in which transformers saves them: of a fixture's text model
//! (GGUF), its tower and its config.

use std::collections::BTreeMap;
use std::path::Path;

use engine::gguf::GgufFile;
use engine::{Checkpoint, ModelFile, Quantization};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::folder;

/// The models whose names in transformers follow from those in GGUF.
pub(super) const MODELS: [&str; 4] = ["qwen2vl", "qwen2.5vl", "qwen3vl", "qwen3vlmoe"];

/// Tensors of a layer: after `blk.N.` and after `layers.N.`.
const LAYER: [(&str, &str); 12] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("ffn_gate_inp", "mlp.gate"),
];

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<u8>,
}

pub(super) type Tensors = BTreeMap<String, Tensor>;

/// A whole model, deleted when dropped.
pub(super) struct Whole {
    temporary: TempDir,
    pub(super) tensors: Tensors,
    pub(super) config: Map<String, Value>,
}

impl Whole {
    /// Makes the folder of a fixture.
    pub(super) fn of(name: &str) -> Self {
        let from = folder().join(name);
        let file = GgufFile::open(from.join("text.gguf")).unwrap();
        let mut tensors = Tensors::new();
        let prefix = if name.starts_with("qwen3") { "model.language_model" } else { "model" };
        // Of the others the safetensors have the text model, too.
        let is_renamed = MODELS.contains(&name);
        for (ours, info) in file.tensors().filter(|_| is_renamed) {
            let data = file.data(info).unwrap().to_vec();
            let dtype = match format!("{:?}", info.dtype).as_str() {
                "F16" => Dtype::F16,
                "F32" => Dtype::F32,
                other => panic!("{other}"),
            };
            tensors.insert(theirs(ours, prefix), Tensor { dtype, shape: info.shape.clone(), data });
        }
        pack_experts(&mut tensors);
        let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            tensors.insert(name, Tensor { dtype, shape, data: view.data().to_vec() });
        }
        let config = std::fs::read_to_string(from.join("config.json")).unwrap();
        let config = serde_json::from_str(&config).unwrap();
        let whole = Self { temporary: tempfile::tempdir().unwrap(), tensors, config };
        std::fs::write(whole.path().join("tokenizer.json"), tokenizer(&file)).unwrap();
        whole.write();
        whole
    }

    pub(super) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Writes tensors and config.
    pub(super) fn write(&self) {
        let views = self.tensors.iter().map(|(name, tensor)| {
            (name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data).unwrap())
        });
        let bytes = serialize(views, None).unwrap();
        std::fs::write(self.path().join("model.safetensors"), bytes).unwrap();
        let config = serde_json::to_string(&self.config).unwrap();
        std::fs::write(self.path().join("config.json"), config).unwrap();
    }

    /// Renames all tensors.
    pub(super) fn rename(&mut self, rename: impl Fn(&str) -> String) {
        let tensors = std::mem::take(&mut self.tensors);
        self.tensors = tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect();
    }

    pub(super) fn file(&self, quantization: Quantization) -> ModelFile {
        ModelFile::Safetensors { folder: self.path().to_owned(), quantization }
    }

    pub(super) fn open(&self) -> Checkpoint {
        self.file(Quantization::None).open().unwrap()
    }
}

/// Returns transformers' name of a tensor.
fn theirs(ours: &str, prefix: &str) -> String {
    let (stem, kind) = ours.rsplit_once('.').unwrap();
    match stem {
        "token_embd" => format!("{prefix}.embed_tokens.{kind}"),
        "output_norm" => format!("{prefix}.norm.{kind}"),
        "output" => format!("lm_head.{kind}"),
        _ => {
            let (layer, module) = stem.strip_prefix("blk.").unwrap().split_once('.').unwrap();
            let known = LAYER.iter().find(|(ours, _)| *ours == module);
            match known.map(|(_, theirs)| *theirs) {
                Some(theirs) => format!("{prefix}.layers.{layer}.{theirs}.{kind}"),
                None => format!("{prefix}.layers.{layer}.mlp.experts.{module}"),
            }
        }
    }
}

/// Puts gates and ups of all experts of a layer into one tensor.
fn pack_experts(tensors: &mut Tensors) {
    let gates = tensors.keys().filter_map(|name| name.strip_suffix("ffn_gate_exps"));
    for stem in gates.map(str::to_owned).collect::<Vec<_>>() {
        let mut take = |of: &str| tensors.remove(&format!("{stem}ffn_{of}_exps")).unwrap();
        let (gate, up, down) = (take("gate"), take("up"), take("down"));
        let [experts, width, hidden] = gate.shape[..] else { panic!("{:?}", gate.shape) };
        let len = width * hidden * 2;
        let both = gate.data.chunks(len).zip(up.data.chunks(len));
        let data = both.flat_map(|(gate, up)| [gate, up].concat()).collect();
        let shape = vec![experts, 2 * width, hidden];
        tensors.insert(format!("{stem}gate_up_proj"), Tensor { shape, data, ..gate });
        tensors.insert(format!("{stem}down_proj"), down);
    }
}

/// Exchanges the last two dimensions of a tensor of f16.
pub(super) fn turn(tensor: &mut Tensor) {
    let [experts, rows, columns] = tensor.shape[..] else { panic!("{:?}", tensor.shape) };
    let of_expert = tensor.data.chunks(rows * columns * 2);
    let turned = of_expert.flat_map(|data| {
        let at = |column: usize, row: usize| (row * columns + column) * 2;
        let places = (0..columns).flat_map(|column| (0..rows).map(move |row| at(column, row)));
        places.flat_map(|at| [data[at], data[at + 1]]).collect::<Vec<u8>>()
    });
    tensor.data = turned.collect();
    tensor.shape = vec![experts, columns, rows];
}

/// Makes `tokenizer.json` of the vocabulary of a GGUF file.
fn tokenizer(file: &GgufFile) -> String {
    let path = folder().join("../qwen3/hf/tokenizer.json");
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let texts: &[String] = file.all_metadata().get("tokenizer.ggml.tokens").unwrap().unwrap();
    let (special, plain): (Vec<_>, Vec<_>) =
        texts.iter().enumerate().partition(|(_, text)| text.starts_with("<|"));
    let vocab: Map<String, Value> =
        plain.into_iter().map(|(id, text)| (text.clone(), id.into())).collect();
    let added =
        special.into_iter().map(|(id, text)| json!({"id": id, "content": text, "special": true}));
    json["added_tokens"] = added.collect();
    json["model"]["vocab"] = vocab.into();
    json["model"]["merges"] = json!([["Ġ", "t"]]);
    json.to_string()
}

/// Converts a tensor from f16 to f32.
pub(super) fn widen(tensor: &mut Tensor) {
    let numbers = tensor.data.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes));
    tensor.data = numbers.flat_map(|number| number.to_f32().to_le_bytes()).collect();
    tensor.dtype = Dtype::F32;
}
