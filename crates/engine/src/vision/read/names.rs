//! The names of a tower's tensors.

use super::super::spec::{Family, TowerSpec};
use super::tensors::Tensors;

/// The format of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// llama.cpp's projectors.
    Gguf,
    /// transformers, without the prefix of the tower.
    Transformers,
}

/// A tensor of a block, without `.weight` and `.bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Norm1,
    Norm2,
    Out,
    Gate,
    Up,
    Down,
}

/// A tensor of a merger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MergerPart {
    Norm,
    First,
    Second,
}

/// The names in the files of one tower.
pub(super) struct Names {
    pub(super) layout: Layout,
    family: Family,
    /// Whether the names of the MLP's two matrices are exchanged, as in projectors of 2024.
    swapped: bool,
}

impl Names {
    pub(super) fn new(layout: Layout, spec: &TowerSpec, tensors: &dyn Tensors) -> Self {
        let down = tensors.shape("v.blk.0.ffn_down.weight");
        let swapped = layout == Layout::Gguf
            && spec.feed_forward != spec.width
            && down.is_some_and(|shape| *shape == [spec.feed_forward, spec.width]);
        Self { layout, family: spec.family, swapped }
    }

    /// Returns the names of the kernel's slices in time, or of the whole kernel.
    pub(super) fn patch_weights(&self) -> &'static [&'static str] {
        match self.layout {
            Layout::Gguf => &["v.patch_embd.weight", "v.patch_embd.weight.1"],
            Layout::Transformers => &["patch_embed.proj.weight"],
        }
    }

    pub(super) fn patch_bias(&self) -> &'static str {
        match self.layout {
            Layout::Gguf => "v.patch_embd.bias",
            Layout::Transformers => "patch_embed.proj.bias",
        }
    }

    pub(super) fn positions(&self) -> &'static str {
        match self.layout {
            Layout::Gguf => "v.position_embd.weight",
            Layout::Transformers => "pos_embed.weight",
        }
    }

    /// Returns the names of queries, keys and values: one for all, or one for each.
    pub(super) fn qkv(&self, block: usize) -> Vec<String> {
        match (self.layout, self.family) {
            (Layout::Transformers, _) => vec![format!("blocks.{block}.attn.qkv")],
            (Layout::Gguf, Family::Qwen3Vl) => vec![format!("v.blk.{block}.attn_qkv")],
            (Layout::Gguf, _) => {
                ["q", "k", "v"].map(|of| format!("v.blk.{block}.attn_{of}")).into()
            }
        }
    }

    pub(super) fn part(&self, block: usize, part: Part) -> String {
        let part = match (self.swapped, part) {
            (true, Part::Up) => Part::Down,
            (true, Part::Down) => Part::Up,
            (_, part) => part,
        };
        match self.layout {
            Layout::Gguf => {
                let part = match part {
                    Part::Norm1 => "ln1",
                    Part::Norm2 => "ln2",
                    Part::Out => "attn_out",
                    Part::Gate => "ffn_gate",
                    Part::Up => "ffn_up",
                    Part::Down => "ffn_down",
                };
                format!("v.blk.{block}.{part}")
            }
            Layout::Transformers => {
                let part = match (part, self.family) {
                    (Part::Norm1, _) => "norm1",
                    (Part::Norm2, _) => "norm2",
                    (Part::Out, _) => "attn.proj",
                    (Part::Gate, _) => "mlp.gate_proj",
                    (Part::Up, Family::Qwen2Vl) => "mlp.fc1",
                    (Part::Down, Family::Qwen2Vl) => "mlp.fc2",
                    (Part::Up, Family::Qwen25Vl) => "mlp.up_proj",
                    (Part::Down, Family::Qwen25Vl) => "mlp.down_proj",
                    (Part::Up, Family::Qwen3Vl) => "mlp.linear_fc1",
                    (Part::Down, Family::Qwen3Vl) => "mlp.linear_fc2",
                };
                format!("blocks.{block}.{part}")
            }
        }
    }

    pub(super) fn merger(&self, part: MergerPart) -> &'static str {
        match (self.layout, part, self.family) {
            (Layout::Gguf, MergerPart::Norm, _) => "v.post_ln",
            (Layout::Gguf, MergerPart::First, _) => "mm.0",
            (Layout::Gguf, MergerPart::Second, _) => "mm.2",
            (Layout::Transformers, MergerPart::Norm, Family::Qwen3Vl) => "merger.norm",
            (Layout::Transformers, MergerPart::First, Family::Qwen3Vl) => "merger.linear_fc1",
            (Layout::Transformers, MergerPart::Second, Family::Qwen3Vl) => "merger.linear_fc2",
            (Layout::Transformers, MergerPart::Norm, _) => "merger.ln_q",
            (Layout::Transformers, MergerPart::First, _) => "merger.mlp.0",
            (Layout::Transformers, MergerPart::Second, _) => "merger.mlp.2",
        }
    }

    /// Returns a name of the merger of DeepStack number `index`, which follows block `block`.
    pub(super) fn deepstack(&self, index: usize, block: usize, part: MergerPart) -> String {
        match (self.layout, part) {
            (Layout::Gguf, MergerPart::Norm) => format!("v.deepstack.{block}.norm"),
            (Layout::Gguf, MergerPart::First) => format!("v.deepstack.{block}.fc1"),
            (Layout::Gguf, MergerPart::Second) => format!("v.deepstack.{block}.fc2"),
            (Layout::Transformers, part) => {
                let part = match part {
                    MergerPart::Norm => "norm",
                    MergerPart::First => "linear_fc1",
                    MergerPart::Second => "linear_fc2",
                };
                format!("deepstack_merger_list.{index}.{part}")
            }
        }
    }
}
