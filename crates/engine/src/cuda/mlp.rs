//! Feed-forward blocks on the device.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};

use super::linear::{Linear, on_device, quantized};
use crate::LoadError;
use crate::architecture::{ExpertsSpec, GatedMlpSpec, MatrixSpec, MlpSpec};
use crate::kernels::cuda::{AdaptedStep, Deltas, Kernels};
use crate::lora::Projection;
use crate::model::Experts;
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
        spec: &MlpSpec,
    ) -> std::result::Result<Self, LoadError> {
        match spec {
            MlpSpec::Dense(spec) => {
                Ok(Self::Dense(Box::new(GatedMlp::load(weights, device, spec)?)))
            }
            MlpSpec::Experts(spec) => {
                Ok(Self::Experts(Box::new(MixtureOfExperts::load(weights, device, spec)?)))
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
        spec: &GatedMlpSpec,
    ) -> std::result::Result<Self, LoadError> {
        let matrix = |spec: &MatrixSpec| Linear::load(weights, device, spec);
        Ok(Self { gate: matrix(&spec.gate)?, up: matrix(&spec.up)?, down: matrix(&spec.down)? })
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
        spec: &ExpertsSpec,
    ) -> std::result::Result<Self, LoadError> {
        let ExpertsSpec { config, router, each, shared } = spec;
        let rows = |spec: &MatrixSpec| {
            on_device(weights, device, weights.rows(spec)?, &[spec.outputs, spec.inputs])
        };
        let experts = |spec: &MatrixSpec| {
            let shape = [config.count, spec.outputs, spec.inputs];
            weights.with_stored(&format!("{}.weight", spec.name), &shape, |stored| match stored {
                Stored::Bytes(dtype, bytes) if has_kernel(dtype) => {
                    quantized(dtype, bytes, &shape, device)
                }
                Stored::Bytes(dtype, _) => candle_core::bail!(
                    "experts in {dtype:?} are not supported on CUDA; supported are Q8_0, Q2_K to Q6_K"
                ),
                Stored::Exact(_) => candle_core::bail!("on CUDA, experts are read only from GGUF files"),
            })
        };
        let shared = shared.as_ref().map(|(mlp, gate)| {
            Ok::<_, LoadError>((GatedMlp::load(weights, device, mlp)?, rows(gate)?))
        });
        Ok(Self {
            config: *config,
            router: rows(router)?,
            gate: experts(&each.gate)?,
            up: experts(&each.up)?,
            down: experts(&each.down)?,
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
