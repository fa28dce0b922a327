//! Feed-forward blocks on the device.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};

use super::linear::{Linear, on_device, quantized};
use crate::LoadError;
use crate::kernels::cuda::{AdaptedStep, Deltas, Kernels};
use crate::lora::Projection;
use crate::model::{Experts, FeedForward, ModelConfig};
use crate::weights::{Stored, Weights};

/// The feed-forward block of a layer.
#[derive(Debug)]
pub(super) enum Mlp {
    Dense(Box<GatedMlp>),
    Experts(Box<MixtureOfExperts>),
}

/// Computes `down(silu(gate(x)) * up(x))`.
#[derive(Debug)]
pub(super) struct GatedMlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// A router, its experts, and the shared expert if the model has one.
#[derive(Debug)]
pub(super) struct MixtureOfExperts {
    config: Experts,
    /// `[experts, hidden]`
    router: Tensor,
    /// `gate` and `up` are `[experts, ffn, hidden]`, `down` is `[experts, hidden, ffn]`.
    gate: QTensor,
    up: QTensor,
    down: QTensor,
    /// The shared expert with its gate, `[1, hidden]`.
    shared: Option<(GatedMlp, Tensor)>,
}

impl Mlp {
    pub(super) fn load(
        weights: &Weights<'_>,
        device: &Device,
        config: &ModelConfig,
        prefix: &str,
    ) -> std::result::Result<Self, LoadError> {
        let hidden = config.hidden;
        match config.feed_forward {
            FeedForward::Dense { ffn } => {
                let mlp = GatedMlp::load(weights, device, prefix, "", hidden, ffn)?;
                Ok(Self::Dense(Box::new(mlp)))
            }
            FeedForward::Experts(experts) => {
                let experts = MixtureOfExperts::load(weights, device, prefix, hidden, experts)?;
                Ok(Self::Experts(Box::new(experts)))
            }
        }
    }

    /// Adds adapters: `deltas` returns their matrices for a projection. Experts have no adapters.
    pub(super) fn adapt(
        &mut self,
        deltas: impl Fn(Projection) -> Result<Option<Deltas>>,
    ) -> Result<()> {
        if let Self::Dense(mlp) = self {
            mlp.gate.adapt(deltas(Projection::Gate)?);
            mlp.up.adapt(deltas(Projection::Up)?);
            mlp.down.adapt(deltas(Projection::Down)?);
        }
        Ok(())
    }

    /// Computes what is added to the residual stream for `h`; both are `[tokens, hidden]`.
    pub(super) fn forward(
        &self,
        kernels: &Kernels,
        h: &Tensor,
        adapted: Option<&AdaptedStep>,
    ) -> Result<Tensor> {
        match self {
            Self::Dense(mlp) => mlp.forward(kernels, h, adapted),
            Self::Experts(experts) => experts.forward(kernels, h),
        }
    }
}

impl GatedMlp {
    fn load(
        weights: &Weights<'_>,
        device: &Device,
        prefix: &str,
        suffix: &str,
        hidden: usize,
        ffn: usize,
    ) -> std::result::Result<Self, LoadError> {
        let matrix = |name: &str, shape| {
            Linear::load(weights, device, &format!("{prefix}.{name}{suffix}"), shape, false)
        };
        Ok(Self {
            gate: matrix("ffn_gate", [ffn, hidden])?,
            up: matrix("ffn_up", [ffn, hidden])?,
            down: matrix("ffn_down", [hidden, ffn])?,
        })
    }

    fn forward(
        &self,
        kernels: &Kernels,
        h: &Tensor,
        adapted: Option<&AdaptedStep>,
    ) -> Result<Tensor> {
        let gate = self.gate.forward(kernels, h, adapted)?;
        kernels.swiglu(&gate, &self.up.forward(kernels, h, adapted)?)?;
        self.down.forward(kernels, &gate, adapted)
    }
}

impl MixtureOfExperts {
    fn load(
        weights: &Weights<'_>,
        device: &Device,
        prefix: &str,
        hidden: usize,
        config: Experts,
    ) -> std::result::Result<Self, LoadError> {
        let Experts { count, ffn, shared_ffn, .. } = config;
        let rows = |name: &str, rows: usize| {
            let numbers = weights.rows(&format!("{prefix}.{name}.weight"), rows, hidden)?;
            on_device(weights, device, numbers, &[rows, hidden])
        };
        let experts = |name: &str, outputs: usize, inputs: usize| {
            let shape = [count, outputs, inputs];
            weights.with_stored(&format!("{prefix}.{name}.weight"), &shape, |stored| match stored {
                Stored::Bytes(dtype, bytes) if has_kernel(dtype) => {
                    quantized(dtype, bytes, &shape, device)
                }
                Stored::Bytes(dtype, _) => candle_core::bail!(
                    "experts in {dtype:?} are not supported on CUDA; supported are Q8_0, Q2_K to Q6_K"
                ),
                Stored::Exact(_) => candle_core::bail!("on CUDA, experts are read only from GGUF files"),
            })
        };
        let shared = shared_ffn.map(|ffn| {
            let mlp = GatedMlp::load(weights, device, prefix, "_shexp", hidden, ffn)?;
            Ok::<_, LoadError>((mlp, rows("ffn_gate_inp_shexp", 1)?))
        });
        Ok(Self {
            config,
            router: rows("ffn_gate_inp", count)?,
            gate: experts("ffn_gate_exps", ffn, hidden)?,
            up: experts("ffn_up_exps", ffn, hidden)?,
            down: experts("ffn_down_exps", hidden, ffn)?,
            shared: shared.transpose()?,
        })
    }

    /// Multiplies each token by its experts with candle's indexed products, which read weights once
    /// per token: fast for few tokens, slow for many.
    fn forward(&self, kernels: &Kernels, h: &Tensor) -> Result<Tensor> {
        let (tokens, hidden) = h.dims2()?;
        let added = match &self.shared {
            Some((mlp, gate)) => {
                let added = mlp.forward(kernels, h, None)?;
                kernels.open_gate(&added, &h.matmul(&gate.t()?)?)?;
                added
            }
            None => h.zeros_like()?,
        };
        let logits = h.matmul(&self.router.t()?)?;
        let Experts { used, normalized, .. } = self.config;
        let (chosen, weights) = kernels.choose_experts(&logits, used, normalized)?;
        let h = h.reshape((tokens, 1, hidden))?;
        let gate = self.gate.indexed_moe_forward(&h, &chosen)?;
        kernels.swiglu(&gate, &self.up.indexed_moe_forward(&h, &chosen)?)?;
        let made = self.down.indexed_moe_forward(&gate, &chosen)?;
        kernels.mix_experts(&made, &weights, &added)?;
        Ok(added)
    }
}

/// Whether candle has a CUDA kernel for experts of this format.
fn has_kernel(dtype: GgmlDType) -> bool {
    use GgmlDType::{Q2K, Q3K, Q4K, Q5K, Q6K, Q8_0};
    matches!(dtype, Q8_0 | Q2K | Q3K | Q4K | Q5K | Q6K)
}
