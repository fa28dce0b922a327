//! Describes a layer: which blocks it has, and the names and shapes of their tensors. The executors, on the CPU and on
//! a device, load and compute what is described here.

use super::config::{Experts, FeedForward, ModelConfig};
use super::delta::DeltaNet;

/// A vector of f32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VectorSpec {
    /// The tensor's whole name.
    pub(crate) name: String,
    pub(crate) len: usize,
    /// How files of transformers store it.
    pub(crate) form: VectorForm,
}

/// How files of transformers store a vector. GGUF files hold the values that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VectorForm {
    /// As it is used.
    Plain,
    /// Without the 1 that is added: the norms of hybrid models.
    ZeroCentred,
    /// The logarithm of its negative.
    LogOfNegative,
}

/// A matrix `[outputs, inputs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MatrixSpec {
    /// The name without `.weight`.
    pub(crate) name: String,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// Whether it has a bias `[outputs]`.
    pub(crate) bias: bool,
}

/// Attention or recurrence, and feed-forward block, each after a norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerSpec {
    pub(crate) mixer_norm: VectorSpec,
    pub(crate) mixer: MixerSpec,
    pub(crate) mlp_norm: VectorSpec,
    pub(crate) mlp: MlpSpec,
}

/// The block that mixes the tokens of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MixerSpec {
    Attention(Box<AttentionSpec>),
    Delta(Box<DeltaSpec>),
}

/// A layer with a recurrent state: Gated DeltaNet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeltaSpec {
    pub(crate) config: DeltaNet,
    /// Queries, keys and values.
    pub(crate) qkv: MatrixSpec,
    /// The gate of the output, `z`.
    pub(crate) gate: MatrixSpec,
    /// The inputs of `beta` and of the decay.
    pub(crate) gates: GatesSpec,
    /// The convolution, `[channels, kernel]`.
    pub(crate) conv: MatrixSpec,
    /// The factor of the decay per value head, negative.
    pub(crate) decay: VectorSpec,
    /// What is added to the input of the decay, per value head.
    pub(crate) decay_bias: VectorSpec,
    /// The norm of each value head.
    pub(crate) norm: VectorSpec,
    pub(crate) output: MatrixSpec,
}

/// The matrices for `beta` and the decay, with an output for each value head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GatesSpec {
    Apart {
        beta: MatrixSpec,
        alpha: MatrixSpec,
    },
    /// Of one key head after the other: `beta` of its value heads, then their decay.
    Fused(MatrixSpec),
}

/// The projections of attention, and the norms of its heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttentionSpec {
    /// Whether `q` has as many outputs more, after the query of each head, for the gate of its output.
    pub(crate) gated: bool,
    pub(crate) q: MatrixSpec,
    pub(crate) k: MatrixSpec,
    pub(crate) v: MatrixSpec,
    pub(crate) output: MatrixSpec,
    /// The norm of each query head, `[head_dim]`.
    pub(crate) q_norm: Option<VectorSpec>,
    /// The norm of each key head, `[head_dim]`.
    pub(crate) k_norm: Option<VectorSpec>,
}

/// The feed-forward block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MlpSpec {
    Dense(GatedMlpSpec),
    Experts(Box<ExpertsSpec>),
}

/// The gated network of a dense layer or of a shared expert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatedMlpSpec {
    pub(crate) gate: MatrixSpec,
    pub(crate) up: MatrixSpec,
    pub(crate) down: MatrixSpec,
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpertsSpec {
    pub(crate) config: Experts,
    pub(crate) router: MatrixSpec,
    /// The projections of one of `config.count` experts.
    pub(crate) each: GatedMlpSpec,
    /// The shared expert, and its gate of one output.
    pub(crate) shared: Option<(GatedMlpSpec, MatrixSpec)>,
}

impl MatrixSpec {
    /// Describes a matrix without a bias.
    pub(crate) fn new(name: impl Into<String>, outputs: usize, inputs: usize) -> Self {
        Self { name: name.into(), outputs, inputs, bias: false }
    }
}

impl GatedMlpSpec {
    /// Describes the tensors `ffn_gate`, `ffn_up` and `ffn_down` of a layer, with `suffix` after each name.
    fn new(prefix: &str, suffix: &str, hidden: usize, ffn: usize) -> Self {
        let matrix = |name: &str, outputs, inputs| {
            MatrixSpec::new(format!("{prefix}.{name}{suffix}"), outputs, inputs)
        };
        Self {
            gate: matrix("ffn_gate", ffn, hidden),
            up: matrix("ffn_up", ffn, hidden),
            down: matrix("ffn_down", hidden, ffn),
        }
    }
}

impl ModelConfig {
    /// Describes the norm after the last layer.
    pub(crate) fn output_norm(&self) -> VectorSpec {
        let name = "output_norm.weight".to_owned();
        VectorSpec { name, len: self.hidden, form: self.norm_form() }
    }

    /// Returns how files of transformers store norms.
    fn norm_form(&self) -> VectorForm {
        if self.delta.is_some() { VectorForm::ZeroCentred } else { VectorForm::Plain }
    }

    /// Describes the layer `index`.
    pub(crate) fn layer(&self, index: usize) -> LayerSpec {
        let hidden = self.hidden;
        let prefix = format!("blk.{index}");
        let matrix = |name: &str, outputs, inputs| {
            MatrixSpec::new(format!("{prefix}.{name}"), outputs, inputs)
        };
        let mixer = match self.delta {
            Some(delta) if delta.is_recurrent(index) => {
                MixerSpec::Delta(Box::new(self.recurrence(&prefix, delta)))
            }
            _ => MixerSpec::Attention(Box::new(self.attention(&prefix))),
        };
        let mlp = match self.feed_forward {
            FeedForward::Dense { ffn } => {
                MlpSpec::Dense(GatedMlpSpec::new(&prefix, "", hidden, ffn))
            }
            FeedForward::Experts(config) => MlpSpec::Experts(Box::new(ExpertsSpec {
                config,
                router: matrix("ffn_gate_inp", config.count, hidden),
                each: GatedMlpSpec::new(&prefix, "_exps", hidden, config.ffn),
                shared: config.shared_ffn.map(|ffn| {
                    let mlp = GatedMlpSpec::new(&prefix, "_shexp", hidden, ffn);
                    (mlp, matrix("ffn_gate_inp_shexp", 1, hidden))
                }),
            })),
        };
        let mlp_norm = if self.delta.is_some() { "post_attention_norm" } else { "ffn_norm" };
        LayerSpec {
            mixer_norm: self.norm(&prefix, "attn_norm", hidden),
            mixer,
            mlp_norm: self.norm(&prefix, mlp_norm, hidden),
            mlp,
        }
    }

    fn norm(&self, prefix: &str, name: &str, len: usize) -> VectorSpec {
        VectorSpec { name: format!("{prefix}.{name}.weight"), len, form: self.norm_form() }
    }

    fn attention(&self, prefix: &str) -> AttentionSpec {
        let Self { architecture, hidden, heads, kv_heads, head_dim, .. } = *self;
        let project = |name: &str, heads: usize| {
            let bias = architecture.attention_bias;
            MatrixSpec {
                bias,
                ..MatrixSpec::new(format!("{prefix}.{name}"), heads * head_dim, hidden)
            }
        };
        let head_norm =
            |name: &str| architecture.head_norms.then(|| self.norm(prefix, name, head_dim));
        let gated = self.delta.is_some();
        AttentionSpec {
            gated,
            q: project("attn_q", if gated { 2 * heads } else { heads }),
            k: project("attn_k", kv_heads),
            v: project("attn_v", kv_heads),
            output: MatrixSpec::new(format!("{prefix}.attn_output"), hidden, heads * head_dim),
            q_norm: head_norm("attn_q_norm"),
            k_norm: head_norm("attn_k_norm"),
        }
    }

    fn recurrence(&self, prefix: &str, config: DeltaNet) -> DeltaSpec {
        let hidden = self.hidden;
        let matrix = |name: &str, outputs, inputs| {
            MatrixSpec::new(format!("{prefix}.{name}"), outputs, inputs)
        };
        let vector =
            |name: &str, len, form| VectorSpec { name: format!("{prefix}.{name}"), len, form };
        let heads = config.value_heads;
        let gates = match config.fused_gates {
            true => GatesSpec::Fused(matrix("ssm_ba", 2 * heads, hidden)),
            false => GatesSpec::Apart {
                beta: matrix("ssm_beta", heads, hidden),
                alpha: matrix("ssm_alpha", heads, hidden),
            },
        };
        DeltaSpec {
            config,
            qkv: matrix("attn_qkv", config.channels(), hidden),
            gate: matrix("attn_gate", config.values(), hidden),
            gates,
            conv: matrix("ssm_conv1d", config.channels(), config.kernel),
            decay: vector("ssm_a", heads, VectorForm::LogOfNegative),
            decay_bias: vector("ssm_dt.bias", heads, VectorForm::Plain),
            norm: vector("ssm_norm.weight", config.value_dim, VectorForm::Plain),
            output: matrix("ssm_out", hidden, config.values()),
        }
    }
}
