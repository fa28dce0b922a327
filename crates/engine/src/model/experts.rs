//! The feed-forward block of a mixture of experts: each token uses a few of many experts.

use candle_core as candle;

use super::gated_mlp::GatedMlp;
use super::{Experts, Workspace};
use crate::LoadError;
use crate::architecture::ExpertsSpec;
use crate::kernels::{few_outputs, rows, scattered};
use crate::weights::{Linear, Weights};

/// A router, its experts, and the shared expert, if the model has one.
///
/// The tokens of a step are sorted by expert, so the weights of each chosen expert are read once and
/// those of the others are not read.
#[derive(Debug)]
pub(super) struct MixtureOfExperts {
    config: Experts,
    hidden: usize,
    /// `[experts, hidden]`
    router: Vec<f32>,
    /// The gate projection of each expert, `[ffn, hidden]`.
    gate: Vec<Linear>,
    /// The up projection of each expert, `[ffn, hidden]`.
    up: Vec<Linear>,
    /// The down projection of each expert, `[hidden, ffn]`.
    down: Vec<Linear>,
    shared: Option<SharedExpert>,
}

/// The expert that every token uses. Its output is scaled by the sigmoid of its gate, per token.
#[derive(Debug)]
struct SharedExpert {
    mlp: GatedMlp,
    /// `[hidden]`
    gate: Vec<f32>,
}

impl MixtureOfExperts {
    pub(super) fn load(weights: &Weights<'_>, spec: &ExpertsSpec) -> Result<Self, LoadError> {
        let ExpertsSpec { config, router, each, shared } = spec;
        let shared = shared.as_ref().map(|(mlp, gate)| {
            let mlp = GatedMlp::load(weights, mlp)?;
            Ok::<_, LoadError>(SharedExpert { mlp, gate: weights.rows(gate)? })
        });
        Ok(Self {
            config: *config,
            hidden: router.inputs,
            router: weights.rows(router)?,
            gate: weights.linears(&each.gate, config.count)?,
            up: weights.linears(&each.up, config.count)?,
            down: weights.linears(&each.down, config.count)?,
            shared: shared.transpose()?,
        })
    }

    /// Computes `added` from `h`, both `[tokens, hidden]` in f32. A token's output does not depend on the
    /// other tokens of the step: its experts' outputs are always summed in ascending order of the expert.
    pub(super) fn forward(&self, tokens: usize, workspace: &mut Workspace) -> candle::Result<()> {
        let len = tokens * self.hidden;
        match &self.shared {
            Some(shared) => shared.forward(tokens, workspace)?,
            None => workspace.added.of(len).fill(0.0),
        }
        let Workspace { h, gate, up, added, router, routing, expert_rows, scratch, .. } = workspace;
        let (h, added) = (h.of(len), added.of(len));
        let logits = router.of(tokens * self.config.count);
        few_outputs::multiply(h, &self.router, self.hidden, logits);
        routing.choose(logits, &self.config);
        for (expert, (tokens, weights)) in routing.by_expert() {
            let rows_len = tokens.len() * self.hidden;
            let inside = tokens.len() * self.config.ffn;
            let (gate, up) = (gate.of(inside), up.of(inside));
            let mine = expert_rows.of(rows_len);
            scattered::gather(h, tokens, self.hidden, mine);
            let products = [&self.gate[expert], &self.up[expert]];
            Linear::forward_shared(products, mine, [gate, up], scratch)?;
            rows::swiglu(gate, up);
            self.down[expert].forward(gate, mine, scratch)?;
            scattered::scatter_add(mine, tokens, weights, self.hidden, added);
        }
        Ok(())
    }

    pub(super) fn linears(&self) -> impl Iterator<Item = &Linear> {
        let shared = self.shared.iter().flat_map(|shared| shared.mlp.linears());
        self.gate.iter().chain(&self.up).chain(&self.down).chain(shared)
    }
}

impl SharedExpert {
    /// Computes `added` from `h`, both `[tokens, hidden]` in f32.
    fn forward(&self, tokens: usize, workspace: &mut Workspace) -> candle::Result<()> {
        self.mlp.forward(tokens, None, workspace)?;
        let Workspace { h, added, router, .. } = workspace;
        let hidden = self.gate.len();
        let (h, added) = (h.of(tokens * hidden), added.of(tokens * hidden));
        let open = router.of(tokens);
        few_outputs::multiply(h, &self.gate, hidden, open);
        for open in open.iter_mut() {
            *open = 1.0 / (1.0 + (-*open).exp());
        }
        scattered::scale(added, open, hidden);
        Ok(())
    }
}
