//! The feed-forward block of a layer: dense or a mixture of experts.

use candle_core as candle;

use super::Workspace;
use super::experts::MixtureOfExperts;
use super::gated_mlp::GatedMlp;
use crate::LoadError;
use crate::architecture::MlpSpec;
use crate::lora::Adapters;
use crate::weights::{Linear, Weights};

/// The feed-forward block of a layer.
#[derive(Debug)]
pub(super) enum Mlp {
    /// One network for all tokens.
    Dense(GatedMlp),
    /// Many networks, of which each token uses a few.
    Experts(MixtureOfExperts),
}

impl Mlp {
    pub(super) fn load(weights: &Weights<'_>, spec: &MlpSpec) -> Result<Self, LoadError> {
        match spec {
            MlpSpec::Dense(spec) => GatedMlp::load(weights, spec).map(Self::Dense),
            MlpSpec::Experts(spec) => MixtureOfExperts::load(weights, spec).map(Self::Experts),
        }
    }

    /// Computes `added` from `h`, both `[tokens, hidden]` in f32. `layer` selects the adapters' weights; experts
    /// have no adapters.
    pub(super) fn forward(
        &self,
        tokens: usize,
        layer: usize,
        adapters: &Adapters,
        workspace: &mut Workspace,
    ) -> candle::Result<()> {
        match self {
            Self::Dense(mlp) => mlp.forward(tokens, Some((layer, adapters)), workspace),
            Self::Experts(experts) => experts.forward(tokens, workspace),
        }
    }

    pub(super) fn linears(&self) -> Vec<&Linear> {
        match self {
            Self::Dense(mlp) => mlp.linears().to_vec(),
            Self::Experts(experts) => experts.linears().collect(),
        }
    }
}
