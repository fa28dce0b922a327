//! A transformer layer on a device.

use candle_core::{Device, Result, Tensor};

use super::linear::{Linear, on_device};
use super::mlp::Mlp;
use crate::LoadError;
use crate::architecture::{LayerSpec, MatrixSpec, MixerSpec, VectorSpec};
use crate::kernels::cuda::{Deltas, Kernels, Pages, Step};
use crate::lora::Projection;
use crate::model::ModelConfig;
use crate::weights::Weights;

/// Attention and feed-forward block, with the norms before them.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    q: Linear,
    k: Linear,
    v: Linear,
    output: Linear,
    /// Applied per head, `[head_dim]`, if the architecture has them.
    q_norm: Option<Tensor>,
    k_norm: Option<Tensor>,
    pub(super) mlp_norm: Tensor,
    pub(super) mlp: Mlp,
}

impl Layer {
    /// Loads the weights of the model's layer `index`.
    pub(super) fn load(
        weights: &Weights<'_>,
        device: &Device,
        config: &ModelConfig,
        index: usize,
    ) -> std::result::Result<Self, LoadError> {
        let LayerSpec { mixer_norm: attention_norm, mixer, mlp_norm, mlp } = config.layer(index);
        let MixerSpec::Attention(attention) = mixer else {
            return Err(weights.unsupported("recurrent layers are not computed on GPUs"));
        };
        let norm =
            |spec: &VectorSpec| on_device(weights, device, weights.vector(spec)?, &[spec.len]);
        let head_norm = |spec: &Option<VectorSpec>| spec.as_ref().map(norm).transpose();
        let matrix = |spec: &MatrixSpec| Linear::load(weights, device, spec);
        Ok(Self {
            attention_norm: norm(&attention_norm)?,
            q: matrix(&attention.q)?,
            k: matrix(&attention.k)?,
            v: matrix(&attention.v)?,
            output: matrix(&attention.output)?,
            q_norm: head_norm(&attention.q_norm)?,
            k_norm: head_norm(&attention.k_norm)?,
            mlp_norm: norm(&mlp_norm)?,
            mlp: Mlp::load(weights, device, &mlp)?,
        })
    }

    /// Adds adapters: `deltas` returns their matrices for a projection.
    pub(super) fn adapt(
        &mut self,
        deltas: impl Fn(Projection) -> Result<Option<Deltas>>,
    ) -> Result<()> {
        self.q.adapt(deltas(Projection::Q)?);
        self.k.adapt(deltas(Projection::K)?);
        self.v.adapt(deltas(Projection::V)?);
        self.output.adapt(deltas(Projection::Output)?);
        self.mlp.adapt(deltas)
    }

    /// Computes what attention adds to the residual stream for `h`; both are `[tokens, hidden]`.
    /// `index` is the layer's index in the pages.
    pub(super) fn attend(
        &self,
        kernels: &Kernels,
        config: &ModelConfig,
        pages: &Pages,
        index: usize,
        step: &Step,
        h: &Tensor,
    ) -> Result<Tensor> {
        let ModelConfig { heads, kv_heads, rms_eps, .. } = *config;
        let adapted = step.adapted.as_ref();
        let q = self.q.forward(kernels, h, adapted)?;
        let k = self.k.forward(kernels, h, adapted)?;
        let v = self.v.forward(kernels, h, adapted)?;
        kernels.norm_and_turn(&q, heads, self.q_norm.as_ref(), rms_eps, step)?;
        kernels.norm_and_turn(&k, kv_heads, self.k_norm.as_ref(), rms_eps, step)?;
        kernels.write_pages(pages, index, step, &k, &v)?;
        let mixed = kernels.attend(pages, index, step, &q, heads)?;
        self.output.forward(kernels, &mixed, adapted)
    }
}
