//! Describes a layer: which blocks it has, and the names and shapes of their tensors. The executors, on the CPU and on
//! a device, load and compute what is described here.

use super::config::{Experts, FeedForward, ModelConfig};

/// A vector of f32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VectorSpec {
    /// The tensor's whole name.
    pub(crate) name: String,
    pub(crate) len: usize,
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

/// Attention and feed-forward block, each after a norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerSpec {
    pub(crate) attention_norm: VectorSpec,
    pub(crate) attention: AttentionSpec,
    pub(crate) mlp_norm: VectorSpec,
    pub(crate) mlp: MlpSpec,
}

/// The projections of attention, and the norms of its heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttentionSpec {
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

impl VectorSpec {
    /// Describes the norm after the last layer.
    pub(crate) fn output_norm(hidden: usize) -> Self {
        Self { name: "output_norm.weight".to_owned(), len: hidden }
    }
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
    /// Describes the layer `index`.
    pub(crate) fn layer(&self, index: usize) -> LayerSpec {
        let Self { architecture, hidden, heads, kv_heads, head_dim, .. } = *self;
        let prefix = format!("blk.{index}");
        let vector = |name: &str, len| VectorSpec { name: format!("{prefix}.{name}.weight"), len };
        let matrix = |name: &str, outputs, inputs| {
            MatrixSpec::new(format!("{prefix}.{name}"), outputs, inputs)
        };
        let project = |name: &str, heads: usize| {
            let bias = architecture.attention_bias;
            MatrixSpec { bias, ..matrix(name, heads * head_dim, hidden) }
        };
        let head_norm = |name: &str| architecture.head_norms.then(|| vector(name, head_dim));
        let attention = AttentionSpec {
            q: project("attn_q", heads),
            k: project("attn_k", kv_heads),
            v: project("attn_v", kv_heads),
            output: matrix("attn_output", hidden, heads * head_dim),
            q_norm: head_norm("attn_q_norm"),
            k_norm: head_norm("attn_k_norm"),
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
        LayerSpec {
            attention_norm: vector("attn_norm", hidden),
            attention,
            mlp_norm: vector("ffn_norm", hidden),
            mlp,
        }
    }
}
