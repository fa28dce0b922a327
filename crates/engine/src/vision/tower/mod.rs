//! Computes the rows of an image or a video.
//!
//! - `places`: the order of patches, their angles and their learned positions.
//!
//! The residual stream and all sums are in f32. Attention is computed in blocks, and MLPs for some rows at a time, so
//! memory grows with the number of patches, not with its square.

mod places;

use std::path::Path;

use super::patches::Patches;
use super::read::{Block, Merger, Norm, TowerFile, TowerWeights};
use super::spec::{MLP_ROWS, Precision, TowerSpec};
use crate::LoadError;
use crate::kernels::segments::{Factors, HeadScratch, Rotated, Segments, attend};
use crate::kernels::tower_rows::{self, Activation};
use crate::kernels::{rows, tower_rows::activate};
use crate::weights::{Linear, Scratch};
use places::Places;

/// A vision tower with its weights.
#[derive(Debug)]
pub struct Tower {
    spec: TowerSpec,
    weights: TowerWeights,
    precision: Precision,
}

/// The rows of an image or a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The rows that replace the embeddings of its tokens. `[tokens, out]`
    pub rows: Vec<f32>,
    /// The rows that are added after the first layers of the text model, layer by layer. `[tokens, out]` each
    pub deepstack: Vec<Vec<f32>>,
}

/// Buffers of a tower, kept for the next image.
#[derive(Debug, Default)]
pub struct TowerWorkspace {
    /// The residual stream. `[patches, width]`
    x: Vec<f32>,
    /// A block's input, then its output. `[patches, width]`
    h: Vec<f32>,
    /// `[patches, 3 * width]`
    qkv: Vec<f32>,
    /// `[MLP_ROWS, feed_forward]`, or rows of a merger
    up: Vec<f32>,
    /// `[MLP_ROWS, feed_forward]`
    gate: Vec<f32>,
    head: HeadScratch,
    scratch: Scratch,
}

impl Tower {
    /// Loads a tower from a projector (mmproj) in GGUF, or from a folder of safetensors.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the tower is not supported.
    pub fn load(path: &Path, precision: Precision) -> Result<Self, LoadError> {
        Self::from_file(&TowerFile::open(path)?, precision)
    }

    /// Loads the tower of an open file.
    ///
    /// # Errors
    /// If it is damaged or not supported.
    pub fn from_file(file: &TowerFile, precision: Precision) -> Result<Self, LoadError> {
        let spec = file.spec()?;
        let weights = file.weights(&spec, precision)?;
        Ok(Self { spec, weights, precision })
    }

    /// Makes a tower with random weights, for benchmarks.
    ///
    /// # Errors
    /// If the sizes do not fit together.
    pub fn random(spec: TowerSpec, precision: Precision) -> Result<Self, LoadError> {
        let weights = TowerFile::random(&spec, precision)?;
        Ok(Self { spec, weights, precision })
    }

    /// Returns the sizes of the tower.
    pub fn spec(&self) -> &TowerSpec {
        &self.spec
    }

    /// Returns the bytes of the weights in memory.
    pub fn weight_bytes(&self) -> usize {
        self.weights.bytes
    }

    /// Computes the rows of an image or a video.
    ///
    /// # Errors
    /// If a product fails.
    pub fn encode(
        &self,
        patches: &Patches,
        workspace: &mut TowerWorkspace,
    ) -> candle_core::Result<Encoded> {
        let Self { spec, weights, precision } = self;
        let width = spec.width;
        let count = patches.grid.patches();
        assert_eq!(patches.values.len(), count * spec.patch_len(), "patches of another size");
        let places = Places::new(patches.grid, spec);
        let TowerWorkspace { x, h, qkv, up, gate, head, scratch } = workspace;
        for (buffer, len) in
            [(&mut *x, count * width), (h, count * width), (qkv, 3 * count * width)]
        {
            buffer.resize(len, 0.0);
        }
        weights.patch.forward(&patches.values, h, scratch)?;
        if let Some(table) = &weights.positions {
            places.add_positions(h, table, width);
        }
        places.in_order(h, width * spec.token_patches(), x);
        let whole = Segments::new(places.whole_segments());
        let windowed = places.window_segments().map(Segments::new);
        let (cos, sin) = places.angles();
        let shape = Rotated { heads: spec.heads, head_dim: spec.head_dim(), cos, sin };
        let factors = match precision {
            Precision::Full => Factors::F32,
            Precision::EightBit => Factors::Bf16,
        };
        let mut deepstack = Vec::with_capacity(spec.deepstack.len());
        for (index, block) in weights.blocks.iter().enumerate() {
            let Block { norm1, qkv: to_qkv, out, norm2, mlp } = block;
            self.norm(norm1, x, h);
            to_qkv.forward(h, qkv, scratch)?;
            let segments = match (&windowed, &spec.windows) {
                (Some(windowed), Some(windows)) if !windows.is_whole(index) => windowed,
                _ => &whole,
            };
            attend(qkv, shape, segments, factors, head, h);
            let projected = &mut qkv[..count * width];
            out.forward(h, projected, scratch)?;
            tower_rows::add(x, projected);
            for rows in x.chunks_mut(MLP_ROWS * width) {
                let normed = &mut h[..rows.len()];
                self.norm(norm2, rows, normed);
                let len = rows.len() / width * weights.feed_forward;
                up.resize(len, 0.0);
                if let Some(to_gate) = &mlp.gate {
                    gate.resize(len, 0.0);
                    let outs = [&mut gate[..], &mut up[..]];
                    Linear::forward_shared([to_gate, &mlp.up], normed, outs, scratch)?;
                    rows::swiglu(gate, up);
                    std::mem::swap(gate, up);
                } else {
                    mlp.up.forward(normed, up, scratch)?;
                    activate(up, spec.activation());
                }
                mlp.down.forward(up, normed, scratch)?;
                tower_rows::add(rows, normed);
            }
            if let Some(at) = spec.deepstack.iter().position(|after| *after == index) {
                let merger = &weights.deepstack[at];
                deepstack.push(places.unordered(&self.merge(merger, x, h, up, scratch)?, spec.out));
            }
        }
        let rows = self.merge(&weights.merger, x, h, up, scratch)?;
        Ok(Encoded { rows: places.unordered(&rows, spec.out), deepstack })
    }

    /// Merges the patches of each token.
    fn merge(
        &self,
        merger: &Merger,
        x: &[f32],
        h: &mut [f32],
        inner: &mut Vec<f32>,
        scratch: &mut Scratch,
    ) -> candle_core::Result<Vec<f32>> {
        let (token_len, out) = (self.spec.token_len(), self.spec.out);
        // The length of the norm says whether it is over a patch or a token.
        self.norm(&merger.norm, x, h);
        let mut merged = vec![0.0; x.len() / token_len * out];
        let tokens = MLP_ROWS / self.spec.token_patches();
        for (h, merged) in h.chunks(tokens * token_len).zip(merged.chunks_mut(tokens * out)) {
            inner.resize(h.len(), 0.0);
            merger.first.forward(h, inner, scratch)?;
            activate(inner, Activation::ErfGelu);
            merger.second.forward(inner, merged, scratch)?;
        }
        Ok(merged)
    }

    fn norm(&self, norm: &Norm, x: &[f32], out: &mut [f32]) {
        match &norm.bias {
            Some(bias) => tower_rows::layer_norm(x, &norm.weight, bias, self.spec.eps, out),
            None => rows::rms_norm(x, &norm.weight, self.spec.eps, out),
        }
    }
}
